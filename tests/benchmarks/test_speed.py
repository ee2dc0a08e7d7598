"""The benchmark of speed: its tables, and the processes that measure."""

import pytest

from benchmarks import speed, tables, workers
from benchmarks.cases import STEPS, Case
from benchmarks.frameworks import FRAMEWORKS, OURS


@pytest.mark.slow
def test_the_benchmark_measures_and_says_what_is_not_installed(monkeypatch, capsys, tmp_path):
    class Fake:
        def __init__(self, name):
            self.name, self.is_installed = name, name != "JAX, jit"

        def time(self, case, seconds):
            if case.kind == "inference" and self.name == "MyGrad":
                return None
            return 4.0 if self.name == "PyTorch" else 2.0

        def close(self):
            pass

    monkeypatch.setattr(speed, "Worker", Fake)
    numbers = [1.0, 2000.0, 3.0]
    monkeypatch.setattr(speed, "in_fresh_processes", lambda what, names, network: dict.fromkeys(names, numbers))
    monkeypatch.setattr(speed, "in_a_fresh_process", lambda what, name, network: f"steps of {name}, {network}")
    speed.main(["--rounds", "3", "--seconds", "0", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "JAX, jit: not installed" in printed
    text = (tmp_path / "benchmark.md").read_text()
    assert text.strip() in printed
    assert "| | step 784-512-10, batch 128 | step 2352-2048-512-10, batch 128 | step 64-32-10, batch 128 |" in text
    assert "| tensorgrad | 2.00 ms (2.00x) | 2.00 ms (2.00x) | 2.00 ms (2.00x) |" in text
    assert "| PyTorch | 4.00 ms | 4.00 ms | 4.00 ms |" in text and "| MyGrad | 1 ms | 2,000 ms | 3 MB |" in text
    assert f"steps of {OURS}, 784-512-10" in text
    assert "| tensorgrad, compiled | 1.00 ms | 2000.00 ms | 3.00 ms |" in text
    assert {path.name for path in tmp_path.iterdir()} == {"benchmark.md", "benchmark.png", "scaling.png"}
    speed.main(["--rounds", "1", "--seconds", "0", "--steps", "--only", "tensorgrad", "--out", str(tmp_path / "own")])
    assert "| tensorgrad | 2.00 ms |" in capsys.readouterr().out and not (tmp_path / "own" / "benchmark.png").exists()
    compiled = {case: {OURS: [1.0, 2.0], "JAX, jit": [2.0, 6.0]} for case in STEPS[:1]}
    assert tables.against("JAX, jit", compiled).endswith("relative to JAX, jit: 784-512-10 2.50")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FRAMEWORKS if "tensorgrad" in name or "NumPy" in name])
def test_a_benchmark_worker_answers(name):
    worker = workers.Worker(name)
    try:
        assert worker.is_installed
        for kind in ("step", "inference", "epoch"):
            assert 0 < worker.time(Case(kind, "64-32-10", 32), 0.0) < 10_000
    finally:
        worker.close()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["start", "record"])
def test_what_a_start_and_a_recording_cost(what):
    name = "tensorgrad, compiled"
    one, two, three = workers.in_fresh_processes(what, [name], "64-32-10")[name]
    assert 0 < one < 10_000 and 0 < two < 10_000 and 0 < three < 2000


@pytest.mark.slow
def test_where_the_time_of_a_step_goes():
    printed = workers.in_a_fresh_process("profile", "tensorgrad, compiled", "64-32-10")
    assert "made in ms" in printed and "matmul" in printed


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--rounds", "0"], "must be at least 1"),
        (["--seconds", "-1"], "must be finite and not negative"),
        (["--only", "caffe"], "invalid choice: 'caffe'"),
        (["--out", ""], "must be the name of a file or folder"),
        (["--out", __file__], "File exists"),
    ],
)
def test_wrong_options_are_one_sentence(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        speed.main(arguments)
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.startswith("benchmarks.speed: error: ") and said.count("\n") == 1
    assert message in said
