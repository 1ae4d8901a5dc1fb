#!/usr/bin/env bash
# The recipe, from audio to results/EER. `bash run.sh` runs it on an embedded corpus; --prepare and --corpus bring
# another one. Read it from top to bottom: each stage says what it does.
set -euo pipefail

stage=1                          # first stage to run
stop_stage=9                     # last stage to run
systems=default                  # names of YAML files in the settings folder (--conf); default: below
fusions=                         # systems whose scores are fused: "asp+ivector asp:plda=0.7+ivector:plda=0.3"
prepare=local/prepare_mini.sh    # data-preparation script
prepare_options=                 # further options of that script, in one word: "--scale 0.1"
corpus=                          # its corpus; empty: OUT/corpus (the embedded one is generated there)
out=                             # where data, exp and results go; empty: the folder of this script
conf=                            # settings folder; empty: what the data preparation chose, else conf
nj=0                             # parallel jobs; 0: one for each core
noise=                           # folder (or scp) of noises for augmentation; empty: generated ones
music=                           # folder of music; empty: generated
babble=                          # folder of speech for babble; empty: other training speakers
rirs=                            # folder of room impulse responses; empty: generated rooms
device=auto                      # of training and embeddings: auto, cpu or cuda
seed=0                           # of dither and augmentation (that of a training is in its YAML)
allow_pipes=true                 # false refuses shell commands in wav.scp
force=false                      # true: redo finished steps
DEFAULT_SYSTEMS="ivector xvector asp"
TARGET_SYSTEMS="source danse lsgan" # and these, where there is unlabelled speech of a target domain
STAGES="Stages:
  1 data        data directories by the preparation script
  2 features    MFCC or filter banks, and voice activity decisions
  3 augment     speed copies as new speakers, reverberated and noisy copies (of target speech for danse, gan, too)
  4 training    features for training: normalised, voiced, two bytes a value
  5 train       each system
  6 embeddings  of training, enrollment and test utterances
  7 backends    mean, LDA, PLDA, PLDA adapted to unlabelled target data in three ways
  8 scores      of every trial by every backend
  9 results     results/EER, results.tsv, det_*.png; embeddings_SYSTEM.png of danse, gan; domain_probe.tsv; of seef_aldr
                probe_SYSTEM.tsv, embeddings_SYSTEM.png, reconstruction_SYSTEM.png"
help_message="usage: bash run.sh [options]
$STAGES
Options (default):
  --stage N ($stage)  --stop-stage N ($stop_stage)  --systems \"NAME ...\" ($DEFAULT_SYSTEMS; with unlabelled target speech $TARGET_SYSTEMS, too)
  --fusions \"SYSTEM+SYSTEM ...\" (none; each may be SYSTEM:BACKEND, SYSTEM=WEIGHT or SYSTEM:BACKEND=WEIGHT)
  --prepare SCRIPT ($prepare)  --prepare-options \"OPTION ...\" (none)
  --corpus DIR (OUT/corpus)  --out DIR (this folder)
  --conf DIR (chosen by the preparation, else conf)  --nj N jobs of a step (0: one for each core); cmd.sh has more
  --noise DIR  --music DIR  --babble DIR  --rirs DIR (generated)
  --device auto|cpu|cuda ($device)  --seed N ($seed; another one wants another --out)  --allow-pipes true|false ($allow_pipes)  --force true|false ($force)
A killed run goes on with the same command: finished steps are skipped. Stages 7 to 9 are always done anew."

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then echo "$help_message"; exit 0; fi
. "$HERE/path.sh"
. "$HERE/cmd.sh"
. "$HERE/utils/parse_options.sh"
. "$HERE/utils/done.sh"
started=$SECONDS
. "$HERE/utils/recipe.sh"
if [ $# -ne 0 ]; then fail "unexpected argument '$1'; options have the form --name VALUE (--help lists them)"; fi
check_options 1 9
out=$(absolute "${out:-$HERE}")
corpus=$(absolute "${corpus:-$out/corpus}")
noise=$(absolute "$noise") music=$(absolute "$music") babble=$(absolute "$babble") rirs=$(absolute "$rirs")
if [ ! -f "$prepare" ] && [ -f "$HERE/$prepare" ]; then prepare=$HERE/$prepare; fi
[ -f "$prepare" ] || fail "there is no data-preparation script '$prepare'; local/ has some, --prepare chooses"
data=$out/data exp=$out/exp results=$out/results
for place in "$noise" "$music" "$babble" "$rirs"; do
  [ -z "$place" ] || [ -e "$place" ] || fail "there is no '$place' (--noise, --music, --babble, --rirs take a folder or an scp)"
done
target_systems=""
if [ "$systems" = default ]; then systems=$DEFAULT_SYSTEMS target_systems=$TARGET_SYSTEMS; fi
for system in $systems; do # a mistyped name is seen before any work
  [ -n "$conf" ] || compgen -G "$HERE/conf/$system.yaml" >/dev/null || compgen -G "$HERE/conf/*/$system.yaml" >/dev/null ||
    fail "there is no system '$system' in conf or a folder of it"
done
check_fusions "$target_systems"

if [ -n "$conf" ]; then read_settings; fi # else the data preparation may choose them

if runs 1; then mkdir -p "$out" || fail "cannot make $out; choose another --out"; fi
if [ -d "$out" ]; then lock_folder "$out"; fi

if runs 1; then
  announce 1 "data directories by ${prepare##*/}"
  # shellcheck disable=SC2086 # several options
  bash "$prepare" $prepare_options "$corpus" "$data"
fi
for part in train enroll test; do need "$data/$part/utt2spk" "run.sh --stage 1"; done
parts="enroll test" lists="source"
if [ -d "$data/adapt" ]; then
  parts="enroll test adapt adapt_enroll adapt_test" lists="source target"
fi
add_target_systems() { # to the default ones, where there is a target domain, those that the settings folder has
  local system
  for system in $target_systems; do
    if [ "$lists" != source ] && [ -f "$conf/$system.yaml" ]; then systems="$systems $system"; fi
  done
}
if [ -n "$conf" ]; then
  if [ -n "$target_systems" ]; then add_target_systems && read_settings; fi
else
  if [ -f "$data/run.conf" ]; then
    if grep -v '^--conf=' "$data/run.conf" | grep -q '[^ ]'; then fail "$data/run.conf: only a line --conf=DIR may be there"; fi
    conf=$(sed -n 's/^--conf=//p' "$data/run.conf")
  fi
  conf=${conf:-conf}
  if [ ! -d "$conf" ] && [ -d "$HERE/$conf" ]; then conf=$HERE/$conf; fi
  add_target_systems
  read_settings
fi

if [ -n "$adversarial" ] && [ ! -d "$data/adapt" ]; then
  fail "systems$adversarial want unlabelled speech of the target domain, $data/adapt, which ${prepare##*/} does not make"
fi
pools=train # data directories that are augmented
for system in $adversarial; do pools="train adapt"; done

if runs 2; then
  for kind in $kinds; do
    announce 2 "$kind and voice activity decisions"
    for part in train $parts; do
      copied=$data/$kind/$part/.done.copy
      if ! is_done "$copied" "" "$data/$part"/{wav.scp,segments,utt2spk,trials} >/dev/null; then
        copy_data_dir.sh "$data/$part" "$data/$kind/$part"
        mark_done "$copied" ""
      fi
      "$steps/make_feats.sh" --type "$kind" --feature-config "$(config_file "$kind.conf")" --nj "$nj" \
        --cmd "$feature_cmd" --seed "$seed" --allow-pipes "$allow_pipes" --force "$force" "$data/$kind/$part"
      "$steps/compute_vad.sh" --vad-config "$(config_file vad.conf)" --nj "$nj" --cmd "$feature_cmd" \
        --force "$force" "$data/$kind/$part"
    done
  done
fi

if runs 3; then
  for kind in $kinds; do
    announce 3 "augmentation of the training data, $kind"
    for pool in $pools; do
      work=$data/$kind/augment
      if [ "$pool" != train ]; then work=${work}_$pool; fi
      "$steps/augment.sh" --config "$(config_file augment.conf)" --type "$kind" \
        --feature-config "$(config_file "$kind.conf")" --vad-config "$(config_file vad.conf)" \
        --noise "$noise" --music "$music" --babble "$babble" --rirs "$rirs" --nj "$nj" --cmd "$feature_cmd" \
        --seed "$seed" --allow-pipes "$allow_pipes" --force "$force" \
        "$data/$kind/$pool" "$data/$kind/${pool}_aug" "$work"
    done
  done
fi

if runs 4; then
  for kind in $kinds; do
    announce 4 "training features, $kind"
    for system in $networks; do
      [ "${features[$system]}" = "$kind" ] || continue
      "$steps/prepare_feats_for_training.sh" --config "$(config_file training_feats.conf)" \
        --cmn-config "$(config_file cmn.conf)" --nj "$nj" \
        --cmd "$feature_cmd" --force "$force" "$data/$kind/train_aug" "$data/$kind/train_aug_nosil"
      break # networks of one kind of features share them
    done
    for system in $adversarial; do # the target domain's have no speakers to count
      [ "${features[$system]}" = "$kind" ] || continue
      "$steps/prepare_feats_for_training.sh" --config "$(config_file training_feats.conf)" --min-utts-per-speaker 1 \
        --cmn-config "$(config_file cmn.conf)" --nj "$nj" \
        --cmd "$feature_cmd" --force "$force" "$data/$kind/adapt_aug" "$data/$kind/adapt_aug_nosil"
      break
    done
    # Backends learn from the training speakers, clean and augmented; without the speed copies where their YAML says so.
    need "$data/$kind/train_aug/without_speed_copies" "run.sh --stage 3"
    made=$data/$kind/train_backend/.done.subset
    if ! is_done "$made" "" "$data/$kind/train_aug/.done.augment"; then
      subset_data_dir.sh --utt-list="$data/$kind/train_aug/without_speed_copies" "$data/$kind/train_aug" "$data/$kind/train_backend"
      mark_done "$made" ""
    fi
  done
  # UBM and extractor learn from the clean speech, as in Kaldi's egs/sre16/v1; speakers do not matter to them.
  for system in $systems; do
    [ "${kind_of[$system]}" = ivector ] || continue
    kind=${features[$system]}
    # shellcheck disable=SC2086 # several words
    "$steps/prepare_feats_for_training.sh" ${frontend[$system]} --min-frames 1 --min-utts-per-speaker 1 \
      --cmn-config "$(config_file cmn.conf)" --nj "$nj" \
      --cmd "$feature_cmd" --force "$force" "$data/$kind/train" "$data/$kind/${trained_on[$system]}"
  done
fi

if runs 5; then
  announce 5 "training of $systems"
  # shellcheck disable=SC2086 # several systems
  train_systems $systems
fi

# shellcheck disable=SC2086 # several parts
if runs 6; then embed_systems 6 $parts; fi
if runs 7; then
  if [ "$lists" = source ]; then train_backends 7; else train_backends 7 adapt; fi
fi

backends="cosine plda"
if [ -d "$data/adapt" ]; then backends="cosine cosine_adapt plda plda_adapt plda_coral plda_coral_plus"; fi
score_system() {
  local list prefix mean
  announce 8 "scores of $1"
  rm -rf "$exp/$1/scores"
  for list in $lists; do
    case $list in source) prefix="" mean=mean.vec ;; target) prefix=adapt_ mean=mean_adapt.vec ;; esac
    "$steps/score.sh" --backends "$backends" "$exp/$1/backend" "$exp/$1/backend/$mean" \
      "$exp/$1/embeddings/${prefix}enroll" "$exp/$1/embeddings/${prefix}test" \
      "$data/${prefix}test" "$exp/$1/scores" "$list"
  done
}
if runs 8; then
  # shellcheck disable=SC2086 # several systems
  side_by_side "" score_system $systems
  rm -rf "$exp"/fusion:*
  for fusion in $fusions; do
    announce 8 "fused scores of $fusion"
    for list in $lists; do
      case $list in source) test="test" ;; target) test="adapt_test" ;; esac
      "$steps/fuse_scores.sh" --backends "$backends" "$fusion" "$exp" "$data/$test" "$list"
    done
  done
fi

evaluate() { # a system, or a fusion: its scores of every list
  local list test trials name backend scores
  for list in $lists; do
    case $list in source) test="test" ;; target) test="adapt_test" ;; esac
    for trials in "$data/$test"/trials "$data/$test"/trials_*; do
      [ -f "$trials" ] || continue
      name=$list${trials#"$data/$test/trials"}
      for backend in $([[ $1 == fusion:* ]] || echo "$backends"); do
        need "$exp/$1/scores/$name/$backend.scores" "run.sh --stage 8 --systems $1"
      done
      for scores in "$exp/$1/scores/$name"/*.scores; do
        vouch evaluate --print-args=false --system="$1" --backend="$(basename "$scores" .scores)" --trials-name="$name" \
          "$trials" "$scores" "${scores%.scores}.tsv"
      done
    done
  done
}
if runs 9; then
  announce 9 "results"
  evaluated=()
  for folder in "$exp"/fusion:*; do
    if [ -d "$folder" ]; then evaluated+=("${folder##*/}"); fi
  done
  # shellcheck disable=SC2086 # several systems
  side_by_side "" evaluate $systems "${evaluated[@]}"
  # The table has every system that was evaluated here, not only those of this call.
  vouch make-results --print-args=false "$results" "$exp"/*/scores/*/*.tsv
  for system in $adversarial; do # before: the same network trained on the source alone, where there is one
    maps=()
    for shown in $(printf '%s\n' source "$system" | uniq); do
      folder=$exp/$shown/embeddings
      [ -f "$folder/adapt_test/embedding.scp" ] || continue
      maps+=("$shown" "$folder/test" "$folder/adapt_test")
    done
    if [ ${#maps[@]} -gt 0 ]; then vouch plot-embeddings --print-args=false "${maps[@]}" "$results/embeddings_$system.png"; fi
  done
  if [ -d "$data/adapt_test" ] && [ -d "$data/test" ]; then
    probes=()
    for folder in "$exp"/*/embeddings; do
      [ -f "$folder/adapt_test/embedding.scp" ] || continue
      name=${folder%/embeddings}
      probes+=("${name##*/}" "$folder/test" "$folder/adapt_test")
    done
    if [ ${#probes[@]} -gt 0 ]; then vouch probe-domain --print-args=false "${probes[@]}" "$results/domain_probe.tsv"; fi
  fi
  if [ -d "$data/adapt_test" ]; then show_disentanglement test adapt_test; else show_disentanglement test; fi
  echo
  echo "run.sh: results in $results (EER, results.tsv, pictures); $((SECONDS - started)) s"
fi
