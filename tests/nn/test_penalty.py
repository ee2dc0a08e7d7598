"""The walk to the layers with penalties is made again wherever it might find others."""

from __future__ import annotations

import copy
import gc
import pickle
from contextlib import suppress
from typing import ClassVar
from weakref import ref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorgrad.nn import Dense, Dropout, Module, ReLU, Sequential

pytestmark = pytest.mark.quick


def penalised(strength=1.0):
    return Dense(1, 1, 0, weight_l2=strength)


class Network(Module):
    shared = None
    table: ClassVar[list] = []

    def __init__(self):
        self.plain = penalised(0.5)
        self.layers = [penalised(0.25), [ReLU(), Dropout(0.5, np.random.default_rng(0))]]
        self.by_name = {"first": Sequential(penalised(0.125), ReLU()), "count": 1}
        self.pair = (Sequential(ReLU()), [])
        self.arrays = [np.ones(3)]


class Doubled(Network):
    def penalty(self):
        return 2 * super().penalty()


def replaced_in_object_array(net):
    net.held = np.array([None, 1], object)
    net.penalty()
    net.held[0] = penalised()


def replaced_in_closure(net):
    cell = [ReLU()]
    net.function = lambda x: cell[0](x)
    net.penalty()
    cell[0] = penalised()


CHANGES = {
    "attribute": lambda net: setattr(net, "plain", penalised()),
    "new attribute": lambda net: setattr(net, "other", penalised()),
    "deleted attribute": lambda net: delattr(net, "plain"),
    "past setattr": lambda net: vars(net).update(plain=penalised()),
    "deleted and added": lambda net: (delattr(net, "arrays"), setattr(net, "other", penalised())),
    "item of a list": lambda net: net.layers.__setitem__(0, penalised()),
    "longer list": lambda net: net.layers.append(penalised()),
    "shorter list": lambda net: net.layers.pop(0),
    "item of an inner list": lambda net: net.layers[-1].__setitem__(0, penalised()),
    "list in a tuple": lambda net: net.pair[1].append(penalised()),
    "value of a dict": lambda net: net.by_name.update(first=penalised()),
    "new key": lambda net: net.by_name.update(second=penalised()),
    "layer of a Sequential": lambda net: setattr(net.pair[0], "layers", (ReLU(), penalised())),
    "attribute of an inner layer": lambda net: setattr(net.layers[-1][0], "hidden", penalised()),
    "class attribute": lambda net: setattr(type(net), "shared", penalised()),
    "list of a class": lambda net: type(net).table.append(penalised()),
    "strength": lambda net: setattr(net.plain, "weight_l2", 3.0),
    "array of objects": replaced_in_object_array,
    "variable of a function": replaced_in_closure,
    "other class": lambda net: setattr(net, "__class__", Doubled),
}


def forget_class_attributes():
    for kind in (Network, Doubled):
        if "shared" in vars(kind):
            kind.shared = None
    Network.table.clear()


def value(penalty):
    return penalty if isinstance(penalty, float) else penalty.item()


@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=4))
def test_after_several_changes(names):
    net = Network()
    net.penalty()
    try:
        for name in names:
            with suppress(AttributeError, IndexError, KeyError, TypeError):  # what was there is not any more
                CHANGES[name](net)
            assert value(net.penalty()) == value(copy.deepcopy(net).penalty())
    finally:
        forget_class_attributes()


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_after_each_change(name):
    net = Network()
    before = value(net.penalty())
    assert value(net.penalty()) == before > 0
    try:
        CHANGES[name](net)
        assert value(net.penalty()) == value(copy.deepcopy(net).penalty()) != before
    finally:
        forget_class_attributes()


def test_the_walk_is_made_once(monkeypatch):
    net, walks, tree = Network(), [], Module._tree
    monkeypatch.setattr(Module, "_tree", lambda self, enters: walks.append(self) or tree(self, enters))
    for _ in range(5):
        net.penalty()
    assert len(walks) == 1
    walks.clear()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), copy.copy(net)):
        for _ in range(5):
            assert value(twin.penalty()) == value(net.penalty())
    assert len(walks) <= 3


def test_a_network_that_nobody_uses_is_freed_at_once():
    net = Network()
    net.penalty()
    gone = ref(net), ref(net.plain)
    gc.disable()
    try:
        del net
        assert [weak() for weak in gone] == [None, None]
    finally:
        gc.enable()
