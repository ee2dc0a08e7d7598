"""The report of a run: what its page shows."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..report import class_words, markup, save_page
from ..report.charts import percent
from ..report.tiles import RAMP
from .findings import classes, first_layer, graph, images, layers, learning
from .folder import REPORT
from .neighbours import runs_beside
from .preparation import Prepared
from .results import Result
from .wording import duration, environment_in_words, phases_in_words, settings_in_words

NOT_REPEATED = ("config", "resume", "quiet")
"""Options that the command to repeat a run leaves out."""

REPEAT = "To change some of the options, pass settings.json of this folder as --config, and those behind it."

CONTENTS = [
    ("learning", "Learning"),
    ("classes", "Classes"),
    ("calibration", "Calibration"),
    ("mistakes", "Mistakes"),
    ("examples", "Examples"),
    ("weights", "First layer"),
    ("layers", "Inside the layers"),
    ("network", "Network"),
    ("settings", "Settings"),
    ("repeat", "Repeat"),
]
"""The sections of the page."""


def write_report(result: Result, seconds: dict[str, float]) -> None:
    """Write ``report.html`` into the run's folder: one file that needs nothing besides.

    ``seconds`` says how long each phase of the run took.
    """
    prepared = result.prepared
    dataset = prepared.dataset
    names = class_words(dataset.classes)
    content = {
        "contents": CONTENTS,
        "names": names,
        "ramp": RAMP,
        **_summary(result),
        **learning(result),
        **classes(result, names),
        **images(prepared, names),
        "units": first_layer(prepared),
        "layers": layers(prepared),
        "network": {"lines": repr(prepared.model).splitlines(), "svg": markup(graph(prepared))},
        **_circumstances(result, seconds),
    }
    save_page(prepared.options.out / REPORT, content)


def _summary(result: Result) -> dict[str, Any]:
    """The head of the page."""
    prepared, metrics = result.prepared, result.metrics
    dataset, experiment = prepared.dataset, prepared.experiment
    right, count = round(metrics["test_accuracy"] * len(dataset.test_labels)), len(dataset.test_labels)
    kind = "convolutional network" if prepared.options.model == "cnn" else "network of dense layers"
    lead = (
        f"A {kind} tells {len(dataset.classes)} classes apart and is right on {right:,} of {count:,} test images, on "
        "which it was neither trained nor chosen. The epoch tested is the best one on "
        f"{len(prepared.validation[1]):,} validation images."
    )
    done, planned = metrics["epochs"], prepared.epochs
    of = f"of {done:,}" + (f", {planned:,} planned" if done < planned else "")
    return {
        "title": _title(prepared),
        "above": f"tensorgrad, {experiment.name}, {metrics.get('date', '')}",
        "lead": lead,
        "warnings": _warnings(result),
        "tiles": [
            ("Test accuracy", percent(metrics["test_accuracy"]), f"{right:,} of {count:,} images"),
            ("Validation accuracy", percent(metrics["validation_accuracy"]), "of the best epoch"),
            ("Best epoch", f"{metrics['best_epoch']:,}", of),
            ("Parameters", f"{metrics['parameters']:,}", "numbers that are trained"),
            ("Training", duration(metrics["seconds"]), "without loading and testing"),
        ],
    }


def _title(prepared: Prepared) -> str:
    experiment, data = prepared.experiment, prepared.dataset.name
    is_named_after = experiment.takes_any or experiment.name.lower() in data.lower()
    return data if is_named_after else f"{experiment.name}: {data}"


def _warnings(result: Result) -> list[str]:
    """What a reader should know before all else."""
    prepared, metrics = result.prepared, result.metrics
    done = f"after {metrics['epochs']:,} of {prepared.epochs:,} epochs"
    found = []
    if metrics.get("diverged"):
        found.append(
            "In this run the training diverged: its losses are far above those that it began with. Try a lower rate, "
            "--lr."
        )
    if metrics["stopped"]:
        found.append(f"The run was {metrics['stopped']} {done}; with --resume it goes on.")
    elif metrics["epochs"] < prepared.epochs and not metrics.get("diverged"):
        monitor = prepared.options.monitor.replace("_", " ")
        found.append(f"The training ended {done}, as the {monitor} no longer got better.")
    if prepared.options.fast_dev_run:
        found.append("This was a dry run on a few images: its figures mean nothing.")
    return found


def _circumstances(result: Result, seconds: dict[str, float]) -> dict[str, Any]:
    """How the run was made, how to make it again, and other runs."""
    prepared = result.prepared
    environment = environment_in_words(result.metrics["environment"])
    others = runs_beside(prepared.options.out, str(prepared.settings.get("data", "")))
    return {
        "settings": [
            ("Settings", settings_in_words(prepared.settings)),
            ("Environment and time", [*environment, *phases_in_words(seconds)]),
        ],
        "command": _command(prepared),
        "repeat_note": REPEAT,
        "runs": [
            {
                "name": each.name,
                "address": each.address,
                "date": each.record.date,
                "progress": each.record.progress,
                "accuracy": percent(each.record.test_accuracy),
                "state": each.record.state,
            }
            for each in others
        ],
    }


def _command(prepared: Prepared) -> str:
    """The command that repeats the run, into a folder next to its own, without options that do not affect results."""
    again = replace(prepared.options, out=Path(f"{os.path.abspath(prepared.options.out)}-again"))
    parts = ["python", "-m", prepared.experiment.module]
    return " ".join(map(_quoted, [*parts, *again.as_arguments(*NOT_REPEATED)]))


def _quoted(part: str) -> str:
    """An argument for the shell; what cannot be seen is written as its bytes, as bash and zsh read it."""
    return shlex.quote(part) if part.isprintable() else f"$'{''.join(map(_escaped, part))}'"


def _escaped(character: str) -> str:
    if character.isprintable() and character not in "'\\":
        return character
    is_byte = "\udc80" <= character <= "\udcff"  # of a name that is not UTF-8
    encoded = character.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)
