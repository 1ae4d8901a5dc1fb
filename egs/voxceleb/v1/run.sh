#!/usr/bin/env bash
# VoxCeleb: from VoxCeleb1 and VoxCeleb2 to results/EER on the original, extended and hard trial lists. Read it from top to
# bottom: each stage says what it does.
set -euo pipefail

stage=0              # first stage to run
stop_stage=9         # last stage to run
voxceleb1=           # VoxCeleb1, in any of its layouts
voxceleb2=           # VoxCeleb2
lists=               # trial lists; empty: all published ones that are found beside VoxCeleb1
decode_to=           # folder for VoxCeleb2's m4a as wav; empty: read through ffmpeg every time
musan=               # MUSAN; empty: noises and music are generated, and babble is other speakers
rirs=                # RIRS_NOISES; empty: rooms are generated
systems="asp resnet34 ecapa resnet34_lm ecapa_lm" # names of YAML files in the settings folder
fusions=             # systems whose scores are fused, as in the top-level run.sh
out=                 # where data, exp and results go; empty: the folder of this script
conf=                # settings folder, here or in the recipe; empty: conf
nj=0                 # parallel jobs; 0: one for each core
num_copies=1000000   # augmented copies of the training utterances, for archives
backend_utts=20      # training utterances of a speaker that backends and cohort are made of
cohort=6000          # training speakers that scores are normalised by
top=300              # cohort scores that count
calibration_trials=30000 # trials among training speakers that log likelihood ratios are learnt on
device=auto          # of training and embeddings: auto, cpu or cuda
seed=0               # of dither, augmentation and draws (that of a training is in its YAML)
allow_pipes=true     # false refuses shell commands in wav.scp (ffmpeg)
allow_missing=false  # true: leave out trials whose utterances are not there
force=false          # true: redo finished steps
dry_run=false        # true: print what each stage would read, write and cost, and stop
STAGES="Stages:
  0 data        data directories; VoxCeleb2's m4a decoded, where asked for; trial lists
  1 features    MFCC or filter banks, and voice activity decisions
  2 augment     copies (MUSAN, RIRS_NOISES), for systems that train on archives
  3 training    features for training: normalised, voiced, two bytes a value
  4 train       each system
  5 fine-tune   systems that start from another (larger margin, longer chunks)
  6 embeddings  of training utterances for the backends, and of test utterances
  7 backends    mean, LDA, PLDA; the cohort
  8 scores      cosine and PLDA, adaptive s-norm, calibration with quality measures; fusion
  9 results     results/EER, results.tsv, det_*.png of each list; what the two embeddings of seef_* hold"
help_message="usage: bash run.sh --voxceleb1 DIR --voxceleb2 DIR [options]
$STAGES
Options (default):
  --stage N ($stage)  --stop-stage N ($stop_stage)  --lists \"FILE ...\" (those found; quote a FILE with spaces once more)  --decode-to DIR (none: ffmpeg's pipes)
  --dry-run true|false ($dry_run: true prints the plan and its cost; the corpora need not be there)
  --systems \"NAME ...\" ($systems)
  --fusions \"SYSTEM+SYSTEM ...\" (none; each may be SYSTEM:BACKEND, SYSTEM=WEIGHT or SYSTEM:BACKEND=WEIGHT)
  --musan DIR --rirs DIR (generated)  --num-copies N ($num_copies)
  --out DIR (this folder)  --conf DIR (conf)  --nj N jobs of a step (0: one for each core); cmd.sh has more
  --backend-utts N ($backend_utts; of stage 1)  --cohort N ($cohort)  --top N ($top)  --calibration-trials N ($calibration_trials)
  --device auto|cpu|cuda ($device)  --seed N ($seed; another one wants another --out)
  --allow-pipes true|false ($allow_pipes)  --allow-missing true|false ($allow_missing)  --force true|false ($force)
A killed run goes on with the same command: finished steps are skipped. Stages 7 to 9 are always done anew."

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then echo "$help_message"; exit 0; fi
. "$HERE/path.sh"
. "$HERE/cmd.sh"
. "$HERE/utils/parse_options.sh"
. "$HERE/utils/done.sh"
started=$SECONDS
. "$HERE/utils/recipe.sh"
training_stage=4
if [ $# -ne 0 ]; then fail "unexpected argument '$1'; options have the form --name VALUE (--help lists them)"; fi
check_options 0 9
for name in num_copies backend_utts cohort top calibration_trials; do
  [[ ${!name} =~ ^[0-9]+$ && ${!name} -ge 2 ]] || fail "--${name//_/-} '${!name}' is not a number, 2 or more"
done
if [ "$dry_run" = false ] && runs 0; then
  [ -n "$voxceleb1$voxceleb2" ] || fail "--voxceleb1 and --voxceleb2 are needed: the folders of the corpora"
fi
for place in "$voxceleb1" "$voxceleb2" "$musan" "$rirs"; do
  [ "$dry_run" = true ] || [ -z "$place" ] || [ -d "$place" ] || fail "there is no folder '$place'"
done
conf=${conf:-$HERE/conf}
if [ ! -d "$conf" ] && [ -d "$HERE/$conf" ]; then conf=$HERE/$conf; fi
out=$(absolute "${out:-$HERE}") conf=$(absolute "$conf") decode_to=$(absolute "$decode_to") musan=$(absolute "$musan") rirs=$(absolute "$rirs")
data=$out/data exp=$out/exp results=$out/results
read_settings
check_fusions
archives="" waveforms="" # kinds of features that a system trains on archives of, or makes from recordings as it goes
for system in $networks; do
  kind=${features[$system]}
  [ "${backend_data[$system]}" = train_backend ] || fail "$conf/$system.yaml: backends learn from --backend-utts utterances here; leave backend.speed_copies out"
  case ${trained_on[$system]} in
    train)
      trained_on[$system]=train_waveforms
      [[ " $waveforms " == *" $kind "* ]] || waveforms="$waveforms $kind"
      ;;
    *) [[ " $archives " == *" $kind "* ]] || archives="$archives $kind" ;;
  esac
done
planned=(--conf "$conf" --systems "$systems" --num-copies "$num_copies" --backend-utts "$backend_utts" --jobs "$nj")
if [ -n "$decode_to" ]; then planned+=(--decode); fi
if [ "$dry_run" = true ]; then
  exec python3 "$HERE/local/plan.py" "${planned[@]}" ${lists:+--lists "$lists"}
fi
mkdir -p "$out" || fail "cannot make $out; choose another --out"
lock_folder "$out"

if runs 0; then
  announce 0 "data directories of VoxCeleb"
  "$HERE/local/prepare_data.sh" --voxceleb1 "$voxceleb1" --voxceleb2 "$voxceleb2" --lists "$lists" --decode-to "$decode_to" --nj "$nj" \
    --allow-missing "$allow_missing" "$data/corpora"
fi
need "$data/corpora/train/wav.scp" "run.sh --stage 0"
if runs 0; then python3 "$HERE/local/plan.py" --sources "$data/corpora/sources.tsv" "${planned[@]}" --disk "$out"; fi
has_test=""
if [ -d "$data/corpora/test" ]; then has_test="test"; fi
if [ -n "$waveforms" ] && grep -q -m 1 ' ffmpeg ' "$data/corpora/train/wav.scp"; then
  fail "VoxCeleb2 is m4a, and a training on waveforms would start ffmpeg for every chunk; decode it once with --decode-to DIR"
fi
# Whatever lists an earlier call had: no system that is scored may know a speaker of the trials.
refuse_known() {
  local system known
  for system in $networks; do
    if [ -z "$has_test" ] || [ ! -s "$exp/$system/speakers.txt" ]; then continue; fi
    known=$(awk 'NR == FNR {tested[substr($1, 1, 7)]; next} {sub(/^sp[0-9.]+-/, "")} $1 in tested {print $1; exit}' \
      "$data/corpora/test/utt2spk" "$exp/$system/speakers.txt")
    [ -z "$known" ] || fail "$exp/$system was trained on $known, a speaker of the trials; choose other --lists, or another --out and train without"
  done
}
if [ "$force" = false ]; then refuse_known; fi
copy_of() { # SOURCE TARGET, unless it is there
  local made=$2/.done.copy
  if ! is_done "$made" "" "$1/wav.scp" "$1/utt2spk" >/dev/null; then
    copy_data_dir.sh "$1" "$2"
    rm -f "$2/utt2dur"
    mark_done "$made" ""
  fi
}
feats_and_vad() { # KIND PART
  "$steps/make_feats.sh" --type "$1" --feature-config "$(config_file "$1.conf")" --nj "$nj" --cmd "$feature_cmd" \
    --seed "$seed" --allow-pipes "$allow_pipes" --force "$force" "$data/$1/$2"
  "$steps/compute_vad.sh" --vad-config "$(config_file vad.conf)" --nj "$nj" --cmd "$feature_cmd" --force "$force" "$data/$1/$2"
}
backend_part() { # KIND: the utterances that backends learn from, of each speaker some
  local made=$data/$1/train_backend/.done.subset from=$data/$1/train
  if ! is_done "$made" "$backend_utts" "$from/wav.scp" "$from/utt2spk" "$from/feats.scp" "$from/vad.scp"; then
    subset_data_dir.sh --per-spk "$from" "$backend_utts" "$data/$1/train_backend"
    mark_done "$made" "$backend_utts"
  fi
}
if runs 1; then
  for kind in $kinds; do
    announce 1 "$kind and voice activity decisions"
    copy_of "$data/corpora/train" "$data/$kind/train"
    if [[ " $archives " == *" $kind "* ]]; then feats_and_vad "$kind" train; fi
    backend_part "$kind"
    if [[ " $archives " != *" $kind "* ]]; then feats_and_vad "$kind" train_backend; fi # the training makes its own as it goes
    if [[ " $waveforms " == *" $kind "* ]]; then
      copy_of "$data/corpora/train" "$data/$kind/train_waveforms"
      vouch get-utt2dur --print-args=false --allow-pipes="$allow_pipes" "$data/$kind/train_waveforms"
    fi
    if [ -n "$has_test" ]; then
      copy_of "$data/corpora/test" "$data/$kind/test"
      feats_and_vad "$kind" test
    fi
  done
fi

made=$data/augment noise=$data/augment/noises/noise music=$data/augment/noises/music babble="" rooms=$data/augment/rooms
if [ -n "$musan" ]; then noise=$made/musan_noise.scp music=$made/musan_music.scp babble=$made/musan_speech.scp; fi
if [ -n "$rirs" ]; then rooms=$made/rirs.scp; fi
if runs 2; then
  announce 2 "augmentation of the training data"
  if [ -n "$musan" ]; then
    "$steps/make_musan.sh" "$musan" "$made"
  elif [ ! -s "$music/wav.scp" ]; then # the last file that is written
    vouch make-noises --sample-frequency=16000 --seed="$seed" "$made/noises"
  fi
  if [ -n "$rirs" ]; then
    "$steps/make_rirs.sh" "$rirs" "$rooms"
  elif [ ! -s "$rooms/rirs.scp" ]; then
    vouch make-rooms --num=100 --kind=small --sample-frequency=16000 --seed="$seed" "$rooms"
  fi
  for kind in $archives; do
    "$steps/augment.sh" --config "$(config_file augment.conf)" --type "$kind" --num-copies "$num_copies" \
      --noise "$noise" --music "$music" --babble "$babble" --rirs "$rooms" \
      --feature-config "$(config_file "$kind.conf")" --vad-config "$(config_file vad.conf)" --nj "$nj" --cmd "$feature_cmd" \
      --seed "$seed" --allow-pipes "$allow_pipes" --force "$force" "$data/$kind/train" "$data/$kind/train_aug" "$data/$kind/augment"
  done
fi

if runs 3; then
  announce 3 "training features"
  for kind in $archives; do
    "$steps/prepare_feats_for_training.sh" --config "$(config_file training_feats.conf)" --cmn-config "$(config_file cmn.conf)" \
      --nj "$nj" --cmd "$feature_cmd" --force "$force" "$data/$kind/train_aug" "$data/$kind/train_aug_nosil"
  done
fi

# Systems that train on waveforms take the noises of this run, and the settings that features are made with.
settings_of() {
  local of_run=$exp/$1.yaml
  if [ "${trained_on[$1]}" != train_waveforms ]; then echo "$conf/$1.yaml"; return; fi
  mkdir -p "$exp"
  {
    yaml_line base "$conf/$1.yaml"
    echo "training:"
    echo "  source:"
    yaml_line "    feature_config" "$(config_file "${features[$1]}.conf")"
    yaml_line "    vad_config" "$(config_file vad.conf)"
    yaml_line "    cmn_config" "$(config_file cmn.conf)"
    yaml_line "    noise" "$noise"
    yaml_line "    music" "$music"
    yaml_line "    rirs" "$rooms"
  } >"$of_run.new"
  mv "$of_run.new" "$of_run"
  echo "$of_run"
}
yaml_line() { printf "%s: '%s'\n" "$1" "${2//\'/\'\'}"; }
begun="" tuned=""
for system in $systems; do
  if [ -n "${start_of[$system]:-}" ]; then tuned="$tuned $system"; else begun="$begun $system"; fi
done
# shellcheck disable=SC2086 # several systems
if runs 4; then
  announce 4 "training of$begun"
  train_systems $begun
fi
# shellcheck disable=SC2086
if runs 5 && [ -n "$tuned" ]; then
  announce 5 "fine-tuning of$tuned"
  train_systems $tuned
fi
if [ "$stop_stage" -ge 6 ]; then refuse_known; fi
# shellcheck disable=SC2086
if runs 6; then embed_systems 6 $has_test; fi

# Of the training speakers a twelfth, eight or more, are for calibration; the cohort is of others.
calibration=$data/calibration
if runs 7; then
  train_backends 7
  mkdir -p "$calibration"
  awk 'NR == FNR {all++; next} FNR == 1 {n = int(all / 12); if (n < 8) n = 8}
    int(FNR * n / all) > int((FNR - 1) * n / all) {print $1}' "$data/corpora/train/spk2utt" "$data/corpora/train/spk2utt" >"$calibration/speakers"
  for system in $systems; do # speakers' means, of other speakers than the test's
    mkdir -p "$exp/$system/embeddings/cohort"
    awk -v n="$cohort" 'FILENAME == ARGV[1] {apart[$1]; next} !($1 in apart) {mean[++all] = $0}
      END {for (i = 1; i <= all; i++) if (n >= all || int(i * n / all) > int((i - 1) * n / all)) print mean[i]}' \
      "$calibration/speakers" "$exp/$system/embeddings/train_backend/spk_embedding.scp" >"$exp/$system/embeddings/cohort/embedding.scp"
  done
fi

score_system() {
  local embeddings=$exp/$1/embeddings kind=${features[$1]} backend normal=(--backends "cosine plda" --top "$top")
  normal+=(--cohort "$embeddings/cohort")
  announce 8 "scores of $1"
  rm -rf "$exp/$1/scores"
  # utterances of the training set by themselves, as those of the test are
  mkdir -p "$embeddings/calibration"
  cut -d' ' -f1-2 "$calibration/trials" | tr ' ' '\n' | sort -u >"$embeddings/calibration/utterances"
  filter_scp "$embeddings/calibration/utterances" "$embeddings/train_backend/embedding.scp" >"$embeddings/calibration/embedding.scp"
  cp "$embeddings/calibration/embedding.scp" "$embeddings/calibration/spk_embedding.scp"
  sed 's/$/ 1/' "$embeddings/calibration/utterances" >"$embeddings/calibration/num_utts"
  "$steps/score.sh" "${normal[@]}" --snorm cosine "$exp/$1/backend" "$exp/$1/backend/mean.vec" "$embeddings/calibration" \
    "$embeddings/calibration" "$calibration" "$exp/$1/scores" calibration
  "$steps/score.sh" "${normal[@]}" --snorm "cosine plda" "$exp/$1/backend" "$exp/$1/backend/mean.vec" "$embeddings/test" "$embeddings/test" \
    "$data/corpora/test" "$exp/$1/scores" vox1
  "$steps/calibrate_scores.sh" --top "$top" "$exp/$1/backend/mean.vec" "$embeddings/cohort" "$embeddings/calibration" \
    "$data/$kind/train_backend" "$calibration" "$embeddings/test" "$data/$kind/test" "$data/corpora/test" "$exp/$1/scores" \
    calibration vox1 cosine_snorm
  for backend in cosine plda; do # for vouch verify
    vouch train-calibration --print-args=false --prior=0.01 "$calibration/trials" "$exp/$1/scores/calibration/$backend.scores" \
      "$exp/$1/calibration/$backend"
  done
}
if runs 8; then
  [ -n "$has_test" ] || fail "there are no trials: stages 0 to 7 are done; --voxceleb1 and its trial lists are wanted for more"
  need "$calibration/speakers" "run.sh --stage 7"
  awk 'NR == FNR {chosen[$1]; next} $2 in chosen' "$calibration/speakers" "$data/corpora/train/utt2spk" >"$calibration/utt2spk"
  for system in $systems; do # those that every system has an embedding of
    filter_scp "$exp/$system/embeddings/train_backend/embedding.scp" "$calibration/utt2spk" >"$calibration/utt2spk.new"
    mv "$calibration/utt2spk.new" "$calibration/utt2spk"
  done
  vouch sample-trials --num="$calibration_trials" --seed="$seed" "$calibration/utt2spk" "$calibration/trials"
  # shellcheck disable=SC2086 # several systems
  side_by_side "" score_system $systems
  rm -rf "$exp"/fusion:*
  for fusion in $fusions; do
    announce 8 "fused scores of $fusion"
    "$steps/fuse_scores.sh" --backends "cosine plda cosine_snorm plda_snorm" "$fusion" "$exp" "$data/corpora/test" vox1
  done
fi

evaluate() { # a system or a fusion
  local list scores
  for list in "$data/corpora/test"/trials_*; do
    for scores in "$exp/$1/scores/vox1_${list##*/trials_}"/*.scores; do
      need "$scores" "run.sh --stage 8"
      vouch evaluate --print-args=false --p-targets=0.05 --system="$1" --backend="$(basename "$scores" .scores)" \
        --trials-name="vox1_${list##*/trials_}" "$list" "$scores" "${scores%.scores}.tsv"
    done
  done
}
if runs 9; then
  announce 9 "results"
  scored=()
  for system in $systems; do scored+=("$system"); done
  for folder in "$exp"/fusion:*; do
    if [ -d "$folder" ]; then scored+=("${folder##*/}"); fi
  done
  side_by_side "" evaluate "${scored[@]}"
  vouch make-results --print-args=false --reference="$HERE/conf/published.tsv" "$results" "$exp"/*/scores/vox1_*/*.tsv
  # An embedding may know the video, which is not to pass for its speaker; a speaker of the test is its utterance there.
  speakers=$data/corpora/speakers recordings=$data/corpora/videos
  awk '{print $1, substr($1, 1, 7)}' "$data"/corpora/{train,test}/utt2spk >"$speakers"
  sed -E 's/^((\S+)-[^- ]+) .*/\1 \2/' "$data"/corpora/{train,test}/utt2spk >"$recordings"
  show_disentanglement test
  echo
  echo "run.sh: results in $results (EER, results.tsv, pictures); $((SECONDS - started)) s"
fi
