#!/usr/bin/env bash
# Lists of the MUSAN corpus (OpenSLR 17) for augmentation, as Kaldi's steps/data/make_musan.sh. Any sample rate will do:
# what is added to speech is resampled where it is read.
set -euo pipefail

use_vocals=true # false: leave out music that has singing (by the folders' ANNOTATIONS)
help_message="usage: ${0##*/} [options] MUSAN_ROOT OUT_DIR
Writes OUT_DIR/musan_{noise,music,speech}.scp (lines KEY FILE), for steps/augment.sh --noise, --music and --babble.
Options (default):
  --use-vocals true|false ($use_vocals)"

echo "${0##*/} $*"
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
. "$VOUCH_ROOT/utils/parse_options.sh"
if [ $# -ne 2 ]; then echo "$help_message" >&2; exit 1; fi
fail() { echo "${0##*/}: error: $*" >&2; exit 1; }
musan=$1 out=$2
[ -d "$musan" ] || fail "there is no folder '$musan'; give the root of MUSAN, which has music, noise and speech"
musan=$(realpath -s "$musan")
mkdir -p "$out"
sung=$out/.musan_sung
trap 'rm -f "$sung" "$out"/.musan_*.new' EXIT
: >"$sung"
if [ "$use_vocals" = false ]; then # fields: recording, genres, vocals (Y or N), artist
  find -L "$musan/music" -name ANNOTATIONS -exec cat {} + | tr -d '\r' | awk '$3 == "Y" {print $1}' >"$sung"
  [ -s "$sung" ] || fail "$musan/music has no ANNOTATIONS that name music with vocals; leave out --use-vocals false"
fi
for kind in noise music speech; do
  [ -d "$musan/$kind" ] || fail "$musan/$kind is missing; is MUSAN unpacked there?"
  find -L "$musan/$kind" -iname '*.wav' | sort |
    awk 'FILENAME == ARGV[1] {sung[$1]; next} {key = $0; sub(/.*\//, "", key); sub(/\.[^.]*$/, "", key)}
      !(key in sung) {print key " " $0}' "$sung" - | sort >"$out/.musan_$kind.new"
  [ -s "$out/.musan_$kind.new" ] || fail "$musan/$kind has no wav files"
  twice=$(cut -d' ' -f1 "$out/.musan_$kind.new" | uniq -d | head -n 1)
  [ -z "$twice" ] || fail "$musan/$kind has two recordings named $twice; remove one"
  cmp -s "$out/.musan_$kind.new" "$out/musan_$kind.scp" || mv "$out/.musan_$kind.new" "$out/musan_$kind.scp"
  echo "${0##*/}: $(wc -l <"$out/musan_$kind.scp") recordings in $out/musan_$kind.scp"
done
