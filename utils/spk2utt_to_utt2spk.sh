#!/usr/bin/env bash
# Turn spk2utt into utt2spk.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=path.sh
. "$root/path.sh"
exec vouch spk2utt-to-utt2spk "$@"
