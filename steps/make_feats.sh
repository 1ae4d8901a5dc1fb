#!/usr/bin/env bash
# Features of a data directory into archives: feats.scp, utt2num_frames, utt2dur. As Kaldi's steps/make_mfcc.sh, for
# any kind of feature; steps/make_mfcc.sh and steps/make_fbank.sh call it.
set -euo pipefail

type=mfcc           # mfcc or fbank
nj=2                # parallel jobs
cmd=run.py          # where they run (cmd.sh)
feature_config=     # options of the feature tool; empty: conf/TYPE.conf
compress=true       # store one byte a value, as Kaldi does; false: float32
device=cpu          # cpu or cuda
seed=0              # of the dither
allow_pipes=true    # false refuses shell commands in wav.scp
force=false         # true: make them again
help_message="usage: ${0##*/} [options] DATA_DIR [LOG_DIR [ARCHIVE_DIR]]
Writes DATA_DIR/{feats.scp,utt2num_frames,utt2dur}; utterances without features leave the directory (fix_data_dir.sh
keeps what was there in DATA_DIR/.backup). Defaults: DATA_DIR/log and DATA_DIR/data. Options (default):
  --type mfcc|fbank ($type)  --feature-config FILE (conf/TYPE.conf)  --nj N ($nj)  --cmd RUNNER ($cmd)
  --compress true|false ($compress)  --device cpu|cuda ($device)  --seed N ($seed)
  --allow-pipes true|false ($allow_pipes)  --force true|false ($force)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
if [ $# -lt 1 ] || [ $# -gt 3 ]; then echo "$help_message" >&2; exit 1; fi
data=$1 log=${2:-$1/log} archives=${3:-$1/data}
feature_config=${feature_config:-$VOUCH_ROOT/conf/$type.conf}
case $type in mfcc | fbank) ;; *) echo "${0##*/}: error: --type takes mfcc or fbank, not '$type'" >&2; exit 1 ;; esac
case $compress in true) method=1 ;; *) method=0 ;; esac

need "$data/wav.scp" "a data-preparation script, local/prepare_*.sh"
need "$feature_config" "copy conf/$type.conf"
settings="$type method=$method seed=$seed $(cat "$feature_config")"
if is_done "$data/.done.feats" "$settings" "$data/wav.scp" "$data/segments"; then exit 0; fi
validate_data_dir.sh --no-text --no-feats "$data"

source=wav.scp
if [ -f "$data/segments" ]; then source=segments; fi
utterances=$(wc -l <"$data/$source")
if [ "$nj" -gt "$utterances" ]; then nj=$utterances; fi
split_data.sh --per-utt "$data" "$nj"
split=$data/split${nj}utt
mkdir -p "$log" "$archives"
rm -f "$data/feats.scp" "$data/.done.feats"
begin_jobs "$archives" "$settings nj=$nj" "$type.*" "$data/wav.scp" "$data/segments"
segments=()
if [ "$source" = segments ]; then segments=("--segments=$split/JOB/segments"); fi
$cmd JOB=1:"$nj" "$log/make_$type.JOB.log" \
  test -f "$archives/$type.JOB.done" "||" \
  vouch "compute-$type-feats" --config="$feature_config" --device="$device" --seed="$seed" \
  --allow-pipes="$allow_pipes" --compression-method="$method" "${segments[@]}" \
  --write-utt2dur="ark,t:$archives/$type.JOB.utt2dur" --write-num-frames="ark,t:$archives/$type.JOB.utt2num_frames" \
  "scp:$split/JOB/wav.scp" "ark,scp:$archives/$type.JOB.ark,$archives/$type.JOB.scp" \
  "&&" touch "$archives/$type.JOB.done"

for job in $(seq "$nj"); do cat "$archives/$type.$job.scp"; done >"$data/feats.scp.new"
made=$(wc -l <"$data/feats.scp.new")
enough "$made" "$utterances" features "$log/make_$type."*.log
for file in utt2dur utt2num_frames; do
  for job in $(seq "$nj"); do cat "$archives/$type.$job.$file"; done >"$data/$file.new"
  mv "$data/$file.new" "$data/$file"
done
mv "$data/feats.scp.new" "$data/feats.scp"
if [ "$made" -lt "$utterances" ]; then fix_data_dir.sh "$data"; fi
mark_done "$data/.done.feats" "$settings"
echo "${0##*/}: $made utterances in $data/feats.scp"
