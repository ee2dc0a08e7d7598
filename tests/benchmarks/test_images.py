"""The benchmark of a convolutional network."""

import pytest

from benchmarks import images


@pytest.mark.parametrize("way", images.WAYS)
def test_each_way_can_be_timed(way, monkeypatch):
    if way == "pytorch":
        pytest.importorskip("torch")
    monkeypatch.setattr(images, "SECONDS", 0.01)
    assert min(images.measured(way, 1, batch=2, examples=3)) > 0
