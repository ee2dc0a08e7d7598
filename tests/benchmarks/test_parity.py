"""The networks of the experiments beside the same ones in PyTorch."""

import sys

import pytest

from benchmarks import parity
from tests.support import write_mnist


@pytest.mark.parametrize("experiment", ["mnist", "simpsons_rgb"])
def test_losses_agree_with_pytorch_where_installed(tmp_path, experiment, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.setattr("tensorgrad.data.simpsons.URL", "http://127.0.0.1:9/refused")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(parity, "STEPS", 60)
    data = ["--data-dir", str(write_mnist(tmp_path / "data", count=300))] if experiment == "mnist" else []
    assert parity.main([experiment, *data]) == 0
    assert "largest relative difference" in capsys.readouterr().out


def test_parity_without_pytorch_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit) as caught:
        parity.main(["mnist"])
    assert caught.value.code == 2 and "pip install torch" in capsys.readouterr().err
