"""What the user of run.py asks for: the command line, read without knowing where the jobs will run."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from typing import NamedTuple

HELP = """usage: run.py [options] [JOB=1:N] LOG COMMAND...
   e.g. run.py --mem 4G JOB=1:8 exp/log/mfcc.JOB.log vouch compute-mfcc-feats scp:JOB/wav.scp ark:JOB.ark

Runs COMMAND in bash, its output in LOG. With JOB=1:N (any name will do) it runs N jobs, with the job's
number in place of the name in LOG and COMMAND. Every job runs to its end; if one failed, run.py shows the end
of the first failed job's log and exits 1. Options may stand before or after JOB=1:N, as --name VALUE or
--name=VALUE.

  --max-jobs-run N   most jobs at once (default: cores / num-threads; with --gpu: GPUs / gpu)
  --num-threads N    threads of a job: sets OMP_NUM_THREADS, MKL_NUM_THREADS, OPENBLAS_NUM_THREADS (1)
  --mem SIZE         memory a job needs, as 500M or 4G: no more jobs run at once than fit into the machine's
                     memory (a reservation, not a limit on the job; default: not counted)
  --gpu N            GPUs a job needs: sets CUDA_VISIBLE_DEVICES so that no two jobs of this call share one
                     (0: CUDA_VISIBLE_DEVICES stays as it is)

COMMAND follows the rule of Kaldi's run.pl: a word without blanks goes to bash as it is (so '|', '>', '&&'
and $x work when quoted from the calling shell), a word with blanks goes as one argument, in which bash still
expands $x unless it holds a double quote. Beyond run.pl, an apostrophe between two letters (it's/wav.scp)
that nothing closes is a letter. Unlike run.pl, a job runs under `set -e -o pipefail`: it fails when any
member of a pipe fails."""


class UsageError(Exception):
    """A call that cannot be run: one line with the reason and the fix."""


class Request(NamedTuple):
    """What the user asked for. log and command hold the name (JOB) still; name is "" without JOB=1:N."""

    log: str
    command: str
    name: str = ""
    first: int = 1
    last: int = 1
    max_jobs_run: int = 0  # 0: as many as fit
    num_threads: int = 1
    mem: int = 0  # bytes; 0: not counted
    gpu: int = 0

    def fill(self, text: str, job: int) -> str:
        """Put a job's number in place of the name."""
        return text.replace(self.name, str(job)) if self.name else text


def parse(argv: list[str]) -> Request:
    """Read the command line; raises UsageError."""
    converters: dict[str, Callable[[str, str], int]] = {
        "max-jobs-run": _positive,
        "num-threads": _positive,
        "mem": _bytes,
        "gpu": _natural,
    }
    values: dict[str, int] = {}
    words, name, first, last = list(argv), "", 1, 1
    while words:
        jobs = re.fullmatch(r"([A-Za-z_]\w*)=(\d+)(?::(\d+))?", words[0])
        if words[0].startswith("--"):
            option, equals, value = words.pop(0)[2:].partition("=")
            option = option.replace("_", "-")
            if option not in converters:
                raise UsageError(f"unknown option --{option}; there are --{', --'.join(converters)} (run.py --help)")
            if not equals:
                if not words:
                    raise UsageError(f"option --{option} needs a value")
                value = words.pop(0)
            values[option.replace("-", "_")] = converters[option](option, value)
        elif jobs and not name:
            name, first, last = jobs[1], int(jobs[2]), int(jobs[3] or jobs[2])
            if not 1 <= first <= last:
                raise UsageError(f"{words[0]}: want {name}=FIRST:LAST with 1 <= FIRST <= LAST")
            words.pop(0)
        else:
            break
    if len(words) < 2:
        raise UsageError("want [options] [JOB=1:N] LOG COMMAND...; see run.py --help")
    log = words.pop(0)
    if re.fullmatch(r"[A-Za-z_]\w*=.*:.*", log):
        raise UsageError(f"'{log}' stands where the log file is expected; the form is JOB=1:N with two numbers")
    if last > first and name not in log:
        raise UsageError(f"{last - first + 1} jobs would write into the one log {log}; put {name} into its name")
    return Request(log, bash_command(words), name, first, last, **values)


def _natural(option: str, text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"--{option} takes a whole number, not '{text}'")
    return int(text)


def _positive(option: str, text: str) -> int:
    number = _natural(option, text)
    if not number:
        raise UsageError(f"--{option} takes a number of at least 1")
    return number


def _bytes(option: str, text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])i?B?", text, re.IGNORECASE)
    if not found and text != "0":
        raise UsageError(f"--{option} takes a size with its unit, as 500M or 4G, not '{text}'")
    return int(float(found[1]) * 1024 ** ("KMGT".index(found[2].upper()) + 1)) if found else 0


def bash_command(words: list[str]) -> str:
    """Join words to a bash command by run.pl's rule (HELP). Raises UsageError when bash cannot parse it."""
    command = " ".join(_quote(word) for word in words)
    check = subprocess.run(["bash", "-n"], input=bash_script(command), capture_output=True, text=True)
    if check.returncode:
        reason = (check.stderr.strip().splitlines() or ["?"])[0].split(": ", 2)[-1]
        raise UsageError(f"bash cannot parse the command: {reason}; a word without blanks must be valid bash by itself")
    return command


def _quote(word: str) -> str:
    if word and not re.search(r"\s", word):
        try:
            shlex.split(word)
        except ValueError:  # a quote that nothing closes; one inside a name is meant as a letter
            return re.sub(r"(?<=\w)'(?=\w)", r"\\'", word)
        return word
    if '"' in word:
        return "'" + word.replace("'", "'\\''") + "'"
    return f'"{word}"'


def bash_script(command: str) -> str:
    return f"(\n{command}\n) </dev/null\n"
