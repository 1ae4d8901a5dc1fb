#!/usr/bin/env bash
# speechocean762 as two domains: labelled adults are the source, unlabelled children the target.
set -euo pipefail

age_limit=15  # years up to which a speaker is a child

help_message="usage: $0 [options] CORPUS_ROOT OUT
   e.g. $0 /corpora/speechocean762 data

Writes the data directories OUT/{train,enroll,test} (adults) and OUT/{adapt,adapt_enroll,adapt_test} (children), and
OUT/run.conf (run.sh's options for a corpus of this size). CORPUS_ROOT is as for prepare_speechocean762.sh.

train: the adults of the corpus's training part, labelled. adapt: its children, each utterance a speaker of its own.
The speakers of the corpus's test part are enrolled and tested as in prepare_speechocean762.sh, adults with adults and
children with children.

options (default):
  --age-limit N   years up to which a speaker is a child ($age_limit)"

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=utils/parse_options.sh
. "$here/../utils/parse_options.sh"
[ $# -eq 2 ] || { echo "$help_message" >&2; exit 1; }
echo "$0 $*"
# shellcheck source=local/prepare_common.sh
. "$here/prepare_common.sh"

begin_corpus "$1" "$2" {train,test}/{wav.scp,utt2spk,spk2gender,spk2age}

options=(--audio-root "$corpus" --any-ending --age-limit "$age_limit")
make_data_dir "${options[@]}" --age-group adult --speaker-prefix "$corpus/train" train
make_data_dir "${options[@]}" --age-group child --unlabelled "$corpus/train" adapt
make_data_dir "${options[@]}" --age-group adult --speaker-prefix "$corpus/test" eval
make_data_dir "${options[@]}" --age-group child --speaker-prefix "$corpus/test" adapt_eval
make_evaluation eval enroll test --age-limit="$age_limit"
make_evaluation adapt_eval adapt_enroll adapt_test --age-limit="$age_limit"
echo "--conf=conf/small" >"$tmp/run.conf"
publish train enroll test adapt adapt_enroll adapt_test
