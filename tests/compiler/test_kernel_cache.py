"""Steps go on whatever has become of the files in which compiled kernels are kept."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.compiler import kernels

pytestmark = pytest.mark.skipif(kernels.numba() is None, reason="kernels are numba's")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of our own, as a new process finds it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TENSORGRAD_FAST", raising=False)
    forget(monkeypatch)
    return tmp_path / "cache"


def forget(monkeypatch):
    """What a process knows of kernels."""
    for name in ("_functions", "_dispatchers"):
        monkeypatch.setattr(kernels, name, {})
    monkeypatch.setattr(kernels, "_warned", [])


def train():
    """Three steps, eager but for the optimiser's own; returns the parameter and the messages of all warnings."""
    x = tg.Tensor(np.linspace(1, 2, 6, dtype=np.float32), requires_grad=True)
    optimiser = tg.optim.Adam([x], lr=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            x.grad = np.ones(6, np.float32)
            optimiser.step()
    return x.data, [str(warning.message) for warning in caught]


EXPECTED = np.linspace(1, 2, 6, dtype=np.float32) - np.float32(0.3)


def files_of(cache):
    found = {path.suffix: path for path in cache.rglob("kernel_*.*")}
    assert set(found) == {".py", ".nbi", ".nbc"}
    return found


def test_kernels_are_kept_and_used_again(cache, monkeypatch):
    assert train()[1] == []
    before = {path: path.stat().st_mtime_ns for path in files_of(cache).values()}
    forget(monkeypatch)
    value, messages = train()
    np.testing.assert_allclose(value, EXPECTED, rtol=1e-6)
    (dispatcher,) = kernels._dispatchers.values()
    assert messages == [] and sum(dispatcher.stats.cache_hits.values()) == 1
    assert {path: path.stat().st_mtime_ns for path in files_of(cache).values()} == before


def emptied(content):
    return b""


def cut_short(content):
    return content[: len(content) // 2]


def without_its_last_line(content):
    return content[: content.rstrip().rfind(b"\n") + 1]


def of_random_bytes(content):
    return np.random.default_rng(0).bytes(len(content))


def with_a_byte_flipped(content):
    middle = len(content) * 2 // 3
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


def of_zeros(content):
    return bytes(len(content))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".py", ".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage", [emptied, cut_short, without_its_last_line, of_random_bytes, with_a_byte_flipped, of_zeros]
)
def test_a_damaged_file_is_named_once_and_replaced(cache, monkeypatch, suffix, damage):
    train()
    path = files_of(cache)[suffix]
    path.write_bytes(damage(path.read_bytes()))
    forget(monkeypatch)
    value, messages = train()
    np.testing.assert_allclose(value, EXPECTED, rtol=1e-6)
    assert len(messages) <= 1 and all(path.stem.split(".")[0] in message for message in messages)
    assert messages or suffix == ".nbi"  # an index that can be read but is another version's is no error
    forget(monkeypatch)
    value, messages = train()
    np.testing.assert_allclose(value, EXPECTED, rtol=1e-6)
    assert messages == []


@pytest.mark.parametrize("suffix", [".py", ".nbi", ".nbc"])
def test_a_folder_in_the_place_of_a_file(cache, monkeypatch, suffix):
    train()
    path = files_of(cache)[suffix]
    path.unlink()
    path.mkdir()
    forget(monkeypatch)
    value, messages = train()
    np.testing.assert_allclose(value, EXPECTED, rtol=1e-6)
    assert len(messages) == 1 and path.name in messages[0]


def test_a_file_in_the_place_of_the_folder(cache):
    cache.write_text("in the way")
    value, messages = train()
    np.testing.assert_allclose(value, EXPECTED, rtol=1e-6)
    assert len(messages) == 1 and str(cache) in messages[0]
    assert cache.read_text() == "in the way"


@pytest.mark.parametrize("home", ["/nonexistent", "~"])
def test_a_user_without_a_home(monkeypatch, tmp_path, home):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", home))
    monkeypatch.setattr(kernels.Path, "mkdir", lambda *args, **settings: os.mkdir(os.devnull + "/none"))
    monkeypatch.chdir(tmp_path)
    value, messages = train()
    np.testing.assert_allclose(value, EXPECTED, rtol=1e-6)
    assert len(messages) == 1 and "XDG_CACHE_HOME" in messages[0]
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys, warnings
import numpy as np, tensorgrad as tg
from tensorgrad.compiler import kernels
sys.path.insert(0, sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
warnings.simplefilter("always")
x = tg.Tensor(np.ones(6, np.float32), requires_grad=True)
optimiser = tg.optim.Adam([x], lr=0.1)
for _ in range(2):
    x.grad = np.ones(6, np.float32)
    optimiser.step()
y = tg.Tensor(np.ones((6, 4), np.float32), requires_grad=True)
step = tg.compile(lambda: tg.optim.SGD([y], momentum=0.5).step(), pure=True)
compiled = tg.compile(lambda x: np.maximum(x * 2 + 1, 0).sum(axis=1), pure=True)
compiled(np.ones((6, 4), np.float32))
print(x.data.tolist()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
@pytest.mark.parametrize("size", [0, 100, 4000])
def test_a_full_disk(cache, size):
    """No file can be longer than that: the text of the kernel fits, or nothing does."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", FULL_DISK, os.getcwd(), str(size)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(0.8)
    assert run.stderr.count("RuntimeWarning") == 1 and str(cache) in run.stderr
    assert not [path for path in cache.rglob("*") if "tmp" in path.name or path.suffix == ".partial"]


def test_a_damaged_cache_of_reductions(cache, monkeypatch, tmp_path):
    """numba keeps those of functions in a module beside it, or in a folder of its own."""
    from tensorgrad.compiler import reductions

    monkeypatch.setattr(sys.modules["numba"].config, "CACHE_DIR", str(tmp_path / "numba"))
    function = tg.compile(lambda x: x.max(axis=1), pure=True)
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert function(x).tolist() == [3, 7, 11]
    assert reductions.max_rows in kernels._dispatchers
    for path in (tmp_path / "numba").rglob("*.nb?"):
        path.write_bytes(b"damaged")
    forget(monkeypatch)
    with pytest.warns(RuntimeWarning, match=r"max_rows.*nb"):
        assert tg.compile(lambda x: x.max(axis=1), pure=True)(x).tolist() == [3, 7, 11]


def test_the_oldest_kernels_make_way(cache, monkeypatch):
    monkeypatch.setattr(kernels, "MOST_KEPT", 3)
    for factor in range(2, 8):
        step = tg.compile(lambda x, factor=factor: (x * factor + 1) * x, pure=True)
        assert step(np.ones(5)).tolist() == [factor + 1.0] * 5
        assert len(list(cache.rglob("kernel_*.py"))) == min(factor - 1, 3)
        assert len(list(cache.rglob("kernel_*.nbi"))) == min(factor - 1, 3)
