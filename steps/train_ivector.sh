#!/usr/bin/env bash
# Train the UBM and the extractor of an i-vector system; continues a training that was cut off. As Kaldi's
# sid/train_diag_ubm.sh, train_full_ubm.sh and train_ivector_extractor.sh.
set -euo pipefail

nj=1                # jobs that share the utterances: with one, a single process makes all passes
cmd=run.py          # where they run (cmd.sh)
num_threads=2       # processor cores of each
ubm_data=           # data directory that the UBM is trained on; empty: TRAINING_DATA_DIR
device=auto         # auto, cpu or cuda
force=false         # true: train again from the start
help_message="usage: ${0##*/} [options] SYSTEM.yaml TRAINING_DATA_DIR MODEL_DIR
Writes MODEL_DIR/{config.yaml,train.jsonl,final.dubm,final.ubm,final.ie}. Options (default):
  --nj N ($nj)  --num-threads N ($num_threads)  --device auto|cpu|cuda ($device)  --cmd RUNNER ($cmd)
  --ubm-data DATA_DIR (TRAINING_DATA_DIR)  --force true|false ($force)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
if [ $# -ne 3 ]; then echo "$help_message" >&2; exit 1; fi
system=$1 data=$2 model=$3 log=$3/log
need "$system" "copy one of conf/*.yaml"
for folder in "$data" ${ubm_data:+"$ubm_data"}; do need "$folder/feats.scp" "steps/prepare_feats_for_training.sh"; done
mkdir -p "$log"
train=(vouch train-ivector-system --device="$device" --num-threads="$num_threads" --ubm-data="$ubm_data")
arguments=("$system" "$data" "$model")

in_one_process() {
  local file
  file=$log/train_$(basename "$model").log
  if [ -f "$model/final.ie" ] && [ "$force" != true ]; then
    file=$log/check_$(basename "$model").log # is it what is asked for? The log of the training stays
    echo "${0##*/}: $model is trained already (--force true repeats it)"
  else
    echo "${0##*/}: training $model; follow it with: tail -f $file"
  fi
  $cmd --num-threads "$num_threads" "$file" "${train[@]}" --force="$force" "${arguments[@]}" &
  job=$!
  trap 'kill "$job" 2>/dev/null || true' INT TERM # run.sh may have started this step in the background
  wait "$job"
}
in_jobs() {
  local pass
  "${train[@]}" --do=begin --force="$force" "${arguments[@]}" >"$model/passes" 2>"$log/begin.log" ||
    { tail -n 5 "$log/begin.log" >&2; exit 1; }
  while read -r pass <&3; do
    echo "${0##*/}: pass $pass"
    if [ "$pass" != start-1 ]; then
      $cmd --num-threads "$num_threads" JOB=1:"$nj" "$log/accumulate.$pass.JOB.log" \
        "${train[@]}" --do=accumulate --pass="$pass" --job=JOB --num-jobs="$nj" "${arguments[@]}"
    fi
    $cmd --num-threads "$num_threads" "$log/estimate.$pass.log" \
      "${train[@]}" --do=estimate --pass="$pass" --num-jobs="$nj" "${arguments[@]}"
  done 3<"$model/passes"
  rm "$model/passes"
}
if [ "$nj" -eq 1 ]; then in_one_process; else in_jobs; fi
need "$model/final.ie" "steps/train_ivector.sh; see $log"
echo "${0##*/}: $model/final.ubm and final.ie; the training's course is in $model/train.jsonl"
