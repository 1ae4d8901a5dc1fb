#!/usr/bin/env bash
# The embeddings of several systems as one: each centred on the mean of its training embeddings and scaled to the length
# sqrt(dim), then one behind the other, so that LDA and PLDA see them together.
set -euo pipefail

force=false # true: join them again
help_message="usage: ${0##*/} [options] TRAIN_PART PART OUT_DIR EMBEDDINGS_DIR EMBEDDINGS_DIR ...
EMBEDDINGS_DIR/TRAIN_PART has the training embeddings of a system, EMBEDDINGS_DIR/PART those to join. Writes
OUT_DIR/{embedding.scp,spk_embedding.scp,num_utts,utt2spk,spk2utt} of the utterances that all have. Options (default):
  --force true|false ($force)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
if [ $# -lt 5 ]; then echo "$help_message" >&2; exit 1; fi
train=$1 part=$2 out=$3
shift 3
inputs=()
for folder in "$@"; do
  for file in "$folder/$train/embedding.scp" "$folder/$part"/{embedding.scp,utt2spk}; do
    need "$file" "run.sh --stage 6 --systems $(basename "$(dirname "$folder")"), with the backend.speed_copies of the joint system"
    inputs+=("$file")
  done
done
if is_done "$out/.done.embeddings" "$train $*" "${inputs[@]}"; then exit 0; fi
mkdir -p "$out/log"
rm -f "$out/.done.embeddings" "$out/embedding.scp"
run_logged() {
  local log=$out/log/$1.log
  shift
  "$@" >"$log" 2>&1 || { tail -n 5 "$log" >&2; echo "${0##*/}: error: failed; the log is $log" >&2; exit 1; }
}
tables=()
for folder in "$@"; do
  number=${#tables[@]}
  run_logged "mean_$number" vouch ivector-mean "scp:$folder/$train/embedding.scp" "$out/mean_$number.vec"
  # looked up key by key behind the first table, so as a table on disk
  run_logged "normalize_$number" vouch ivector-normalize-length \
    "$(printf 'ark:vouch ivector-subtract-global-mean %q %q ark:- |' "$out/mean_$number.vec" "scp:$folder/$part/embedding.scp")" \
    "ark,scp:$out/part_$number.ark,$out/part_$number.scp"
  tables+=("scp:$out/part_$number.scp")
done
run_logged paste vouch paste-vectors "${tables[@]}" "ark,scp:$out/embedding.ark,$out/embedding.scp.new"
enough "$(wc -l <"$out/embedding.scp.new")" "$(wc -l <"$1/$part/embedding.scp")" "embedding in all systems" "$out/log/paste.log"
rm -f "$out"/part_*
mv "$out/embedding.scp.new" "$out/embedding.scp"
filter_scp "$out/embedding.scp" "$1/$part/utt2spk" >"$out/utt2spk"
utt2spk_to_spk2utt.sh "$out/utt2spk" >"$out/spk2utt"
run_logged ivector_mean vouch ivector-mean "ark:$out/spk2utt" "scp:$out/embedding.scp" \
  "ark,scp:$out/spk_embedding.ark,$out/spk_embedding.scp" "ark,t:$out/num_utts"
mark_done "$out/.done.embeddings" "$train $*"
echo "${0##*/}: $(wc -l <"$out/embedding.scp") embeddings in $out/embedding.scp"
