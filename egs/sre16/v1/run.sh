#!/usr/bin/env bash
# NIST SRE 2016: from the LDC's corpora to results/EER. English telephone speech is labelled, Cantonese and Tagalog are
# the test, with a little unlabelled speech of both. Read it from top to bottom: each stage says what it does.
set -euo pipefail

stage=0              # first stage to run
stop_stage=9         # last stage to run
corpora=             # corpora.yaml, or the folder that holds the corpora
systems="ivector xvector asp danse gan lsgan relgan auxgan" # names of YAML files in the settings folder
fusions="auxgan+lsgan+relgan" # systems whose scores are fused, as in the top-level run.sh
out=                 # where data, exp and results go; empty: the folder of this script
conf=                # settings folder; empty: conf
nj=0                 # parallel jobs; 0: one for each core
num_copies=128000    # augmented copies of the training recordings
snorm=plda_adapt     # backends that are normalised by the unlabelled cohort, too; empty: none
top=300              # cohort scores of that
device=auto          # of training and embeddings: auto, cpu or cuda
seed=0               # of dither and augmentation (that of a training is in its YAML)
allow_pipes=true     # false refuses shell commands in wav.scp (sph2pipe)
force=false          # true: redo finished steps
dry_run=false        # true: print what each stage would read, write and cost, and stop
STAGES="Stages:
  0 data        data directories from the corpora; train, adapt (unlabelled), enrollment and test
  1 features    MFCC and voice activity decisions
  2 augment     reverberated and noisy copies (MUSAN, RIRS_NOISES)
  3 training    features for training: normalised, voiced, two bytes a value
  4 train       each system
  5 embeddings  of training, unlabelled, enrollment and test recordings
  6 backends    centring on the unlabelled speech, LDA, PLDA, PLDA adapted in three ways
  7 scores      of every trial by every backend; adaptive s-norm; fusion
  8 calibrate   log likelihood ratios, learnt on the development trials
  9 results     results/EER, results.tsv, det_*.png: EER and C_primary, pooled, Tagalog, Cantonese"
help_message="usage: bash run.sh --corpora PATH [options]
PATH is a YAML file of the corpora (see README.md), or the folder that holds them.
$STAGES
Options (default):
  --stage N ($stage)  --stop-stage N ($stop_stage)  --dry-run true|false ($dry_run: true prints the plan and its cost)
  --systems \"NAME ...\" ($systems)
  --fusions \"SYSTEM+SYSTEM ...\" ($fusions; each may be SYSTEM:BACKEND, SYSTEM=WEIGHT or SYSTEM:BACKEND=WEIGHT)
  --out DIR (this folder)  --conf DIR (conf)  --nj N jobs of a step (0: one for each core); cmd.sh has more
  --num-copies N ($num_copies)  --snorm \"BACKEND ...\" ($snorm)  --top N ($top)
  --device auto|cpu|cuda ($device)  --seed N ($seed; another one wants another --out)
  --allow-pipes true|false ($allow_pipes)  --force true|false ($force)
A killed run goes on with the same command: finished steps are skipped. Stages 6 to 9 are always done anew."

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then echo "$help_message"; exit 0; fi
. "$HERE/path.sh"
. "$HERE/cmd.sh"
. "$HERE/utils/parse_options.sh"
. "$HERE/utils/done.sh"
started=$SECONDS
. "$HERE/utils/recipe.sh"
