#!/usr/bin/env bash
# FBANK features of a data directory: steps/make_feats.sh with --type fbank (its --help lists the options).
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/make_feats.sh" --type fbank "$@"
