#!/usr/bin/env bash
# Log likelihood ratios by scores and the quality of both sides of a trial: duration, magnitude of the embedding, mean of
# its scores with a cohort (quality measure functions; Thienpondt et al. 2021).
set -euo pipefail

top=300    # cohort scores that count
prior=0.01 # weight of the target trials in the training
help_message="usage: ${0##*/} [options] MEAN.vec COHORT_EMBEDDINGS_DIR DEV_EMBEDDINGS_DIR DEV_DATA_DIR DEV_TRIALS_DIR TEST_EMBEDDINGS_DIR TEST_DATA_DIR TEST_TRIALS_DIR SCORES_DIR DEV_NAME NAME BACKEND
Learns a calibration on SCORES_DIR/DEV_NAME/BACKEND.scores of DEV_TRIALS_DIR/trials, keeps it as
SCORES_DIR/../calibration/BACKEND_qmf, and writes SCORES_DIR/NAME/BACKEND_qmf.scores of those of TEST_TRIALS_DIR, and the
part of each further list there. The data directories have utt2num_frames or utt2dur; utterances are enrolled one by
one. Options (default):
  --top N ($top)  --prior P ($prior)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
. "$VOUCH_ROOT/steps/scored_lists.sh"
if [ $# -ne 12 ]; then echo "$help_message" >&2; exit 1; fi
origin=$1 cohort=$2 dev=$3 dev_data=$4 dev_trials=$5/trials test=$6 test_data=$7 data=$8 out=$9
dev_name=${10} name=${11} backend=${12}
kept=$out/../calibration
mkdir -p "$out/$name/log" "$kept"
for folder in "$dev_data" "$test_data"; do
  [ -s "$folder/utt2dur" ] || vouch get-utt2dur --print-args=false "$folder"
done
for side in dev test; do
  folder=$dev durations=$dev_data/utt2dur
  if [ "$side" = test ]; then folder=$test durations=$test_data/utt2dur; fi
  need "$folder/embedding.scp" "steps/extract_embeddings.sh"
  run_logged "quality_$side" vouch measure-quality --top="$top" "$durations" "scp:$folder/embedding.scp" \
    "$(centred "$folder/embedding.scp") $unit" "$(centred "$cohort/embedding.scp") $unit" "ark:$kept/quality_$side.ark"
done
need "$out/$dev_name/$backend.scores" "steps/score.sh"
run_logged "${backend}_calibration" vouch train-calibration --prior="$prior" "--enrollment-qualities=ark:$kept/quality_dev.ark" \
  "--test-qualities=ark:$kept/quality_dev.ark" "$dev_trials" "$out/$dev_name/$backend.scores" "$kept/${backend}_qmf"
run_logged "${backend}_qmf" vouch calibrate-scores "--enrollment-qualities=ark:$kept/quality_test.ark" \
  "--test-qualities=ark:$kept/quality_test.ark" "$kept/${backend}_qmf" "$out/$name/$backend.scores" "$out/$name/${backend}_qmf.scores"
parts_of_lists "${backend}_qmf"
echo "${0##*/}: $(tail -n 1 "$out/$name/log/${backend}_calibration.log")"
