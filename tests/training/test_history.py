"""What is shown of a training: the history as a table, lines in the log, the bar, and events for TensorBoard."""

import logging
import pickle
import struct
import sys
import types

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad._optional import MissingExtra
from tensorgrad.training import DivergenceWarning, Epoch, History, TensorBoard, evaluate, fit, progress
from tests.support import HEIGHTS, INPUTS, blobs, network, same


def rows(count, **more):
    return History(Epoch(i + 1, 1 / (i + 1), None, 0.5, None, 1e-3, 0.12345, more) for i in range(count))


def fitted(*callbacks, **options):
    model = network(1)
    options = {"epochs": 3, "batch_size": 30, "rng": np.random.default_rng(1), "quiet": True, **options}
    options = {"loss": "mse", "metrics": ["mae"], "callbacks": callbacks, **options}
    adam = tg.optim.Adam(model.parameters(), lr=1e-2)
    return model, fit(model, (INPUTS, HEIGHTS), (INPUTS, HEIGHTS), adam, **options)


def test_a_history_is_a_list_that_shows_itself_as_a_table():
    history = rows(2, mae=12345.678, validation_mae=1e-9)
    assert repr(history).splitlines() == [
        "epoch  loss  validation_loss        mae  validation_mae  learning_rate  seconds",
        "    1     1              0.5  1.235e+04           1e-09          0.001   0.1235",
        "    2   0.5              0.5  1.235e+04           1e-09          0.001   0.1235",
    ]
    assert isinstance(history, list) and history == list(history) and history[1] == list(history)[1]
    assert isinstance(history[:1], History) and len(history[:1]) == 1
    assert pickle.loads(pickle.dumps(history)) == history
    assert repr(History()) == "History of no epochs"


def test_of_many_epochs_the_first_and_last_are_shown():
    lines = repr(rows(1000)).splitlines()
    assert len(lines) == 32 and lines[1].split()[0] == "1" and lines[-1].split()[0] == "1000"
    assert set(lines[16].split()) == {"..."} and len({len(line) for line in lines}) == 1
    assert "..." not in repr(rows(30))


def test_in_notebooks_it_is_a_table_of_html():
    history = rows(2, **{"a<b": 1.0})
    html = history._repr_html_()
    assert html.count("<tr>") == 3 and "<th>a&lt;b</th>" in html and "<td>0.5</td>" in html


def test_it_becomes_a_frame():
    pytest.importorskip("pandas")
    _, history = fitted()
    frame = history.to_pandas()
    assert list(frame["validation_mae"]) == [row.metrics["validation_mae"] for row in history]
    assert list(frame.columns) == list(history[0].measures)


def test_without_pandas_a_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"History\.to_pandas needs pandas .* pip install pandas"):
        rows(1).to_pandas()


def test_fit_gives_one_also_after_resuming_and_with_a_warning(tmp_path):
    _, history = fitted(folder=tmp_path)
    _, longer = fitted(folder=tmp_path, resume=True, epochs=4)
    assert isinstance(history, History) and isinstance(longer, History) and longer[:3] == history
    assert isinstance(DivergenceWarning("", list(history)).history, History)


def test_each_epoch_is_a_line_of_the_log_for_who_asks(caplog, capfd):
    fitted()
    assert not caplog.records and capfd.readouterr() == ("", "")
    with caplog.at_level(logging.INFO, "tensorgrad"):
        _, history = fitted()
    assert [record.getMessage() for record in caplog.records] == [str(row) for row in history]
    assert {record.name for record in caplog.records} == {"tensorgrad.training"}


class Shell:
    kernel = None


@pytest.mark.parametrize("quiet", [True, False])
def test_there_is_a_bar_in_notebooks(monkeypatch, capfd, quiet):
    pytest.importorskip("tqdm")
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=Shell))
    same(fitted(quiet=quiet), fitted())
    assert ("epoch 1/3" in capfd.readouterr().err) is not quiet
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    fitted(quiet=False)
    assert "epoch" not in capfd.readouterr().err


def test_ipython_in_a_terminal_is_no_notebook(monkeypatch):
    assert not progress._is_notebook()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=object))
    assert not progress._is_notebook()


def test_the_best_epoch_is_that_whose_weights_are_kept():
    rng = np.random.default_rng(0)
    inputs, labels = blobs(90)
    for monitor in ("validation_loss", "validation_accuracy", "loss", None):
        model = nn.Dense(2, 3, rng)
        adam = tg.optim.Adam(model.parameters(), lr=0.5)
        history = fit(model, (inputs, labels), blobs(30, 1), adam, epochs=8, rng=0, monitor=monitor, quiet=True)
        best = history.best(monitor)
        assert evaluate(model, blobs(30, 1)).loss == best.validation_loss
    heights = inputs, inputs[:, 0]
    history = fit(nn.Dense(2, 1, rng), heights, loss="mse", metrics=["mae", "r2"], epochs=4, rng=0, quiet=True)
    assert history.best("mae").metrics["mae"] == min(row.metrics["mae"] for row in history)
    assert history.best("r2").metrics["r2"] == max(row.metrics["r2"] for row in history)
    assert history.best("seconds", "min").seconds == min(row.seconds for row in history)
    with pytest.raises(ValueError, match=r"no such measure; .*loss, .*got 'val_loss'"):
        history.best("val_loss")
    with pytest.raises(ValueError, match=r"not known whether higher or lower is better"):
        history.best("seconds")
    with pytest.raises(ValueError, match="there is no epoch"):
        History().best()


# TensorBoard


def scalars(folder):
    """What the event files of a folder hold: (tag, step, value), and the steps from which earlier ones are dropped."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found, purged = [], []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            purged += [event.step] if event.HasField("session_log") else []
    return found, purged


@pytest.mark.slow
def test_tensorboard_gets_the_measures_of_each_epoch(tmp_path):
    pytest.importorskip("tensorboardX")
    _, history = fitted(TensorBoard(tmp_path))
    found, _ = scalars(tmp_path)
    for row in history:
        values = {tag: value for tag, step, value in found if step == row.epoch}
        assert values == pytest.approx(
            {
                "loss/training": row.loss,
                "loss/validation": row.validation_loss,
                "mae/training": row.metrics["mae"],
                "mae/validation": row.metrics["validation_mae"],
                "learning_rate": row.learning_rate,
                "seconds": row.seconds,
            },
            rel=1e-6,
        )
    assert len(found) == 18


def test_a_resumed_training_goes_on_in_the_same_curves(tmp_path):
    pytest.importorskip("tensorboardX")
    for epochs in (2, 4):
        fitted(TensorBoard(tmp_path / "events"), folder=tmp_path / "run", resume="auto", epochs=epochs)
    found, purged = scalars(tmp_path / "events")
    assert [step for tag, step, _ in found if tag == "loss/training"] == [1, 2, 3, 4] and purged[-1] == 3


def test_without_tensorboardx_a_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtra, match=r"the TensorBoard callback needs tensorboardX .* pip install tensorboardX"):
        TensorBoard(tmp_path)


def test_a_classification_has_its_accuracy_there(tmp_path):
    pytest.importorskip("tensorboardX")
    rng = np.random.default_rng(0)
    fit(nn.Dense(2, 3, rng), blobs(), epochs=1, batch_size=100, rng=rng, callbacks=TensorBoard(tmp_path), quiet=True)
    assert {tag for tag, _, _ in scalars(tmp_path)[0]} == {
        *("loss/training", "accuracy/training", "learning_rate", "seconds")
    }
