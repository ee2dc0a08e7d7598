"""The networks of the experiments beside the same ones in PyTorch."""

import sys

import pytest

from benchmarks import accuracy, parity
from tests.support import write_mnist


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize(
    "experiment, more", [("mnist", []), ("simpsons_rgb", []), ("mnist", ["--model", "cnn", "--hidden", "4,8"])]
)
def test_losses_agree_with_pytorch_where_installed(tmp_path, experiment, more, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.setattr("tensorgrad.data.simpsons.URL", "http://127.0.0.1:9/refused")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(parity, "STEPS", 60)
    data = ["--data-dir", str(write_mnist(tmp_path / "data", count=300))] if experiment == "mnist" else ["--seed", "1"]
    assert parity.main([experiment, *data, *more]) == 0
    assert "largest relative difference" in capsys.readouterr().out


def test_parity_without_pytorch_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit) as caught:
        parity.main(["mnist"])
    assert caught.value.code == 2 and "pip install torch" in capsys.readouterr().err


@pytest.mark.parity
@pytest.mark.parametrize("comparison", [parity, accuracy])
@pytest.mark.parametrize("arguments", [["--clip", "1"], ["--patience", "2"], ["--schedule", "plateau"]])
def test_what_the_comparison_does_not_have_is_said(comparison, arguments, capsys):
    pytest.importorskip("torch")
    with pytest.raises(SystemExit) as caught:
        comparison.main(["mnist", *arguments])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and "the comparison has no --clip" in said and said.count("\n") == 1
    with pytest.raises(SystemExit) as caught:
        comparison.main(["letters"])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and "'letters'" in said and said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parity
def test_pytorch_trains_the_network_by_the_same_recipe(tmp_path, capsys):
    pytest.importorskip("torch")
    data = write_mnist(tmp_path / "data", count=60)
    assert accuracy.main(["mnist", "--data-dir", str(data), "--epochs", "2", "--seed", "3"]) == 0
    assert capsys.readouterr().out.startswith("mnist, PyTorch, seed 3: test accuracy 0.")
