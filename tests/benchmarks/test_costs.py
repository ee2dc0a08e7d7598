"""What a training step costs, counted instead of timed: so that it does not become slower unseen.

A change that makes one of these numbers larger makes steps slower; one that makes it smaller lowers the bound here.
"""

import ctypes
import re
import sys
from collections import Counter

import numpy as np
import pytest

import tensorgrad as tg
from benchmarks.frameworks import TensorGrad
from benchmarks.recipes import CNN, inputs_of, recipe_of, sizes_of
from tensorgrad.compiler import emit
from tensorgrad.training import fit, predict

BATCH = 32
LEAST_BLOCK = 64
"""Bytes: smaller ones hold a number that NumPy makes an array of for the time of a call."""


class ArrayMemory:
    """Within it, notes the bytes of each block of memory that NumPy takes for data of arrays."""

    SET_HANDLER = 304
    """The place of ``PyDataMem_SetHandler`` in NumPy's table of C functions."""

    def __init__(self):
        libc, size, pointer = ctypes.CDLL(None), ctypes.c_size_t, ctypes.c_void_p
        for name, arguments in {"malloc": [size], "calloc": [size] * 2, "realloc": [pointer, size]}.items():
            function = getattr(libc, name)
            function.restype, function.argtypes = pointer, arguments
        libc.free.restype, libc.free.argtypes = None, [pointer]
        kinds = [(pointer, size), (pointer, size, size), (pointer, pointer, size)]
        malloc, calloc, realloc = (ctypes.CFUNCTYPE(pointer, pointer, *rest[1:]) for rest in kinds)
        free = ctypes.CFUNCTYPE(None, pointer, pointer, size)
        fields = {"malloc": malloc, "calloc": calloc, "realloc": realloc, "free": free}

        class Handler(ctypes.Structure):
            _fields_ = [
                *(("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("context", pointer)),
                *fields.items(),
            ]

        self.blocks = []
        self._handler = Handler(
            b"counting",
            1,
            None,
            malloc(lambda _, n: self.blocks.append(n) or libc.malloc(n)),
            calloc(lambda _, n, m: self.blocks.append(n * m) or libc.calloc(n, m)),
            realloc(lambda _, p, n: self.blocks.append(n) or libc.realloc(p, n)),
            free(lambda _, p, n: libc.free(p)),
        )
        KEPT.append(self)  # as long as there are arrays that are to be freed by it
        python = ctypes.pythonapi
        python.PyCapsule_GetPointer.restype, python.PyCapsule_GetPointer.argtypes = pointer, [ctypes.py_object, pointer]
        python.PyCapsule_New.restype, python.PyCapsule_New.argtypes = (
            ctypes.py_object,
            [pointer, ctypes.c_char_p, pointer],
        )
        table = python.PyCapsule_GetPointer(np._core._multiarray_umath._ARRAY_API, None)
        address = ctypes.cast(table, ctypes.POINTER(pointer))[self.SET_HANDLER]
        self._set = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)
        self._capsule = python.PyCapsule_New(ctypes.addressof(self._handler), b"mem_handler", None)

    def __enter__(self):
        self._before = self._set(self._capsule)
        return self.blocks

    def __exit__(self, *error):
        self._set(self._before)


KEPT = []


def function_calls(function, *args):
    """How many functions a call calls, Python's and those written in C."""
    counts = Counter()
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: counts.update([event]))
    try:
        function(*args)
    finally:
        sys.setprofile(before)
    return counts["call"] + counts["c_call"]


def numpy_calls(step, *args):
    """How many calls of NumPy a call's programs make."""
    counts = Counter()

    def counted(function):
        def call(*args, **settings):
            counts["call"] += 1
            return function(*args, **settings)

        return call

    for executable in step._executables():
        for name in set(re.findall(r"(\w+)\(", executable.source)) & executable._space.keys():
            executable._space[name] = counted(executable._space[name])
    step(*args)
    return counts["call"]


def costs(network, way, monkeypatch):
    monkeypatch.setenv("TENSORGRAD_FAST", "0")
    sizes = sizes_of(network)
    step = TensorGrad(compiled=way == "pure").prepared(sizes, recipe_of(sizes))[0]
    if way == "compiled":
        step = tg.compile(step)
    arrays = inputs_of(sizes, BATCH)
    for _ in range(4):
        step(*arrays)
    with ArrayMemory() as blocks:
        step(*arrays)
    blocks = [block for block in blocks if block >= LEAST_BLOCK]
    found = [len(blocks), sum(blocks), function_calls(step, *arrays)]
    return found if way == "eager" else [*found, numpy_calls(step, *arrays)]


BOUNDS = {
    ("784-512-10", "eager"): (37, 7.16e6, 600),
    ("784-512-10", "compiled"): (6, 0.136e6, 610, 343),
    ("784-512-10", "pure"): (3, 0.035e6, 155, 348),
    ("2352-2048-512-10", "eager"): (50, 84.6e6, 980),
    ("2352-2048-512-10", "compiled"): (7, 0.468e6, 960, 3879),
    ("2352-2048-512-10", "pure"): (4, 0.166e6, 310, 3886),
    ("64-32-10", "eager"): (37, 0.094e6, 580),
    ("64-32-10", "compiled"): (6, 0.0123e6, 600, 60),
    ("64-32-10", "pure"): (3, 0.0036e6, 140, 65),
    (CNN, "eager"): (90, 32.5e6, 1700),
    (CNN, "compiled"): (47, 16.6e6, 1800, 231),
    (CNN, "pure"): (44, 16.5e6, 560, 234),
}
"""Of a step of a network: blocks of memory, bytes in them, calls of functions, and of NumPy by the programs.

Without numba. Memory is the same on all versions of NumPy; Pythons differ by a few calls of functions.
"""


@pytest.mark.parametrize(
    "network, way",
    [pytest.param(*key, marks=pytest.mark.slow if key[0].startswith("2352") else ()) for key in BOUNDS],
)
def test_a_step_takes_no_more_calls_and_memory_than_it_did(network, way, monkeypatch):
    found = costs(network, way, monkeypatch)
    assert all(cost <= bound for cost, bound in zip(found, BOUNDS[network, way])), found


def test_recording_a_small_network_takes_no_more_calls_than_it_did(monkeypatch):
    monkeypatch.setenv("TENSORGRAD_FAST", "0")
    sizes, framework = sizes_of("64-32-10"), TensorGrad(compiled=True)
    arrays = inputs_of(sizes, BATCH)
    first, again = (framework.prepared(sizes, recipe_of(sizes))[0] for _ in range(2))
    first(*arrays)  # what is found once in a process
    texts = emit._code.cache_info().misses
    calls = function_calls(again, *arrays)
    assert emit._code.cache_info().misses == texts  # the text of a network like it is compiled already
    assert calls <= 22_000, calls


def test_a_step_in_fit_takes_few_more_calls_than_alone(monkeypatch):
    monkeypatch.setenv("TENSORGRAD_FAST", "0")
    network, framework = "64-32-10", TensorGrad(compiled=True)
    sizes = sizes_of(network)
    recipe = recipe_of(sizes)

    def calls_of_fit(steps):
        model = framework.model(sizes, recipe)
        optimiser = framework.optimiser(model, recipe)
        settings = {"epochs": 3, "batch_size": BATCH, "rng": 0, "quiet": True}
        return function_calls(lambda: fit(model, inputs_of(sizes, BATCH * steps), None, optimiser, **settings))

    calls_of_fit(2)  # what is found once in a process
    calls = (calls_of_fit(12) - calls_of_fit(2)) / 30
    alone = BOUNDS[network, "pure"][2]
    assert calls <= alone + 110, calls


def test_a_prediction_of_one_example_takes_no_more_calls_than_it_did():
    model = TensorGrad(compiled=True).model(sizes_of("64-32-10"), recipe_of(sizes_of("64-32-10")))
    row = inputs_of(sizes_of("64-32-10"), 1)[0]
    model.eval()
    predict(model, row)  # what is found once in a process
    calls = function_calls(predict, model, row)
    assert calls <= 350, calls


def test_what_is_counted():
    x = np.zeros((100, 10))
    with ArrayMemory() as blocks:
        y = x + x
        np.add(x, y, out=x)
    assert blocks == [8000]
    assert function_calls(sorted, [2, 1]) == function_calls(lambda: sorted([2, 1])) - 1 > 0
    step = tg.compile(lambda x: np.exp(x) + 1, pure=True, fast=False)
    step(tg.Tensor(x))
    assert numpy_calls(step, tg.Tensor(x)) == 3  # of which one copies the result for the caller
