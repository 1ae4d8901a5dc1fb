"""The `vouch` command as a whole, and Kaldi's option form."""

import subprocess
import sys

import pytest

from vouch.cli import TOOLS, main
from vouch.cli.options import ToolOptions
from vouch.errors import VouchError

HELP_OF_ALL = """
import contextlib, io, sys
from vouch.cli import TOOLS, main
for tools in TOOLS.values():
    for tool in tools:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([tool, "--help"])
        text = out.getvalue()
        assert text.startswith("usage: ") and tool in text and "--config" in text, (tool, text)
heavy = {"numpy", "scipy", "torch", "soundfile", "kaldiio", "yaml", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_of_every_tool_needs_no_heavy_import():
    subprocess.run([sys.executable, "-c", HELP_OF_ALL], check=True)


def test_overview_lists_every_tool(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(tool in text for tools in TOOLS.values() for tool in tools)


def test_an_unknown_tool_names_the_nearest(capsys):
    assert main(["compute-mfc-feats"]) == 1
    assert "did you mean compute-mfcc-feats?" in capsys.readouterr().err


def _options() -> ToolOptions:
    options = ToolOptions("tool", "[options] <in> <out>", "About.", (1, 2))
    options.add("num-ceps", 13, "how many")
    options.add("dither", 1.0, "how much")
    options.add("scale", 0.5, "a float of Kaldi", single=True)
    options.add("snip-edges", True, "or not")
    options.add("window-type", "povey", "which", choices=("povey", "hamming"))
    return options


def test_forms_of_options():
    words = ["--num_ceps=20", "--Dither", "0", "--snip-edges=false", "--scale=0.3", "--", "--in", "out"]
    opts, args = _options().parse(words)
    assert (opts.num_ceps, opts.dither, opts.snip_edges, opts.window_type) == (20, 0.0, False, "povey")
    assert opts.scale == pytest.approx(0.3) and opts.scale != 0.3  # rounded to float32
    assert args == ["--in", "out"]


def test_the_command_line_wins_over_the_config_file(tmp_path, capsys):
    (tmp_path / "c.conf").write_text("# features\n--num-ceps=20\n\n--snip-edges   # a flag\n--dither = 0.5\n")
    options = _options()
    opts, _ = options.parse(["--num-ceps=7", f"--config={tmp_path}/c.conf", "x"])
    assert (opts.num_ceps, opts.dither, opts.snip_edges) == (7, 0.5, True)
    assert options.given("dither") and not options.given("window-type")
    assert "--num-ceps=7" in capsys.readouterr().err  # the command line is echoed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num-cep=3", "x"], r"on the command line: unknown option --num-cep; did you mean --num-ceps\?"),
        (["--num-ceps=3.5", "x"], r"--num-ceps takes a whole number, not '3.5'"),
        (["--dither=loud", "x"], r"--dither takes a number, not 'loud'"),
        (["--snip-edges=maybe", "x"], r"--snip-edges takes true or false, not 'maybe'"),
        (["--window-type=hann", "x"], r"--window-type takes one of povey, hamming, not 'hann'"),
        (["--num-ceps"], r"option --num-ceps needs a value"),
        ([], r"got 0 arguments, want 1 to 2"),
        (["a", "b", "c"], r"got 3 arguments, want 1 to 2"),
        (["--config=/no/such.conf", "x"], r"cannot read the config file /no/such.conf"),
    ],
)
def test_mistakes_on_the_command_line(words, message):
    with pytest.raises(VouchError, match=message):
        _options().parse(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num-ceps=3\n", r"c.conf:1: 'num-ceps=3' is not of the form"),
        ("\n--nope=1\n", r"c.conf:2: unknown option --nope"),
        ("--config=d.conf\n", r"c.conf:1: a config file cannot name another one"),
    ],
)
def test_mistakes_in_a_config_file(tmp_path, text, message):
    (tmp_path / "c.conf").write_text(text)
    with pytest.raises(VouchError, match=message):
        _options().parse([f"--config={tmp_path}/c.conf", "x"])
