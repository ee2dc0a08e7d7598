"""The comparison with scikit-learn's estimators, on little data."""

import numpy as np

from benchmarks import sklearn as comparison


def test_a_line_for_each_data_set(monkeypatch, capsys):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 2))
    sets = {"classes": lambda: (x, (x[:, 0] > 0).astype(int)), "numbers": lambda: (x, x[:, 0])}
    monkeypatch.setattr(comparison, "compared_sets", lambda: sets)
    assert comparison.main(["--seeds", "1", "--raw"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[2:]] == ["| classes", "| numbers"]
    assert len({line.count("|") for line in lines}) == 1


def test_the_data_sets():
    for load in (*comparison.compared_sets().values(), *comparison.development_sets().values()):
        x, y = load()
        assert x.ndim == 2 and len(x) == len(y)
    x, y = comparison.california_like(500)
    assert x.shape == (500, 8) and y.min() >= 0.15 and y.max() <= 5
