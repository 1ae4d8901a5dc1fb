#!/usr/bin/env bash
# Augmented training data, as in Kaldi's egs/sre16/v2: speed-perturbed copies as new speakers, then reverberated and
# noisy copies of all of it, of which a random part is kept. Features of the source data directory are reused.
set -euo pipefail

types="reverb noise music babble" # kinds of copies; empty: none
speeds="0.9 1.1"                  # factors of the speed-perturbed copies; empty: none
copies=1.0                        # augmented copies kept, per utterance that there is without them
num_copies=0                      # the same as a number; 0: by --copies
noise=                            # folder of noises (or scp); empty: generated ones
music=                            # folder of music; empty: generated
babble=                           # folder of speech for babble; empty: other speakers of the data itself
rirs=                             # folder of room impulse responses; empty: generated rooms
type=mfcc                         # kind of features
feature_config=                   # empty: conf/TYPE.conf
vad_config=                       # empty: conf/vad.conf
nj=2                              # parallel jobs
cmd=run.py                        # where they run (cmd.sh)
device=cpu                        # of the feature extraction
allow_pipes=true                  # false refuses shell commands in wav.scp
seed=0                            # of all that is random here
force=false                       # true: do it again
help_message="usage: ${0##*/} [options] SOURCE_DATA_DIR AUGMENTED_DATA_DIR WORK_DIR
SOURCE_DATA_DIR has features and VAD. Writes AUGMENTED_DATA_DIR = source + speed copies + augmented copies, with
features and VAD; WORK_DIR takes generated rooms and noises and the directories in between. Options (default):
  --types \"KIND ...\" ($types)  --speeds \"FACTOR ...\" ($speeds)  --copies X ($copies)  --num-copies N (by --copies)
  --noise DIR --music DIR --babble DIR --rirs DIR (generated)  --type mfcc|fbank ($type)
  --feature-config FILE (conf/TYPE.conf)  --vad-config FILE (conf/vad.conf)  --nj N ($nj)  --cmd RUNNER ($cmd)
  --device cpu|cuda ($device)  --allow-pipes true|false ($allow_pipes)  --seed N ($seed)  --force true|false ($force)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
if [ $# -ne 3 ]; then echo "$help_message" >&2; exit 1; fi
data=$1 augmented=$2 work=$3
feature_config=${feature_config:-$VOUCH_ROOT/conf/$type.conf}
vad_config=${vad_config:-$VOUCH_ROOT/conf/vad.conf}
steps=$VOUCH_ROOT/steps

for file in feats.scp vad.scp utt2num_frames; do need "$data/$file" "steps/make_$type.sh, steps/compute_vad.sh $data"; done
need "$feature_config" "copy conf/$type.conf"
settings="types=$types speeds=$speeds copies=$copies num_copies=$num_copies noise=$noise music=$music babble=$babble rirs=$rirs seed=$seed"
if is_done "$augmented/.done.augment" "$settings" "$data/feats.scp" "$data/vad.scp" "$data/utt2spk" \
  "$noise" "$music" "$babble" "$rirs"; then exit 0; fi
rm -f "$augmented/.done.augment" "$augmented/feats.scp"
mkdir -p "$work"
make_feats=("$steps/make_feats.sh" --type "$type" --feature-config "$feature_config" --nj "$nj" --cmd "$cmd"
  --device "$device" --allow-pipes "$allow_pipes" --seed "$seed" --force "$force")

# The rate at which rooms and noises are generated is that of the features.
rate=$(sed -n 's/^ *--sample-frequency= *\([0-9]*\).*/\1/p' "$feature_config")
rate=${rate:-16000}
if [[ " $types " == *" reverb "* && -z $rirs ]]; then
  rirs=$work/rooms-$rate-$seed
  if [ ! -s "$rirs/rirs.scp" ]; then
    vouch make-rooms --num=100 --kind=small --sample-frequency="$rate" --seed="$seed" "$rirs"
  fi
fi
if [[ (" $types " == *" noise "* && -z $noise) || (" $types " == *" music "* && -z $music) ]]; then
  noises=$work/noises-$rate-$seed
  if [ ! -s "$noises/music/wav.scp" ]; then # the last file that is written
    vouch make-noises --sample-frequency="$rate" --seed="$seed" "$noises"
  fi
  noise=${noise:-$noises/noise} music=${music:-$noises/music}
fi

# Speed copies: new speakers, with a VAD of their own.
parts=("$data")
for factor in $speeds; do
  part=$work/sp$factor
  if [ ! -s "$part/wav.scp" ] || [ "$data/wav.scp" -nt "$part/wav.scp" ] || [ "$data/utt2spk" -nt "$part/wav.scp" ]; then
    vouch augment-data-dir --type=speed --factor="$factor" "$data" "$part"
  fi
  "${make_feats[@]}" "$part"
  "$steps/compute_vad.sh" --vad-config "$vad_config" --nj "$nj" --cmd "$cmd" --force "$force" "$part"
  parts+=("$part")
done
base=$work/base
combine_data.sh "$base" "${parts[@]}"

# Reverberated and noisy copies: the timing is that of the original, and so is its VAD.
if [ -n "$types" ] && [ "$copies" != 0 ]; then
  kinds=()
  for kind in $types; do
    case $kind in
      reverb) from=(--rirs="$rirs") ;;
      noise) from=(--noises="$noise") ;;
      music) from=(--noises="$music") ;;
      babble) from=(${babble:+"--noises=$babble"}) ;;
      *) echo "${0##*/}: error: --types knows reverb, noise, music and babble, not '$kind'" >&2; exit 1 ;;
    esac
    vouch augment-data-dir --type="$kind" "${from[@]}" --seed="$seed" "$base" "$work/$kind"
    kinds+=("$work/$kind")
  done
  combine_data.sh --extra-files utt2uniq "$work/all_copies" "${kinds[@]}"
  # A random part of them: the same one whenever the seed is the same.
  keep=$num_copies all=$(wc -l <"$work/all_copies/utt2spk")
  if [ "$keep" -eq 0 ]; then keep=$(awk -v n="$(wc -l <"$base/utt2spk")" -v c="$copies" 'BEGIN {printf "%d", n * c}'); fi
  if [ "$keep" -gt "$all" ]; then keep=$all; fi
  rm -rf "$work/copies.new"
  subset_data_dir.sh --random --seed="$seed" "$work/all_copies" "$keep" "$work/copies.new"
  if ! cmp -s "$work/copies.new/wav.scp" "$work/copies/wav.scp" || ! cmp -s "$work/copies.new/utt2spk" "$work/copies/utt2spk"; then
    rm -rf "$work/copies"
    mv "$work/copies.new" "$work/copies"
  fi
  rm -rf "$work/copies.new"
  "${make_feats[@]}" "$work/copies"
  awk 'NR == FNR {where[$1] = substr($0, length($1) + 2); next} {id = $1; sub(/-[a-z]*$/, "", id)} id in where {print $1, where[id]}' \
    "$base/vad.scp" "$work/copies/feats.scp" >"$work/copies/vad.scp.new"
  mv "$work/copies/vad.scp.new" "$work/copies/vad.scp"
  parts+=("$work/copies")
fi
combine_data.sh "$augmented" "${parts[@]}"
# The source's own utterances and their copies, without the speed copies: what backends learn from.
awk 'NR == FNR {original[$1]; next} {id = $1; sub(/-(reverb|noise|music|babble)$/, "", id)}
  $1 in original || id in original {print $1}' "$data/utt2spk" "$augmented/utt2spk" >"$augmented/without_speed_copies"
mark_done "$augmented/.done.augment" "$settings"
echo "${0##*/}: $(wc -l <"$augmented/utt2spk") utterances of $(wc -l <"$augmented/spk2utt") speakers in $augmented"
