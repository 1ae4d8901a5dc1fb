#!/usr/bin/env bash
# Scores of the trials of a test directory by each backend. Enrollment models are mean embeddings; both sides are
# centred on the mean of the trials' own domain, as Kaldi's egs/sre16 centres on the unlabelled target data; for
# `cosine` on that of the training data, so that it knows nothing of the domain.
set -euo pipefail

backends="cosine plda" # cosine, cosine_adapt, or a PLDA model: plda, plda_adapt, plda_coral, plda_coral_plus
cohort=                # embeddings directory of other speakers, for adaptive s-norm
snorm=                 # backends whose scores are normalised by it, too: BACKEND_snorm.scores
top=300                # cohort scores that count for each model and test utterance
help_message="usage: ${0##*/} [options] BACKEND_DIR MEAN.vec ENROLL_EMBEDDINGS_DIR TEST_EMBEDDINGS_DIR TEST_DATA_DIR OUT_DIR NAME
Scores TEST_DATA_DIR/trials (MODEL UTTERANCE target|nontarget) into OUT_DIR/NAME/BACKEND.scores, and the part of
each further list TEST_DATA_DIR/trials_X into OUT_DIR/NAME_X/BACKEND.scores. Options (default):
  --backends \"NAME ...\" ($backends): cosine, cosine_adapt, plda, plda_adapt, plda_coral, plda_coral_plus
  --cohort EMBEDDINGS_DIR --snorm \"BACKEND ...\" (none): normalised scores of these backends, too, as BACKEND_snorm
  --top N cohort scores of that ($top)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
. "$VOUCH_ROOT/steps/scored_lists.sh"
if [ $# -ne 7 ]; then echo "$help_message" >&2; exit 1; fi
backend_dir=$1 mean=$2 enroll=$3 test=$4 data=$5 out=$6 name=$7
need "$data/trials" "a data-preparation script, local/prepare_*.sh"
need "$mean" "steps/train_backend.sh"
for file in "$enroll/spk_embedding.scp" "$enroll/num_utts" "$test/embedding.scp"; do need "$file" "steps/extract_embeddings.sh"; done
for backend in $snorm; do
  [[ " $backends " == *" $backend "* ]] || { echo "${0##*/}: error: --snorm $backend is not among --backends" >&2; exit 1; }
  need "$cohort/embedding.scp" "steps/extract_embeddings.sh; --snorm wants --cohort EMBEDDINGS_DIR"
done
vouch check-trials --print-args=false "$data/trials" "scp:$enroll/spk_embedding.scp" "scp:$test/embedding.scp"

for backend in $backends; do
  scores=$out/$name/$backend.scores
  mkdir -p "$out/$name/log"
  origin=$mean
  if [ "$backend" = cosine ]; then origin=$backend_dir/mean.vec; fi
  case $backend in
    cosine | cosine_adapt)
      scale=$unit
      tool=(vouch ivector-compute-dot-products) normalise=(vouch normalise-scores)
      ;;
    plda | plda_*)
      need "$backend_dir/$backend" "steps/train_backend.sh"
      scale="$(printf 'vouch transform-vec %q ark:- ark:- |' "$backend_dir/lda.mat") vouch ivector-normalize-length ark:- ark:- |"
      how=(--normalize-length=true --num-utts="ark:$enroll/num_utts")
      tool=(vouch ivector-plda-scoring "${how[@]}" "$backend_dir/$backend")
      normalise=(vouch normalise-scores "${how[@]}" --plda="$backend_dir/$backend")
      ;;
    *) echo "${0##*/}: error: there is no backend '$backend'; know cosine, cosine_adapt, plda, plda_adapt, plda_coral, plda_coral_plus" >&2; exit 1 ;;
  esac
  pairs=$(printf 'cut -d" " -f1-2 %q |' "$data/trials")
  tables=("$(centred "$enroll/spk_embedding.scp") $scale" "$(centred "$test/embedding.scp") $scale")
  case $backend in
    cosine*) arguments=("$pairs" "${tables[@]}") ;;
    *) arguments=("${tables[@]}" "$pairs") ;;
  esac
  run_logged "$backend" "${tool[@]}" "${arguments[@]}" "$scores"
  parts_of_lists "$backend"
  if [[ " $snorm " == *" $backend "* ]]; then
    run_logged "${backend}_snorm" "${normalise[@]}" --top="$top" "${tables[@]}" "$(centred "$cohort/embedding.scp") $scale" \
      "$scores" "$out/$name/${backend}_snorm.scores"
    parts_of_lists "${backend}_snorm"
  fi
done
echo "${0##*/}: $(wc -l <"$data/trials") trials by $backends in $out/$name"
