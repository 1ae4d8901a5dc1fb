# shellcheck shell=bash disable=SC2154,SC2034
# What steps that score share: source it where $out is the folder of scores, $name the trial list's and $data the test
# data directory.

# run_logged NAME COMMAND...: its messages go to a log, which is shown when it fails.
run_logged() {
  local log=$out/$name/log/$1.log
  shift
  "$@" >"$log" 2>&1 || { tail -n 5 "$log" >&2; echo "${0##*/}: error: scoring failed; the log is $log" >&2; exit 1; }
}
# parts_of_lists BACKEND: of its scores those of each further list.
parts_of_lists() {
  local list part
  for list in "$data"/trials_*; do
    [ -f "$list" ] || continue
    part=$out/${name}_${list##*/trials_}
    mkdir -p "$part"
    awk 'NR == FNR {asked[$1 " " $2]; next} ($1 " " $2) in asked' "$list" "$out/$name/$1.scores" >"$part/$1.scores.new"
    mv "$part/$1.scores.new" "$part/$1.scores"
  done
}
# vectors of an scp as they are scored by cosine: centred on $origin, of length 1
centred() { printf 'ark:vouch ivector-subtract-global-mean %q %q ark:- |' "$origin" "scp:$1"; }
unit="vouch ivector-normalize-length --scaleup=false ark:- ark:- |"
