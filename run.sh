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
  9 results     results/EER, results.tsv, det_*.png; embeddings_SYSTEM.png of danse, gan; domain_probe.tsv"
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
fail() { echo "run.sh: error: $*" >&2; exit 1; }
if [ $# -ne 0 ]; then fail "unexpected argument '$1'; options have the form --name VALUE (--help lists them)"; fi
for number in "$stage" "$stop_stage" "$nj" "$seed"; do
  [[ $number =~ ^[0-9]+$ ]] || fail "'$number' is not a number; --stage, --stop-stage, --nj and --seed take one"
done
if [ "$stage" -lt 1 ] || [ "$stage" -gt 9 ] || [ "$stop_stage" -lt "$stage" ]; then
  fail "stages $stage to $stop_stage are not within 1 to 9"$'\n'"$STAGES"
fi
[ -n "${systems// /}" ] || fail "--systems is empty; name one or more YAML files of the settings folder"
absolute() { case $1 in "" | /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
out=$(absolute "${out:-$HERE}")
corpus=$(absolute "${corpus:-$out/corpus}")
noise=$(absolute "$noise") music=$(absolute "$music") babble=$(absolute "$babble") rirs=$(absolute "$rirs")
if [ ! -f "$prepare" ] && [ -f "$HERE/$prepare" ]; then prepare=$HERE/$prepare; fi
[ -f "$prepare" ] || fail "there is no data-preparation script '$prepare'; local/ has some, --prepare chooses"
if [ "$nj" -eq 0 ]; then nj=$(getconf _NPROCESSORS_ONLN); fi
data=$out/data exp=$out/exp results=$out/results steps=$HERE/steps
started=$SECONDS

[[ $device =~ ^(auto|cpu|cuda)$ ]] || fail "--device '$device', want auto, cpu or cuda"
for place in "$noise" "$music" "$babble" "$rirs"; do
  [ -z "$place" ] || [ -e "$place" ] || fail "there is no '$place' (--noise, --music, --babble, --rirs take a folder or an scp)"
done
target_systems=""
if [ "$systems" = default ]; then systems=$DEFAULT_SYSTEMS target_systems=$TARGET_SYSTEMS; fi
for system in $systems; do # a mistyped name is seen before any work
  [ -n "$conf" ] || compgen -G "$HERE/conf/$system.yaml" >/dev/null || compgen -G "$HERE/conf/*/$system.yaml" >/dev/null ||
    fail "there is no system '$system' in conf or a folder of it"
done
for fusion in $fusions; do
  [[ $fusion == *?+?* ]] || fail "--fusions: '$fusion' is one system; join two or more with +"
  [[ $fusion != *:* || $fusion =~ ^[^:+]+:[^:+]+(\+[^:+]+:[^:+]+)+$ ]] ||
    fail "--fusions: '$fusion' names a backend for some of its systems; name one for each, or for none"
  [ "$(tr + '\n' <<<"$fusion" | sed 's/=.*//' | sort | uniq -d | wc -l)" -eq 0 ] || fail "--fusions: '$fusion' has a system twice"
  for part in ${fusion//+/ }; do
    [[ $part =~ ^([^:=]+)(:(cosine|cosine_adapt|plda|plda_adapt|plda_coral|plda_coral_plus))?(=([0-9]+\.?[0-9]*|\.[0-9]+))?$ && ! $part =~ =[0.]*$ ]] ||
      fail "--fusions: '$part' of '$fusion' is not SYSTEM, SYSTEM:BACKEND (cosine, cosine_adapt, plda, plda_adapt, plda_coral, plda_coral_plus), each with =WEIGHT (above 0) or not"
    name=${part%%[:=]*}
    [[ " $systems $target_systems " == *" $name "* || -d $exp/$name ]] ||
      fail "--fusions: '$name' of '$fusion' is not among --systems, nor in $exp"
  done
done

announce() { echo; echo "=== stage $1: $2 ($(date '+%H:%M:%S'), $((SECONDS - started)) s since the start)"; }
runs() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }

# The settings: feature and VAD configurations, augment.conf, and one YAML a system.
declare -A features=() kind_of=() frontend=() backend_options=() backend_data=() trained_on=() parts_of=()
kinds=""       # of features
networks=""    # systems with a network
adversarial="" # those of them that train on unlabelled target speech, too
config_file() { if [ -f "$conf/$1" ]; then echo "$conf/$1"; else echo "$HERE/conf/$1"; fi; }
known_systems() { for file in "$conf"/*.yaml; do basename "$file" .yaml; done | tr '\n' ' '; }
read_settings() {
  local system seen="" before values members member lda_dim iterations within between speed source objective ceps order window
  kinds="" networks="" adversarial=""
  if [ ! -d "$conf" ] && [ -d "$HERE/$conf" ]; then conf=$HERE/$conf; fi
  [ -d "$conf" ] || fail "there is no settings folder '$conf'; --conf takes one like conf"
  for system in $systems; do
    before=$seen seen="$seen $system"
    [ -f "$conf/$system.yaml" ] ||
      fail "there is no system '$system': $conf/$system.yaml is missing; there are $(known_systems)"
    values=$(vouch show-config \
      --get=kind,features=none,systems=none,backend.lda_dim,backend.plda_iterations,backend.within_scale,backend.between_scale,backend.speed_copies,training.source.type=none,objective.type=none,frontend.num_ceps=0,frontend.delta_order=0,frontend.delta_window=0 \
      "$conf/$system.yaml")
    read -r "kind_of[$system]" "features[$system]" members lda_dim iterations within between speed source objective ceps order window <<<"${values//$'\n'/ }"
    backend_options[$system]="--lda-dim $lda_dim --plda-iterations $iterations --within-scale $within --between-scale $between"
    backend_data[$system]=train_backend
    if [ "$speed" = true ]; then backend_data[$system]=train_aug; fi
    frontend[$system]=""
    case ${kind_of[$system]} in
      network)
        networks="$networks $system"
        trained_on[$system]=train_aug_nosil
        if [ "$source" = waveforms ]; then trained_on[$system]=train; fi # augmented while the network trains
        case $objective in danse | gan) adversarial="$adversarial $system" ;; esac
        ;;
      ivector)
        trained_on[$system]=train_$system
        frontend[$system]="--num-ceps $ceps --delta-order $order --delta-window $window"
        ;;
      joint)
        parts_of[$system]=${members//+/ }
        for member in ${parts_of[$system]}; do
          [[ $member != "$system" && (" $before " == *" $member "* || -d $exp/$member) ]] ||
            fail "$conf/$system.yaml joins $member, which is not before it in --systems, nor in $exp"
        done
        continue # it takes the embeddings of others
        ;;
    esac
    case " $kinds " in *" ${features[$system]} "*) ;; *) kinds="$kinds ${features[$system]}" ;; esac
  done
  echo "run.sh: settings from $conf, systems $systems, data in $data"
}
if [ -n "$conf" ]; then read_settings; fi # else the data preparation may choose them

if runs 1; then mkdir -p "$out" || fail "cannot make $out; choose another --out"; fi
if [ -d "$out" ]; then # one run at a time
  exec 8>"$out/.lock"
  flock -n 8 || { echo "run.sh: another run works in $out (or what a killed one left); waiting for it" >&2; flock 8; }
fi

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

# Without a GPU the systems are trained side by side, as many as there are cores, each on its share of them: many small
# operations gain little from a second core, and lose much when it is busy.
train_system() {
  local step=(train.sh)
  if [ "${kind_of[$1]}" = ivector ]; then step=(train_ivector.sh --nj "$ivector_jobs"); fi
  if [[ " $adversarial " == *" $1 "* ]]; then
    case ${trained_on[$1]} in train) step+=(--target "$data/${features[$1]}/adapt") ;; *) step+=(--target "$data/${features[$1]}/adapt_aug_nosil") ;; esac
  fi
  "$steps/${step[0]}" "${step[@]:1}" --cmd "$train_cmd" --num-threads "$2" --device "$device" --force "$force" \
    "$conf/$1.yaml" "$data/${features[$1]}/${trained_on[$1]}" "$exp/$1"
}
if runs 5; then
  announce 5 "training of $systems"
  names=() # of the systems that are trained
  for system in $systems; do
    if [ "${kind_of[$system]}" != joint ]; then names+=("$system"); continue; fi
    mkdir -p "$exp/$system"
    vouch show-config "$conf/$system.yaml" >"$exp/$system/config.yaml.new" && mv "$exp/$system/config.yaml.new" "$exp/$system/config.yaml"
  done
  if [[ ${#names[@]} -le 1 || $train_cmd == *--gpu* ]]; then
    for system in "${names[@]}"; do train_system "$system" "$nj"; done
  else
    together=$((nj < ${#names[@]} ? nj : ${#names[@]}))
    trainings=() failed=""
    trap 'kill "${trainings[@]}" 2>/dev/null || true; wait' EXIT
    for system in "${names[@]}"; do
      while [ "$(jobs -pr | wc -l)" -ge "$together" ]; do wait -n || true; done
      train_system "$system" "$((nj / together))" &
      trainings+=($!)
    done
    for i in "${!names[@]}"; do wait "${trainings[i]}" || failed="$failed ${names[i]}"; done
    trap - EXIT
    [ -z "$failed" ] || fail "the training of$failed failed; its message stands above"
  fi
fi

if runs 6; then
  for system in $systems; do
    announce 6 "embeddings of $system"
    if [ "${kind_of[$system]}" = joint ]; then
      folders=()
      for member in ${parts_of[$system]}; do folders+=("$exp/$member/embeddings"); done
      for part in ${backend_data[$system]} $parts; do
        "$steps/join_embeddings.sh" --force "$force" "${backend_data[$system]}" "$part" "$exp/$system/embeddings/$part" "${folders[@]}"
      done
      continue
    fi
    case ${kind_of[$system]} in network) final=final.pt ;; ivector) final=final.ie ;; esac
    need "$exp/$system/$final" "run.sh --stage 5 --systems $system"
    kind=${features[$system]}
    for part in ${backend_data[$system]} $parts; do
      # shellcheck disable=SC2086 # several words
      "$steps/extract_embeddings.sh" ${frontend[$system]} --cmn-config "$(config_file cmn.conf)" --nj "$nj" --cmd "$extract_cmd" \
        --device "$device" --force "$force" \
        "$exp/$system" "$data/$kind/$part" "$exp/$system/embeddings/$part"
    done
  done
fi

if runs 7; then
  for system in $systems; do need "$exp/$system/config.yaml" "run.sh --stage 5 --systems $system"; done
  for system in $systems; do
    announce 7 "backends of $system"
    adapt=()
    if [ -d "$data/adapt" ]; then adapt=("$exp/$system/embeddings/adapt"); fi
    # shellcheck disable=SC2086 # several words
    "$steps/train_backend.sh" ${backend_options[$system]} \
      "$exp/$system/embeddings/${backend_data[$system]}" "$exp/$system/backend" "${adapt[@]}"
  done
fi

backends="cosine plda"
if [ -d "$data/adapt" ]; then backends="cosine cosine_adapt plda plda_adapt plda_coral plda_coral_plus"; fi
if runs 8; then
  for system in $systems; do
    announce 8 "scores of $system"
    rm -rf "$exp/$system/scores"
    for list in $lists; do
      case $list in source) prefix="" mean=mean.vec ;; target) prefix=adapt_ mean=mean_adapt.vec ;; esac
      "$steps/score.sh" --backends "$backends" "$exp/$system/backend" "$exp/$system/backend/$mean" \
        "$exp/$system/embeddings/${prefix}enroll" "$exp/$system/embeddings/${prefix}test" \
        "$data/${prefix}test" "$exp/$system/scores" "$list"
    done
  done
  rm -rf "$exp"/fusion:*
  for fusion in $fusions; do
    announce 8 "fused scores of $fusion"
    for list in $lists; do
      case $list in source) test="test" ;; target) test="adapt_test" ;; esac
      "$steps/fuse_scores.sh" --backends "$backends" "$fusion" "$exp" "$data/$test" "$list"
    done
  done
fi

evaluate() { # SYSTEM FOLDER: its scores of the list $name
  for scores in "$2/scores/$name"/*.scores; do
    backend=${scores##*/}
    vouch evaluate --print-args=false --system="$1" --backend="${backend%.scores}" --trials-name="$name" \
      "$trials" "$scores" "${scores%.scores}.tsv"
  done
}
if runs 9; then
  announce 9 "results"
  for list in $lists; do
    case $list in source) test="test" ;; target) test="adapt_test" ;; esac
    for trials in "$data/$test"/trials "$data/$test"/trials_*; do
      [ -f "$trials" ] || continue
      name=$list${trials#"$data/$test/trials"}
      for system in $systems; do
        for backend in $backends; do need "$exp/$system/scores/$name/$backend.scores" "run.sh --stage 8 --systems $system"; done
        evaluate "$system" "$exp/$system"
      done
      for folder in "$exp"/fusion:*; do
        if [ -d "$folder" ]; then evaluate "${folder##*/}" "$folder"; fi
      done
    done
  done
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
  echo
  echo "run.sh: results in $results (EER, results.tsv, pictures); $((SECONDS - started)) s"
fi
