#!/usr/bin/env bash
# The embedded two-domain corpus: synthesise it where it is not there yet, and make the data directories.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

seed=0     # of the corpus
nj=2       # processes that synthesise
scale=1.0  # share of the full size: speakers and utterances a speaker shrink by its root
help_message="usage: local/prepare_mini.sh [options] CORPUS_ROOT OUT

Synthesises the mini corpus into CORPUS_ROOT, unless it is complete there (about an hour of speech, 60 MB on disk), then writes OUT/{train,enroll,test} (source domain) and OUT/{adapt,adapt_enroll,adapt_test} (target
domain, adapt unlabelled) and OUT/run.conf, the defaults that run.sh takes for this corpus.

options (default):
  --seed N      of all random draws (0)
  --nj N        processes that synthesise (2)
  --scale S     share of the full size, above 0 and at most 1 (1.0)"
# shellcheck source=path.sh
. "$here/path.sh"
# shellcheck source=utils/parse_options.sh
. "$here/utils/parse_options.sh"
if [ $# -ne 2 ]; then
  echo "$help_message" >&2
  exit 1
fi
echo "$0 --seed $seed --nj $nj --scale $scale $*"
corpus=$1 out=$2

vouch make-mini-corpus --print-args=false --seed="$seed" --num-jobs="$nj" --scale="$scale" "$corpus"
corpus=$(cd "$corpus" && pwd -P)
mkdir -p "$out"
if [ "$corpus" = "$(cd "$out" && pwd -P)" ]; then
  echo "$0: error: CORPUS_ROOT and OUT are one folder, $out; name another for the data directories" >&2
  exit 1
fi
staging=$(mktemp -d "$out/.prepare_mini.XXXXXX")
trap 'rm -rf "$staging"' EXIT

# A copy of a part's lists with absolute wav paths.
take() {
  local from=$corpus/$1 to=$staging/$1 name
  mkdir "$to"
  CORPUS=$corpus awk '{ utt = $1; sub(/^[^ ]+ /, ""); print utt, ENVIRON["CORPUS"] "/" $0 }' "$from/wav.scp" >"$to/wav.scp"
  for name in utt2spk spk2gender; do
    if [ -f "$from/$name" ]; then cp "$from/$name" "$to/$name"; fi
  done
  "$here/utils/utt2spk_to_spk2utt.sh" "$to/utt2spk" >"$to/spk2utt"
}

for part in train eval adapt adapt_eval; do take "$part"; done
for name in train adapt; do
  rm -rf "${out:?}/$name"
  mv "$staging/$name" "$out/$name"
done
vouch make-trials --print-args=false "$staging/eval" "$out/enroll" "$out/test"
vouch make-trials --print-args=false "$staging/adapt_eval" "$out/adapt_enroll" "$out/adapt_test"
for name in train enroll test adapt adapt_enroll adapt_test; do
  "$here/utils/validate_data_dir.sh" --no-text --no-feats "$out/$name"
done
echo "--conf=conf/mini" >"$staging/run.conf"
mv "$staging/run.conf" "$out/run.conf"
