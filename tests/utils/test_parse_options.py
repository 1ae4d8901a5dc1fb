"""utils/parse_options.sh: Kaldi's contract, under `set -euo pipefail`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PARSER = Path(__file__).resolve().parents[2] / "utils" / "parse_options.sh"
SCRIPT = f"""#!/usr/bin/env bash
set -euo pipefail
stage=0
force=false
cmd="run.py --mem 4G"
mfcc_config=
help_message="usage: demo [options] DATA
100% of it"
. {PARSER}
printf '%s|' "$stage" "$force" "$cmd" "$mfcc_config" "$config" "$@"
"""


@pytest.fixture
def demo(tmp_path):
    script = tmp_path / "demo.sh"
    script.write_text(SCRIPT)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(script), *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
        )

    return call


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "0|false|run.py --mem 4G|||"),
        (["--stage", "3", "--force", "true", "a", "b c"], "3|true|run.py --mem 4G|||a|b c|"),
        (["--stage=-1", "--cmd=a  b=c", "x"], "-1|false|a  b=c|||x|"),
        (["--mfcc-config", "c", "--mfcc_config=", "--stage", ""], "|false|run.py --mem 4G|||"),
        (["--cmd", "$(touch evil); `touch evil`", "--", "--stage"], "0|false|$(touch evil); `touch evil`|||--stage|"),
        (["--cmd", "--mem 8G", "", "x"], "0|false|--mem 8G||||x|"),
        (["x", "--stage", "3"], "0|false|run.py --mem 4G|||x|--stage|3|"),
    ],
)
def test_options_set_variables(demo, tmp_path, arguments, expected):
    result = demo(*arguments)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected, "")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stge", "3"], "unknown option --stge; did you mean --stage? (demo.sh --help lists them)"),
        (["--mfcc-confg", "3"], "unknown option --mfcc-confg; did you mean --mfcc-config?"),
        (["--colour", "3"], "unknown option --colour (demo.sh --help lists them)"),
        (["--PATH", "3"], "unknown option --PATH"),
        (["--a[$(touch evil)]", "3"], "unknown option --a[$(touch evil)]"),
        (["--force", "maybe"], "--force takes true or false, not 'maybe'"),
        (["--stage"], "--stage needs a value: --stage VALUE"),
        (["--cmd", ""], "--cmd is empty"),
        (["--config", "nowhere"], "cannot read the config file 'nowhere'; check --config"),
    ],
)
def test_wrong_options_get_one_line(demo, tmp_path, arguments, message):
    result = demo(*arguments)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith(f"demo.sh: error: {message}") and result.stderr.count("\n") == 1
    assert not (tmp_path / "evil").exists()


def test_no_helper_variable_passes_for_an_option(demo):
    for name in ("name", "known", "near", "edits", "line", "value", "number", "i", "j", "row"):
        assert demo(f"--{name}", "1").returncode == 1


def test_help_prints_the_message(demo):
    for option in ("--help", "-h"):
        result = demo("--stage", "1", option)
        assert (result.returncode, result.stdout) == (0, "usage: demo [options] DATA\n100% of it\n")


def test_config_files_are_read_not_run(demo, tmp_path):
    (tmp_path / "my conf").write_text(
        "# comment\n\n--stage=5\ncmd=\"a 'b' $(touch evil)\"  # w\nmfcc_config=conf/x y # n\n  force=true\n--colour=1"
    )
    result = demo("--config", "my conf")
    assert result.stderr == "demo.sh: error: my conf:7: unknown option --colour (demo.sh --help lists them)\n"
    text = (tmp_path / "my conf").read_text().replace("--colour=1", "")
    (tmp_path / "my conf").write_text(text)
    assert demo("--stage", "7", "--config", "my conf").stdout == "7|true|a 'b' $(touch evil)|conf/x y|my conf|"
    assert not (tmp_path / "evil").exists()
    (tmp_path / "my conf").write_text("stage 5\n")
    assert "my conf:1: 'stage 5' is not of the form name=value" in demo("--config=my conf").stderr
