#!/usr/bin/env bash
# Fused scores of several systems on the same trials: the mean of their normalised scores.
set -euo pipefail

backends="cosine plda" # of systems that are named without one: a fused score for each
help_message="usage: ${0##*/} [options] FUSION EXP_DIR TEST_DATA_DIR NAME
FUSION is SYSTEM+SYSTEM, or SYSTEM:BACKEND+SYSTEM:BACKEND, each with =WEIGHT behind it where they do not weigh the same.
Reads EXP_DIR/SYSTEM/scores/NAME/BACKEND.scores of the trials TEST_DATA_DIR/trials and writes
EXP_DIR/fusion:SYSTEM+SYSTEM/scores/NAME/BACKEND.scores (SYSTEM=WEIGHT where there are weights; of different backends
BACKEND+BACKEND.scores); the same for each further list trials_X, normalised over that list. Options (default):
  --backends \"NAME ...\" ($backends)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
if [ $# -ne 4 ]; then echo "$help_message" >&2; exit 1; fi
fusion=$1 exp=$2 data=$3 name=$4
need "$data/trials" "a data-preparation script, local/prepare_*.sh"

read -ra parts <<<"${fusion//+/ }"
[ "${#parts[@]}" -ge 2 ] || { echo "${0##*/}: error: '$fusion' is one system; join two or more with +" >&2; exit 1; }
read -ra each <<<"$backends"
systems=() own=() weights="" title=""
for part in "${parts[@]}"; do
  weight=1
  if [[ $part == *=* ]]; then weight=${part#*=} part=${part%%=*}; fi
  systems+=("${part%%:*}") weights=$weights,$weight title=$title+${part%%:*}
  if [ "$weight" != 1 ]; then title=$title=$weight; fi
  if [[ $part == *:* ]]; then own+=("${part#*:}"); fi
done
joined() { local IFS=+; echo "$*"; }
case ${#own[@]} in
  0) ;;
  "${#parts[@]}")
    each=("$(joined "${own[@]}")")
    if [[ "+${each[0]}" == "$(printf "+${own[0]}%.0s" "${own[@]}")" ]]; then each=("${own[0]}"); fi
    ;;
  *) echo "${0##*/}: error: '$fusion' names a backend for some of its systems; name one for each, or for none" >&2; exit 1 ;;
esac
for backend in "${each[@]}"; do
  for trials in "$data"/trials "$data"/trials_*; do
    [ -f "$trials" ] || continue
    list=$name${trials#"$data/trials"}
    scores=()
    for i in "${!systems[@]}"; do
      file=$exp/${systems[i]}/scores/$list/${own[i]:-$backend}.scores
      need "$file" "steps/score.sh (run.sh at the stage of the scores, --systems ${systems[i]})"
      scores+=("$file")
    done
    to=$exp/fusion:${title#+}/scores/$list
    mkdir -p "$to"
    vouch fuse-scores --print-args=false --weights="${weights#,}" "$trials" "${scores[@]}" "$to/$backend.scores"
  done
done
