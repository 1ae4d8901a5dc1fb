#!/usr/bin/env bash
# What the two embeddings of a SEEF-ALDR system hold: linear probes, a map, reconstructions with the identity swapped.
set -euo pipefail

nj=2             # parallel jobs
cmd=run.py       # where they run (cmd.sh)
device=auto      # auto, cpu or cuda
cmn_config=      # as in the training features; empty: conf/cmn.conf
max_utts=4000    # of each part; whole speakers, drawn at random
speakers=        # file UTTERANCE SPEAKER: who speaks, where utt2spk of the data directories does not tell
recordings=      # file UTTERANCE RECORDING: which utterances belong together (videos, calls); empty: the data directories tell
force=false      # true: extract again
help_message="usage: ${0##*/} [options] MODEL_DIR TRAIN_DIR TEST_DIR [TARGET_DIR] RESULTS
TRAIN_DIR, TEST_DIR and TARGET_DIR (the test of another domain) are data directories with features and VAD, whose purified embeddings are
in MODEL_DIR/embeddings under the same names; the eliminated ones are extracted into MODEL_DIR/disentanglement. Writes, for MODEL_DIR's
name SYSTEM, into RESULTS:
  probe_SYSTEM.tsv         speaker, gender, length (and domain) of test utterances, whose speakers the training did not have
  probe_SYSTEM_train.tsv   the same of training utterances, and augmentation and speed where they have such copies
  embeddings_SYSTEM.png    t-SNE maps of both embeddings of some test speakers
  reconstruction_SYSTEM.png  two test utterances: original, rebuilt, rebuilt with the other's identity
Options (default):
  --cmn-config FILE (conf/cmn.conf)  --max-utts N of each part, whole speakers ($max_utts)
  --speakers FILE of lines UTTERANCE SPEAKER (the data directories' utt2spk)
  --recordings FILE of lines UTTERANCE RECORDING, for the speaker's probe to be asked of others (what the data directories tell)
  --device auto|cpu|cuda ($device)  --nj N ($nj)  --cmd RUNNER ($cmd)  --force true|false ($force)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
num_ceps=0 delta_order=0
. "$VOUCH_ROOT/steps/voiced_feats.sh"
if [ $# -lt 4 ] || [ $# -gt 5 ]; then echo "$help_message" >&2; exit 1; fi
model=$1 train=$2 tests=("${@:3:$#-3}") results=${*: -1}
system=$(basename "$model")
cmn_config=${cmn_config:-$VOUCH_ROOT/conf/cmn.conf}
twice=$(for dir in "$train" "${tests[@]}"; do basename "$dir"; done | sort | uniq -d)
if [ -n "$twice" ]; then echo "${0##*/}: error: two of the data directories are called $twice; their embeddings are found by that name" >&2; exit 1; fi
if ! [[ $max_utts =~ ^[1-9][0-9]*$ ]]; then echo "${0##*/}: error: --max-utts $max_utts: want a whole number above 0" >&2; exit 1; fi
need "$model/config.yaml" "steps/train.sh"
if [ "$(vouch show-config --print-args=false --get=objective.type=none,objective.rest=none,objective.embedding=none "$model/config.yaml" | xargs)" != "seef_aldr encoder purified" ]; then
  echo "${0##*/}: error: $model is not scored by one of two embeddings; this wants a system of objective seef_aldr with rest encoder, embedding purified" >&2
  exit 1
fi
for dir in "$train" "${tests[@]}"; do
  if [ ! -d "$dir" ]; then echo "${0##*/}: error: there is no data directory $dir" >&2; exit 1; fi
  need "$model/embeddings/$(basename "$dir")/embedding.scp" "steps/extract_embeddings.sh"
done
mkdir -p "$results"
shown=("$results/probe_$system.tsv" "$results/probe_${system}_train.tsv" "$results/embeddings_$system.png" "$results/reconstruction_$system.png")
rm -f "${shown[@]}"
given=()
if [ -n "$recordings" ]; then given=("recording='${recordings//\'/\'\\\'\'}'"); fi

# part NAME DIR...: MODEL_DIR/disentanglement/NAME, a data directory of some of their utterances, with both embeddings.
part() {
  local out=$model/disentanglement/$1 dir inputs=() settings
  for dir in "${@:2}"; do inputs+=("$dir/feats.scp" "$dir/vad.scp" "$dir/utt2spk" "$model/embeddings/$(basename "$dir")/embedding.scp"); done
  settings="$max_utts ${*:2}${speakers:+ speakers=$speakers}"
  if ! is_done "$out/.done.part" "$settings" "${inputs[@]}" >/dev/null; then
    rm -rf "$out"
    combine_data.sh "$out/all" "${@:2}"
    if [ -n "$speakers" ]; then
      filter_scp "$out/all/utt2spk" "$speakers" | sort -u >"$out/all/utt2spk.new"
      mv "$out/all/utt2spk.new" "$out/all/utt2spk"
      utt2spk_to_spk2utt.sh "$out/all/utt2spk" >"$out/all/spk2utt"
    fi
    for dir in "${@:2}"; do cat "$model/embeddings/$(basename "$dir")/embedding.scp"; done | sort >"$out/all.scp"
    subset_data_dir.sh --utt-list="$out/all.scp" "$out/all" "$out/embedded" # others are too short
    if [ "$(wc -l <"$out/embedded/utt2spk")" -le "$max_utts" ]; then
      copy_data_dir.sh "$out/embedded" "$out/data"
    else
      subset_data_dir.sh --speakers "$out/embedded" "$max_utts" "$out/data"
    fi
    filter_scp "$out/data/utt2spk" "$out/all.scp" >"$out/purified.scp"
    for dir in "${@:2}"; do sed "s/ .*/ $(basename "$dir")/" "$dir/utt2spk"; done | sort >"$out/domain"
    mark_done "$out/.done.part" "$settings"
  fi
  "$VOUCH_ROOT/steps/extract_embeddings.sh" --embedding eliminated --cmn-config "$cmn_config" --nj "$nj" --cmd "$cmd" \
    --device "$device" --force "$force" "$model" "$out/data" "$out/eliminated"
  both=("purified=scp:$out/purified.scp" "eliminated=scp:$out/eliminated/embedding.scp")
}
part train "$train"
vouch probe --print-args=false --shuffles=1 --data="$model/disentanglement/train/data" --labels="${given[*]}" --out="${shown[1]}" "${both[@]}"
part test "${tests[@]}"
if [ "${#tests[@]}" -gt 1 ]; then given+=("domain='${model//\'/\'\\\'\'}/disentanglement/test/domain'"); fi
vouch probe --print-args=false --shuffles=1 --data="$model/disentanglement/test/data" --labels="${given[*]}" --out="${shown[0]}" "${both[@]}"
if [ "$(wc -l <"$model/disentanglement/test/data/spk2utt")" -lt 2 ] || [ "$(wc -l <"$model/disentanglement/test/data/utt2spk")" -lt 4 ]; then
  echo "${0##*/}: warning: no pictures: fewer than two speakers, or four utterances, have embeddings" >&2
  exit 0
fi
vouch map-embeddings --print-args=false "$model/disentanglement/test/data/utt2spk" "${both[@]}" "${shown[2]}"
# The first utterances of the first and the last speaker.
pair=$model/disentanglement/pair
sed -n '1p;$p' "$model/disentanglement/test/data/spk2utt" | cut -d' ' -f2 >"$pair.list"
subset_data_dir.sh --utt-list="$pair.list" "$model/disentanglement/test/data" "$pair"
voiced_feats "$pair"
$cmd "$pair/log/reconstruction.log" "${voiced[@]}" "|" vouch plot-reconstruction "$model" ark:- "${shown[3]}"
grep -h 'mean squared error' "$pair/log/reconstruction.log"
echo "${0##*/}: ${shown[*]}"
