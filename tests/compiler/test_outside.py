"""A compiled function follows the numbers and objects that it finds outside of itself."""

from argparse import ArgumentParser, Namespace
from collections import OrderedDict, defaultdict, deque
from fractions import Fraction
from functools import lru_cache, partial
from json import dumps
from operator import methodcaller
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

X = np.array([1.0, 2.0])
FACTOR = 1.0
SETTINGS = {"scale": 1.0, "inner": {"shift": 0.0}, "sizes": [1.0, 2.0]}
HOLDER = SimpleNamespace(scale=1.0, name="plus")


def scaled(x):
    return x * FACTOR


class Scaling:
    scale = 1.0

    def __init__(self):
        self.shift = 0.0

    def __call__(self, x):
        return x * self.scale + self.shift

    def method(self, x):
        return x * FACTOR + self.shift


class Line(nn.Module):
    def __init__(self):
        self.slope = 1.0

    def forward(self, x):
        return x * self.slope * FACTOR


SCALING, LINE = Scaling(), Line()


def with_default(x, factor=2.0):
    return x * factor * scaled(x)


def in_a_closure():
    state = {"k": 1.0}
    factor = 1.0

    def function(x):
        return (lambda: x * factor * state["k"])()

    def change(value):
        nonlocal factor
        factor = value
        state["k"] = value + 1

    return function, change


def changed(owner, name):
    is_container = isinstance(owner, (dict, list))
    return partial(owner.__setitem__, name) if is_container else partial(setattr, owner, name)


CLOSURE, CHANGE_CLOSURE = in_a_closure()


class Options:
    scale = 1.0


class Learnt(nn.Module):
    """A network with objects of its own, which no replacement of an attribute tells of."""

    def __init__(self):
        self.options, self.rates = SimpleNamespace(inner=SimpleNamespace(scale=1.0)), {"a": [1.0]}

    def forward(self, x):
        return x * self.options.inner.scale * self.rates["a"][0]


class Slotted:
    __slots__ = "scale"


class Named:
    """An attribute of a class or module that is named only by code met after it."""

    above = 1.0


def naming_it():
    return Named.above * LATE.above


def naming_late(x):
    return x * naming_it() if Named and LATE else x


class Shared:
    scale = 1.0

    def __call__(self, x):
        return x * self.scale

    @classmethod
    def of_the_class(cls, x):
        return x * cls.scale

    @property
    def doubled(self):
        return 2 * self.scale


LEARNT, SLOTTED, SHARED, PARSED = Learnt(), Slotted(), Shared(), Namespace(rates=[1.0])
ORDERED, DEFAULT, QUEUE = OrderedDict(a=1.0), defaultdict(float, a=1.0), deque([1.0])
MODULE = ModuleType("settings_of_a_user")
LATE = ModuleType("more_settings_of_a_user")
MODULE.scale, LATE.above, SLOTTED.scale = 1.0, 1.0, 1.0
FUNCTIONS = {"f": np.sin}


@pytest.mark.parametrize(
    "function, change",
    [
        (lambda x: x * MODULE.scale, changed(MODULE, "scale")),
        (lambda x: x * Options.scale, changed(Options, "scale")),
        (SHARED, changed(Shared, "scale")),
        (Shared.of_the_class, changed(Shared, "scale")),
        (lambda x: x * SHARED.doubled, changed(Shared, "scale")),
        (LEARNT, changed(LEARNT.options.inner, "scale")),
        (nn.Sequential(nn.Sequential(LEARNT)), changed(LEARNT.rates["a"], 0)),
        (naming_late, changed(Named, "above")),
        (naming_late, changed(LATE, "above")),
        (lambda x: x * SLOTTED.scale, changed(SLOTTED, "scale")),
        (lambda x: x * PARSED.rates[0], changed(PARSED.rates, 0)),
        (lambda x: x * ORDERED["a"], changed(ORDERED, "a")),
        (lambda x: x * DEFAULT["a"], changed(DEFAULT, "a")),
        (lambda x: x * QUEUE[0], partial(QUEUE.__setitem__, 0)),
        (lambda x: FUNCTIONS["f"](x), lambda value: changed(FUNCTIONS, "f")(np.sin if value > 0 else np.cos)),
        (tg.no_grad()(lambda x: x * ORDERED["a"]), changed(ORDERED, "a")),
    ],
)
def test_what_is_inside_modules_classes_networks_and_containers_is_followed(function, change):
    test_changes_outside_are_followed(function, change)


def test_an_attribute_that_hides_that_of_the_class_is_followed():
    shared = Shared()
    step = tg.compile(shared, fast=False)
    for _ in range(3):
        step(X)
    shared.scale = 3.0
    np.testing.assert_array_equal(step(X), 3 * X)


def test_objects_that_are_arguments_are_followed():
    step, options = tg.compile(lambda x, options: x * options["a"].scale, fast=False), {"a": Shared()}
    for options["a"].scale in (1.0, 1.0, 2.0, 5.0, 2.0):
        np.testing.assert_array_equal(step(X, options), X * options["a"].scale)


def test_what_a_function_leaves_outside_is_refused():
    kept = []

    def appending(x):
        kept.append(x)
        return x * 2

    class Remembering(nn.Module):
        def forward(self, x):
            self.last = x * 2
            return x

    with pytest.raises(tg.CaptureError, match="appending: changes the length of kept, which a replay would not do"):
        tg.compile(appending)(X)
    with pytest.raises(tg.CaptureError, match=r"Remembering.last: cannot be set to a tensor of a compiled function"):
        tg.compile(Remembering())(tg.Tensor(X))


@pytest.mark.parametrize(
    "function, change",
    [
        (lambda x: x * FACTOR, changed(globals(), "FACTOR")),
        (lambda x: scaled(x) + 1, changed(globals(), "FACTOR")),
        (with_default, changed(globals(), "FACTOR")),
        (partial(np.multiply, 2.0), lambda value: None),
        (partial(lambda y, x: scaled(x) + y, 3.0), changed(globals(), "FACTOR")),
        (lambda x: x * SETTINGS["scale"], changed(SETTINGS, "scale")),
        (lambda x: x + SETTINGS["inner"]["shift"], changed(SETTINGS["inner"], "shift")),
        (lambda x: x + SETTINGS["inner"]["shift"], lambda value: changed(SETTINGS, "inner")({"shift": value})),
        (lambda x: x * SETTINGS["sizes"][1], changed(SETTINGS["sizes"], 1)),
        (lambda x: x * HOLDER.scale, changed(HOLDER, "scale")),
        (lambda x: x * (1 if HOLDER.name == "plus" else -1), lambda value: changed(HOLDER, "name")(str(value))),
        (CLOSURE, CHANGE_CLOSURE),
        (SCALING, changed(SCALING, "shift")),
        (SCALING.method, changed(globals(), "FACTOR")),
        (lambda x: SCALING(x), changed(SCALING, "shift")),
        (lambda x: LINE(x), changed(LINE, "slope")),
        (LINE, changed(globals(), "FACTOR")),
        (lambda x: scaled(x), lambda value: changed(globals(), "scaled")(lambda x: x + value)),
    ],
)
def test_changes_outside_are_followed(function, change):
    before = scaled
    step = tg.compile(function, fast=False)
    try:
        for value in (1.0, 2.0, 2.0, -3.0, 1.0, 5, 2.0):
            change(value)
            for _ in range(3):
                np.testing.assert_array_equal(step(X), function(X))
    finally:
        change(1.0)
        globals()["scaled"] = before


def test_known_values_are_not_recorded_again(capsys):
    holder = SimpleNamespace(scale=1.0, epoch=0)

    @tg.compile
    def step(x):
        print("recorded")
        return x * holder.scale

    for holder.scale in (1.0, 2.0, 1.0, 2.0, 1.0):
        step(X)
        step(X)
    assert capsys.readouterr().out.count("recorded") == 4  # each program twice: the second time to be compared
    for holder.epoch in (1, 2, 1, 2):  # makes no difference
        step(X)
    assert "recorded" not in capsys.readouterr().out
    assert len(step.explain().split("\n\n")) == 2


def test_what_changes_in_each_call_is_refused():
    counted = SimpleNamespace(calls=0)

    @tg.compile
    def counting(x):
        counted.calls += 1
        return x + 1

    with pytest.raises(tg.CaptureError, match=r"counting: changes counted\.calls"):
        counting(X)


def test_what_is_recorded_often_is_told_once_and_goes_on():
    holder = SimpleNamespace(number=0.0)
    step = tg.compile(lambda x: x * holder.number if holder.number > 0 else x, fast=False)
    with pytest.warns(RuntimeWarning, match=r"<lambda>: recorded for the 16th time, now because holder\.number has"):
        for holder.number in np.arange(20.0).tolist():
            np.testing.assert_array_equal(step(X), X * (holder.number or 1))
    for holder.number in np.arange(100.0).tolist():
        np.testing.assert_array_equal(step(X), X * (holder.number or 1))
    assert sum(map(len, step._programs.values())) == 64


LIST, DICT, SET, LONG = [], {}, set(), list(range(100))


class Sized:
    def __init__(self):
        self.items = []

    def __len__(self):
        return len(self.items)


SIZED = Sized()


@pytest.mark.parametrize(
    "function, grow, shrink",
    [
        (lambda x: x if "w" in LIST else x * 2, partial(LIST.append, "w"), LIST.clear),
        (lambda x: x * (len(LIST) + 1), partial(LIST.append, "w"), LIST.clear),
        (lambda x: x * (sum(LIST) + 1), partial(LIST.append, 3), LIST.clear),
        (lambda x: x if LIST else x * 2, partial(LIST.append, 0), LIST.clear),
        (lambda x: x * (sum(LONG) + 1), partial(LONG.append, 3), LONG.pop),
        (lambda x: x * DICT.get("scale", 1.0), partial(DICT.__setitem__, "scale", 2.0), DICT.clear),
        (lambda x: x if "w" in DICT else x * 2, partial(DICT.__setitem__, "w", 2.0), DICT.clear),
        (lambda x: x if "w" in SET else x * 2, partial(SET.add, "w"), SET.clear),
        (lambda x: x * (len(SIZED) + 1), partial(SIZED.items.append, 1), SIZED.items.clear),
    ],
)
def test_containers_that_grow_are_followed(function, grow, shrink):
    step = tg.compile(function, fast=False)
    for change in (lambda: None, grow, shrink, grow, shrink):
        change()
        for _ in range(3):
            np.testing.assert_array_equal(step(X), function(X))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, s: x * float(s[0]),
        lambda x, s: x * s.item(),
        lambda x, s: x if s[0] > 0.5 else -x,
        lambda x, s: x[: int(s[0])],
        lambda x, s: x * s,
        lambda x, s: sum(x * factor for factor in s.tolist()),
    ],
)
def test_small_arrays_that_python_may_read_are_followed(function):
    s = np.array([1.0])
    step = tg.compile(lambda x: function(x, s), fast=False)
    for value in (1.0, 1.0, 1.0, 0.75, 0.25, 1.0, 0.25):
        s[0] = value
        np.testing.assert_array_equal(step(X), function(X, s))


def test_what_the_code_does_not_name_makes_no_difference(capsys):
    class Trainer:
        def __init__(self):
            self.losses, self.epoch, self.scale = [], 0, 2.0
            self.compiled = tg.compile(self.step, fast=False)

        def step(self, x):
            print("recorded")
            return x * self.scale

        def train(self):
            for self.epoch in range(100):
                self.losses.append(self.compiled(X))

    trainer = Trainer()
    trainer.train()
    assert capsys.readouterr().out.count("recorded") == 2
    trainer.scale = 3.0
    np.testing.assert_array_equal(trainer.compiled(X), 3 * X)


PREFIX, INNER = "sca", tg.compile(scaled, fast=False)


@pytest.mark.parametrize(
    "function, change",
    [
        (lambda x: x if hasattr(SCALING, "flag") else -x, changed(SCALING, "flag")),
        (lambda x: INNER(x) + 1, changed(globals(), "FACTOR")),
        (lambda x: x * methodcaller("method", 2.0)(SCALING), changed(SCALING, "shift")),
        (lambda x: x * getattr(HOLDER, PREFIX + "le"), changed(HOLDER, "scale")),
        (lambda x: x * vars(HOLDER)["scale"], changed(HOLDER, "scale")),
    ],
)
def test_what_is_read_in_roundabout_ways_is_followed(function, change):
    try:
        test_changes_outside_are_followed(function, change)
    finally:
        vars(SCALING).pop("flag", None)


def test_what_a_function_remembers_is_followed():
    @lru_cache
    def remembered(n):
        return n * FACTOR

    def change(value):
        changed(globals(), "FACTOR")(value)
        remembered.cache_clear()

    test_changes_outside_are_followed(lambda x: x * remembered(2), change)


def test_installed_libraries_are_not_looked_into():
    fraction, options = Fraction(1, 2), Namespace(scale=2.0, parser=ArgumentParser())
    step = tg.compile(lambda x: x * float(fraction) * options.scale if dumps([1]) else x)
    np.testing.assert_array_equal(step(X), X)
    (variants,) = step._programs.values()
    outside = {name.name for name in variants[0].program.outside}
    assert outside == {"fraction", "options", "options.scale", "dumps"}
    options.scale = 4.0
    np.testing.assert_array_equal(step(X), 2 * X)


class AttrDict(dict):
    """Settings that are read as attributes; what is missing is a KeyError, not an AttributeError."""

    def __getattr__(self, name):
        return self[name]


def test_settings_in_a_dict_whose_keys_are_attributes():
    settings = AttrDict(scale=2.0, inner=AttrDict(shift=1.0))
    f = tg.compile(lambda x: x * settings.scale + settings.inner.shift)
    assert [f(np.ones(2)).tolist() for _ in range(3)] == [[3, 3]] * 3
    settings["scale"] = 3.0
    assert f(np.ones(2)).tolist() == [4, 4]
    settings.inner["shift"] = 5.0
    assert f(np.ones(2)).tolist() == [8, 8]
