#!/usr/bin/env bash
# Write a part of a data directory as another.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=path.sh
. "$root/path.sh"
exec vouch subset-data-dir "$@"
