#!/usr/bin/env bash
# Turn utt2spk into spk2utt.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=path.sh
. "$root/path.sh"
exec vouch utt2spk-to-spk2utt "$@"
