#!/usr/bin/env bash
# All tests: ruff, shellcheck, pytest. Arguments go to pytest: bash tests/run.sh tests/signal -k mfcc
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ./path.sh
vouch_install "$VOUCH_ROOT/tests/requirements.txt"

echo "tests/run.sh: ruff"
python3 -m ruff check .
python3 -m ruff format --check --quiet . || { echo "tests/run.sh: error: run 'ruff format .'" >&2; exit 1; }
echo "tests/run.sh: shellcheck"
git ls-files -z -- '*.sh' utils/filter_scp utils/bin .ci/run | xargs -0 shellcheck
echo "tests/run.sh: pytest"
exec python3 -m pytest "$@"
