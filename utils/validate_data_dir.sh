#!/usr/bin/env bash
# Check a Kaldi data directory.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=path.sh
. "$root/path.sh"
exec vouch validate-data-dir "$@"
