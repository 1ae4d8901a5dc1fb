#!/usr/bin/env bash
# From English to Mandarin: speechocean762 is the labelled source, mandarin-words the unlabelled target.
set -euo pipefail

age_limit=15  # years up to which a speaker of speechocean762 is a child

help_message="usage: $0 [options] CORPUS_ROOT OUT
   e.g. $0 /corpora data

Writes the data directories OUT/{train,enroll,test} (English) and OUT/{adapt,adapt_enroll,adapt_test} (Mandarin), and
OUT/run.conf (run.sh's options for a corpus of this size). CORPUS_ROOT holds two folders:
  speechocean762/   as prepare_speechocean762.sh takes it; the source comes from it by the same rule
  mandarin-words/   unlabelled/wav.scp, test/wav.scp (paths from mandarin-words/, .flac or .WAV) and test/utt2spk

adapt is unlabelled/, each utterance a speaker of its own. Each speaker of mandarin-words/test is enrolled as model
SPK-1 with the first utterance and SPK-3 with the first three; trials: every model with every remaining utterance.

options (default):
  --age-limit N   years up to which a speaker of speechocean762 is a child ($age_limit)"

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=utils/parse_options.sh
. "$here/../utils/parse_options.sh"
[ $# -eq 2 ] || { echo "$help_message" >&2; exit 1; }
echo "$0 $*"
# shellcheck source=local/prepare_common.sh
. "$here/prepare_common.sh"

begin_corpus "$1" "$2" speechocean762/{train,test}/{wav.scp,utt2spk,spk2gender,spk2age} \
  mandarin-words/{unlabelled/wav.scp,test/wav.scp,test/utt2spk}

mandarin=$corpus/mandarin-words
make_data_dir --audio-root "$mandarin" --any-ending --unlabelled "$mandarin/unlabelled" adapt
make_data_dir --audio-root "$mandarin" --any-ending "$mandarin/test" adapt_eval
make_evaluation adapt_eval adapt_enroll adapt_test
english=(--audio-root "$corpus/speechocean762" --any-ending --speaker-prefix)
make_data_dir "${english[@]}" "$corpus/speechocean762/train" train
make_data_dir "${english[@]}" "$corpus/speechocean762/test" eval
make_evaluation eval enroll test --age-limit="$age_limit"
echo "--conf=conf/small" >"$tmp/run.conf"
publish train enroll test adapt adapt_enroll adapt_test
