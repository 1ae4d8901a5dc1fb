#!/usr/bin/env bash
# The embedded two-domain corpus: synthesise it where it is not there yet, and make the data directories.
set -euo pipefail

seed=0     # of the corpus
nj=2       # processes that synthesise
scale=1.0  # share of the full size: speakers and utterances a speaker shrink by its root
help_message="usage: ${0##*/} [options] CORPUS_ROOT OUT
Synthesises the mini corpus into CORPUS_ROOT, unless it is complete there (an hour of speech, 60 MB), then writes
OUT/{train,enroll,test} (source domain) and OUT/{adapt,adapt_enroll,adapt_test} (target domain, adapt unlabelled)
and OUT/run.conf, the settings that run.sh takes for this corpus.

options (default):
  --seed N      of all random draws ($seed)
  --nj N        processes that synthesise ($nj)
  --scale S     share of the full size, above 0 and at most 1 ($scale)"

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=utils/parse_options.sh
. "$here/../utils/parse_options.sh"
[ $# -eq 2 ] || { echo "$help_message" >&2; exit 1; }
echo "${0##*/} $*"
# shellcheck source=local/prepare_common.sh
. "$here/prepare_common.sh"

vouch make-mini-corpus --print-args=false --seed="$seed" --num-jobs="$nj" --scale="$scale" "$1"
begin_corpus "$1" "$2" {train,eval,adapt,adapt_eval}/{wav.scp,utt2spk}
for part in train eval adapt adapt_eval; do
  make_data_dir --audio-root "$corpus" "$corpus/$part" "$part"
done
make_evaluation eval enroll test
make_evaluation adapt_eval adapt_enroll adapt_test
echo "--conf=conf/mini" >"$tmp/run.conf"
publish train enroll test adapt adapt_enroll adapt_test
