# shellcheck shell=bash disable=SC2154
# What the recipes' run.sh share: the settings of the systems, and the stages that go through them. A recipe sets its
# options (stage, stop_stage, systems, nj, device, seed, allow_pipes, force), HERE (its folder), conf (its settings
# folder), data, exp and started, then sources this file after path.sh, cmd.sh, utils/parse_options.sh and done.sh.
# Its data directories are $data/KIND/train, ... of each kind of features (mfcc, fbank).

steps=$VOUCH_ROOT/steps
fail() { echo "${0##*/}: error: $*" >&2; exit 1; }
announce() { echo; echo "=== stage $1: $2 ($(date '+%H:%M:%S'), $((SECONDS - started)) s since the start)"; }
runs() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }
absolute() { case $1 in "" | /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }

# check_options FIRST LAST: what every recipe takes; FIRST and LAST are its stages.
check_options() {
  local name twice
  for name in stage stop_stage nj seed; do
    [[ ${!name} =~ ^[0-9]+$ ]] || fail "--${name/_/-} '${!name}' is not a number, 0 or more"
  done
  if [ "$stage" -lt "$1" ] || [ "$stop_stage" -gt "$2" ] || [ "$stop_stage" -lt "$stage" ]; then
    fail "stages $stage to $stop_stage are not within $1 to $2 (--help lists them)"
  fi
  [ -n "${systems// /}" ] || fail "--systems is empty; name one or more YAML files of the settings folder"
  twice=$(tr ' ' '\n' <<<"$systems" | grep . | sort | uniq -d | head -n 1)
  [ -z "$twice" ] || fail "--systems names $twice twice"
  [[ $device =~ ^(auto|cpu|cuda)$ ]] || fail "--device '$device', want auto, cpu or cuda"
  if [ "$device" = cuda ] && ! python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    fail "--device cuda, but torch sees no GPU here; use --device auto or cpu"
  fi
  if [ "$nj" -eq 0 ]; then nj=$(getconf _NPROCESSORS_ONLN); fi
}

known_backends="cosine|cosine_adapt|plda|plda_adapt|plda_coral|plda_coral_plus" # each with _snorm where it is normalised

# check_fusions: is each of $fusions SYSTEM+SYSTEM, of systems of $systems (and $1) or of an earlier call?
check_fusions() {
  local fusion part name
  for fusion in $fusions; do
    [[ $fusion == *?+?* ]] || fail "--fusions: '$fusion' is one system; join two or more with +"
    [[ $fusion != *:* || $fusion =~ ^[^:+]+:[^:+]+(\+[^:+]+:[^:+]+)+$ ]] ||
      fail "--fusions: '$fusion' names a backend for some of its systems; name one for each, or for none"
    [ "$(tr + '\n' <<<"$fusion" | sed 's/=.*//' | sort | uniq -d | wc -l)" -eq 0 ] || fail "--fusions: '$fusion' has a system twice"
    for part in ${fusion//+/ }; do
      [[ $part =~ ^([^:=]+)(:($known_backends)(_snorm)?)?(=([0-9]+\.?[0-9]*|\.[0-9]+))?$ && ! $part =~ =[0.]*$ ]] ||
        fail "--fusions: '$part' of '$fusion' is not SYSTEM, SYSTEM:BACKEND (${known_backends//|/, }), each with =WEIGHT (above 0) or not"
      name=${part%%[:=]*}
      [[ " $systems ${1:-} " == *" $name "* || -d $exp/$name ]] ||
        fail "--fusions: '$name' of '$fusion' is not among --systems, nor in $exp"
    done
  done
}

# fusion_name FUSION: the folder of its scores, fusion:SYSTEM+SYSTEM with weights other than 1 (steps/fuse_scores.sh).
fusion_name() { sed -E 's/:[^+=]+//g; s/=1(\+|$)/\1/g; s/^/fusion:/' <<<"$1"; }

# lock_folder FOLDER: one run at a time works there.
lock_folder() {
  exec 8>"$1/.lock"
  flock -n 8 || { echo "${0##*/}: another run works in $1 (or what a killed one left); waiting for it" >&2; flock 8; }
}

# The settings: feature and VAD configurations, augment.conf, and one YAML a system; read_settings fills these.
declare -A features=() kind_of=() frontend=() backend_options=() backend_data=() trained_on=() parts_of=()
declare -A start_of=() # system whose networks it begins with, where there is one
declare -A ubm_of=() # data directory of the UBM, where it is not that of the extractor (a recipe's choice)
kinds=""       # of features
networks=""    # systems with a network
adversarial="" # those of them that train on unlabelled target speech, too
disentangled="" # those with a purified and an eliminated embedding
speakers="" recordings="" # files for show_disentanglement
config_file() { # its settings folder may lack it: then the recipe's, then the toolkit's
  local folder
  for folder in "$conf" "$HERE/conf"; do if [ -f "$folder/$1" ]; then echo "$folder/$1"; return; fi; done
  echo "$VOUCH_ROOT/conf/$1"
}
known_systems() { for file in "$conf"/*.yaml; do basename "$file" .yaml; done | tr '\n' ' '; }
read_settings() {
  local system seen="" before all values files=() member i
  local names=(kind features_ members lda_dim iterations within between speed source objective rest embedding start ceps order window)
  local "${names[@]}"
  kinds="" networks="" adversarial="" disentangled=""
  if [ ! -d "$conf" ] && [ -d "$HERE/$conf" ]; then conf=$HERE/$conf; fi
  [ -d "$conf" ] || fail "there is no settings folder '$conf'; --conf takes one like conf"
  for system in $systems; do
    [ -f "$conf/$system.yaml" ] ||
      fail "there is no system '$system': $conf/$system.yaml is missing; there are $(known_systems)"
    files+=("$conf/$system.yaml")
  done
  all=$(vouch show-config \
    --get=kind,features=none,systems=none,backend.lda_dim,backend.plda_iterations,backend.within_scale,backend.between_scale,backend.speed_copies,training.source.type=none,objective.type=none,objective.rest=none,objective.embedding=none,start=none,frontend.num_ceps=0,frontend.delta_order=0,frontend.delta_window=0 \
    "${files[@]}")
  readarray -t values <<<"$all"
  for system in $systems; do
    before=$seen seen="$seen $system"
    for i in "${!names[@]}"; do printf -v "${names[i]}" '%s' "${values[i]}"; done
    values=("${values[@]:${#names[@]}}")
    kind_of[$system]=$kind features[$system]=$features_
    backend_options[$system]="--lda-dim $lda_dim --plda-iterations $iterations --within-scale $within --between-scale $between"
    backend_data[$system]=train_backend
    if [ "$speed" = true ]; then backend_data[$system]=train_aug; fi
    frontend[$system]=""
    case ${kind_of[$system]} in
      network)
        networks="$networks $system"
        trained_on[$system]=train_aug_nosil
        if [ -n "$start" ]; then start_of[$system]=$start; fi
        [[ -z $start || ($start != "$system" && (" $before " == *" $start "* || -f $exp/$start/final.pt)) ]] ||
          fail "$conf/$system.yaml starts from $start, which is not before it in --systems, nor trained in $exp"
        [[ -z $start || ! -f $conf/$start.yaml || $(vouch show-config --get=features,network "$conf/$start.yaml") = "$(vouch show-config --get=features,network "$conf/$system.yaml")" ]] ||
          fail "$conf/$system.yaml starts from $start, which has other features or another network; make them alike"
        if [ "$source" = waveforms ]; then trained_on[$system]=train; fi # augmented while the network trains
        case $objective:$rest:$embedding in
          danse:* | gan:*) adversarial="$adversarial $system" ;;
          seef_aldr:encoder:purified) disentangled="$disentangled $system" ;;
        esac
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
  echo "${0##*/}: settings from $conf, systems $systems, data in $data"
}
# side_by_side RUNNER FUNCTION NAME...: FUNCTION NAME of each name, as many at once as there are jobs ($nj), each on its
# $share of them, but one after the other where RUNNER gives out GPUs. Stops when one failed, after the others.
# (On processors many small operations gain little from a second core, and lose much when it is busy.)
side_by_side() {
  local runner=$1 function=$2 name failed="" i together
  shift 2
  if [ $# -eq 0 ]; then return; fi
  together=$((nj < $# ? nj : $#))
  if [[ $runner == *--gpu* ]]; then together=1; fi
  share=$((nj / together))
  begun_here=() # not local: the trap reads it
  trap 'kill "${begun_here[@]}" 2>/dev/null || true; wait' EXIT
  for name in "$@"; do
    while [ "$(jobs -pr | wc -l)" -ge "$together" ]; do wait -n || true; done
    "$function" "$name" &
    begun_here+=($!)
  done
  for i in "${!begun_here[@]}"; do wait "${begun_here[i]}" || failed="$failed ${*:i+1:1}"; done
  trap - EXIT
  [ -z "$failed" ] || fail "this failed for$failed; the message stands above"
}

settings_of() { echo "$conf/$1.yaml"; } # of a system; a recipe may have its own
train_system() {
  local step=(train.sh --feature-config "$(config_file "${features[$1]}.conf")" --vad-config "$(config_file vad.conf)" --cmn-config "$(config_file cmn.conf)")
  if [ "${kind_of[$1]}" = ivector ]; then step=(train_ivector.sh --nj "$ivector_jobs"); fi
  if [ -n "${start_of[$1]:-}" ]; then step+=(--start "$exp/${start_of[$1]}"); fi
  if [ -n "${ubm_of[$1]:-}" ]; then step+=(--ubm-data "${ubm_of[$1]}"); fi
  if [[ " $adversarial " == *" $1 "* ]]; then
    case ${trained_on[$1]} in train) step+=(--target "$data/${features[$1]}/adapt") ;; *) step+=(--target "$data/${features[$1]}/adapt_aug_nosil") ;; esac
  fi
  "$steps/${step[0]}" "${step[@]:1}" --cmd "$train_cmd" --num-threads "$share" --device "$device" --force "$force" \
    "$(settings_of "$1")" "$data/${features[$1]}/${trained_on[$1]}" "$exp/$1"
}

# train_systems SYSTEM...: each of them, into $exp/SYSTEM; those that start from another after it.
train_systems() {
  local names=() now later system
  for system in "$@"; do
    if [ "${kind_of[$system]}" != joint ]; then names+=("$system"); continue; fi
    mkdir -p "$exp/$system"
    vouch show-config "$conf/$system.yaml" >"$exp/$system/config.yaml.new" && mv "$exp/$system/config.yaml.new" "$exp/$system/config.yaml"
  done
  while [ "${#names[@]}" -gt 0 ]; do
    now=() later=()
    for system in "${names[@]}"; do
      if [[ " ${names[*]} " == *" ${start_of[$system]:--} "* ]]; then later+=("$system"); else now+=("$system"); fi
    done
    side_by_side "$train_cmd" train_system "${now[@]}"
    names=("${later[@]}")
  done
}

# $training_stage is the stage of the trainings, where it is not the one before that of the embeddings.
# embed_systems STAGE PART...: what the backend of each of $systems learns from, and these data directories,
# into $exp/SYSTEM/embeddings/PART.
embed_systems() {
  local names=() system member folders part
  embeddings_stage=$1 embedded_parts=("${@:2}")
  for system in $systems; do
    if [ "${kind_of[$system]}" != joint ]; then names+=("$system"); fi
  done
  side_by_side "$extract_cmd" embed_system "${names[@]}"
  for system in $systems; do
    [ "${kind_of[$system]}" = joint ] || continue
    announce "$embeddings_stage" "embeddings of $system"
    folders=()
    for member in ${parts_of[$system]}; do folders+=("$exp/$member/embeddings"); done
    for part in "${backend_data[$system]}" "${embedded_parts[@]}"; do
      "$steps/join_embeddings.sh" --force "$force" "${backend_data[$system]}" "$part" "$exp/$system/embeddings/$part" "${folders[@]}"
    done
  done
}
embed_system() {
  local final part
  announce "$embeddings_stage" "embeddings of $1"
  case ${kind_of[$1]} in network) final=final.pt ;; ivector) final=final.ie ;; esac
  need "$exp/$1/$final" "${0##*/} --stage ${training_stage:-$((embeddings_stage - 1))} --systems $1"
  for part in "${backend_data[$1]}" "${embedded_parts[@]}"; do
    # shellcheck disable=SC2086 # several words
    "$steps/extract_embeddings.sh" ${frontend[$1]} --cmn-config "$(config_file cmn.conf)" --nj "$share" --cmd "$extract_cmd" \
      --device "$device" --force "$force" "$exp/$1" "$data/${features[$1]}/$part" "$exp/$1/embeddings/$part"
  done
}

# show_disentanglement PART...: what both embeddings of each system that has two hold, into $results; $speakers
# and $recordings, where a recipe sets them, are the step's files of who speaks, and of utterances that belong together.
show_disentanglement() {
  local system kind
  for system in $disentangled; do
    kind=$data/${features[$system]}
    "$steps/show_disentanglement.sh" --cmn-config "$(config_file cmn.conf)" --nj "$nj" --cmd "$extract_cmd" --device "$device" \
      --speakers "$speakers" --recordings "$recordings" --force "$force" "$exp/$system" "$kind/${backend_data[$system]}" "${@/#/$kind/}" "$results"
  done
}

# train_backends STAGE [PART]: centring, LDA and PLDA of each of $systems, adapted to the unlabelled data PART.
train_backends() {
  local system
  backends_stage=$1 backends_part=${2:-}
  for system in $systems; do need "$exp/$system/config.yaml" "${0##*/} --stage ${training_stage:-$(($1 - 2))} --systems $system"; done
  # shellcheck disable=SC2086 # several systems
  side_by_side "" train_one_backend $systems
}
train_one_backend() {
  announce "$backends_stage" "backends of $1"
  # shellcheck disable=SC2086 # several words
  "$steps/train_backend.sh" ${backend_options[$1]} "$exp/$1/embeddings/${backend_data[$1]}" \
    "$exp/$1/backend" ${backends_part:+"$exp/$1/embeddings/$backends_part"}
}
