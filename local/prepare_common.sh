# shellcheck shell=bash
# What the data-preparation scripts share; a script sources it after its options are read. It sets the environment
# (path.sh) and $root, the folder of the recipe. Errors of `fail` are one line: what is wrong and what to do.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=path.sh
. "$root/path.sh"

fail() { echo "${0##*/}: error: $*" >&2; exit 1; }

# begin_corpus CORPUS_ROOT OUT FILE...: check that these files of the corpus are there and not empty; set $corpus and
# $out, and $tmp, a folder in OUT that disappears when the script ends.
begin_corpus() {
  corpus=$1 out=$2
  shift 2
  local file
  [ -d "$corpus" ] || fail "there is no corpus folder '$corpus'; give the folder that holds $1 (see --help)"
  for file in "$@"; do
    [ -s "$corpus/$file" ] || fail "$corpus/$file is missing or empty; is this the folder described in --help, and complete?"
  done
  case "$(realpath -m "$out")/" in
    "$(realpath "$corpus")"/*) fail "the output folder '$out' lies inside the corpus; choose another OUT" ;;
  esac
  corpus=$(realpath -s "$corpus")
  begin_out "$out"
  mkdir -p "$out"
  rm -rf "$tmp"
  mkdir "$tmp"
}

# begin_out OUT: set $out, and $tmp, a folder in OUT for its maker to make, which disappears when the script ends.
begin_out() {
  out=$(realpath -ms "$1") tmp=$out/.tmp
  trap 'if [ -d "$tmp" ]; then rm -rf "$tmp"; rmdir "$out" 2>/dev/null || true; fi' EXIT
}

# make_data_dir [options] SOURCE NAME: make the data directory $tmp/NAME; options of make_data_dir.py.
make_data_dir() { python3 "$root/local/make_data_dir.py" "${@:1:$#-1}" "$tmp/${!#}"; }

# make_evaluation DATA ENROLL TEST [options of vouch make-trials]: split $tmp/DATA into $tmp/ENROLL and $tmp/TEST.
make_evaluation() {
  vouch make-trials --print-args=false "${@:4}" "$tmp/$1" "$tmp/$2" "$tmp/$3"
  rm -r "${tmp:?}/$1"
}

# What a preparation may leave in OUT; a script with other names sets its own.
published=(train enroll test adapt adapt_enroll adapt_test run.conf)

# publish NAME...: check the data directories $tmp/NAME, then move all of $published that is in $tmp into OUT, and remove
# there what an earlier preparation of another corpus left. What is there already and the same keeps its time, so that no
# later step is repeated for nothing.
publish() {
  local name file same
  for name in "$@"; do
    bash "$root/utils/validate_data_dir.sh" --print-args=false --no-feats --no-text "$tmp/$name"
  done
  for name in "${published[@]}"; do
    if is_published "$name"; then continue; fi
    for file in "$tmp/$name"/*; do # of the tables those that are the same
      same=$out/$name/${file##*/}
      if [ -f "$file" ] && cmp -s "$file" "$same"; then touch -r "$same" "$file"; fi
    done
    rm -rf "${out:?}/$name"
    if [ -e "$tmp/$name" ]; then mv "$tmp/$name" "$out/$name"; fi
  done
  for name in "$@"; do
    echo "${0##*/}: $out/$name: $(wc -l <"$out/$name/utt2spk") utterances of $(wc -l <"$out/$name/spk2utt") speakers$(count_trials "$out/$name/trials")"
  done
}

# is_published NAME: does OUT/NAME hold the same tables as $tmp/NAME? Files of later steps there (feats.scp) do not count.
is_published() {
  local file
  [ -e "$tmp/$1" ] && [ -e "$out/$1" ] || return 1
  [ -d "$tmp/$1" ] || { cmp -s "$tmp/$1" "$out/$1"; return; }
  for file in wav.scp segments utt2spk spk2utt spk2gender spk2age trials trial_info.tsv $(trial_lists "$tmp/$1" "$out/$1"); do
    if [ -f "$tmp/$1/$file" ] || [ -f "$out/$1/$file" ]; then
      cmp -s "$tmp/$1/$file" "$out/$1/$file" || return 1
    fi
  done
}

# trial_lists DIR...: names of the trial lists (trials_tgl) in these data directories.
trial_lists() { find "$@" -maxdepth 1 -name 'trials_*' -printf '%f\n' | sort -u; }

count_trials() {
  [ ! -f "$1" ] || awk '{n[$3]++} END {printf ", %d target and %d nontarget trials", n["target"], n["nontarget"]}' "$1"
}
