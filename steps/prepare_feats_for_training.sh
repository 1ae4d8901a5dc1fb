#!/usr/bin/env bash
# Training features: the asked columns and differences, sliding mean normalisation, silence dropped, stored row-major with two bytes a value, so that a
# chunk of frames is one slice of the archive. As Kaldi's sid/nnet3/xvector/prepare_feats_for_egs.sh.
set -euo pipefail

nj=2                      # parallel jobs
cmd=run.py                # where they run (cmd.sh)
cmn_config=               # options of apply-cmvn-sliding; empty: conf/cmn.conf
min_frames=50             # leave out utterances with fewer voiced frames (Kaldi's recipes: 500 or 400)
min_utts_per_speaker=2    # leave out speakers with fewer utterances (Kaldi's recipes: 8)
num_ceps=0                # keep the first so many columns of the features; 0: all
delta_order=0             # differences over time to append before the normalisation; 0: none
delta_window=3            # of the differences
force=false               # true: make them again
help_message="usage: ${0##*/} [options] DATA_DIR OUT_DATA_DIR
Writes OUT_DATA_DIR with feats.scp of voiced, mean-normalised frames, and utt2num_frames. Options (default):
  --cmn-config FILE (conf/cmn.conf)  --min-frames N ($min_frames)  --min-utts-per-speaker N ($min_utts_per_speaker)
  --num-ceps N ($num_ceps: all)  --delta-order N ($delta_order)  --delta-window N ($delta_window)
  --nj N ($nj)  --cmd RUNNER ($cmd)  --force true|false ($force)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
. "$VOUCH_ROOT/steps/voiced_feats.sh"
if [ $# -ne 2 ]; then echo "$help_message" >&2; exit 1; fi
data=$1 out=$2 log=$2/log archives=$2/data
cmn_config=${cmn_config:-$VOUCH_ROOT/conf/cmn.conf}

need "$data/feats.scp" "steps/make_mfcc.sh $data"
need "$data/vad.scp" "steps/compute_vad.sh $data"
need "$cmn_config" "copy conf/cmn.conf"
settings="$(cat "$cmn_config") min_frames=$min_frames min_utts_per_speaker=$min_utts_per_speaker$(frontend_settings)"
if is_done "$out/.done.training" "$settings" "$data/feats.scp" "$data/vad.scp" "$data/utt2spk"; then exit 0; fi
rm -f "$out/.done.training"
copy_data_dir.sh "$data" "$out"
rm -f "$out/vad.scp" "$out/feats.scp"
utterances=$(wc -l <"$data/feats.scp")
if [ "$nj" -gt "$utterances" ]; then nj=$utterances; fi
split_data.sh --per-utt "$data" "$nj"
split=$data/split${nj}utt
mkdir -p "$log" "$archives"
begin_jobs "$archives" "$settings nj=$nj" "feats.*" "$data/feats.scp" "$data/vad.scp"
voiced_feats "$split/JOB"
$cmd JOB=1:"$nj" "$log/prepare_feats.JOB.log" \
  test -f "$archives/feats.JOB.done" "||" \
  "${voiced[@]}" \
  "|" vouch copy-feats --compress=true --compression-method=3 --write-num-frames="ark,t:$archives/feats.JOB.num_frames" ark:- \
  "ark,scp:$archives/feats.JOB.ark,$archives/feats.JOB.scp" \
  "&&" touch "$archives/feats.JOB.done"
for job in $(seq "$nj"); do cat "$archives/feats.$job.scp"; done >"$out/feats.scp.all"
for job in $(seq "$nj"); do cat "$archives/feats.$job.num_frames"; done >"$out/utt2num_frames.all"
made=$(wc -l <"$out/feats.scp.all")
enough "$made" "$utterances" "training features" "$log/prepare_feats."*.log

awk -v least="$min_frames" '$2 >= least {print $1}' "$out/utt2num_frames.all" >"$out/long_enough"
filter_scp "$out/long_enough" "$out/utt2spk" |
  awk -v least="$min_utts_per_speaker" '{speaker[NR] = $2; line[NR] = $0; n[$2]++}
    END {for (i = 1; i <= NR; i++) if (n[speaker[i]] >= least) print line[i]}' >"$out/kept"
filter_scp "$out/kept" "$out/utt2num_frames.all" >"$out/utt2num_frames"
cp "$out/kept" "$out/utt2spk"
kept=$(wc -l <"$out/kept")
echo "${0##*/}: $utterances utterances, $(wc -l <"$out/long_enough") with $min_frames voiced frames or more, $kept of speakers with $min_utts_per_speaker or more"
if [ "$kept" -eq 0 ]; then
  echo "${0##*/}: error: nothing is left to train on; lower --min-frames or --min-utts-per-speaker" >&2
  exit 1
fi
filter_scp "$out/kept" "$out/feats.scp.all" >"$out/feats.scp.new"
mv "$out/feats.scp.new" "$out/feats.scp"
rm "$out/kept" "$out/long_enough" "$out/utt2num_frames.all" "$out/feats.scp.all"
fix_data_dir.sh "$out"
mark_done "$out/.done.training" "$settings"
