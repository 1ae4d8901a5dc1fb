#!/usr/bin/env bash
# Data directories that exist already, in Kaldi's form, of any corpus.
set -euo pipefail

wav_root=         # folder that relative paths in wav.scp start from; empty: the current folder
same_gender=true  # with eval/spk2gender: trials within a gender only
age_limit=15      # with eval/spk2age: trials within children (up to this age) and within adults only

help_message="usage: $0 [options] CORPUS_ROOT OUT
   e.g. $0 --wav-root /corpora/mine /corpora/mine/kaldi data

Takes the Kaldi data directories in CORPUS_ROOT and writes OUT/{train,enroll,test} and, where CORPUS_ROOT has adapt/,
OUT/{adapt,adapt_enroll,adapt_test}. Nothing is written into CORPUS_ROOT. It must hold

  train/    wav.scp and utt2spk: the labelled training speech
  enroll/   wav.scp and utt2spk: utterance and enrollment model (in the place of the speaker)
  test/     wav.scp, utt2spk and trials, each line of which is: MODEL UTTERANCE target|nontarget
or, in the place of enroll/ and test/,
  eval/     wav.scp and utt2spk: each speaker is enrolled as model SPK-1 with the first utterance and SPK-3 with the
            first three, in sorted order; the others are test segments, tried against every model of the same gender
            (with eval/spk2gender) and age group (with eval/spk2age)
and, for adaptation to another domain,
  adapt/    wav.scp; the speakers of its utt2spk, if any, are forgotten
  adapt_enroll/ and adapt_test/, or adapt_eval/: as above

segments, spk2gender and spk2age are taken where they are; other files (feats.scp, vad.scp) are not, run.sh makes its
own. Each directory is repaired as utils/fix_data_dir.sh does and checked as utils/validate_data_dir.sh does. An entry of
wav.scp is an audio file, file.ark:OFFSET, or a command ending in '|', which stays as it is.

options (default):
  --wav-root DIR       folder that relative paths in wav.scp start from (the current folder)
  --same-gender BOOL   with eval/spk2gender: trials within a gender only ($same_gender)
  --age-limit N        with eval/spk2age: years up to which a speaker is a child ($age_limit)"

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=utils/parse_options.sh
. "$here/../utils/parse_options.sh"
[ $# -eq 2 ] || { echo "$help_message" >&2; exit 1; }
echo "$0 $*"
# shellcheck source=local/prepare_common.sh
. "$here/prepare_common.sh"

# take NAME [options of make_data_dir.py]: a repaired and checked copy of $corpus/NAME.
take() {
  local name=$1 file raw=$tmp/raw
  mkdir "$raw"
  for file in wav.scp segments utt2spk spk2gender spk2age; do
    if [ -f "$corpus/$name/$file" ]; then cp "$corpus/$name/$file" "$raw/$file"; fi
  done
  chmod -R u+w "$raw"
  if [[ " ${*:2} " == *" --unlabelled "* ]]; then
    rm -f "$raw"/spk2{gender,age}
    awk '{print $1, $1}' "$([ -f "$raw/segments" ] && echo "$raw/segments" || echo "$raw/wav.scp")" >"$raw/utt2spk"
  fi
  bash "$root/utils/fix_data_dir.sh" --print-args=false "$raw"
  make_data_dir --audio-root "${wav_root:-$PWD}" "${@:2}" "$raw" "$name"
  rm -r "$raw"
}

# take_trials ENROLL TEST: copy TEST/trials, sorted; every model and utterance must be known.
take_trials() {
  awk -v trials="$corpus/$2/trials" -v enroll="$1" -v test="$2" '
    function bad(why) { printf "%s:%d: %s\n", trials, FNR, why; failed = 1; exit 1 }
    FILENAME == ARGV[1] { model[$1]; next }
    FILENAME == ARGV[2] { utterance[$1]; next }
    NF != 3 || ($3 != "target" && $3 != "nontarget") { bad("want MODEL UTTERANCE target|nontarget, found: " $0) }
    !($1 in model) { bad("model " $1 " is not in " enroll "/utt2spk; add it there or remove the trial") }
    !($2 in utterance) { bad("utterance " $2 " is not in " test "/utt2spk; add it there or remove the trial") }
    { n[$3]++ }
    END { if (!failed && !(n["target"] && n["nontarget"])) bad("want trials of both kinds, target and nontarget") }
  ' "$tmp/$1/spk2utt" "$tmp/$2/utt2spk" "$corpus/$2/trials" >"$tmp/complaint" || fail "$(cat "$tmp/complaint")"
  sort -u -o "$tmp/$2/trials" "$corpus/$2/trials"
  awk '$1 == model && $2 == utterance {print; exit 1} {model = $1; utterance = $2}' "$tmp/$2/trials" >"$tmp/complaint" ||
    fail "$corpus/$2/trials: the trial '$(cut -d ' ' -f 1,2 "$tmp/complaint")' is there as target and as nontarget; remove one"
}

# take_evaluation PREFIX: enroll/ and test/, or both from eval/.
take_evaluation() {
  local prefix=$1
  if [ -d "$corpus/${prefix}eval" ]; then
    take "${prefix}eval"
    make_evaluation "${prefix}eval" "${prefix}enroll" "${prefix}test" --same-gender="$same_gender" --age-limit="$age_limit"
  else
    take "${prefix}enroll"
    take "${prefix}test"
    take_trials "${prefix}enroll" "${prefix}test"
  fi
}

# files_of PREFIX: the files that an evaluation needs.
files_of() {
  if [ -d "$1eval" ]; then
    echo eval/wav.scp eval/utt2spk
  else
    echo enroll/wav.scp enroll/utt2spk test/wav.scp test/utt2spk test/trials
  fi
}

needed=(train/wav.scp train/utt2spk)
names=(train enroll test)
for file in $(files_of "$1/"); do needed+=("$file"); done
if [ -d "$1/adapt" ]; then
  needed+=(adapt/wav.scp)
  names+=(adapt adapt_enroll adapt_test)
  for file in $(files_of "$1/adapt_"); do needed+=("adapt_$file"); done
fi
begin_corpus "$1" "$2" "${needed[@]}"

take train
take_evaluation ""
if [ -d "$corpus/adapt" ]; then
  take adapt --unlabelled
  take_evaluation adapt_
fi
publish "${names[@]}"
