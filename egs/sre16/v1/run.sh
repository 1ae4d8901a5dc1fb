#!/usr/bin/env bash
# NIST SRE 2016: from the LDC's corpora to results/EER. English telephone speech is labelled, Cantonese and Tagalog are
# the test, with a little unlabelled speech of both. Read it from top to bottom: each stage says what it does.
set -euo pipefail

stage=0              # first stage to run
stop_stage=9         # last stage to run
corpora=             # corpora.yaml, or the folder that holds the corpora
systems="ivector xvector asp danse gan lsgan relgan auxgan" # names of YAML files in the settings folder
fusions=default      # systems whose scores are fused, as in the top-level run.sh; default: those of its help that are trained
out=                 # where data, exp and results go; empty: the folder of this script
conf=                # settings folder, here or in the recipe; empty: conf
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
  --fusions \"SYSTEM+SYSTEM ...\" (auxgan+lsgan+relgan, where these are among the systems; each may be SYSTEM:BACKEND, SYSTEM=WEIGHT or SYSTEM:BACKEND=WEIGHT)
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
if [ $# -ne 0 ]; then fail "unexpected argument '$1'; options have the form --name VALUE (--help lists them)"; fi
check_options 0 9
[[ $num_copies =~ ^[1-9][0-9]*$ ]] || fail "--num-copies '$num_copies' is not a number, 1 or more"
[[ $top =~ ^[0-9]+$ && $top -ge 2 ]] || fail "--top '$top' is not a number, 2 or more"
for backend in $snorm; do
  [[ $backend =~ ^($known_backends)$ ]] || fail "--snorm: there is no backend '$backend'"
done
if runs 0 || [ "$dry_run" = true ]; then
  [ -n "$corpora" ] || fail "--corpora is needed: a YAML file that names the corpora, or the folder that holds them"
  [ -e "$corpora" ] || fail "--corpora $corpora does not exist"
fi
conf=${conf:-$HERE/conf}
if [ ! -d "$conf" ] && [ -d "$HERE/$conf" ]; then conf=$HERE/$conf; fi
out=$(absolute "${out:-$HERE}") conf=$(absolute "$conf")
data=$out/data exp=$out/exp results=$out/results
read_settings
if [ "$fusions" = default ]; then
  fusions=""
  if [[ " $systems " == *" auxgan "* && " $systems " == *" lsgan "* && " $systems " == *" relgan "* ]]; then fusions=auxgan+lsgan+relgan; fi
fi
check_fusions
if [ "$dry_run" = true ]; then
  exec python3 "$HERE/local/plan.py" --conf "$conf" --systems "$systems" --num-copies "$num_copies" --jobs "$nj" "$corpora"
fi
mkdir -p "$out" || fail "cannot make $out; choose another --out"
lock_folder "$out"

# Names of the parts here, and the directories of stage 0 that they are.
declare -A corpus_of=([adapt]=sre16_major [adapt_enroll]=sre16_eval_enroll [adapt_test]=sre16_eval_test
  [dev_enroll]=sre16_dev_enroll [dev_test]=sre16_dev_test)
read_parts() { # which of them there are, after stage 0
  local part
  for part in adapt adapt_enroll adapt_test dev_enroll dev_test; do
    if [ -d "$data/corpora/${corpus_of[$part]}" ]; then parts+=("$part"); fi
  done
  has_adapt="" lists=()
  if [[ " ${parts[*]} " == *" adapt "* ]]; then has_adapt=adapt; fi
  if [[ " ${parts[*]} " == *" adapt_test "* ]]; then lists+=(sre16); fi
  if [[ " ${parts[*]} " == *" dev_test "* ]]; then lists+=(sre16_dev); fi
}
parts=()

if runs 0; then
  announce 0 "data directories of the corpora of $corpora"
  "$HERE/local/prepare_data.sh" --corpora "$corpora" --seed "$seed" "$data/corpora"
fi
need "$data/corpora/sources.tsv" "run.sh --stage 0"
read_parts
if runs 0; then
  python3 "$HERE/local/plan.py" --sources "$data/corpora/sources.tsv" --conf "$conf" --systems "$systems" --num-copies "$num_copies" \
    --jobs "$nj" --disk "$out"
fi
if [ -z "$has_adapt" ]; then
  [ -z "$adversarial" ] || fail "systems$adversarial want the unlabelled speech of LDC2016E46, which is not among the corpora; leave them out of --systems (and --fusions)"
  snorm=""
fi

mfcc=$data/mfcc
if runs 1; then
  announce 1 "MFCC and voice activity decisions"
  training=()
  for part in sre swbd; do
    if [ -d "$data/corpora/$part" ]; then training+=("$data/corpora/$part"); fi
  done
  for part in train "${parts[@]}"; do
    from=("$data/corpora/${corpus_of[$part]:-}")
    if [ "$part" = train ]; then from=("${training[@]}"); fi
    copied=$mfcc/$part/.done.copy
    if ! is_done "$copied" "" "${from[@]/%//wav.scp}" "${from[@]/%//utt2spk}" >/dev/null; then
      combine_data.sh "$mfcc/$part" "${from[@]}"
      mark_done "$copied" ""
    fi
    "$steps/make_feats.sh" --type mfcc --feature-config "$(config_file mfcc.conf)" --nj "$nj" --cmd "$feature_cmd" \
      --seed "$seed" --allow-pipes "$allow_pipes" --force "$force" "$mfcc/$part"
    "$steps/compute_vad.sh" --vad-config "$(config_file vad.conf)" --nj "$nj" --cmd "$feature_cmd" --force "$force" \
      "$mfcc/$part"
  done
fi

if runs 2; then
  announce 2 "augmentation of the training data"
  given() { awk -F '\t' -v name="$1" '$1 == name {print $2}' "$data/corpora/corpora.tsv"; }
  musan=$(given musan) rirs=$(given rirs)
  added=() # where MUSAN or RIRS_NOISES are not given, noises, music and rooms are generated, and babble is other speakers
  if [ -n "$musan" ]; then
    "$steps/make_musan.sh" "$musan" "$data/augment"
    added+=(--noise "$data/augment/musan_noise.scp" --music "$data/augment/musan_music.scp" --babble "$data/augment/musan_speech.scp")
  fi
  if [ -n "$rirs" ]; then
    "$steps/make_rirs.sh" "$rirs" "$data/augment/rirs.scp"
    added+=(--rirs "$data/augment/rirs.scp")
  fi
  augment() { # PART OPTION...
    "$steps/augment.sh" --config "$(config_file augment.conf)" "${@:2}" --type mfcc "${added[@]}" \
      --feature-config "$(config_file mfcc.conf)" --vad-config "$(config_file vad.conf)" --nj "$nj" --cmd "$feature_cmd" \
      --seed "$seed" --allow-pipes "$allow_pipes" --force "$force" \
      "$mfcc/$1" "$mfcc/$1_aug" "$mfcc/augment_$1"
  }
  augment train --num-copies "$num_copies"
  if [ -n "$adversarial" ]; then augment adapt; fi
fi

training_feats() { # PART OUT OPTION...
  "$steps/prepare_feats_for_training.sh" "${@:3}" --cmn-config "$(config_file cmn.conf)" --nj "$nj" --cmd "$feature_cmd" \
    --force "$force" "$mfcc/$1" "$mfcc/$2"
}
if runs 3; then
  announce 3 "training features"
  if [ -n "$networks" ]; then
    # They want recordings over 5 s; supervised ones speakers with 8 recordings, adversarial ones more than 5.
    training_feats train_aug train_aug_nosil --config "$(config_file training_feats.conf)" --min-utts-per-speaker 6
    made=$mfcc/train_supervised/.done.subset
    least=$(sed -n 's/^--min-utts-per-speaker=//p' "$(config_file training_feats.conf)")
    if ! is_done "$made" "$least" "$mfcc/train_aug_nosil/.done.training"; then
      awk -v least="$least" 'NF > least' "$mfcc/train_aug_nosil/spk2utt" | cut -d' ' -f1 >"$mfcc/speakers_supervised"
      [ -s "$mfcc/speakers_supervised" ] || fail "no speaker has $least recordings to train on; lower --min-utts-per-speaker in $(config_file training_feats.conf)"
      subset_data_dir.sh --spk-list="$mfcc/speakers_supervised" "$mfcc/train_aug_nosil" "$mfcc/train_supervised"
      mark_done "$made" "$least"
    fi
  fi
  if [ -n "$adversarial" ]; then
    training_feats adapt_aug adapt_aug_nosil --config "$(config_file training_feats.conf)" --min-utts-per-speaker 1
  fi
  # Backends learn from the SRE corpora, clean and augmented, not from Switchboard, as in Kaldi's recipe.
  made=$mfcc/train_backend/.done.subset
  if ! is_done "$made" "" "$mfcc/train_aug/.done.augment"; then
    backend_speakers=$data/corpora/sre/spk2utt
    if [ ! -f "$backend_speakers" ]; then backend_speakers=$data/corpora/swbd/spk2utt; fi
    cut -d' ' -f1 "$backend_speakers" >"$mfcc/speakers_backend"
    subset_data_dir.sh --spk-list="$mfcc/speakers_backend" "$mfcc/train_aug" "$mfcc/train_backend"
    mark_done "$made" ""
  fi
  for system in $systems; do # the extractor learns from the clean speech, the UBM from the unlabelled, as in Kaldi's v1
    [ "${kind_of[$system]}" = ivector ] || continue
    for part in train $has_adapt; do
      # shellcheck disable=SC2086 # several words
      training_feats "$part" "${part}_$system" ${frontend[$system]} --min-frames 1 --min-utts-per-speaker 1
    done
  done
fi
for system in $systems; do
  if [[ ${kind_of[$system]} = ivector && -n $has_adapt ]]; then ubm_of[$system]=$mfcc/adapt_$system; fi
done
for system in $networks; do
  if [[ " $adversarial " != *" $system "* && ${trained_on[$system]} = train_aug_nosil ]]; then trained_on[$system]=train_supervised; fi
done

if runs 4; then
  announce 4 "training of $systems"
  # shellcheck disable=SC2086 # several systems
  train_systems $systems
fi
if runs 5; then embed_systems 5 "${parts[@]}"; fi
if runs 6; then train_backends 6 "$has_adapt"; fi

backends="cosine plda"
if [ -n "$has_adapt" ]; then backends="cosine cosine_adapt plda plda_adapt plda_coral plda_coral_plus"; fi
normalised=""
for backend in $snorm; do normalised="$normalised ${backend}_snorm"; done
test_of() { case $1 in sre16) echo adapt ;; sre16_dev) echo dev ;; esac; }
score_system() {
  local list prefix mean=mean.vec
  if [ -n "$has_adapt" ]; then mean=mean_adapt.vec; fi
  announce 7 "scores of $1"
  rm -rf "$exp/$1/scores"
  for list in "${lists[@]}"; do
    prefix=$(test_of "$list")
    "$steps/score.sh" --backends "$backends" --snorm "$snorm" --top "$top" --cohort "$exp/$1/embeddings/adapt" \
      "$exp/$1/backend" "$exp/$1/backend/$mean" "$exp/$1/embeddings/${prefix}_enroll" "$exp/$1/embeddings/${prefix}_test" \
      "$data/corpora/${corpus_of[${prefix}_test]}" "$exp/$1/scores" "$list"
  done
}
if runs 7; then
  # shellcheck disable=SC2086 # several systems
  side_by_side "" score_system $systems
  rm -rf "$exp"/fusion:*
  for fusion in $fusions; do
    announce 7 "fused scores of $fusion"
    for list in "${lists[@]}"; do
      prefix=$(test_of "$list")
      "$steps/fuse_scores.sh" --backends "$backends$normalised" "$fusion" "$exp" "$data/corpora/${corpus_of[${prefix}_test]}" "$list"
    done
  done
fi

calibrate() { # a system or a fusion
  local log=$exp/$1/calibration/log
  mkdir -p "$exp/$1/calibration"
  calibrate_backends "$1" >"$log" 2>&1 || { tail -n 5 "$log" >&2; fail "calibration of $1 failed; the log is $log"; }
  grep WARNING "$log" >&2 || true
}
calibrate_backends() {
  local scores name pairs=()
  for scores in "$exp/$1"/scores/sre16/*.scores; do
    need "$scores" "run.sh --stage 7"
    name=$(basename "$scores" .scores)
    pairs+=("$exp/$1/scores/sre16_dev/$name.scores" "$exp/$1/calibration/$name")
  done
  vouch train-calibration "$data/corpora/sre16_dev_test/trials" "${pairs[@]}" || return
  for scores in "$exp/$1"/scores/sre16/*.scores; do
    vouch calibrate-scores "$exp/$1/calibration/$(basename "$scores" .scores)" "$scores" "${scores%.scores}.llr" || return
  done
}
scored=() # the systems, and the fusions
for system in $systems; do scored+=("$system"); done
for folder in "$exp"/fusion:*; do
  if [ -d "$folder" ]; then scored+=("${folder##*/}"); fi
done
for fusion in $fusions; do
  if [[ ${#lists[@]} -gt 0 && $stop_stage -ge 8 ]]; then [ -d "$exp/$(fusion_name "$fusion")" ] || fail "$fusion has no scores; make them first: run.sh --stage 7"; fi
done
if runs 8 && [ "${#lists[@]}" -gt 0 ]; then
  announce 8 "calibration"
  if [ "${lists[*]}" = "sre16 sre16_dev" ]; then
    side_by_side "" calibrate "${scored[@]}"
  else
    echo "run.sh: calibration wants the evaluation and the development set (of LDC2016E46 or LDC2019S20); here is ${lists[*]}: actual costs are left out"
  fi
fi

evaluate() { # a system or a fusion
  local scores llr measured
  for scores in "$exp/$1/scores/$list"/*.scores; do
    need "$scores" "run.sh --stage 7"
    llr=false measured=$scores
    if [ "${lists[*]}" = "sre16 sre16_dev" ]; then
      need "${scores%.scores}.llr" "run.sh --stage 8"
      llr=true measured=${scores%.scores}.llr
    fi
    vouch evaluate-sre16 --print-args=false --llr="$llr" --system="$1" --backend="$(basename "$scores" .scores)" \
      --trials-name="$list" "$info" "$measured" "${scores%.scores}.tsv"
  done
}
if runs 9; then
  announce 9 "results"
  [ "${#lists[@]}" -gt 0 ] || fail "there is no evaluation (R149_0_1) among the corpora: stages 0 to 6 are done, no trials to score"
  list=${lists[0]}
  info=$data/corpora/${corpus_of[$(test_of "$list")_test]}/trial_info.tsv
  side_by_side "" evaluate "${scored[@]}"
  vouch make-results --print-args=false --reference="$HERE/conf/published.tsv" --blocks="$list" "$results" "$exp"/*/scores/"$list"/*.tsv
  echo
  echo "run.sh: results in $results (EER, results.tsv, pictures); $((SECONDS - started)) s"
fi
