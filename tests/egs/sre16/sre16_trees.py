"""What runs the preparation of egs/sre16/v1 on a miniature of all corpora or a copy of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from preparations import ROOT, inside, outside

LOCAL = ROOT / "egs/sre16/v1/local"
DIRECTORIES = ("sre", "swbd", "sre16_major", "sre16_minor", "sre16_eval_enroll", "sre16_eval_test")
DIRECTORIES += ("sre16_dev_enroll", "sre16_dev_test")


def prepare(corpora: Path, out: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    """prepare_data.sh as a user calls it."""
    return outside(LOCAL / "prepare_data.sh", "--corpora", corpora, *options, out, **variables)


def read(corpora: Path, out: Path, **variables: str) -> subprocess.CompletedProcess:
    """prepare_data.py alone, inside this process; it leaves its directories in OUT/.tmp."""
    if str(LOCAL) not in sys.path:
        sys.path.insert(0, str(LOCAL))
    import prepare_data

    return inside(prepare_data.main, corpora, out, **variables)
