# shellcheck shell=bash
# The option parser of every script, in Kaldi's contract: a script gives its options as variables with their
# defaults, then sources this file, which reads the options from the script's own arguments and leaves the rest.
#
#   stage=0        # first stage to run
#   force=false    # true: redo what is done
#   help_message="usage: $0 [options] DATA"
#   . utils/parse_options.sh
#
# --some-name VALUE and --some-name=VALUE set some_name, which must exist already; one whose default is true or
# false takes only these. --config FILE reads lines `name=value` or `--name=value` (never executed), which the
# command line overrides wherever it stands. --help prints $help_message. `--` or a plain word ends the options.

_vouch_option_fail() { echo "${0##*/}: error: $*" >&2; exit 1; }

# Number of edits between two words (Levenshtein).
_vouch_option_edits() {
  local -i _i _j _cost _best
  local -a _row=() _above
  for ((_j = 0; _j <= ${#2}; _j++)); do _row[_j]=$_j; done
  for ((_i = 1; _i <= ${#1}; _i++)); do
    _above=("${_row[@]}")
    _row[0]=$_i
    for ((_j = 1; _j <= ${#2}; _j++)); do
      _cost=1
      if [[ ${1:_i-1:1} == "${2:_j-1:1}" ]]; then _cost=0; fi
      _best=$((_above[_j - 1] + _cost))
      if ((_above[_j] + 1 < _best)); then _best=$((_above[_j] + 1)); fi
      if ((_row[_j - 1] + 1 < _best)); then _best=$((_row[_j - 1] + 1)); fi
      _row[_j]=$_best
    done
  done
  echo "${_row[${#2}]}"
}

# The lower-case variable nearest to a mistyped name, if one is within two edits.
_vouch_option_near() {
  local _known _found='' _edits _least=3
  while read -r _known; do
    if ((${#_known} > ${#1} + 2 || ${#_known} + 2 < ${#1})); then continue; fi
    _edits=$(_vouch_option_edits "$1" "$_known")
    if ((_edits < _least && _edits < ${#1})); then _least=$_edits _found=$_known; fi
  done < <(compgen -v | grep '^[a-z][a-z0-9_]*$')
  echo "${_found//_/-}"
}

# Print the variable that an option or a config line means; stop when there is none. $1 name, $2 where it stands.
# (Locals begin with _ so that none of them passes for an option.)
_vouch_option_name() {
  local _name=${1//-/_} _near
  if [[ $_name =~ ^[a-z][a-z0-9_]*$ && $_name != help_message && -n ${!_name+set} ]]; then
    echo "$_name"
    return
  fi
  _near=$(_vouch_option_near "$_name")
  _vouch_option_fail "$2unknown option --${1//_/-}${_near:+; did you mean --$_near?} (${0##*/} --help lists them)"
}

# Set variable $1 to $2; $3 says where it stands.
_vouch_option_set() {
  if [[ ${!1-} == true || ${!1-} == false ]] && [[ $2 != true && $2 != false ]]; then
    _vouch_option_fail "$3--${1//_/-} takes true or false, not '$2'"
  fi
  printf -v "$1" '%s' "$2"
}

_vouch_option_config() {
  local _line _name _value _number=0
  if [[ ! -r $1 || -d $1 ]]; then _vouch_option_fail "cannot read the config file '$1'; check --config"; fi
  while IFS= read -r _line || [[ -n $_line ]]; do
    _number=$((_number + 1))
    [[ $_line =~ ^[[:space:]]*(#.*)?$ ]] && continue
    if [[ ! $_line =~ ^[[:space:]]*(--)?([A-Za-z][A-Za-z0-9_-]*)=(.*)$ ]]; then
      _vouch_option_fail "$1:$_number: '$_line' is not of the form name=value"
    fi
    _name=${BASH_REMATCH[2]} _value=${BASH_REMATCH[3]}
    if [[ $_value =~ ^(\"([^\"]*)\"|\'([^\']*)\')[[:space:]]*(#.*)?$ ]]; then
      _value=${BASH_REMATCH[2]}${BASH_REMATCH[3]}
    elif [[ $_value =~ ^(.*[^[:space:]])?[[:space:]]+#.*$ ]]; then
      _value=${BASH_REMATCH[1]}
    elif [[ $_value =~ ^(.*[^[:space:]])?[[:space:]]*$ ]]; then
      _value=${BASH_REMATCH[1]}
    fi
    _name=$(_vouch_option_name "$_name" "$1:$_number: ") || exit 1
    _vouch_option_set "$_name" "$_value" "$1:$_number: "
  done <"$1"
}

config=${config-}
_vouch_option_names=() _vouch_option_values=()
while [[ ${1-} == --* || ${1-} == -h ]]; do
  case $1 in
    --help | -h)
      printf '%s\n' "${help_message:-${0##*/} has no help text; its options are the variables at its top}"
      exit 0
      ;;
    --)
      shift
      break
      ;;
    *)
      _vouch_option_word=${1#--}
      _vouch_option_variable=$(_vouch_option_name "${_vouch_option_word%%=*}" "") || exit 1
      if [[ $_vouch_option_word == *=* ]]; then
        _vouch_option_value=${_vouch_option_word#*=}
      elif (($# >= 2)); then
        _vouch_option_value=$2
        shift
      else
        _vouch_option_fail "$1 needs a value: $1 VALUE"
      fi
      shift
      if [[ $_vouch_option_variable == config ]]; then
        config=$_vouch_option_value
        _vouch_option_config "$config"
      else
        _vouch_option_names+=("$_vouch_option_variable")
        _vouch_option_values+=("$_vouch_option_value")
      fi
      ;;
  esac
done
for _vouch_option_index in "${!_vouch_option_names[@]}"; do
  _vouch_option_set "${_vouch_option_names[_vouch_option_index]}" "${_vouch_option_values[_vouch_option_index]}" ""
done
if [[ -n ${cmd+set} && -z $cmd ]]; then _vouch_option_fail "--cmd is empty"; fi
unset "${!_vouch_option_@}"
unset -f _vouch_option_fail _vouch_option_edits _vouch_option_near _vouch_option_name _vouch_option_set _vouch_option_config
