#!/usr/bin/env bash
# Embeddings of every utterance and the mean embedding of every speaker (or enrollment model) of a data directory.
# As Kaldi's sid/nnet3/xvector/extract_xvectors.sh.
set -euo pipefail

nj=2             # parallel jobs
cmd=run.py       # where they run (cmd.sh)
num_threads=1    # processor cores of each job
device=auto      # auto, cpu or cuda
cmn_config=      # as in the training features; empty: conf/cmn.conf
min_frames=0     # leave out utterances with fewer voiced frames; 0: 25, or more where the network takes more
max_frames=10000 # longer ones are embedded in pieces and averaged
num_ceps=0       # as in the training features (0: all columns)
delta_order=0    # likewise (0: none)
delta_window=3   # likewise
embedding=       # purified or eliminated, of a system that has both; empty: that which its YAML names
force=false      # true: extract again
help_message="usage: ${0##*/} [options] MODEL_DIR DATA_DIR EMBEDDINGS_DIR
DATA_DIR has features and VAD. Writes EMBEDDINGS_DIR/{embedding.scp,spk_embedding.scp,num_utts,utt2spk,spk2utt}.
Options (default):
  --cmn-config FILE (conf/cmn.conf)  --min-frames N ($min_frames: 25, or what the network takes)  --max-frames N ($max_frames)
  --num-ceps N ($num_ceps: all)  --delta-order N ($delta_order)  --delta-window N ($delta_window)
  --embedding purified|eliminated (of a system that has both: that which its YAML names)
  --device auto|cpu|cuda ($device)  --nj N ($nj)  --num-threads N ($num_threads)  --cmd RUNNER ($cmd)
  --force true|false ($force)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
. "$VOUCH_ROOT/steps/voiced_feats.sh"
if [ $# -ne 3 ]; then echo "$help_message" >&2; exit 1; fi
model=$1 data=$2 out=$3
cmn_config=${cmn_config:-$VOUCH_ROOT/conf/cmn.conf}

final=$model/final.pt # of a network
if [ -f "$model/final.ie" ]; then final=$model/final.ie; fi
need "$final" "steps/train.sh or train_ivector.sh"
need "$data/feats.scp" "steps/make_mfcc.sh $data"
need "$data/vad.scp" "steps/compute_vad.sh $data"
need "$cmn_config" "copy conf/cmn.conf"
settings="$(cat "$cmn_config") min_frames=$min_frames max_frames=$max_frames${embedding:+ embedding=$embedding}$(frontend_settings)"
if is_done "$out/.done.embeddings" "$settings" "$final" "$data/feats.scp" "$data/vad.scp" "$data/utt2spk"; then exit 0; fi
mkdir -p "$out/log"
rm -f "$out/.done.embeddings" "$out/embedding.scp"
utterances=$(wc -l <"$data/feats.scp")
most=$(((utterances + 99) / 100)) # a job that loads PyTorch for fewer gains nothing
if [ "$nj" -gt "$most" ]; then nj=$most; fi
split_data.sh --per-utt "$data" "$nj"
split=$data/split${nj}utt
begin_jobs "$out" "$settings nj=$nj" "embedding.*.*" "$final" "$data/feats.scp" "$data/vad.scp"
voiced_feats "$split/JOB"
$cmd --num-threads "$num_threads" JOB=1:"$nj" "$out/log/extract.JOB.log" \
  test -f "$out/embedding.JOB.done" "||" \
  "${voiced[@]}" \
  "|" vouch extract-embeddings --min-frames="$min_frames" --max-frames="$max_frames" --num-threads="$num_threads" --embedding="$embedding" \
  --device="$device" "$model" ark:- \
  "ark,scp:$out/embedding.JOB.ark,$out/embedding.JOB.scp" \
  "&&" touch "$out/embedding.JOB.done"
for job in $(seq "$nj"); do cat "$out/embedding.$job.scp"; done >"$out/embedding.scp.new"
made=$(wc -l <"$out/embedding.scp.new")
enough "$made" "$utterances" embedding "$out/log/extract."*.log
mv "$out/embedding.scp.new" "$out/embedding.scp"
filter_scp "$out/embedding.scp" "$data/utt2spk" >"$out/utt2spk"
utt2spk_to_spk2utt.sh "$out/utt2spk" >"$out/spk2utt"
vouch ivector-mean "ark:$out/spk2utt" "scp:$out/embedding.scp" \
  "ark,scp:$out/spk_embedding.ark,$out/spk_embedding.scp" "ark,t:$out/num_utts" 2>"$out/log/ivector_mean.log" ||
  { cat "$out/log/ivector_mean.log" >&2; exit 1; }
mark_done "$out/.done.embeddings" "$settings"
echo "${0##*/}: $made embeddings in $out/embedding.scp"
