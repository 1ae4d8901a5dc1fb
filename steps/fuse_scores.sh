#!/usr/bin/env bash
# Fused scores of several systems on the same trials: the mean of their normalised scores.
set -euo pipefail

backends="cosine plda" # of systems that are named without one: a fused score for each
weights=               # one a system, separated by commas; empty: the same for all
help_message="usage: ${0##*/} [options] FUSION EXP_DIR TEST_DATA_DIR NAME
FUSION is SYSTEM+SYSTEM, or SYSTEM:BACKEND+SYSTEM:BACKEND. Reads EXP_DIR/SYSTEM/scores/NAME/BACKEND.scores of the trials
TEST_DATA_DIR/trials and writes EXP_DIR/fusion_SYSTEM+SYSTEM/scores/NAME/BACKEND.scores, or BACKEND+BACKEND.scores; the
same for each further list trials_X, whose scores are normalised over that list. Options (default):
  --backends \"NAME ...\" ($backends)  --weights W,W (the same for all)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
if [ $# -ne 4 ]; then echo "$help_message" >&2; exit 1; fi
fusion=$1 exp=$2 data=$3 name=$4
need "$data/trials" "a data-preparation script, local/prepare_*.sh"

read -ra parts <<<"${fusion//+/ }"
read -ra each <<<"$backends"
if [[ $fusion == *:* ]]; then each=(own); fi
systems="" own=""
for part in "${parts[@]}"; do
  systems=$systems+${part%%:*} own=$own+${part#*:}
  if [[ $fusion == *:* && $part != *?:?* ]]; then
    echo "${0##*/}: error: '$part' in '$fusion' names no backend; name one for every system, or for none" >&2; exit 1
  fi
done
[ "${#parts[@]}" -ge 2 ] || { echo "${0##*/}: error: '$fusion' is one system; join two or more with +" >&2; exit 1; }
for backend in "${each[@]}"; do
  for trials in "$data"/trials "$data"/trials_*; do
    [ -f "$trials" ] || continue
    list=$name${trials#"$data/trials"}
    scores=()
    for part in "${parts[@]}"; do
      file=$exp/${part%%:*}/scores/$list/$([ "$backend" = own ] && echo "${part#*:}" || echo "$backend").scores
      need "$file" "steps/score.sh (run.sh --stage 6 --systems ${part%%:*})"
      scores+=("$file")
    done
    to=$exp/fusion_${systems#+}/scores/$list
    mkdir -p "$to"
    vouch fuse-scores --print-args=false --weights="$weights" "$trials" "${scores[@]}" \
      "$to/$([ "$backend" = own ] && echo "${own#+}" || echo "$backend").scores"
  done
done
