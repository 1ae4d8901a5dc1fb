#!/usr/bin/env bash
# Sort a data directory and keep what all its files share.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=path.sh
. "$root/path.sh"
exec vouch fix-data-dir "$@"
