"""The report of a whole run."""

import dataclasses
import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from experiments.mnist import EXPERIMENT
from tensorgrad.data import Augmentation, Dataset, Standardisation
from tensorgrad.runner.command import main
from tensorgrad.runner.options import parse
from tensorgrad.runner.preparation import Prepared
from tensorgrad.runner.report import write_report
from tensorgrad.runner.results import Result
from tensorgrad.training import Epoch, RandomStreams
from tests.support import NASTY, ROOT, examples, needs_chromium, shown_in_chromium, write_mnist

HISTORY = [Epoch(1, 1.0, 0.5, 1.1, 0.4, 0.01, 0.1), Epoch(2, 0.9, 0.6, 1.0, 0.5, 0.01, 0.1)]


def dense(rng, classes):
    hidden = tg.nn.Flatten(), tg.nn.Dense(784, 3, rng), tg.nn.ReLU(), tg.nn.Dropout(0.1, rng)
    return tg.nn.Sequential(*hidden, tg.nn.Dense(3, classes, rng))


def convolutional(rng, classes):
    return tg.nn.Sequential(
        tg.nn.Conv2d(3, 4, 3, rng, padding=1, bias=False),
        tg.nn.BatchNorm2d(4),
        tg.nn.ReLU(),
        tg.nn.MaxPool2d(4),
        tg.nn.Flatten(),
        tg.nn.Dense(4 * 49, classes, rng),
    )


def report_of(
    folder, classes, name="mnist", data="data", history=HISTORY, build=dense, channels=1, metrics=None, **options
):
    """The page of a run with names that somebody else chose."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, channels, 28, 28)).astype(np.uint8)
    labels = np.arange(40) % len(classes)
    model = build(rng, len(classes))
    parsed = parse(EXPERIMENT, ["--epochs", "3", "--out", str(folder)])
    prepared = Prepared(
        experiment=dataclasses.replace(EXPERIMENT, name=name),
        options=dataclasses.replace(parsed, **options),
        dataset=Dataset(data, tuple(classes), images, labels, images, labels),
        train=(images, labels),
        validation=(images, labels),
        standardisation=Standardisation.of(images),
        augmentation=Augmentation(shift=1),
        model=model,
        optimiser=tg.optim.Adam(model.parameters()),
        streams=RandomStreams.from_seed(0),
        settings={"classes": list(classes), "seed": 0, "image_shape": [channels, 28, 28], "lr": 0.01, "data": "0123"},
    )
    figures = {"test_accuracy": 0.5, "validation_accuracy": 0.5, "best_epoch": len(history), "epochs": len(history)}
    figures |= {"parameters": 10, "seconds": 1.0, "stopped": None, "environment": {"python": data}, **(metrics or {})}
    probabilities = rng.dirichlet(np.ones(len(classes)), 40)
    write_report(Result(prepared, list(history), probabilities, figures), {"training": 1.0})
    return (folder / "report.html").read_text(encoding="utf-8")


def is_harmless(page):
    """Only our own tags, nothing that cannot be seen, and nothing from elsewhere."""
    page, *scripts = re.split(r"<script>\n// .*?</script>", page, flags=re.DOTALL)
    assert len(scripts) == 1
    page += scripts[0]
    ours = "html head meta link title style body main header nav section h1 h2 h3 p div b small span i a pre dl dt dd "
    ours += "figure figcaption img details summary table thead tbody tr th td svg rect path text"
    assert set(re.findall(r"<(\w+)", page)) <= set(ours.split())
    assert page.replace("\n", "").isprintable()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#|\.\./)", page) and "url(" not in page
    assert not re.findall(r"<[^>]*\bon\w+=", page)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, len(NASTY), 9))
def test_any_name_can_be_in_a_report(tmp_path, start):
    names = NASTY[start : start + 9]
    assert is_harmless(report_of(tmp_path, names * 2, name="$".join(names), data="^".join(names)))


@pytest.mark.deep
@settings(max_examples=examples(5), deadline=None)
@given(st.lists(st.text(), min_size=12, max_size=12))
def test_any_text_can_be_in_a_report(tmp_path_factory, texts):
    *classes, name, data = texts
    assert is_harmless(report_of(tmp_path_factory.mktemp("report"), classes, name, data))


def words_of(page):
    """The text of a page, without its markup."""
    return " ".join(html.unescape(re.sub(r"<(script|style)>.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)).split())


@pytest.mark.slow
def test_the_report_says_what_a_reader_asks(tmp_path):
    page = report_of(tmp_path, ["homer_simpson", "krusty_the_clown", "5"], augment=True)
    words = words_of(page)
    assert "Homer Simpson" in words and "Krusty the Clown" in words and "homer_simpson" not in words
    assert "said Homer Simpson, is " in words and "expected calibration error" in words
    assert (
        "learning rate 0.01" in words
        and "image shape 28 \N{MULTIPLICATION SIGN} 28 pixels, gray" in words
        and "random seed 0" in words
    )
    assert "epoch 2: training 0.9, validation 1 (best epoch)" in words
    assert "chance, 35 %" in words and "chance, 1.098" in words  # of 14, 13 and 13 of 40 images
    assert "ReLU()" in words and "1.weight" in words and "The graph of a training step" in words
    assert "F1" in words and "most often taken for" in words and "Augmentation" in words


@pytest.mark.slow
def test_a_run_that_did_not_go_well_says_so_at_the_top(tmp_path):
    nan = float("nan")
    wild = [Epoch(1, 2.3, 0.1, 2.3, 0.1, 1.0, 0.1), Epoch(2, nan, 0.1, nan, 0.1, 1.0, 0.1)]
    wild += [Epoch(3, 1e300, 0.1, float("inf"), 0.1, 1.0, 0.1)]
    words = words_of(report_of(tmp_path, ["a", "b"], history=wild, metrics={"diverged": True, "best_epoch": 1}))
    assert "the training diverged" in words and "not finite in some epochs" in words and "loss nan" not in words
    words = words_of(report_of(tmp_path, ["a", "b"], metrics={"stopped": "stopped by SIGINT"}))
    assert "The run was stopped by SIGINT after 2 of 3 epochs" in words
    words = words_of(report_of(tmp_path, ["a", "b"], history=HISTORY[:1], fast_dev_run=True))
    assert "ended after 1 of 3 epochs" in words and "a dry run" in words


@pytest.mark.slow
def test_the_report_leaves_the_network_as_it_is(tmp_path):
    made = []

    def build(rng, classes):
        dropout = tg.nn.Dropout(0.5, rng)
        made.append(tg.nn.Sequential(*convolutional(rng, classes)[:5], dropout, convolutional(rng, classes)[5]))
        made.append({name: tensor.numpy().copy() for name, tensor in made[0].named_tensors()})
        return made[0]

    report_of(tmp_path, ["a", "b"], build=build, channels=3)
    for name, tensor in made[0].named_tensors():
        np.testing.assert_array_equal(tensor.numpy(), made[1][name])
    assert all(parameter.grad is None for parameter in made[0].parameters())


def spoilt(value):
    def build(rng, classes):
        model = dense(rng, classes)
        model.parameters()[0].data[:] = value
        return model

    return build


class Linear(tg.nn.Module):
    def __init__(self, rng, classes):
        self.weight = tg.Tensor(rng.standard_normal((784, classes)).astype(np.float32), requires_grad=True)

    def forward(self, x):
        return x.reshape(len(x), -1) @ self.weight


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        *({"build": spoilt(value)} for value in (0.0, 1e38, np.inf, np.nan)),
        {"build": Linear},
        {"classes": ["only"]},
        {"channels": 2, "build": lambda rng, n: tg.nn.Sequential(tg.nn.Flatten(), tg.nn.Dense(2 * 784, n, rng))},
    ],
)
def test_a_report_is_written_of_any_network(tmp_path, given):
    assert is_harmless(report_of(tmp_path, **{"classes": ["a", "b"], **given}))


def test_earlier_runs_on_the_same_data_are_linked(tmp_path):
    names = {"mnist-1": "0123", 'an "odd" <name>?#%': "0123", "other": "9", "damaged": None, "without page": "0123"}
    for name, data in names.items():
        (tmp_path / name).mkdir()
        if name != "without page":
            (tmp_path / name / "report.html").write_text("earlier")
        figures = {"test_accuracy": 0.5, "stopped": None, "date": "2026-01-02 03:04", "settings": {"data": data}}
        (tmp_path / name / "metrics.json").write_text("{" if data is None else json.dumps(figures))
    (tmp_path / "mnist").mkdir()
    page = report_of(tmp_path / "mnist", ["a", "b"])
    links = [urllib.parse.unquote(html.unescape(link)) for link in re.findall(r'href="\.\./([^"]*)"', page)]
    assert sorted(links) == ['an "odd" <name>?#%/report.html', "mnist-1/report.html"]
    assert all((tmp_path / link).exists() for link in links) and is_harmless(page)


def command_in(page):
    return html.unescape(re.search(r"<pre id=\"command\">(.*?)</pre>", page, re.DOTALL)[1])


@pytest.mark.slow
def test_the_command_repeats_the_run_wherever_its_folder_is(tmp_path):
    out = tmp_path / "a run's $HOME"
    data = write_mnist(tmp_path / "my data", count=60)
    options = (
        "--epochs 2 --batch-size 16 --lr 0.01 --schedule step --warm-up 2 --clip 1.5 --patience 4 --seed 5 --no-augment"
    )
    first = ["--data-dir", os.path.relpath(data), *options.split(), "--no-compile", "--quiet", "--out", str(out)]
    assert main(EXPERIMENT, first) == 0
    assert main(EXPERIMENT, ["--data-dir", str(data), "--epochs", "1", "--quiet", "--out", str(out)]) == 0
    page = (tmp_path / "a run's $HOME-1" / "report.html").read_text()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f"{shlex.quote(sys.executable)} {command_in(page).split(' ', 1)[1]}"
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    one, other = (
        json.loads((tmp_path / f"a run's $HOME{end}" / "metrics.json").read_text()) for end in ("-1", "-again")
    )
    assert one["settings"] == other["settings"] and one["test_loss"] == other["test_loss"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
@pytest.mark.parametrize(
    "name",
    [
        *("it's", "$x`y`", "new\nline", "\udcff\udcfe0"),
        *(pytest.param(name, marks=pytest.mark.deep) for name in ("plain", "a b", "-dash", "\x1b[31m'\\", "*?")),
    ],
)
def test_the_command_is_quoted_for_the_shell(tmp_path, name):
    page = report_of(tmp_path, ["a", "b"], data_dir=Path(f"/data/{name}"), fast_dev_run=True)
    line = command_in(page).replace("python", "printf '%s\\0'", 1)
    printed = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout.split(b"\0")
    arguments = [os.fsdecode(argument) for argument in printed[2:-1]]
    assert (
        arguments[arguments.index("--data-dir") + 1 :][:1] == [f"/data/{name}"]
        or f"--data-dir=/data/{name}" in arguments
    )
    if name.isprintable():  # others are refused on the command line, though a configuration of older runs may hold them
        options = parse(EXPERIMENT, arguments)
        assert options.data_dir == Path(f"/data/{name}") and options.fast_dev_run
        assert options.epochs == 3 and options.out == Path(f"{tmp_path}-again")


# In a browser

SECTIONS = "learning,classes,calibration,mistakes,examples,weights,layers,network,settings,repeat"

CHARACTERS = [f"{first}_{last}" for first in ("homer", "bartholomew", "ned") for last in ("simpson", "van_houten", "x")]


@needs_chromium
@pytest.mark.slow
def test_the_report_fits_a_screen_and_a_phone_light_and_dark(tmp_path):
    pages = {
        "digits": {"classes": list("0123456789")},
        "characters": {
            "classes": [*CHARACTERS, *(f"{name}_2" for name in CHARACTERS), "x" * 300],
            "build": convolutional,
            "channels": 3,
            "history": [Epoch(1, float("nan"), 0.5, 2e15, 0.4, 0.01, 0.1)],
            "metrics": {"stopped": "stopped by SIGINT", "diverged": True},
        },
    }
    for name, run in pages.items():
        (tmp_path / name).mkdir()
        report_of(tmp_path / name, **run)
    probe = tmp_path / "probe.html"
    script = Path(__file__).with_name("report_probe.html").read_text()
    script = script.replace("SECTIONS", json.dumps(SECTIONS))
    probe.write_text(script.replace("of PAGES", f"of {json.dumps([f'{name}/report.html' for name in pages])}"))
    shown = shown_in_chromium(probe, tmp_path / "profile")
    assert json.loads(html.unescape(shown[shown.index("FOUND ") + 6 : shown.index("</body>")])) == []
