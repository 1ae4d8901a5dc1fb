#!/usr/bin/env bash
# VoxCeleb1 and VoxCeleb2, as they lie on disk, to data directories.
set -euo pipefail

voxceleb1=          # folder
voxceleb2=          # folder
lists=              # trial lists; empty: the published ones in or above the folder of VoxCeleb1
decode_to=          # folder; empty: m4a is read through ffmpeg every time
nj=4                # ffmpeg at a time, with --decode-to
check_headers=true  # false: take all files to be whole, 16 kHz and mono
allow_missing=false # true: leave out trials whose utterances are not there
help_message="usage: ${0##*/} [--voxceleb1 DIR] [--voxceleb2 DIR] [options] OUT
   e.g. ${0##*/} --voxceleb1 /corpora/voxceleb1 --voxceleb2 /corpora/voxceleb2 data

Takes VoxCeleb1 and VoxCeleb2 in any of their layouts. The end of a path decides, whatever folders are above it (dev/wav,
vox1_dev_wav/wav, test/aac, ...):
  id10001/VIDEO/00001.wav                  VoxCeleb1 (ids id1...); .wav or .flac
  Eartha_Kitt/VIDEO_0000001.wav, Eartha_Kitt/VIDEO/0000001.wav
                                           VoxCeleb1's first release; vox1_meta.csv has the ids of the names
  id00012/VIDEO/00001.m4a                  VoxCeleb2 (ids id0...); .m4a, or already converted to .wav or .flac
Of an utterance with several files, wav is taken before flac before m4a. vox1_meta.csv, vox2_meta.csv and the trial lists
are looked for in the corpus folder, and in the two above it. Nothing is written into the corpora.

m4a is read by pipes of ffmpeg in wav.scp, or, with --decode-to, decoded once to 16-bit wav at 16 kHz (VoxCeleb2: some
285 GB); a killed run goes on with the same command, and what ffmpeg cannot decode is named and left out, up to 1 %.
Other rates than 16 kHz and several channels are lines of wav.scp through vouch wav-cut.

A trial list has lines '1 id10270/VIDEO/00001.wav id10270/VIDEO/00002.wav', the same with the first release's names, or
'UTT1 UTT2 target|nontarget'. What it is called comes from its file:
  veri_test.txt O        list_test_all.txt E        list_test_hard.txt H         voxceleb1_test_v2.txt O
  veri_test2.txt O_clean list_test_all2.txt E_clean list_test_hard2.txt H_clean  another: its name without ending
Speakers of a chosen list are not trained on. E and H use all of VoxCeleb1: with them, VoxCeleb2 alone is trained on.

Writes, sorted and checked,
  OUT/train                VoxCeleb2, and the speakers of VoxCeleb1 that no list uses; with spk2gender where it is told
  OUT/test                 the utterances of the lists, each its own speaker; trials (of all lists), trials_NAME of each
  OUT/sources.tsv          utterances and speakers found, published, and the difference
  OUT/log/warnings.txt     every warning; the screen has the first of each kind
What is there already and the same keeps its time. Names of utterances and speakers are Kaldi's: id10270-VIDEO-00001.

options (default):
  --voxceleb1 DIR          without it there is no test
  --voxceleb2 DIR
  --lists \"FILE ...\"       NAME=FILE gives a name; or a folder with published lists (all published ones that are found);
                           a published name alone is looked for beside VoxCeleb1; \"'A B/veri_test.txt' FILE\" has spaces
  --decode-to DIR          see above (m4a is read through ffmpeg)
  --nj N                   ffmpeg at a time, with --decode-to ($nj)
  --check-headers BOOL     open every file to find damaged ones and other rates; false spares it ($check_headers)
  --allow-missing BOOL     leave out trials whose utterances are not there, instead of stopping ($allow_missing)"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../../../utils/parse_options.sh
. "$here/../../../../utils/parse_options.sh"
if [ $# -ne 1 ]; then echo "$help_message" >&2; exit 1; fi
echo "${0##*/} --voxceleb1 '$voxceleb1' --voxceleb2 '$voxceleb2' --lists '$lists' --decode-to '$decode_to' $*"
# shellcheck source=../../../../local/prepare_common.sh
. "$here/../../../../local/prepare_common.sh"

begin_out "$1"
python3 "$here/prepare_data.py" --voxceleb1 "$voxceleb1" --voxceleb2 "$voxceleb2" --lists "$lists" \
  --decode-to "$decode_to" --nj "$nj" --check-headers "$check_headers" --allow-missing "$allow_missing" "$out"
published=(train test sources.tsv)
names=()
for name in train test; do
  if [ -d "$tmp/$name" ]; then names+=("$name"); fi
done
publish "${names[@]}"
