"""The script of an experiment."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout

from .._optional import MissingExtra
from ..distributed import current
from ..training import Interrupted
from .errors import UsageError, reported_errors
from .experiment import Experiment
from .options import parse
from .run import run


def main(experiment: Experiment, arguments: list[str] | None = None) -> int:
    """Run the script; returns its exit code: 0, 130 or 143 when stopped, 2 with one sentence on what is wrong.

    A training that diverged counts as wrong too, after its report has been written.

    Raises
    ------
    UsageError
        If it is not an experiment, or the arguments are not a list.
    """
    if not isinstance(experiment, Experiment):
        raise UsageError(f"main: takes an Experiment, such as experiments.mnist.EXPERIMENT, got {experiment!r}")
    if isinstance(arguments, str):
        raise UsageError(f"main: arguments must be a list of text, such as ['--epochs', '5'], got {arguments!r}")
    try:
        ranks = current()
    except (MissingExtra, RuntimeError) as error:  # of the launch
        print(f"{experiment.module}: error: {error}", file=sys.stderr)
        return 2
    if ranks.size == 1:
        return _run(experiment, arguments)
    with ExitStack() as silence:
        if not ranks.is_first:
            nowhere = silence.enter_context(open(os.devnull, "w"))
            silence.enter_context(redirect_stdout(nowhere))
            silence.enter_context(redirect_stderr(nowhere))
        try:
            code = _run(experiment, arguments)
        except SystemExit:
            ranks.leave()
            raise
        ranks.leave()
        return code


def _run(experiment: Experiment, arguments: list[str] | None) -> int:
    options = parse(experiment, arguments)
    try:
        with reported_errors(experiment.module):
            run(experiment, options)
    except Interrupted as stopped:
        ranks = current().size
        launcher = [] if ranks == 1 else ["mpiexec", "-n", str(ranks)]
        under = [] if ranks == 1 else ["-m", "mpi4py"]
        command = [*launcher, "python", *under, "-m", experiment.module, "--out", str(options.out), "--resume"]
        print(f"{stopped}; continue with: {shlex.join(command)}", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        print("stopped by SIGINT outside the training; what was saved before is intact", file=sys.stderr)
        return 130
    return 0
