#!/usr/bin/env bash
# Copy a data directory, with other ids if asked.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=path.sh
. "$root/path.sh"
exec vouch copy-data-dir "$@"
