"""What several files of tests use."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad.data import write_idx

ROOT = Path(__file__).parents[1]
"""The folder of the project."""

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not on this machine")


def shown_in_chromium(page: Path, profile: Path, milliseconds: int = 60_000) -> str:
    """What a page has become, in a window that is larger than any of its frames, once its scripts have run."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --allow-file-access-from-files --window-size=1400,1000"
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={profile}", f"--virtual-time-budget={milliseconds}"]
    command += ["--dump-dom", f"file://{page}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=240).stdout


def examples(count: int) -> int:
    """How many examples a property test draws: ``count`` in the profile ``deep``, else a part, but at least 10."""
    return max(min(count, 10), count * settings().max_examples // 100)


NASTY = [
    "",
    "$",
    "$x^{$",
    "a_b^c\\frac{",
    "%",
    "\\",
    "{}",
    "<script>alert(1)</script>",
    "&amp;",
    '"quoted"',
    "'",
    "_",
    "__a",
]
NASTY += [
    "two\nlines",
    "\x00\x1b[31m",
    "\udcff",
    "\ud800",
    "😀👩‍👩‍👧",
    "سلام",
    "שלום",
    "漢字",
    "\u202eevil",
    "x" * 3000,
    "$" * 500,
    "é" * 99,
]
"""Names that somebody else chose."""


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """``content`` with a few bytes changed, cut off, or a piece of it copied, removed or doubled elsewhere."""
    changed = bytearray(content)
    kind = rng.integers(5)
    start, stop = sorted(rng.integers(0, len(content) + 1, 2).tolist())
    if kind == 0:
        for at in rng.integers(0, len(content), rng.integers(1, 5)):
            changed[at] ^= int(rng.integers(1, 256))
    elif kind == 1:
        for at in rng.integers(0, len(content), rng.integers(1, 5)):
            changed[at] = int(rng.choice([0, 1, 127, 128, 255]))
    elif kind == 2:
        del changed[int(rng.integers(1, len(content))) :]
    elif kind == 3:
        at = int(rng.integers(0, len(content)))
        changed[at : at + rng.integers(0, 20)] = content[start : min(stop, start + 20)]
    else:
        del changed[start : min(stop, start + 20)]
    return bytes(changed)


def write_mnist(folder, count=40, size=28, gz=True, **changes):
    rng = np.random.default_rng(0)
    parts = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (count, size, size)).astype(np.uint8),
        "train-labels-idx1-ubyte": (np.arange(count) % 10).astype(np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (20, size, size)).astype(np.uint8),
        "t10k-labels-idx1-ubyte": (np.arange(20) % 10).astype(np.uint8),
    }
    parts.update(changes)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in parts.items():
        write_idx(folder / f"{name}.gz", array)
        if not gz:
            (folder / name).write_bytes(gzip.decompress((folder / f"{name}.gz").read_bytes()))
            (folder / f"{name}.gz").unlink()
    return folder


def make_folders(root, classes=("a", "b"), count=3, size=28):
    """Folders of random images, as ``load_image_folders`` takes them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (size, size, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    return root


def heed_signals():
    """In a child process: SIGINT as usual, also where the tests themselves were started with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def blobs(count=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    return (rng.standard_normal((count, 2)) + 4 * np.eye(3)[labels][:, :2]).astype(np.float32), labels


class Draw:
    """Random choices for an op's sample."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def integer(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def uniform(self, shape, low, high):
        return self.rng.uniform(low, high, shape)


class StrictArray:
    """An array that speaks NumPy's protocols and works with its own kind and scalars only, as arrays on a GPU do."""

    __array_priority__ = 100

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, *args, **kwargs):
        raise TypeError("a StrictArray is never converted to a NumPy array")

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        if any(isinstance(x, tg.Tensor) for x in inputs):
            return NotImplemented
        inputs = [unwrapped(x, of_index=(method == "at" and i == 1)) for i, x in enumerate(inputs)]
        return wrapped(getattr(ufunc, method)(*inputs, **unwrapped(settings)))

    def __array_function__(self, function, types, args, kwargs):
        if tg.Tensor in types:
            return NotImplemented
        if function is np.asarray:  # with like=: the one way in
            return wrapped(np.asarray(*args, **kwargs))
        return wrapped(function(*unwrapped(args), **unwrapped(kwargs)))

    def __getitem__(self, index):
        return wrapped(self.values[unwrapped(index, of_index=True)])

    def __setitem__(self, index, value):
        self.values[unwrapped(index, of_index=True)] = unwrapped(value)

    def __getattr__(self, name):
        attribute = getattr(self.values, name)
        if not callable(attribute):
            return wrapped(attribute)
        return lambda *args, **kwargs: wrapped(attribute(*unwrapped(args), **unwrapped(kwargs)))

    def __len__(self):
        return len(self.values)

    __hash__ = None


def _operator(name):
    def operator(self, *others):
        if any(isinstance(other, tg.Tensor) for other in others):
            return NotImplemented
        return wrapped(getattr(self.values, name)(*unwrapped(others)))

    return operator


for _name in ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"]:
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(StrictArray, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ["neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne", "bool", "int", "float", "index"]:
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))


def unwrapped(value, of_index=False):
    if isinstance(value, StrictArray):
        return value.values
    if isinstance(value, np.ndarray) and value.ndim and not of_index:
        raise TypeError(f"a NumPy array of shape {value.shape} beside a StrictArray")
    if isinstance(value, (list, tuple)):
        return type(value)([unwrapped(part, of_index) for part in value])
    return {key: unwrapped(part) for key, part in value.items()} if isinstance(value, dict) else value


def wrapped(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return StrictArray(value)
    if isinstance(value, tuple) and any(isinstance(part, (np.ndarray, np.generic)) for part in value):
        return tuple(wrapped(part) for part in value)
    return [wrapped(part) for part in value] if isinstance(value, list) else value


# A training: data, a network, and how it is stopped and compared

_RNG = np.random.default_rng(0)
INPUTS = _RNG.standard_normal((90, 3)).astype(np.float32)
HEIGHTS = INPUTS @ [1.0, -2.0, 0.5] + 3
CLASSES = (INPUTS[:, 0] > 0).astype(int) + (INPUTS[:, 1] > 0)
ROWS = np.eye(3)[CLASSES] * 0.8 + 0.2 / 3
SEVERAL = np.stack([INPUTS[:, 0] > 0, INPUTS[:, 1] + INPUTS[:, 2] > 0], axis=1)


def network(outputs, *after, seed=0):
    rng = np.random.default_rng(seed)
    return tg.nn.Sequential(tg.nn.Dense(3, 16, rng), tg.nn.ReLU(), tg.nn.Dense(16, outputs, rng), *after)


def noisy_cnn(dtype=np.float64, seed=0, weight_l2=0.0):
    """For images of shape (2, 6, 6) and 3 classes: all that training over ranks or threads has to agree on."""
    rng = np.random.default_rng(seed)
    return tg.nn.Sequential(
        tg.nn.Conv2d(2, 4, 3, rng=rng, dtype=dtype),
        tg.nn.BatchNorm2d(4, dtype=dtype),
        tg.relu,
        tg.nn.Dropout(0.3, np.random.default_rng(5)),
        tg.nn.Flatten(),
        tg.nn.Dense(64, 8, rng=rng, dtype=dtype, weight_l2=weight_l2),
        tg.nn.BatchNorm1d(8, dtype=dtype),
        tg.nn.GaussianNoise(0.1, np.random.default_rng(6)),
        tg.nn.Dense(8, 3, rng=rng, dtype=dtype),
    )


def alike(one, other):
    """The same but for the order in which whole arrays are added up."""
    for name, array in one[0].state_dict().items():
        np.testing.assert_allclose(array, other[0].state_dict()[name], rtol=1e-4, atol=1e-6)


def same(one, other):
    for name, array in one[0].state_dict().items():
        np.testing.assert_array_equal(array, other[0].state_dict()[name])
    assert [{**vars(row), "seconds": 0} for row in one[1]] == [{**vars(row), "seconds": 0} for row in other[1]]


class StopAt:
    """Stands in for the signal handling: asks to stop after a number of steps."""

    def __init__(self, step):
        self.left = step

    def __call__(self, saves):
        return contextlib.nullcontext(self)

    @property
    def signal(self):
        self.left -= 1
        return signal.SIGINT if self.left <= 0 else None


GRAPH_ACTIONS = (
    lambda x, y: x + y,
    lambda x, y: x * y,
    lambda x, y: np.tanh(x) - y[:1],
    lambda x, y: x @ y.T @ x * 0.1,
    lambda x, y: x * y.mean(axis=0) + np.exp(-(y**2)),
    lambda x, y: np.where(x > y, x, 0.5 * y),
    lambda x, y: np.concatenate([x[1:], y[:1] * 2]),
    lambda x, y: tg.checkpoint(lambda a, b: np.sin(a) * b)(x, y),
    lambda x, y: tg.embedding(np.array([1, 0, 0]), x) + y,
    lambda x, y: _assigned(x, y),
)
"""From two values of shape (3, 2) another: what random graphs are made of."""


def _assigned(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    changed = x * 1.5
    changed[0] = y[1] + changed[2]
    part = changed[1:]
    part *= 2
    return changed


graph_programs = st.lists(
    st.tuples(st.integers(0, len(GRAPH_ACTIONS) - 1), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=6
)


def run_graph_program(program: list[tuple[int, int, int]]) -> tuple[tg.Tensor, dict[str, tg.Tensor]]:
    """The loss and the leaves."""
    rng = np.random.default_rng(0)
    leaves = {name: tg.Tensor(rng.standard_normal((3, 2)), requires_grad=True) for name in "abc"}
    values = [*leaves.values(), tg.Tensor(rng.standard_normal((3, 2)))]
    for action, first, second in program:
        values.append(GRAPH_ACTIONS[action](values[-1 - first % len(values)], values[-1 - second % len(values)]))
    return (values[-1] * values[0]).sum() + 0.1 * (values[-2] ** 2).mean(), leaves
