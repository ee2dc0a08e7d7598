"""The options of all experiments.

Each is declared once, in :class:`Options`; a new one is a new line there. The command line and its ``--help``, JSON
files of options, what is saved with a run, what must be the same where a run is resumed, and the command that repeats a
run all follow from the declaration. What the option does is written where it is used, as ``options.name``: in
``preparation.py`` for data, network and optimiser, in ``training.py`` for the training.
"""

# ruff: noqa: RUF009 (what is called there declares fields)
from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from reprlib import repr as shown
from typing import Any, Union

from ..optim import OPTIMISERS
from .arguments import Parser, below_one, not_negative, path, positive, rate, share, whole, widths
from .config import read_config
from .errors import UsageError
from .experiment import Experiment
from .folder import SETTINGS

FOLDER = "folder"
"""``--data-dir`` where it is given without that."""

LEAST_STEPS = 600
"""By default a small set is passed over more often: that many steps are needed to learn anything."""


class Role(Enum):
    """What an option is about."""

    RESULT = "changes what is computed: it must be the same where a run is resumed"
    LENGTH = "says when a run ends: a run may be resumed beyond its end"
    MANNER = "saved with the run, but does not change what is computed"
    CALL = "about this call alone, and not saved"


PerExperiment = Union[Any, Callable[[Experiment], Any]]
"""A value, or how it follows from the experiment."""


@dataclass(frozen=True)
class Declaration:
    """How an option is given: the keyword arguments of ``argparse``, and its role."""

    help: PerExperiment
    role: Role
    default: PerExperiment
    keywords: dict[str, Any]

    def checked(self, value: Any) -> Any:
        """A value from a JSON file or from Python, as the command line would have made it of text."""
        if value is None and self.default is None:
            return None
        kind, choices = self.keywords.get("type"), self.keywords.get("choices")
        if value is None:
            raise argparse.ArgumentTypeError("must have a value, got null")
        if "action" in self.keywords or (isinstance(value, bool) and self.keywords.get("const") is True):
            if not isinstance(value, bool):
                raise argparse.ArgumentTypeError(f"must be true or false, got {shown(value)}")
            return value
        if choices is not None and value not in choices:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(choices)}, got {shown(value)}")
        if kind is path:
            return value if isinstance(value, Path) else path(value)
        if isinstance(value, (bool, list, dict)):
            raise argparse.ArgumentTypeError(f"must be a number or text, got {shown(value)}")
        return value if kind is None else kind(str(value))

    def add_to(self, parser: argparse.ArgumentParser, name: str, experiment: Experiment) -> None:
        """Let the parser read this option."""
        help, default = (value(experiment) if callable(value) else value for value in (self.help, self.default))
        parser.add_argument(f"--{name.replace('_', '-')}", help=help, default=default, **self.keywords)


def value(help: PerExperiment, role: Role = Role.RESULT, default: PerExperiment = None, **keywords: Any) -> Any:
    """Declare an option that has a value."""
    return field(metadata={"declaration": Declaration(help, role, default, keywords)})


def _flag(help: str, role: Role = Role.RESULT) -> Any:
    return value(help, role, False, action="store_true")


def _switch(help: PerExperiment, role: Role = Role.RESULT, default: PerExperiment = False) -> Any:
    return value(help, role, default, action=argparse.BooleanOptionalAction)


def _change(what: str, name: str, **keywords: Any) -> Any:
    """How far training images are changed at most."""
    return value(
        lambda experiment: f"largest {what} (default: {experiment.default(f'augmentation.{name}')})",
        default=lambda experiment: getattr(experiment.recipe.augmentation, name),
        metavar="X",
        **keywords,
    )


@dataclass(frozen=True)
class Options:
    """What a user chose, or the defaults of the experiment."""

    data_dir: Path | None = value(lambda experiment: experiment.data_help, Role.MANNER, type=path, metavar="DIR")
    out: Path = value(
        lambda experiment: (
            "folder for the results, an earlier run there gets another name "
            f"(default: {experiment.folder(Path('DIR') if experiment.takes_any else None)})"
        ),
        Role.CALL,
        type=path,
        metavar="DIR",
    )
    config: Path | None = value(
        "JSON file of options, such as settings.json of an earlier run", Role.CALL, type=path, metavar="FILE"
    )
    model: str = value(
        "the network: hidden layers (dense), or blocks of convolution, normalisation, ReLU and pooling (cnn) "
        "(default: dense)",
        default=lambda experiment: experiment.model,
        choices=["dense", "cnn"],
    )
    hidden: str = value(
        lambda experiment: (
            f"widths of the hidden layers, or channels of the blocks (default: {experiment.default('hidden')})"
        ),
        default=lambda experiment: ",".join(map(str, experiment.recipe.hidden)),
        type=widths,
        metavar="N,...",
    )
    dropout: float = value(
        lambda experiment: f"rate of dropout (default: {experiment.default('dropout')})",
        default=lambda experiment: experiment.recipe.dropout,
        type=rate,
        metavar="X",
    )
    l2: float = value(
        lambda experiment: (
            "strength of the L2 penalty of weights, with hidden layers of those of the first "
            f"(default: {experiment.default('l2')})"
        ),
        default=lambda experiment: experiment.recipe.l2,
        type=not_negative,
        metavar="X",
    )
    epochs: int | None = value(
        lambda experiment: (
            f"passes over the data (default: {experiment.default('epochs')}, or as many as make {LEAST_STEPS} steps)"
        ),
        Role.LENGTH,
        type=whole(1),
        metavar="N",
    )
    batch_size: int = value("images in a step (default: 128)", default=128, type=whole(1), metavar="N")
    optimiser: str = value(
        "what makes the steps (default: adam)",
        default="adam",
        type=str.lower,
        choices=list(OPTIMISERS),
    )
    momentum: float | None = value("share of the earlier steps, for sgd and rmsprop", type=below_one, metavar="X")
    weight_decay: float | None = value(
        "of adamw and lion times the rate off the weights, else added to the gradients times the weights",
        type=not_negative,
        metavar="X",
    )
    lr: float = value(
        lambda experiment: f"learning rate (default: {experiment.default('lr')})",
        default=lambda experiment: experiment.recipe.lr,
        type=positive,
        metavar="X",
    )
    schedule: str = value(
        "of the learning rate: to 0 along a cosine (default), lr / (1 + decay t), a tenth after each third, "
        "halved when validation stalls, or as it is",
        default="cosine",
        choices=["cosine", "inverse", "step", "plateau", "constant"],
    )
    decay: float = value("of the inverse schedule (default: 0.001)", default=1e-3, type=positive, metavar="X")
    warm_up: int = value("steps in which the rate rises from 0 (default: 0)", default=0, type=whole(0), metavar="N")
    clip: float | None = value("largest norm of all gradients together (default: no limit)", type=positive, metavar="X")
    monitor: str = value(
        "what chooses the best epoch (default: validation_accuracy)",
        default="validation_accuracy",
        choices=["validation_accuracy", "validation_loss"],
    )
    patience: int | None = value(
        "stop after N epochs in which what is monitored got no better", Role.LENGTH, type=whole(1), metavar="N"
    )
    augment: bool = _switch(
        lambda experiment: (
            f"change training images at random (default: {'with' if experiment.augments else 'without'})"
        ),
        default=lambda experiment: experiment.augments,
    )
    flip: bool = _switch(
        lambda experiment: f"mirror half of them left and right (default: {experiment.default('augmentation.flip')})",
        default=lambda experiment: experiment.recipe.augmentation.flip,
    )
    shift: float = _change("shift, in pixels", "shift", type=not_negative)
    rotation: float = _change("rotation, in degrees", "rotation", type=not_negative)
    zoom: float = _change("relative change of size", "zoom", type=rate)
    cutout: int = _change("side of a square that is cut out, in pixels", "cutout", type=whole(0))
    validation: float = value(
        "share of the training images held out to choose the best epoch (default: 0.1)",
        default=0.1,
        type=share,
        metavar="X",
    )
    seed: int = value(
        "of split, weights, dropout, order and augmentation, each a stream of its own (default: 0)",
        default=0,
        type=whole(0),
        metavar="N",
    )
    resume: bool | str = value(
        "continue where the run in the folder stopped, with its settings, or, with --epochs N, beyond its end; "
        "'--resume auto' starts a run where the folder holds none",
        Role.CALL,
        default=False,
        nargs="?",
        choices=["auto"],
        const=True,
    )
    compile: bool = _switch(
        "compile the training step (default), or run it op by op, with the same results", Role.MANNER, default=True
    )
    workers: int = value(
        "threads that change the training images ahead of the step; with the same results (default: 0, between steps)",
        Role.MANNER,
        default=0,
        type=whole(0),
        metavar="N",
    )
    deterministic: bool = _flag(
        "over several ranks (mpiexec): add up gradients in their order, so that runs are equal to the last bit",
        Role.MANNER,
    )
    tensorboard: bool = _switch("write curves for TensorBoard into the folder of the run", Role.MANNER)
    strict: bool = _flag("fail on an image that cannot be used instead of skipping it", Role.MANNER)
    quiet: bool = _flag("print the final line only", Role.MANNER)
    fast_dev_run: bool = _flag("everything once, on a few images, to see that it works")
    overfit_batch: bool = _flag("check: train on one batch until it is right; no files")

    def __post_init__(self) -> None:
        for name, declaration in declarations(type(self)).items():
            try:
                declaration.checked(getattr(self, name))
            except argparse.ArgumentTypeError as error:
                raise UsageError(f"Options: {name} {error}") from None

    def of_role(self, *roles: Role) -> dict[str, Any]:
        """The options of these roles and their values, in the order of their declaration."""
        return {name: getattr(self, name) for name, each in declarations(type(self)).items() if each.role in roles}

    def saved(self) -> dict[str, Any]:
        """The options as JSON holds them: those that repeat the run, wherever its folder is."""
        values = self.of_role(Role.RESULT, Role.LENGTH, Role.MANNER)
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

    def as_arguments(self, *left_out: str) -> list[str]:
        """The command line that gives these options, each in full; paths absolute, so that it holds anywhere."""
        arguments = []
        for name, declaration in declarations(type(self)).items():
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if value is None or name in left_out:
                continue
            if value is True:
                arguments.append(option)
            elif value is not False:
                text = os.path.abspath(value) if isinstance(value, Path) else str(value)
                arguments += [f"{option}={text}"] if text.startswith("-") else [option, text]
            elif declaration.keywords.get("action") is argparse.BooleanOptionalAction:
                arguments.append(f"--no-{option[2:]}")
        return arguments


def declarations(kind: type[Options]) -> dict[str, Declaration]:
    """Of each option, by its name."""
    return {each.name: each.metadata["declaration"] for each in fields(kind)}


def options_of(experiment: Experiment) -> type[Options]:
    """The class of its options."""
    return experiment.options or Options


def parse(experiment: Experiment, arguments: list[str] | None = None) -> Options:
    """The options: from the command line, else the file of ``--config``, else the run to resume, else the defaults.

    Whatever is wrong ends the script with code 2 and one sentence.
    """
    try:
        config = _from_file(experiment, _parsed(experiment, arguments, {}).config)
        options = _parsed(experiment, arguments, config)
        settings = options.out / SETTINGS
        if options.resume and settings.exists():
            options = _parsed(experiment, arguments, {**_from_file(experiment, settings), **config})
        return options_of(experiment)(**vars(options))
    except UsageError as error:
        _parser(experiment).error(str(error))
    except OSError as error:  # such as a name that is too long
        _parser(experiment).error(f"{error.filename}: {error.strerror}")


def _parser(experiment: Experiment) -> Parser:
    parser = Parser(prog=f"python -m {experiment.module}", description=experiment.purpose)
    if experiment.takes_any:
        parser.add_argument(FOLDER, nargs="?", type=path, metavar="DIR", help=experiment.data_help)
    for name, declaration in declarations(options_of(experiment)).items():
        declaration.add_to(parser, name, experiment)
    return parser


def _parsed(experiment: Experiment, arguments: list[str] | None, values: dict[str, Any]) -> argparse.Namespace:
    """The options on the command line, else those ``values``, else the defaults of the network that is chosen so."""
    parser = _parser(experiment)
    parser.set_defaults(**values)
    options = parser.parse_args(arguments)
    if options.model != experiment.model:
        return _parsed(experiment.with_model(options.model), arguments, values)
    if (folder := vars(options).pop(FOLDER, None)) is not None:
        options.data_dir = folder
    if options.out is None:
        folder = experiment.folder(options.data_dir)
        options.out = folder.with_name(f"{folder.name}-fast-dev-run") if options.fast_dev_run else folder
    return options


def _from_file(experiment: Experiment, file: Path | None) -> dict[str, Any]:
    """The options in a JSON file, each checked as on the command line."""
    content = {} if file is None else read_config(file)
    if content.pop("experiment", experiment.name) != experiment.name:
        raise UsageError(f"{file}: these are the settings of another experiment")
    known = {name: each for name, each in declarations(options_of(experiment)).items() if name != "config"}
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            raise UsageError(f"{file}: unknown option {shown(key)}; known: {', '.join(known)}")
        if name in values:
            raise UsageError(f"{file}: {key} is given twice")
        try:
            values[name] = known[name].checked(value)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{file}: {key} {error}") from None
    return values
