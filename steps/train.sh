#!/usr/bin/env bash
# Train the system of a YAML on training features; continues a training that was cut off.
set -euo pipefail

cmd=run.py          # where it runs (cmd.sh)
num_threads=2       # processor cores of the training
start=              # model directory whose networks a system with the key `start` begins with
target=             # unlabelled training features of another domain, for objectives danse and gan
device=auto         # auto, cpu or cuda
num_gpus=0          # GPUs of this machine, a process each; 0: as cmd gives (one, or none)
num_processes=1     # processes on this machine without GPUs
num_nodes=1         # machines, each of which runs this command with the same options; they share MODEL_DIR
rendezvous=         # HOST:PORT of one of the machines, where all meet
feature_config=     # options that the features were made with; kept beside the model, for vouch embed and verify
vad_config=         # likewise of the voice activity decisions
cmn_config=         # and of the normalisation
force=false         # true: train again from the start
help_message="usage: ${0##*/} [options] SYSTEM.yaml TRAINING_DATA_DIR MODEL_DIR
Writes MODEL_DIR/{config.yaml,speakers.txt,train.jsonl,checkpoints/,final.pt}. Options (default):
  --target DATA_DIR (none; unlabelled speech of another domain, which objectives danse and gan want)
  --start MODEL_DIR (none; of the system that the YAML's key \`start\` names: fine-tuning)
  --feature-config FILE  --vad-config FILE  --cmn-config FILE (none): what the features were made with, kept as
  MODEL_DIR/{features,vad,cmn}.conf, which the use of the model wants (vouch embed, verify, export-model)
  --num-threads N ($num_threads)  --device auto|cpu|cuda ($device)  --cmd RUNNER ($cmd)  --force true|false ($force)
Several processes share every batch (training.batch_size is that of all of them):
  --num-gpus N ($num_gpus: what --cmd gives)  --num-processes N ($num_processes, on processors)
  --num-nodes N ($num_nodes)  --rendezvous HOST:PORT (needed with --num-nodes above 1)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
fail() { echo "${0##*/}: error: $*" >&2; exit 1; }
if [ $# -ne 3 ]; then echo "$help_message" >&2; exit 1; fi
for number in "$num_threads" "$num_gpus" "$num_processes" "$num_nodes"; do
  [[ $number =~ ^[0-9]+$ ]] || fail "'$number' is not a number; --num-threads, --num-gpus, --num-processes and --num-nodes take one"
done
if [ "$num_gpus" -gt 0 ] && { [ "$num_processes" -gt 1 ] || [ "$device" = cpu ]; }; then
  fail "--num-gpus starts a process a GPU; leave out --num-processes and --device cpu"
fi
if [ "$num_nodes" -gt 1 ] && [[ $rendezvous != *:* ]]; then fail "--num-nodes $num_nodes needs --rendezvous HOST:PORT"; fi
if [ "$num_processes" -lt 1 ] || [ "$num_nodes" -lt 1 ]; then fail "--num-processes and --num-nodes want 1 or more"; fi
system=$1 data=$2 model=$3
need "$system" "copy one of conf/*.yaml"
if [ -n "$start" ]; then need "$start/final.pt" "steps/train.sh for $start"; fi
for file in "$feature_config" "$vad_config" "$cmn_config"; do
  if [ -n "$file" ]; then need "$file" "copy that of conf"; fi
done
if [ ! -f "$data/wav.scp" ]; then need "$data/feats.scp" "steps/prepare_feats_for_training.sh"; fi # or training.source type waveforms

resources=(--num-threads "$num_threads") launcher=(vouch)
if [ "$num_gpus" -gt 0 ]; then
  num_processes=$num_gpus device=cuda
  resources+=(--gpu "$num_gpus")
elif [ "$num_processes" -gt 1 ]; then
  device=cpu
fi
if [ "$num_nodes" -gt 1 ]; then
  meeting=(--nnodes="$num_nodes" --rdzv-backend=c10d --rdzv-endpoint="$rendezvous" --rdzv-id="$(basename "$model")")
else
  meeting=(--standalone)
fi
if [ $((num_processes * num_nodes)) -gt 1 ]; then
  launcher=(python3 -m torch.distributed.run "${meeting[@]}" --nproc-per-node="$num_processes" -m vouch)
fi
threads=$((num_threads / num_processes)) # of a process
threads=$((threads > 0 ? threads : 1))

mkdir -p "$model/log"
log=$model/log/train_$(basename "$model").log
if [ "$num_nodes" -gt 1 ]; then log=${log%.log}_$(hostname).log; fi
if [ -f "$model/final.pt" ] && [ "$force" != true ]; then
  log=$model/log/check_$(basename "$model").log # is it what is asked for? The log of the training stays
  launcher=(vouch)
  echo "${0##*/}: $model has a finished training; is it what is asked for? (--force true repeats it)"
else
  echo "${0##*/}: training $model; follow it with: tail -f $log"
  flock -n "$model/.lock" true || echo "${0##*/}: another process trains in $model; waiting for it"
  if [ -f "$log" ]; then mv "$log" "${log%.log}.$(date -r "$log" +%Y%m%d-%H%M%S).log"; fi # of a killed one, which goes on
fi
$cmd "${resources[@]}" "$log" "${launcher[@]}" train --device="$device" --num-threads="$threads" --force="$force" \
  --target="$target" --start-from="$start" "$system" "$data" "$model" &
job=$!
(
  exec >&2 # what the log says, twice a minute
  while sleep 30 >/dev/null 2>&1 8>&- && kill -0 "$job" 2>/dev/null; do
    grep '^LOG epoch' "$log" 2>/dev/null | tail -n 1 | sed "s/^LOG /$(basename "$model"): /" || true
  done
) &
reporter=$!
trap 'kill "$job" "$reporter" 2>/dev/null || true' INT TERM EXIT # run.sh may have started this step in the background
wait "$job"
need "$model/final.pt" "steps/train.sh; see $log"
keep() { # FILE NAME: a copy beside the model
  if [ -n "$1" ] && ! cmp -s "$1" "$model/$2"; then cp "$1" "$model/$2.new.$$" && mv "$model/$2.new.$$" "$model/$2"; fi
}
keep "$feature_config" features.conf
keep "$vad_config" vad.conf
keep "$cmn_config" cmn.conf
echo "${0##*/}: $model/final.pt; the training's course is in $model/train.jsonl"
