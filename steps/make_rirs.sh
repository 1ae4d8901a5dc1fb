#!/usr/bin/env bash
# The simulated small and medium rooms of RIRS_NOISES (OpenSLR 28), as Kaldi's egs/sre16 reverberates with them. The two
# lists are as long as each other in the corpus, so that one room in two is small.
set -euo pipefail

rooms="smallroom mediumroom" # folders of RIRS_NOISES/simulated_rirs; largeroom is the third
help_message="usage: ${0##*/} [options] RIRS_NOISES_ROOT OUT.scp
Writes a list (lines KEY FILE) for steps/augment.sh --rirs. Options (default):
  --rooms \"NAME ...\" ($rooms)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
if [ $# -ne 2 ]; then echo "$help_message" >&2; exit 1; fi
fail() { echo "${0##*/}: error: $*" >&2; exit 1; }
root=$1 out=$2
[ -d "$root/simulated_rirs" ] || fail "there is no '$root/simulated_rirs'; give the root of RIRS_NOISES"
root=$(realpath -s "$root")
mkdir -p "$(dirname "$out")"
trap 'rm -f "$out.new"' EXIT
for room in $rooms; do
  find -L "$root/simulated_rirs/$room" -iname '*.wav' | sort | awk -v room="$room" \
    '{key = $0; sub(/.*\/simulated_rirs\//, "", key); sub(/\.[^.]*$/, "", key); gsub(/[\/ ]/, "-", key); print key " " $0; n++}
    END {exit !n}' || fail "$root/simulated_rirs/$room has no wav files"
done >"$out.new"
cmp -s "$out.new" "$out" || mv "$out.new" "$out"
echo "${0##*/}: $(wc -l <"$out") impulse responses in $out"
