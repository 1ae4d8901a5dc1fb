#!/usr/bin/env bash
# Mean, LDA and PLDA of training embeddings, and PLDA adapted to unlabelled embeddings of the target domain.
# The chain is that of Kaldi's egs/sre16/v2: centre, LDA, length normalisation to sqrt(dim), PLDA.
set -euo pipefail

lda_dim=150          # dimension after LDA; no more than speakers less one, for further ones would be rounding
plda_iterations=10   # of EM
within_scale=0.75    # of the adaptation: share of the excess variance that goes into the within-speaker covariance
between_scale=0.25   # and into the between-speaker covariance
help_message="usage: ${0##*/} [options] TRAIN_EMBEDDINGS_DIR BACKEND_DIR [ADAPT_EMBEDDINGS_DIR]
Writes BACKEND_DIR/{mean.vec,lda.mat,plda} and, with ADAPT_EMBEDDINGS_DIR (no labels used), mean_adapt.vec and
{plda_adapt,plda_coral,plda_coral_plus}. Options (default):
  --lda-dim N ($lda_dim)  --plda-iterations N ($plda_iterations)
  --within-scale X ($within_scale)  --between-scale X ($between_scale)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
if [ $# -lt 2 ] || [ $# -gt 3 ]; then echo "$help_message" >&2; exit 1; fi
train=$1 backend=$2 adapt=${3:-}
for file in embedding.scp utt2spk spk2utt; do need "$train/$file" "steps/extract_embeddings.sh"; done
mkdir -p "$backend/log"

# run_logged NAME COMMAND...: the tool's messages go to a log, which is shown when it fails.
run_logged() {
  local log=$backend/log/$1.log
  shift
  "$@" >"$log" 2>&1 || { tail -n 5 "$log" >&2; echo "${0##*/}: error: failed; the log is $log" >&2; exit 1; }
}
prepare() { # the pipe that centres on a mean, projects and normalises the vectors of an scp
  printf 'ark:vouch ivector-subtract-global-mean %q %q ark:- | vouch transform-vec %q ark:- ark:- | vouch ivector-normalize-length ark:- ark:- |' \
    "$1" "scp:$2" "$backend/lda.mat"
}

speakers=$(wc -l <"$train/spk2utt")
if [ "$lda_dim" -ge "$speakers" ]; then
  if [ "$speakers" -lt 2 ]; then echo "${0##*/}: error: LDA and PLDA want two speakers or more; $train has $speakers" >&2; exit 1; fi
  lda_dim=$((speakers - 1))
  echo "${0##*/}: LDA has $lda_dim dims, for $speakers speakers differ in no more"
fi
run_logged mean vouch ivector-mean "scp:$train/embedding.scp" "$backend/mean.vec"
run_logged lda vouch ivector-compute-lda --total-covariance-factor=0.0 --dim="$lda_dim" \
  "$(printf 'ark:vouch ivector-subtract-global-mean %q ark:- |' "scp:$train/embedding.scp")" \
  "ark:$train/utt2spk" "$backend/lda.mat"
run_logged plda vouch ivector-compute-plda --num-em-iters="$plda_iterations" \
  "ark:$train/spk2utt" "$(prepare "$backend/mean.vec" "$train/embedding.scp")" "$backend/plda"
if [ -n "$adapt" ]; then
  need "$adapt/embedding.scp" "steps/extract_embeddings.sh"
  run_logged mean_adapt vouch ivector-mean "scp:$adapt/embedding.scp" "$backend/mean_adapt.vec"
  run_logged plda_adapt vouch ivector-adapt-plda --within-covar-scale="$within_scale" \
    --between-covar-scale="$between_scale" "$backend/plda" \
    "$(prepare "$backend/mean_adapt.vec" "$adapt/embedding.scp")" "$backend/plda_adapt"
  run_logged plda_coral vouch adapt-plda-coral "$backend/plda" \
    "$(prepare "$backend/mean_adapt.vec" "$adapt/embedding.scp")" "$backend/plda_coral"
  run_logged plda_coral_plus vouch adapt-plda-coral --plus=true "$backend/plda" \
    "$(prepare "$backend/mean_adapt.vec" "$adapt/embedding.scp")" "$backend/plda_coral_plus"
fi
echo "${0##*/}: $(find "$backend" -maxdepth 1 -type f | sort | tr '\n' ' ')"
