"""The benchmark of speed: its tables, and the processes that measure."""

import pytest

from benchmarks import speed


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
    assert f"steps of {speed.OURS}, 784-512-10" in text
    assert "| tensorgrad, compiled | 1.00 ms | 2000.00 ms | 3.00 ms |" in text
    assert {path.name for path in tmp_path.iterdir()} == {"benchmark.md", "benchmark.png", "scaling.png"}
    speed.main(["--rounds", "1", "--seconds", "0", "--steps", "--only", "tensorgrad", "--out", str(tmp_path / "own")])
    assert "| tensorgrad | 2.00 ms |" in capsys.readouterr().out and not (tmp_path / "own" / "benchmark.png").exists()
    compiled = {case: {speed.OURS: [1.0, 2.0], "JAX, jit": [2.0, 6.0]} for case in speed.STEPS[:1]}
    assert speed.against("JAX, jit", compiled).endswith("relative to JAX, jit: 784-512-10 2.50")


@pytest.mark.parametrize("name", [name for name in speed.FRAMEWORKS if "tensorgrad" in name or "NumPy" in name])
def test_a_benchmark_worker_answers(name):
    worker = speed.Worker(name)
    try:
        assert worker.is_installed
        for kind in ("step", "inference", "epoch"):
            assert 0 < worker.time(speed.Case(kind, "64-32-10", 32), 0.0) < 10_000
    finally:
        worker.close()


@pytest.mark.parametrize("what", ["--start", "--record"])
def test_what_a_start_and_a_recording_cost(what):
    name = "tensorgrad, compiled"
    one, two, three = speed.in_fresh_processes(what, [name], "64-32-10")[name]
    assert 0 < one < 10_000 and 0 < two < 10_000 and 0 < three < 2000


def test_where_the_time_of_a_step_goes():
    printed = speed.in_a_fresh_process("--profile", "tensorgrad, compiled", "64-32-10")
    assert "made in ms" in printed and "matmul" in printed
