"""The command line that all training scripts share: options, a JSON file of options, errors as one sentence."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from reprlib import repr as shown
from typing import Any, NoReturn

from experiments.runner.experiment import LEAST_STEPS, Experiment


def main(experiment: Experiment, arguments: list[str] | None = None) -> int:
    """Run the script; returns its exit code: 0, 130 or 143 when stopped, 2 with one sentence on what is wrong.

    A training that diverged counts as wrong too, after its report has been written.
    """
    options = parse(experiment, arguments)
    try:
        from experiments.runner.run import run  # not before the options are known to be right: --help is quick
        from tensorgrad.training import Interrupted

        try:
            with reported_errors(f"experiments.{experiment.name}"):
                run(experiment, options)
        except Interrupted as stopped:
            command = ["python", "-m", f"experiments.{experiment.name}", "--out", str(options.out), "--resume"]
            print(f"{stopped}; go on with: {shlex.join(command)}", file=sys.stderr)
            return stopped.exit_code
    except KeyboardInterrupt:
        print("stopped by SIGINT outside the training; what was saved before is intact", file=sys.stderr)
        return 130
    return 0


class reported_errors:
    """Ends the script with code 2 and one sentence for everything that a user can put right."""

    def __init__(self, program: str) -> None:
        self.program = program

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from experiments.runner.records import say
        from tensorgrad._optional import MissingExtra
        from tensorgrad.data import DataError
        from tensorgrad.training import CheckpointError, TrainingError

        if isinstance(error, (DataError, MissingExtra, CheckpointError, TrainingError)):
            sentence = str(error)
        elif isinstance(error, OSError):
            sentence = f"{error.filename or 'input/output'}: {error.strerror or error}"
        else:
            return
        say(f"{self.program}: error: {sentence}", sys.stderr)
        raise SystemExit(2) from None


def parse(experiment: Experiment, arguments: list[str] | None = None) -> argparse.Namespace:
    """The options: from the command line, else the file of ``--config``, else the run to resume, else the defaults."""
    result = parser(experiment)
    options = result.parse_args(arguments)
    config = {} if options.config is None else _read_config(result, options.config)
    result.set_defaults(**config)
    options = _with_folder(experiment, result.parse_args(arguments))
    settings = options.out / "settings.json"
    if options.resume and _exists(result, settings):
        result.set_defaults(**{**_read_config(result, settings), **config})
        options = _with_folder(experiment, result.parse_args(arguments))
    return options


def _exists(result: argparse.ArgumentParser, path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # such as a name that is too long
        result.error(f"{path}: {error.strerror}")


def _with_folder(experiment: Experiment, options: argparse.Namespace) -> argparse.Namespace:
    if options.out is None:
        options.out = Path("runs") / f"{experiment.name}{'-fast-dev-run' if options.fast_dev_run else ''}"
    return options


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of after a page of all options."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog.replace('python -m ', '')}: error: {message}; --help shows all options\n")


def parser(experiment: Experiment) -> argparse.ArgumentParser:
    """The command-line options, the same for every experiment."""
    result = _Parser(prog=f"python -m experiments.{experiment.name}", description=experiment.purpose)
    result.set_defaults(experiment=experiment.name)
    add = result.add_argument
    epochs = f"passes over the data (default: {experiment.epochs}, or as many as make {LEAST_STEPS} steps)"
    add("--data-dir", type=_path, metavar="DIR", help=experiment.data_help)
    out = f"folder for the results, an earlier run there gets another name (default: runs/{experiment.name})"
    add("--out", type=_path, metavar="DIR", help=out)
    add("--config", type=_path, metavar="FILE", help="JSON file of options, such as settings.json of an earlier run")
    add("--epochs", type=_whole(1), metavar="N", help=epochs)
    add("--batch-size", type=_whole(1), default=128, metavar="N", help="images in a step (default: 128)")
    add("--lr", type=_positive, default=experiment.lr, metavar="X", help=f"learning rate (default: {experiment.lr:g})")
    add(
        "--schedule",
        choices=["cosine", "inverse", "step", "plateau", "constant"],
        default="cosine",
        help="of the learning rate: to 0 along a cosine (default), lr / (1 + decay t), a tenth after each third, "
        "halved when validation stalls, or as it is",
    )
    add("--decay", type=_positive, default=1e-3, metavar="X", help="of the inverse schedule (default: 0.001)")
    add("--warm-up", type=_whole(0), default=0, metavar="N", help="steps in which the rate rises from 0 (default: 0)")
    add("--clip", type=_positive, metavar="X", help="largest norm of all gradients together (default: no limit)")
    add("--patience", type=_whole(1), metavar="N", help="stop after N epochs without a better validation accuracy")
    augmented = "with" if experiment.augmentation else "without"
    add(
        "--augment",
        action=argparse.BooleanOptionalAction,
        default=bool(experiment.augmentation),
        help=f"change training images at random (default: {augmented})",
    )
    add(
        "--validation",
        type=_share,
        default=0.1,
        metavar="X",
        help="share of the training images held out to choose the best epoch (default: 0.1)",
    )
    add("--seed", type=_whole(0), default=0, metavar="N", help="of weights, order, dropout and split (default: 0)")
    resume = "go on where the run in the folder stopped, with its settings, or, with --epochs N, beyond its end; "
    resume += "'--resume auto' starts a run where the folder holds none"
    add("--resume", nargs="?", choices=["auto"], default=False, const=True, help=resume)
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compile the training step (default), or run it op by op, with the same results",
    )
    add("--strict", action="store_true", help="fail on an image that cannot be used instead of skipping it")
    add("--quiet", action="store_true", help="print the final line only")
    add("--fast-dev-run", action="store_true", help="everything once, on a few images, to see that it works")
    add("--overfit-batch", action="store_true", help="check: train on one batch until it is right; no files")
    return result


def _whole(least: int) -> Callable[[str], int]:
    """The type of an option: an integer of at least ``least``."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {shown(text)}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    return convert


def _path(text: Any) -> Path:
    """The type of an option: a path that can be printed and written into files."""
    if not isinstance(text, str) or not text:
        raise argparse.ArgumentTypeError(f"must be the name of a file or folder, got {shown(text)}")
    if "\0" in text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be a name of printable characters in UTF-8, got {text!a}; rename it")
    return Path(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {shown(text)}") from None
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be positive and finite, got {text}")
    return value


def _share(text: str) -> float:
    value = _positive(text)
    if value > 0.5:
        raise argparse.ArgumentTypeError(f"must be at most 0.5, got {text}")
    return value


def _read_config(result: argparse.ArgumentParser, path: Path) -> dict[str, Any]:
    """The options in a JSON file, each checked as on the command line; a mistake ends the script with code 2."""
    content = _json(result, path)
    if not isinstance(content, dict):
        result.error(f'{path}: must hold one object of options, such as {{"epochs": 5}}')
    own = result.get_default("experiment")
    if content.pop("experiment", own) != own:
        result.error(f"{path}: these are the settings of another experiment")
    actions = {action.dest: action for action in result._actions if action.dest not in ("help", "config")}
    values: dict[str, Any] = {}
    for name, value in content.items():
        action = actions.get(name.replace("-", "_"))
        if action is None:
            result.error(f"{path}: unknown option {shown(name)}; known: {', '.join(actions)}")
        if action.dest in values:
            result.error(f"{path}: {name} is given twice")
        try:
            values[action.dest] = _converted(action, value)
        except (argparse.ArgumentTypeError, ValueError) as error:
            result.error(f"{path}: {name} {error}")
    return values


class _Twice(Exception):
    """A key that an object in a JSON file has twice."""


def _json(result: argparse.ArgumentParser, path: Path) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len({*names}) < len(names):
            raise _Twice(next(name for i, name in enumerate(names) if name in names[:i]))
        return dict(pairs)

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except OSError as error:
        result.error(f"{path}: {error.strerror}")
    except _Twice as error:
        result.error(f"{path}: {shown(str(error))} is given twice")
    except RecursionError:
        result.error(f"{path}: nested too deeply to be options")
    except ValueError as error:
        result.error(f"{path}: not JSON ({error})")


def _converted(action: argparse.Action, value: Any) -> Any:
    if value is None:
        if action.default is not None:
            raise argparse.ArgumentTypeError("must have a value, got null")
        return None
    if action.nargs == 0 or (isinstance(value, bool) and action.const is True):
        if not isinstance(value, bool):
            raise argparse.ArgumentTypeError(f"must be true or false, got {shown(value)}")
        return value
    if action.choices is not None and value not in action.choices:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(action.choices)}, got {shown(value)}")
    if action.type is _path:
        return _path(value)
    if isinstance(value, (bool, list, dict)):
        raise argparse.ArgumentTypeError(f"must be a number or text, got {shown(value)}")
    return action.type(str(value)) if callable(action.type) else value
