"""utils/run.py: real processes, run as a recipe would."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[2] / "utils" / "run.py"


@pytest.fixture
def run(tmp_path):
    def call(*words, **environment):
        return subprocess.run(
            [sys.executable, str(RUN), *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return call


def start(tmp_path, *words):
    # A shell starts its background jobs deaf to SIGINT, and so the tests where they run as one: env undoes it.
    command = ["env", "--default-signal=INT", sys.executable, str(RUN), *words]
    return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Is this process there, and not a zombie?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def body(log: Path) -> str:
    """What the job itself wrote."""
    lines = log.read_text().splitlines(keepends=True)
    assert lines[3] == "#\n"
    return "".join(line for line in lines[4:] if not line.startswith(("# Accounting", "# Ended")))


def test_log_holds_command_host_times_and_code(run, tmp_path):
    done = run("--num-threads", 3, "deep/er/x.log", "echo", "out;", "echo", "err", ">&2;", "exit", 7)
    assert done.returncode == 1
    lines = (tmp_path / "deep/er/x.log").read_text().splitlines()
    assert lines[0] == "# echo out; echo err >&2; exit 7"
    assert lines[1] == f"# Running on {os.uname().nodename}"
    assert lines[2].startswith("# Started at ")
    assert lines[4:6] == ["out", "err"]
    assert re.fullmatch(r"# Accounting: time=\d+ threads=3", lines[6])
    assert re.fullmatch(r"# Ended \(code 7\) at .+, elapsed time \d+ seconds", lines[7])
    assert len(lines) == 8


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["echo", "a  b"], "a  b\n"),
        (["echo", "a 'b'  c"], "a 'b'  c\n"),
        (["echo", 'a "b"  $HOME'], 'a "b"  $HOME\n'),
        (["echo", 'it\'s "both"  here'], 'it\'s "both"  here\n'),
        (["echo", "it's/wav.scp", "dog's.ark"], "it's/wav.scp dog's.ark\n"),
        (["printf", "'<%s>\\n'", "", "b"], "<>\n<b>\n"),
        (["echo", "two words", "|", "tr", "a-z", "A-Z"], "TWO WORDS\n"),
        (["x=5", "&&", "echo", "$x", "x $x"], "5 x 5\n"),
        (["false", "||", "echo", "saved", ">", "f;", "cat", "<", "f"], "saved\n"),
        (["echo", "ark:cat a.ark |", "ark:| cat"], "ark:cat a.ark | ark:| cat\n"),
        (["cat"], ""),  # a job has no input of its own
    ],
)
def test_words_mean_what_run_pl_makes_of_them(run, tmp_path, words, output):
    done = run("x.log", *words)
    assert done.returncode == 0, done.stderr
    assert body(tmp_path / "x.log") == output


def test_command_of_several_lines_stays_a_comment_in_the_log(run, tmp_path):
    assert run("x.log", "echo", "one\ntwo").returncode == 0
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert lines[:2] == ['# echo "one', '# two"']
    assert lines[5:7] == ["one", "two"]


def test_job_number_stands_in_log_and_command_and_paths_may_hold_spaces(run, tmp_path):
    where = tmp_path / "a dir" / "it's"
    done = run("N=2:4", where / "x N.log", "echo", "N-N", ">", where / "out N")
    assert done.returncode == 0, done.stderr
    assert [(where / f"out {job}").read_text() for job in (2, 3, 4)] == ["2-2\n", "3-3\n", "4-4\n"]
    assert sorted(path.name for path in where.glob("*.log")) == ["x 2.log", "x 3.log", "x 4.log"]


def test_failing_member_of_a_pipe_and_failing_first_command_fail_the_job(run):
    assert run("x.log", "false", "|", "cat").returncode == 1
    assert run("x.log", "false;", "true").returncode == 1
    assert run("x.log", "true", "|", "cat").returncode == 0


def test_failed_jobs_do_not_stop_the_others_and_the_first_is_shown(run, tmp_path):
    words = ["echo", "I", "am", "JOB;", "touch", "done.JOB;", "test", "$((JOB%3))", "-ne", 0]
    done = run("--max-jobs-run=1", "JOB=1:7", "log/x.JOB.log", *words)
    assert done.returncode == 1
    assert len(list(tmp_path.glob("done.*"))) == 7
    first, *shown = done.stderr.splitlines()
    assert first == "run.py: 2 of 7 jobs failed; first log: log/x.3.log"
    assert "  I am 3" in shown
    assert len(shown) <= 10
    assert "(code 1)" in shown[-1]


@pytest.mark.parametrize("order", [["--max-jobs-run", "2", "JOB=1:6"], ["JOB=1:6", "--max-jobs-run", "2"]])
def test_no_more_jobs_run_at_once_than_asked(run, tmp_path, order):
    words = ["touch", "on.JOB;", "ls", "|", "grep", "-c", "^on;", "sleep", 0.15, ";", "rm", "on.JOB"]
    assert run(*order, "x.JOB.log", *words).returncode == 0
    counts = [int(body(tmp_path / f"x.{job}.log")) for job in range(1, 7)]
    assert max(counts) == 2


def test_memory_reservation_limits_jobs(run, tmp_path):
    mebibytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    words = ["touch", "on.JOB;", "ls", "|", "grep", "-c", "^on;", "sleep", 0.1, ";", "rm", "on.JOB"]
    assert run("--mem", f"{mebibytes * 2 // 3}M", "--max-jobs-run", 3, "JOB=1:3", "x.JOB.log", *words).returncode == 0
    assert [body(tmp_path / f"x.{job}.log") for job in (1, 2, 3)] == ["1\n"] * 3
    done = run("--mem", "900T", "x.log", "true")
    assert done.returncode == 0
    assert "more than this machine's" in done.stderr


def test_threads_are_set_for_the_libraries(run, tmp_path):
    names = "$OMP_NUM_THREADS $MKL_NUM_THREADS $OPENBLAS_NUM_THREADS"
    run("--num-threads=4", "x.log", "echo", names, OMP_NUM_THREADS="9")
    assert body(tmp_path / "x.log") == "4 4 4\n"
    run("x.log", "echo", names)
    assert body(tmp_path / "x.log") == "1 1 1\n"


def fake_nvidia_smi(folder: Path, gpus: int) -> str:
    folder.mkdir()
    lines = "\n".join(f"echo 'GPU {n}: Some Name (UUID: GPU-{n}{n})'" for n in range(gpus))
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}\n")
    (folder / "nvidia-smi").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_concurrent_jobs_do_not_share_a_gpu(run, tmp_path):
    path = fake_nvidia_smi(tmp_path / "bin", 4)
    mine = "on.$CUDA_VISIBLE_DEVICES"
    words = ["touch", f"{mine};", "ls", "|", "grep", "^on;", "sleep", "0.15;", "rm", mine]
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [sys.executable, RUN, "--gpu", "2", "JOB=1:4", "x.JOB.log", *words],
        cwd=tmp_path,
        env={**environment, "PATH": path},
    )
    assert done.returncode == 0  # `rm` would fail if two jobs had the same devices
    seen = {line for job in range(1, 5) for line in body(tmp_path / f"x.{job}.log").split()}
    assert seen == {"on.GPU-00,GPU-11", "on.GPU-22,GPU-33"}
    assert run("--gpu", 1, "x.log", "echo", "$CUDA_VISIBLE_DEVICES", CUDA_VISIBLE_DEVICES="5,6").returncode == 0
    assert body(tmp_path / "x.log") == "5\n"


def test_asking_for_a_gpu_that_is_not_there_is_an_error(run, tmp_path):
    done = run("--gpu", 1, "x.log", "touch", "ran", PATH=fake_nvidia_smi(tmp_path / "bin", 0), CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "has 0 usable NVIDIA GPU(s)" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("number", "code", "trap"), [(signal.SIGINT, 130, "true"), (signal.SIGTERM, 143, "trap '' TERM")]
)
def test_signal_ends_every_process_of_every_job(tmp_path, number, code, trap):
    # A job: bash and two children of it, one of which may be deaf to SIGTERM.
    (tmp_path / "child.sh").write_text(f"{trap}; echo $$ > child.$1; while :; do sleep 0.1; done\n")
    words = ["bash", "child.sh", "JOB", "&", "sleep", "1000", "&", "echo", "$!", ">", "sleep.JOB;", "wait"]
    process = start(tmp_path, "--max-jobs-run", "2", "JOB=1:3", "x.JOB.log", *words)
    files = [tmp_path / f"{name}.{job}" for name in ("child", "sleep") for job in (1, 2)]
    wait_for(lambda: all(file.exists() and file.read_text().strip() for file in files))
    pids = [int(file.read_text()) for file in files]
    assert all(map(runs, pids))
    process.send_signal(number)
    assert process.wait(20) == code
    assert number.name in process.stderr.read()
    wait_for(lambda: not any(map(runs, pids)), 3)
    assert not (tmp_path / "x.3.log").exists()  # the waiting job was not begun
    assert "# Ended (code " in (tmp_path / "x.1.log").read_text()


def test_jobs_do_not_outlive_a_killed_runner(tmp_path):
    process = start(tmp_path, "x.log", "sleep", "1000", "&", "echo", "$!", ">", "pid;", "wait")
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    pid = int((tmp_path / "pid").read_text())
    process.kill()
    process.wait(5)
    wait_for(lambda: not runs(pid), 5)
    process.stderr.read()  # returns only when no process holds it open


def test_log_can_be_read_while_the_job_runs(tmp_path):
    process = start(
        tmp_path, "x.log", "echo", "begun;", "while", "[", "!", "-e", "go", "];", "do", "sleep", "0.02;", "done"
    )
    log = tmp_path / "x.log"
    wait_for(lambda: log.exists() and "begun" in log.read_text())
    assert "# Ended" not in log.read_text()
    (tmp_path / "go").touch()
    assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "LOG COMMAND"),
        (["x.log"], "LOG COMMAND"),
        (["--threads", "2", "x.log", "true"], "unknown option --threads"),
        (["--mem", "4", "x.log", "true"], "with its unit"),
        (["--num-threads", "0", "x.log", "true"], "at least 1"),
        (["--gpu", "one", "x.log", "true"], "whole number"),
        (["--max-jobs-run"], "needs a value"),
        (["JOB=0:3", "x.JOB.log", "true"], "1 <= FIRST <= LAST"),
        (["JOB=4:3", "x.JOB.log", "true"], "1 <= FIRST <= LAST"),
        (["JOB=1:", "x.JOB.log", "true"], "the form is JOB=1:N"),
        (["JOB=1:2", "x.log", "true"], "put JOB into its name"),
        (["x.log", "echo", "'a"], "bash cannot parse the command"),
    ],
)
def test_bad_calling_form_is_one_line(run, tmp_path, words, message):
    done = run(*words)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("run.py: error: ")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_log_that_cannot_be_written_is_one_line(run, tmp_path):
    (tmp_path / "file").touch()
    done = run("file/x.log", "true")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "file" in done.stderr


def test_progress_bar_on_a_terminal_only(run, tmp_path):
    assert run("JOB=1:3", "x.JOB.log", "true").stderr == ""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen([sys.executable, RUN, "JOB=1:3", "x.JOB.log", "true"], cwd=tmp_path, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(10) == 0
    assert b"3/3" in shown


def test_help_and_long_command(run, tmp_path):
    done = run("--help")
    assert done.returncode == 0
    assert all(option in done.stdout for option in ("--max-jobs-run", "--num-threads", "--mem", "--gpu"))
    assert run("x.log", "printf", "'%s\\n'", *(f"file{n}" for n in range(30000)), "|", "wc", "-l").returncode == 0
    assert body(tmp_path / "x.log").strip() == "30000"  # 280 kB, more than one argument of a program may hold


def test_cmd_sh_names_a_runner_for_each_kind_of_job_and_keeps_the_users(tmp_path):
    script = f'set -eu; . "{RUN.parents[1]}/cmd.sh"; printf "%s\\n" "$feature_cmd" "$extract_cmd" "$train_cmd"'

    def sourced(gpus: int) -> list[str]:
        path = fake_nvidia_smi(tmp_path / f"bin{gpus}", gpus)
        environment = {"PATH": path, "feature_cmd": "run.py --max-jobs-run 3"}
        return subprocess.check_output(["bash", "-c", script], env=environment, text=True).splitlines()

    assert sourced(1) == ["run.py --max-jobs-run 3", "run.py --mem 2G --gpu 1", "run.py --gpu 1"]
    assert sourced(0)[1:] == ["run.py --mem 2G", "run.py"]
