# shellcheck shell=bash
# The environment of every script: source it. At first use it makes .venv beside this file and installs the pinned
# packages of requirements.txt; later uses only set PATH. VOUCH_PYTHON=/path/to/python uses that interpreter and its
# packages instead (a cluster's own torch).

VOUCH_ROOT=$(dirname "$(realpath "${BASH_SOURCE[0]}")") # a recipe of egs has links to this file and to steps
export VOUCH_ROOT
export LC_ALL=C  # data directories are sorted in C order, as Kaldi's
export PYTHONUNBUFFERED=1

_vouch_fail() { echo "path.sh: error: $*" >&2; return 1; }

# A Python that may serve: 3.11 or 3.12.
_vouch_find_python() {
  local candidate
  for candidate in python3.12 python3.11 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  _vouch_fail "no Python 3.11 or 3.12 found; install one, or set VOUCH_PYTHON=/path/to/python"
}

# vouch_install FILE: install the pinned packages of a requirements file into .venv, one by one, once.
vouch_install() {
  [ -z "${VOUCH_PYTHON:-}" ] || return 0
  local file=$1 name mark package packages log=$VOUCH_ROOT/.venv/install.log number=0
  name=${file#"$VOUCH_ROOT"/}
  mark=$VOUCH_ROOT/.venv/installed-${name//\//-}
  if [ -f "$mark" ] && cmp -s "$mark" "$file"; then return 0; fi
  mapfile -t packages < <(sed 's/#.*//; /^[[:space:]]*$/d' "$file")
  for package in "${packages[@]}"; do
    number=$((number + 1))
    echo "path.sh: installing $package ($number of ${#packages[@]})" >&2
    if ! "$VOUCH_ROOT/.venv/bin/python" -m pip install --quiet --disable-pip-version-check "$package" >"$log" 2>&1; then
      grep -i error "$log" | tail -n 3 >&2 || true
      _vouch_fail "cannot install $package; the whole story is in $log; mend the connection or the pin in $file and run again"
      return 1
    fi
  done
  cp "$file" "$mark.new" && mv "$mark.new" "$mark"
}

# Make .venv (again when it was cut off, or when the folder was moved) and install into it. One process at a time.
_vouch_make_venv() {
  local venv=$VOUCH_ROOT/.venv python
  if [ "$(cat "$venv/complete" 2>/dev/null)" = "$VOUCH_ROOT" ] &&
    cmp -s "$venv/installed-requirements.txt" "$VOUCH_ROOT/requirements.txt"; then
    return 0
  fi
  (
    exec 9>"$VOUCH_ROOT/.venv.lock"
    if command -v flock >/dev/null && ! flock -n 9; then
      echo "path.sh: another process is installing into $venv; waiting for it" >&2
      flock 9
    fi
    if [ "$(cat "$venv/complete" 2>/dev/null)" != "$VOUCH_ROOT" ]; then
      python=$(_vouch_find_python) || exit 1
      echo "path.sh: first use: making $venv with $python" >&2
      "$python" -m venv --clear "$venv" ||
        _vouch_fail "$python cannot make a virtual environment (Debian: apt install python3-venv)" || exit 1
      vouch_install "$VOUCH_ROOT/requirements.txt" || exit 1
      "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable "$VOUCH_ROOT" \
        >"$venv/install.log" 2>&1 || _vouch_fail "cannot install vouch itself; see $venv/install.log" || exit 1
      echo "$VOUCH_ROOT" >"$venv/complete"
    else
      vouch_install "$VOUCH_ROOT/requirements.txt" || exit 1
    fi
  )
}

# Check that the interpreter the user chose can import what is needed.
_vouch_check_python() {
  local resolved
  [ "${VOUCH_CHECKED:-}" != "$VOUCH_PYTHON" ] || return 0
  resolved=$(command -v "$VOUCH_PYTHON") || _vouch_fail "VOUCH_PYTHON=$VOUCH_PYTHON is not a program" || return 1
  "$resolved" - <<'PY' || return 1
import importlib.util, sys
if sys.version_info < (3, 11):
    sys.exit(f"path.sh: error: VOUCH_PYTHON is Python {sys.version.split()[0]}, want 3.11 or newer")
wanted = ["numpy", "scipy", "torch", "kaldiio", "soundfile", "yaml", "tqdm", "matplotlib"]
missing = [name for name in wanted if importlib.util.find_spec(name) is None]
if missing:
    sys.exit(f"path.sh: error: VOUCH_PYTHON={sys.executable} lacks {', '.join(missing)}: install them there (requirements.txt)")
PY
  export VOUCH_PYTHON=$resolved VOUCH_CHECKED=$resolved
}

if [ -n "${VOUCH_PYTHON:-}" ]; then
  _vouch_check_python || return 1
  export PYTHONPATH="$VOUCH_ROOT/pysrc${PYTHONPATH:+:$PYTHONPATH}"
  PATH="$VOUCH_ROOT/utils/bin:$VOUCH_ROOT/utils:$PATH" # utils/bin: `vouch` and `python3` of that interpreter
else
  _vouch_make_venv || return 1
  PATH="$VOUCH_ROOT/.venv/bin:$VOUCH_ROOT/utils:$PATH"
fi
export PATH
