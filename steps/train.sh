#!/usr/bin/env bash
# Train the system of a YAML on training features; continues a training that was cut off.
set -euo pipefail

cmd=run.py          # where it runs (cmd.sh)
num_threads=2       # processor cores of the training
device=auto         # auto, cpu or cuda
force=false         # true: train again from the start
help_message="usage: ${0##*/} [options] SYSTEM.yaml TRAINING_DATA_DIR MODEL_DIR
Writes MODEL_DIR/{config.yaml,speakers.txt,train.jsonl,checkpoints/,final.pt}. Options (default):
  --num-threads N ($num_threads)  --device auto|cpu|cuda ($device)  --cmd RUNNER ($cmd)  --force true|false ($force)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
if [ $# -ne 3 ]; then echo "$help_message" >&2; exit 1; fi
system=$1 data=$2 model=$3
need "$system" "copy one of conf/*.yaml"
need "$data/feats.scp" "steps/prepare_feats_for_training.sh"
mkdir -p "$model/log"
log=$model/log/train_$(basename "$model").log
if [ -f "$model/final.pt" ] && [ "$force" != true ]; then
  log=$model/log/check_$(basename "$model").log # is it what is asked for? The log of the training stays
  echo "${0##*/}: $model is trained already (--force true repeats it)"
else
  echo "${0##*/}: training $model; follow it with: tail -f $log"
fi
$cmd --num-threads "$num_threads" "$log" \
  vouch train --device="$device" --num-threads="$num_threads" --force="$force" "$system" "$data" "$model" &
job=$!
trap 'kill "$job" 2>/dev/null || true' INT TERM # run.sh may have started this step in the background
wait "$job"
need "$model/final.pt" "steps/train.sh; see $log"
echo "${0##*/}: $model/final.pt; the training's course is in $model/train.jsonl"
