# shellcheck shell=bash
# What every step asks before it works: are its inputs there, and was it finished already? Source it.

# need FILE WHO: stop unless FILE exists and is not empty; WHO makes it.
need() {
  if [ ! -s "$1" ]; then
    echo "${0##*/}: error: $1 is missing or empty; make it first: $2" >&2
    exit 1
  fi
}

# is_done MARK OPTIONS INPUT...: was the step finished with these options, and has no input changed since?
is_done() {
  local mark=$1 options=$2 input
  shift 2
  [ "${force:-false}" != true ] && [ -f "$mark" ] && [ "$(cat "$mark")" = "$options" ] || return 1
  for input in "$@"; do
    if [ "$input" -nt "$mark" ]; then return 1; fi
  done
  echo "${0##*/}: $(dirname "$mark") is done already (--force true repeats it)"
}

# mark_done MARK OPTIONS
mark_done() { printf '%s\n' "$2" >"$1.new" && mv "$1.new" "$1"; }

# begin_jobs FOLDER OPTIONS FILES INPUT...: jobs of an earlier, cut-off call of the same step count as done when they
# had the same options and newer inputs; else their FILES (a glob in FOLDER) are removed.
begin_jobs() {
  local folder=$1 options=$2 files=$3
  shift 3
  begun=$folder/.begun.${0##*/}
  find "$folder" -maxdepth 1 -name "*.tmp.*" -delete # what killed jobs left
  if ! is_done "$begun" "$options" "$@" >/dev/null; then
    find "$folder" -maxdepth 1 -name "$files" -delete
    mark_done "$begun" "$options"
  fi
}

# enough MADE ALL WHAT LOG...: how many utterances of ALL have no WHAT, and the first reasons of the logs. Stop under
# 95 %, in such a way that the next call does all jobs again: their input may have been mended.
enough() {
  local made=$1 all=$2 what=$3
  shift 3
  if [ "$made" -ge "$all" ]; then return; fi
  grep -h WARNING "$@" | head -n 3 >&2 || true
  echo "${0##*/}: warning: $((all - made)) of $all utterances have no $what; all reasons: grep WARNING $(dirname "$1")/*" >&2
  if [ $((made * 100)) -lt $((all * 95)) ]; then
    if [ -n "${begun:-}" ]; then rm -f "$begun"; fi
    echo "${0##*/}: error: only $made of $all utterances succeeded, want 95 %; mend or remove the others, see the warnings" >&2
    exit 1
  fi
}
