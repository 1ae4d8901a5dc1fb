#!/usr/bin/env bash
# speechocean762: English sentences read by Mandarin speakers, children and adults.
set -euo pipefail

age_limit=15  # years up to which a speaker is a child

help_message="usage: $0 [options] CORPUS_ROOT OUT
   e.g. $0 /corpora/speechocean762 data

Writes the data directories OUT/{train,enroll,test}, and OUT/run.conf (run.sh's options for a corpus of this size).
CORPUS_ROOT is the unpacked download (https://www.openslr.org/101), or a part of it with the same folders:
  WAVE/SPEAKERssss/0ssssnnnn.WAV (or .flac), train/ and test/ with wav.scp (paths from CORPUS_ROOT), utt2spk,
  spk2gender and spk2age. Nothing is written there.

train is the labelled training part. Each speaker of the corpus's test part is enrolled twice, as model SPK-1 with the
first utterance and as SPK-3 with the first three (sorted by name); the others are test segments. Trials: every model
with every test segment of the same gender and the same age group (child or adult).

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

options=(--audio-root "$corpus" --any-ending --speaker-prefix)
make_data_dir "${options[@]}" "$corpus/train" train
make_data_dir "${options[@]}" "$corpus/test" eval
make_evaluation eval enroll test --age-limit="$age_limit"
echo "--conf=conf/small" >"$tmp/run.conf"
publish train enroll test
