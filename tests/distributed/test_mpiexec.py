"""Real ranks, started by mpiexec: the same results, and no failure that the others wait for."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support import ROOT, write_mnist

pytest.importorskip("mpi4py", exc_type=ImportError)
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
pytestmark = [pytest.mark.deep, pytest.mark.skipif(MPIEXEC is None, reason="needs mpiexec, as PyPI's mpich has it")]
PROGRAM, MACHINES = (str(ROOT / "tests" / "distributed" / name) for name in ("program.py", "machines.py"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TENSORGRAD_FAST": "0"}
LONGEST = 10.0
"""Seconds in which a job ends after a rank has failed."""


def started(ranks, *arguments, program=(PROGRAM,)):
    """The job, in a process group of its own; without ranks one process."""
    command = [sys.executable, *program] if not ranks else [MPIEXEC, "-n", str(ranks), sys.executable, "-m", "mpi4py"]
    command += [*(program if ranks else ()), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True, **pipes)


def finished(job, timeout=60):
    """What it wrote, and its exit code."""
    try:
        return job.communicate(timeout=timeout)[0], job.returncode
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
            job.communicate()


def trained(ranks, output, *arguments):
    text, code = finished(started(ranks, output, *arguments))
    assert code == 0, text
    return dict(np.load(output))


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=tolerance, atol=tolerance, err_msg=name)


def test_the_model_is_that_of_one_process_after_100_steps(tmp_path):
    expected = trained(0, tmp_path / "one.npz")
    assert expected["steps"] == 102
    assert_close(trained(2, tmp_path / "two.npz"), expected, 1e-12)
    first, second = (trained(4, tmp_path / f"{i}.npz", "--deterministic") for i in range(2))
    assert_close(first, expected, 1e-12)
    assert_close(first, second, 0)  # to the last bit


@pytest.mark.parametrize(
    ("ranks", "each", "options", "how"),
    [
        (4, 2, (), "SharedReduction"),
        (4, 2, ("--deterministic",), "Reduction"),
        (3, 2, (), "Reduction"),  # the ranks of a machine are not as many as those of the other
        (4, 3, ("--deterministic",), "Reduction"),
        (2, 1, (), "Reduction"),
        (3, 3, ("--deterministic",), "SharedReduction"),
    ],
)
def test_sums_over_ranks_of_several_machines(ranks, each, options, how):
    text, code = finished(started(ranks, each, *options, program=(MACHINES,)))
    assert code == 0, text
    assert sorted(re.findall(r"<(\w+)>", text)) == [how] * ranks, text


def test_a_job_that_is_killed_as_it_begins_leaves_no_file(tmp_path):
    text, code = finished(started(2, 2, "--shared", tmp_path, "--killed-early", program=(MACHINES,)))
    assert code != 0 and "9" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="counts what is mapped")
def test_memory_of_a_training_that_is_over_can_be_had_again():
    """Optimisers, and compiled functions, are parts of cycles, so it is not given back at once."""
    text, code = finished(started(2, 2, "--little", program=(MACHINES,)))
    assert code == 0, text
    assert re.findall(r"<(\w+)>", text) == ["SharedReduction"] * 4, text


def test_a_rank_that_raises_ends_all_and_is_named(tmp_path):
    text, code = finished(started(3, tmp_path / "x.npz", "--fail", "raise"), timeout=LONGEST + 5)
    assert code != 0
    assert text.count("rank 1 of 3: ValueError: cannot read image 7; all ranks end") == 1


def test_a_rank_that_hangs_ends_all_and_is_named(tmp_path):
    started_at = time.monotonic()
    text, code = finished(started(3, tmp_path / "x.npz", "--fail", "hang"), timeout=30)
    assert code != 0 and time.monotonic() - started_at < 25
    assert len(re.findall(r"rank 1 of 3: has not answered for \d+ s; all ranks end", text)) == 1


def test_an_error_of_all_ranks_is_shown_once(tmp_path):
    text, code = finished(started(3, tmp_path / "x.npz", "--fail", "all"))
    assert code != 0
    assert text.count("ValueError: cannot read image 7") == 1 and "Traceback" in text


def ranks_with(argument):
    """The processes of ranks that were started with an argument, from /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if Path(command[0]).name.startswith("python") and argument in command:
            found.append(int(folder.name))
    return found


def killed(job, argument, wait, choice):
    """Kill a rank after a while; the seconds until the job has ended."""
    while not (ranks := ranks_with(argument)):
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    time.sleep(wait)
    os.kill(choice(ranks), signal.SIGKILL)
    at = time.monotonic()
    text, code = finished(job, timeout=LONGEST)
    assert code != 0 and "9" in text
    return time.monotonic() - at


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")
def test_every_kill_ends_the_job_and_every_resume_reaches_the_undisturbed_result(tmp_path):
    """Of a random rank at a random moment, with another number of ranks each time; 20 with TENSORGRAD_KILLS=20."""
    drawn = random.Random(0)
    expected = trained(2, tmp_path / "undisturbed.npz")
    folder, output = tmp_path / "checkpoints", tmp_path / "found.npz"
    for i in range(int(os.environ.get("TENSORGRAD_KILLS", "4"))):
        job = started(drawn.choice([2, 3]), output, "--folder", folder, "--pause", "0.1")  # 10 s, to outlast 4 kills
        assert killed(job, str(folder), drawn.uniform(0.0, 2.5), drawn.choice) < LONGEST
        if i % 4 == 3:
            assert_close(trained(2, output, "--folder", folder), expected, 1e-10)
            shutil.rmtree(folder)


def test_ctrl_c_on_the_launcher_saves_and_gives_130(tmp_path):
    expected = trained(0, tmp_path / "one.npz")
    folder = tmp_path / "checkpoints"
    job = started(2, tmp_path / "x.npz", "--folder", folder, "--pause", "0.05")
    while not (folder / "last.npz").exists():
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    job.send_signal(signal.SIGINT)
    text, code = finished(job)
    assert code == 130 and text.count("stopping: finishing this step and saving") == 1
    assert_close(trained(2, tmp_path / "y.npz", "--folder", folder), expected, 1e-10)


def test_an_experiment_runs_over_ranks(tmp_path):
    program = ("-m", "experiments.mnist")
    write_mnist(tmp_path / "data", count=100)
    options = ("--fast-dev-run", "--data-dir", tmp_path / "data")
    job = started(2, *options, "--out", tmp_path / "run", program=program)
    text, code = finished(job)
    assert code == 0, text
    assert text.count("test accuracy") == 1 and "2 ranks, " in text
    assert '"ranks": {' in (tmp_path / "run" / "metrics.json").read_text()


def test_a_wrong_option_is_one_sentence(tmp_path):
    text, code = finished(started(2, "--epochs", "0", program=("-m", "experiments.mnist")))
    assert code == 2 and len(text.strip().splitlines()) == 1 and "must be at least 1" in text
