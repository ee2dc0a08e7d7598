"""What compare and predict make of run folders and pictures, good and bad."""

import csv
import io
import json
import os
import random
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from experiments.compare import main as compare_main
from experiments.mnist import EXPERIMENT
from experiments.predict import main as predict_main
from tensorgrad import _checkpoint
from tensorgrad.runner.command import main
from tensorgrad.runner.console import say
from tensorgrad.runner.folder import HISTORY, METRICS, SETTINGS
from tensorgrad.runner.outliers import outliers, usual_ranges
from tensorgrad.runner.records import LARGEST_FILE
from tensorgrad.training import BEST, load_checkpoint, save_checkpoint
from tests.support import write_mnist


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a finished run called ``run`` and a picture for it."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_mnist(folder / "data", count=100)
    assert main(EXPERIMENT, ["--data-dir", str(data), "--epochs", "2", "--quiet", "--out", str(folder / "run")]) == 0
    Image.new("L", (28, 28), 30).save(folder / "a.png")
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run, to be spoilt; what is drawn of it is not needed."""
    shutil.copytree(trained / "run", tmp_path / "run", ignore=shutil.ignore_patterns("*.png", "*.html", "last.npz"))
    shutil.copy(trained / "a.png", tmp_path / "a.png")
    return tmp_path / "run"


def outcome(command, arguments, capsys):
    """The exit code, what was printed, and what was complained of; neither may hold a control character."""
    capsys.readouterr()
    try:
        code = command([str(argument) for argument in arguments])
    except SystemExit as stopped:
        code = stopped.code
    printed, errors = capsys.readouterr()
    assert (printed + errors).replace("\n", "").isprintable()
    return code, printed, errors


def compared(run, capsys):
    return outcome(compare_main, [run, "--out", run.parent / "c.png"], capsys)


def predicted(run, capsys, *more):
    return outcome(predict_main, [run, run.parent / "a.png", *more], capsys)


def is_one_sentence(result, *words):
    """An error exit with one line that holds the words."""
    code, _, errors = result
    assert code == 2 and errors.count("\n") == 1 and all(word in errors for word in words), result
    return True


def change_json(path, **values):
    content = json.loads(path.read_text())
    for name, value in values.items():
        inner = content
        *outer, last = name.split("__")
        for key in outer:
            inner = inner[key]
        inner[last] = value
    path.write_text(json.dumps(content))


def reseal(run, **values):
    """Write other settings into ``best.npz``, with the right checksum."""
    arrays, description = load_checkpoint(run / BEST)
    arrays = {name: values.pop(name, array) for name, array in arrays.items()}
    settings = {**description["settings"], **values}
    save_checkpoint(run / BEST, arrays, {"settings": {k: v for k, v in settings.items() if v != "absent"}})


def test_a_checkpoint_is_read_once(run, capsys, monkeypatch):
    opened = []
    open_file = _checkpoint.open_regular
    monkeypatch.setattr(_checkpoint, "open_regular", lambda path: opened.append(path) or open_file(path))
    assert predicted(run, capsys)[0] == 0 and opened == [run / BEST]


# Comparing


@pytest.mark.slow
def test_a_comparison_says_what_runs_differ_in(trained, tmp_path, capsys):
    for name in ("a", "b", "c"):
        shutil.copytree(trained / "run", tmp_path / name)
    change_json(tmp_path / "b" / METRICS, dataset="bundled digits", settings__lr=0.5, settings__batch_size=7)
    change_json(tmp_path / "b" / METRICS, stopped="stopped by SIGINT", settings__epochs=9, date="2026-01-02 03:04")
    change_json(tmp_path / "c" / METRICS, settings__data="0123456789", settings__epochs=4)
    paths = [tmp_path / name for name in ("a", "b", "c")]
    code, printed, _ = outcome(compare_main, [*paths, "--out", tmp_path / "c.png"], capsys)
    rows = {cells[1].strip(): cells for line in printed.splitlines() if len(cells := line.split("|")) > 3}
    assert code == 0 and set("abc") < rows.keys()
    for words, name in (
        (["bundled digits", " 0.5 ", " 7 ", " 2 of 9 ", "interrupted: stopped by SIGINT", "2026-01-02 03:04"], "b"),
        (["MNIST #012345", " 2 of 4 ", "finished early"], "c"),
        (["MNIST #", " 128 ", " 2 of 2 ", "finished "], "a"),
    ):
        assert all(word in "|".join(rows[name]) for word in words), (words, rows[name])
    lines = printed.splitlines()
    tables = [line for line in lines if line.endswith(":")]
    assert len(tables) == 3  # runs on different data are in tables of their own
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| ")].count("run") == 3
    assert (tmp_path / "c.png").stat().st_size > 10_000


def test_the_legend_says_so_too(run, capsys, monkeypatch):
    drawn = {}
    monkeypatch.setattr("tensorgrad.runner.comparison.save_comparison", lambda histories, *_: drawn.update(histories))
    change_json(run / METRICS, stopped="stopped by SIGTERM", settings__epochs=9, date="2026-01-02 03:04")
    assert compared(run, capsys)[0] == 0
    (legend,) = drawn
    assert (
        legend == "run: MNIST, rate 0.003, batch 128, 2 of 9 epochs, interrupted: stopped by SIGTERM, 2026-01-02 03:04"
    )


def test_the_legend_leaves_the_data_to_the_titles_of_panels(run, tmp_path, capsys, monkeypatch):
    drawn = {}
    monkeypatch.setattr("tensorgrad.runner.comparison.save_comparison", lambda *given: drawn.update(given[2]))
    shutil.copytree(run, tmp_path / "other")
    change_json(tmp_path / "other" / METRICS, dataset="a name that is " + "long " * 10)
    outcome(compare_main, [run, tmp_path / "other", "--out", tmp_path / "c.png"], capsys)
    assert len(set(drawn.values())) == 2
    assert not any(data in legend for legend, data in drawn.items()) and all("rate 0.003" in name for name in drawn)


def test_runs_have_names_of_their_own(trained, tmp_path, capsys):
    long = "n" * 100
    places = ["x/run", "y/run", "x", "_hidden", "$a^", "a|b", f"{long}1{long}", f"{long}2{long}", "\x1b[31mred\nline"]
    for name in places:
        shutil.copytree(trained / "run", tmp_path / name, dirs_exist_ok=True)
    os.symlink(tmp_path / "x", tmp_path / "link")
    paths = [tmp_path / name for name in [*places, "link", "x/../x/run"]]
    code, printed, _ = outcome(compare_main, [*paths, "--out", tmp_path / "c.png"], capsys)
    rows = [line.split(" | ")[0].strip("| ") for line in printed.splitlines() if line.startswith("| ")]
    assert code == 0 and len(rows) == len(set(rows)) == len(places) + 1  # and the heading
    assert {"x/run", "y/run", "x", "_hidden", "$a^", "a\\|b"} < set(rows)


def test_a_run_without_results_is_left_out_and_said(trained, tmp_path, capsys):
    shutil.copytree(trained / "run", tmp_path / "killed")
    (tmp_path / "killed" / METRICS).unlink()
    result = outcome(compare_main, [trained / "run", tmp_path / "killed", "--out", tmp_path / "new" / "c.png"], capsys)
    assert result[0] == 0 and "killed: no finished run, left out; it was stopped" in result[1]
    assert (tmp_path / "new" / "c.png").exists()


# Damaged and crafted folders

NESTED = "[" * 100_000
WRONG = ["x", [1], {"a": 1}, True, -1, 1.5, float("nan"), float("inf"), 10**400, "\x1b[2J\x07"]


@pytest.mark.parametrize(
    "name, content",
    [
        (METRICS, b""),
        (METRICS, b"[1]"),
        (METRICS, b"null"),
        (METRICS, b"{}"),
        (METRICS, b'{"test_accuracy": 1e400}'),
        (METRICS, b'{"test_accuracy": ' + b"9" * 1_000_000 + b"}"),
        (METRICS, b'{"test_accuracy": NaN}'),
        (METRICS, b'{"test_accuracy": "\x1b[31m0.9"}'),
        (METRICS, b"\xff\xfe\x00"),
        (METRICS, NESTED.encode()),
        (METRICS, b'{"test_accuracy": 0.5, "settings": ' + NESTED.encode()),
        (METRICS, b" " * (LARGEST_FILE + 1)),
        (HISTORY, b"\xff"),
        (HISTORY, b"epoch,loss\n1,2\n"),
        (HISTORY, b"epoch,validation_loss,validation_accuracy\n1,\x1b[2J,3\n"),
        (HISTORY, b"epoch,validation_loss,validation_accuracy\n1,2\n"),
        (HISTORY, b"epoch,validation_loss,validation_accuracy\n1e300,2,3\n"),
        (HISTORY, b"epoch,validation_loss,validation_accuracy\n" + b'"' + b"1" * 200_000 + b'",2,3\n'),
        (HISTORY, b"epoch,validation_loss,validation_accuracy\n\0,2,3\n"),
    ],
)
def test_a_damaged_file_is_named_in_one_sentence(run, capsys, name, content):
    (run / name).write_bytes(content)
    assert is_one_sentence(compared(run, capsys), str(run / name), "leave this folder out")


@pytest.mark.parametrize("name", [METRICS, HISTORY])
def test_what_is_no_file_is_named(run, capsys, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    assert is_one_sentence(compared(run, capsys), str(run / name))
    (run / name).unlink()
    (run / name).mkdir()
    assert is_one_sentence(compared(run, capsys), str(run / name))


@pytest.mark.parametrize(
    "key",
    [
        "experiment",
        "dataset",
        "epochs",
        "seconds",
        "seed",
        "parameters",
        "best_epoch",
        "stopped",
        "validation_accuracy",
        "test_accuracy",
        "date",
        "settings",
        "settings__lr",
        "settings__batch_size",
        "settings__epochs",
        "settings__data",
        "settings__fast_dev_run",
    ],
)
def test_any_value_in_the_metrics_is_shown_or_named(run, capsys, key):
    good = (run / METRICS).read_text()
    for value in WRONG:
        (run / METRICS).write_text(good)
        change_json(run / METRICS, **{key: value})
        code, _, errors = compared(run, capsys)
        assert code == 0 or (code == 2 and str(run / METRICS) in errors and errors.count("\n") == 1), (value, errors)


def test_results_of_earlier_versions_are_shown(run, capsys):
    (run / METRICS).write_text('{"test_accuracy": 0.5}')
    code, printed, _ = compared(run, capsys)
    assert code == 0 and "0.5000" in printed


@pytest.mark.parametrize(
    "values, words",
    [
        ({"experiment": "os"}, "experiments"),
        ({"experiment": "__loader__"}, "experiments"),
        ({"experiment": ["mnist"]}, "experiment must be text"),
        ({"experiment": "simpsons_rgb"}, "another network"),
        ({"image_shape": [1, 10**9, 10**9]}, "image_shape must be a finite number from 1 to 1024"),
        ({"image_shape": [1, 28, 29]}, "do not fit the network"),
        ({"image_shape": [1, 14, 14]}, "do not fit the network"),
        ({"image_shape": [3, 28, 28]}, "mean must be a list of 3"),
        ({"image_shape": [28, 28]}, "image_shape must be a list of 3, got 2"),
        ({"image_shape": [28, 28, 3]}, "mean must be a list of 28"),
        ({"image_shape": "absent"}, "image_shape must be a list"),
        ({"image_shape": [1, 28.5, 28.5]}, "whole number"),
        ({"mean": ["x"]}, "mean must be a finite number"),
        ({"mean": [float("nan")]}, "mean must be a finite number"),
        ({"deviation": [0]}, "deviation must be a finite number"),
        ({"classes": ["a"]}, "do not fit the network"),
        ({"classes": [1] * 10}, "list of text"),
        ({"classes": "absent"}, "classes must be a list"),
        ({"image_ranges": [1]}, "image_ranges must be an object"),
        ({"image_ranges": {"border": [1, 2]}}, "image_ranges.brightness must be a list"),
        ({"model/1.weight": np.full((784, 512), np.nan, np.float32)}, "not finite"),
        ({"model/4.bias": np.full(10, np.inf, np.float32)}, "not finite"),
    ],
)
def test_a_crafted_network_is_named_in_one_sentence(run, capsys, values, words):
    reseal(run, **values)
    assert is_one_sentence(predicted(run, capsys), str(run / BEST), words)


def test_no_name_reaches_the_terminal_as_it_is(run, capsys):
    reseal(run, classes=["\x1b]0;owned\x07", "\u202egnp.exe", "a\r\nb", "\udcff", *map(str, range(6))])
    code, printed, _ = predicted(run, capsys)
    assert code == 0 and printed.count("\n") == 1
    name = run.parent / "\x1b[31mpic\nture.png"
    shutil.copy(run.parent / "a.png", name)
    code, printed, errors = outcome(predict_main, [run, name, run.parent / "no\x07thing.png"], capsys)
    assert code == 2 and "\\x1b[31mpic\\nture.png" in printed and "no\\x07thing.png: no such file" in errors


def test_names_that_are_not_utf8(run, capsys):
    other = os.fsdecode(os.fsencode(run.parent) + b"/r\xff\xfe")
    picture = os.fsdecode(os.fsencode(run.parent) + b"/p\xe9.png")
    os.rename(run, other)
    shutil.copy(run.parent / "a.png", picture)
    code, printed, _ = outcome(predict_main, [other, picture], capsys)
    assert code == 0 and "p\\xe9.png: " in printed
    chart = os.fsdecode(os.fsencode(run.parent) + b"/c\xe9.png")
    code, printed, _ = outcome(compare_main, [other, "--out", chart], capsys)
    assert code == 0 and "| r\\xff\\xfe " in printed and os.path.exists(chart)
    for command, more in ((compare_main, []), (predict_main, [picture])):
        assert is_one_sentence(outcome(command, [other + "nothing", *more], capsys))


@pytest.mark.slow
@given(st.text())
def test_whatever_is_printed_is_one_harmless_line_in_any_encoding(text):
    for encoding in ("ascii", "latin-1", "utf-8", "cp1252"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding, newline="\n")
        say(text, stream)
        stream.flush()
        shown = stream.buffer.getvalue().decode(encoding)
        assert shown.endswith("\n") and shown[:-1].isprintable()


def spoilt(content, random):
    """A file that was changed in one of the ways in which files go wrong."""
    data = bytearray(content)
    kind = random.randrange(5)
    if kind == 0:
        for _ in range(random.randrange(1, 6)):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif kind == 1:
        del data[random.randrange(len(data)) :]
    elif kind == 2:
        start, other = sorted(random.sample(range(len(data)), 2))
        data[start:other] = data[other : 2 * other - start]
    elif kind == 3:
        data[random.randrange(len(data)) :] = random.randbytes(20)
    else:
        position = random.randrange(len(data))
        data[position:position] = random.choice([b"1e400", b"NaN", b"\0", b"\x1b[2J", b"-", b"{", b'"', b"9" * 5000])
    return bytes(data)


@pytest.mark.parametrize("seed", range(8))
def test_a_spoilt_folder_is_read_or_named(run, capsys, seed, monkeypatch):
    monkeypatch.setattr("tensorgrad.runner.comparison.save_comparison", lambda histories, *_: None)
    chance = random.Random(seed)
    good = {name: (run / name).read_bytes() for name in (METRICS, HISTORY, BEST, SETTINGS)}
    for _ in range(40):
        name = chance.choice(list(good))
        (run / name).write_bytes(spoilt(good[name], chance))
        code, _, errors = compared(run, capsys)
        assert code == 0 or (code == 2 and str(run / name) in errors and errors.count("\n") == 1), errors
        if name == BEST:
            code, _, errors = predicted(run, capsys)
            assert code == 2 and str(run / BEST) in errors
        (run / name).write_bytes(good[name])


@pytest.mark.slow
def test_losses_of_any_size_are_drawn(run, capsys):
    with (run / HISTORY).open() as file:
        rows = list(csv.DictReader(file))
    for value in ("nan", "inf", "-inf", "1e400", "1e308", "-1e308", "1e29", "1e-320"):
        table = io.StringIO()
        writer = csv.DictWriter(table, rows[0])
        writer.writeheader()
        writer.writerows({**row, "validation_loss": value} for row in rows[:1])
        writer.writerows(rows[1:])
        (run / HISTORY).write_text(table.getvalue())
        assert compared(run, capsys)[0] == 0


# Pictures unlike those of the training


def test_a_picture_unlike_the_training_images_is_told_and_its_negative_offered(trained, run, capsys):
    """Digits as bright lines on black; then the same dark on light, transparent, or none at all."""
    rng = np.random.default_rng(0)
    digits = np.zeros((200, 28, 28), np.uint8)
    for digit in digits:
        digit[6:22, rng.integers(8, 18) :][:, :4] = rng.integers(200, 256)
    reseal(run, image_ranges=usual_ranges(digits[:, None]))
    Image.fromarray(digits[0]).save(run.parent / "a.png")
    assert predicted(run, capsys)[2] == ""
    assert "leave out --invert" in predicted(run, capsys, "--invert")[2]
    Image.fromarray(255 - digits[0]).save(run.parent / "a.png")
    code, light, warning = predicted(run, capsys)
    assert code == 0 and "unlike the training images" in warning and "try --invert" in warning
    code, dark, warning = predicted(run, capsys, "--invert")
    assert code == 0 and warning == "" and dark != light
    ink = np.zeros((28, 28, 4), np.uint8)
    ink[..., 3] = digits[0]
    Image.fromarray(ink, "RGBA").save(run.parent / "a.png")
    assert "try --invert" in predicted(run, capsys)[2] and predicted(run, capsys, "--invert")[2] == ""
    Image.fromarray(np.zeros((28, 28, 4), np.uint8), "RGBA").save(run.parent / "a.png")
    for more in ([], ["--invert"]):
        assert "the network can tell those only" in predicted(run, capsys, *more)[2]


def test_runs_that_do_not_say_which_network_they_are_of_are_of_the_first(run, capsys):
    expected = predicted(run, capsys)
    reseal(run, model="absent", hidden="absent", dropout="absent", l2="absent")
    assert predicted(run, capsys) == expected


def test_a_run_that_knows_nothing_of_its_images_says_so(run, capsys):
    reseal(run, image_ranges="absent")
    code, _, errors = predicted(run, capsys)
    assert code == 0 and "says nothing of its training images" in errors


def enlarged_digits():
    datasets = pytest.importorskip("sklearn.datasets")
    images = (datasets.load_digits().images * (255 / 16)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(i).resize((28, 28), Image.Resampling.LANCZOS)) for i in images])[
        :, None
    ]


def share(images, ranges):
    return np.mean([outlier is not None for outlier in outliers(images, ranges)])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_images_of_one_row_or_one_pixel_have_usual_ranges(size):
    images = np.random.default_rng(0).integers(100, 130, (20, 3, *size)).astype(np.uint8)
    ranges = usual_ranges(images)
    assert np.isfinite(list(ranges.values())).all()
    found = outliers(np.concatenate([images[:1], np.full_like(images[:1], 250)]), ranges)
    assert found[0] is None and found[1].measure == "brightness"


def test_real_digits_raise_no_alarm_and_all_else_does():
    digits, rng = enlarged_digits(), np.random.default_rng(0)
    train, test = digits[::2], digits[1::2]
    ranges = usual_ranges(train)
    assert json.loads(json.dumps(ranges)) == ranges
    assert share(test, ranges) < 0.01
    photo = pytest.importorskip("sklearn.datasets").load_sample_images().images[0][:400, :600].mean(axis=2)
    photos = photo.reshape(20, 20, 30, 20).swapaxes(1, 2).reshape(-1, 1, 20, 20).astype(np.uint8)
    others = {
        "inverted": 255 - test,
        "noise": rng.integers(0, 256, (200, 1, 28, 28)).astype(np.uint8),
        "dim noise": rng.normal(30, 10, (200, 1, 28, 28)).clip(0, 255).astype(np.uint8),
        "salt": ((rng.random((200, 1, 28, 28)) < 0.3) * 255).astype(np.uint8),
        "black": np.zeros((1, 1, 28, 28), np.uint8),
        "white": np.full((1, 1, 28, 28), 255, np.uint8),
        "gray": np.full((1, 1, 28, 28), 99, np.uint8),
    }
    for name, images in others.items():
        assert share(images, ranges) > 0.99, name
    assert share(photos, ranges) > 0.8


def test_colour_pictures_are_measured_too():
    rng = np.random.default_rng(0)
    smooth = np.repeat(np.repeat(rng.integers(0, 256, (300, 3, 7, 7)), 4, axis=2), 4, axis=3).astype(np.uint8)
    ranges = usual_ranges(smooth[:200])
    assert share(smooth[200:], ranges) == 0
    assert share(rng.integers(0, 256, (50, 3, 28, 28)).astype(np.uint8), ranges) == 1
