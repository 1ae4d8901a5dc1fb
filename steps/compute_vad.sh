#!/usr/bin/env bash
# Energy voice activity decisions of a data directory with features whose first column is the log energy.
# As Kaldi's sid/compute_vad_decision.sh.
set -euo pipefail

nj=2            # parallel jobs
cmd=run.py      # where they run (cmd.sh)
vad_config=     # options of compute-vad; empty: conf/vad.conf
force=false     # true: make them again
help_message="usage: ${0##*/} [options] DATA_DIR
Writes DATA_DIR/vad.scp. Options (default):
  --vad-config FILE (conf/vad.conf)  --nj N ($nj)  --cmd RUNNER ($cmd)  --force true|false ($force)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
. "$VOUCH_ROOT/utils/done.sh"
if [ $# -ne 1 ]; then echo "$help_message" >&2; exit 1; fi
data=$1 log=$1/log archives=$1/data
vad_config=${vad_config:-$VOUCH_ROOT/conf/vad.conf}

need "$data/feats.scp" "steps/make_mfcc.sh $data"
need "$vad_config" "copy conf/vad.conf"
settings=$(cat "$vad_config")
if is_done "$data/.done.vad" "$settings" "$data/feats.scp"; then exit 0; fi
utterances=$(wc -l <"$data/feats.scp")
if [ "$nj" -gt "$utterances" ]; then nj=$utterances; fi
split_data.sh --per-utt "$data" "$nj"
split=$data/split${nj}utt
mkdir -p "$log" "$archives"
rm -f "$data/vad.scp" "$data/.done.vad"
$cmd JOB=1:"$nj" "$log/vad.JOB.log" \
  vouch compute-vad --config="$vad_config" "scp:$split/JOB/feats.scp" \
  "ark,scp:$archives/vad.JOB.ark,$archives/vad.JOB.scp"
for job in $(seq "$nj"); do cat "$archives/vad.$job.scp"; done >"$data/vad.scp.new"
made=$(wc -l <"$data/vad.scp.new")
enough "$made" "$utterances" decisions "$log/vad."*.log
mv "$data/vad.scp.new" "$data/vad.scp"
mark_done "$data/.done.vad" "$settings"
echo "${0##*/}: $made utterances in $data/vad.scp"
