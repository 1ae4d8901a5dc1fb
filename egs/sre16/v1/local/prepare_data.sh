#!/usr/bin/env bash
# The corpora of SRE16, or those of them that are there, to data directories.
set -euo pipefail

corpora=   # YAML file or folder
seed=0     # of the choice of Mixer 6's microphones
help_message="usage: ${0##*/} --corpora PATH [options] OUT
   e.g. ${0##*/} --corpora corpora.yaml data

PATH is a YAML file of lines
  LDC2011S08: /corpora/LDC2011S08      (absolute, or relative to the YAML file)
or a folder: with a file corpora.yaml, or with folders whose names begin with the LDC's numbers. The names:
  LDC2006S44                            SRE04 (SRE04 to SRE06 need speaker_list)
  LDC2011S01, LDC2011S04                SRE05 train, test
  LDC2011S09, LDC2011S10, LDC2012S01    SRE06 train, test 1, test 2
  LDC2011S08, LDC2011S05                SRE08 test (which has the keys), train
  LDC2017S06                            SRE10
  LDC2013S03                            Mixer 6
  LDC98S75, LDC99S79, LDC2002S06        Switchboard-2 phases 1 to 3
  LDC2001S13, LDC2004S07                Switchboard Cellular 1 and 2
  R149_0_1 (or LDC2019S20)              SRE16, the evaluation
  LDC2016E46                            SRE16, the unlabelled speech
  speaker_list                          the file of this name of OpenSLR 15
  musan, rirs                           noises and rooms (OpenSLR 17, 28), for later stages
What is not there is listed with what the recipe loses; one corpus with speakers is needed. Nothing is written into the
corpora. Audio is never copied: two-channel calls, stretches and other rates are lines of wav.scp through vouch wav-cut;
compressed sphere files need the LDC's sph2pipe on PATH.

Writes, sorted and checked,
  OUT/sre, OUT/swbd                     labelled speech, with spk2gender; each where there is any
  OUT/sre16_major, OUT/sre16_minor      unlabelled
  OUT/sre16_eval_enroll, OUT/sre16_eval_test   with trials, trials_tgl, trials_yue, trial_info.tsv
  OUT/sre16_dev_enroll, OUT/sre16_dev_test     the development set, where a release has it, with trials_ceb, trials_cmn
  OUT/sources.tsv                       utterances, speakers, seconds and warnings of each corpus
  OUT/corpora.tsv                       name and absolute path of each corpus that is given
  OUT/log/warnings.txt                  every warning; the screen has the first of each kind
What is there already and the same keeps its time. Names of utterances and speakers are Kaldi's (egs/sre16/v1).

options (default):
  --corpora PATH   see above
  --seed N         which 2,000 utterances of Mixer 6's microphones 04 to 13 are taken ($seed)"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../../../utils/parse_options.sh
. "$here/../../../../utils/parse_options.sh"
if [ $# -ne 1 ] || [ -z "$corpora" ]; then echo "$help_message" >&2; exit 1; fi
echo "${0##*/} --corpora $corpora --seed $seed $*"
# shellcheck source=../../../../local/prepare_common.sh
. "$here/../../../../local/prepare_common.sh"

begin_out "$1"
python3 "$here/prepare_data.py" --seed "$seed" "$corpora" "$out"
published=(sre swbd sre16_major sre16_minor sre16_eval_enroll sre16_eval_test sre16_dev_enroll sre16_dev_test
  sources.tsv corpora.tsv)
names=()
for name in "${published[@]}"; do
  if [ -d "$tmp/$name" ]; then names+=("$name"); fi
done
publish "${names[@]}"
