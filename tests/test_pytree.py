"""Nested containers of every kind: random ones, through everything that takes and returns them."""

from __future__ import annotations

import copy
import functools
import types
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad._pytree import flatten_up_to, reachable, tree_flatten, tree_leaves, tree_map, tree_unflatten
from tensorgrad.testing import check_call
from tests.support import examples

Pair = namedtuple("Pair", "first second")
RNG = np.random.default_rng(0)


@dataclass
class Line:
    slope: Any
    offset: Any = 0

    def at(self, x):
        return self.slope * x + self.offset


@dataclass(frozen=True)
class Frozen:
    content: Any
    name: str = "frozen"


@dataclass(eq=False)
class Slotted:
    __slots__ = ("left", "right")
    left: Any
    right: Any


@dataclass(frozen=True)
class Checked:
    """Made of one argument, with a field that is computed from it: what its ``__init__`` does must not happen again."""

    content: Any
    kind: Any = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "kind", type(self.content).__name__)


def lists_of(children, size):
    return st.lists(children, min_size=size, max_size=size)


def containers(children):
    keys = st.sampled_from(["a", "b", 3, ("c", 1)])
    dicts = st.dictionaries(keys, children, max_size=3)
    return st.one_of(
        dicts,
        dicts.map(OrderedDict),
        dicts.map(lambda content: defaultdict(list, content)),
        st.lists(children, max_size=3),
        st.lists(children, max_size=3).map(tuple),
        lists_of(children, 2).map(lambda pair: Pair(*pair)),
        lists_of(children, 2).map(lambda pair: Line(*pair)),
        lists_of(children, 2).map(lambda pair: Slotted(*pair)),
        children.map(Frozen),
        children.map(Checked),
    )


@st.composite
def arrays(draw):
    shape = draw(st.sampled_from([(), (2,), (1, 3), (0,)]))
    return np.asarray(np.round(RNG.uniform(-2, 2, shape), 2))


OTHERS = st.sampled_from([None, "text", 3, True, np.arange(2), b"", range(2)])
FLOATS = st.one_of(arrays(), st.sampled_from([0.5, -1.25]))
TREES = st.recursive(st.one_of(FLOATS, OTHERS), containers, max_leaves=8)
CONTAINERS = containers(TREES)
TREES_OF_ARRAYS = containers(st.recursive(arrays(), containers, max_leaves=6))


def is_float(leaf):
    return type(leaf) is float or (hasattr(leaf, "dtype") and leaf.dtype.kind == "f")


def assert_same(one, other):
    """Of the same classes throughout, with equal leaves."""
    assert tree_flatten(one)[1] == tree_flatten(other)[1]
    for x, y in zip(tree_leaves(one), tree_leaves(other)):
        if isinstance(x, (np.ndarray, np.generic, float)):
            np.testing.assert_allclose(y, x, rtol=1e-9, atol=1e-12, strict=not isinstance(x, float))
        else:
            assert x == y if not isinstance(x, np.ndarray) else np.array_equal(x, y)


def loss(tree):
    """Of all floating leaves, each with another weight."""
    floats = [leaf for leaf in tree_leaves(tree) if is_float(leaf) or isinstance(leaf, tg.Tensor)]
    return sum((position + 1) * np.sum(leaf**2) for position, leaf in enumerate(floats))


def gradient_of_loss(tree):
    weights = iter(range(2, 100, 2))
    return tree_map(lambda leaf: next(weights) * leaf if is_float(leaf) else None, tree)


# Trees themselves


@given(TREES)
def test_a_tree_is_its_leaves_and_its_structure(tree):
    leaves, structure = tree_flatten(tree)
    again = tree_unflatten(structure, leaves)
    assert repr(again) == repr(tree) or "Slotted" in repr(tree)
    assert tree_flatten(again)[1] == structure and hash(tree_flatten(again)[1]) == hash(structure)
    assert all(x is y for x, y in zip(tree_leaves(again), leaves))
    assert tree_leaves(tree) == leaves or any(isinstance(x, np.ndarray) for x in leaves)
    assert flatten_up_to(structure, tree) == leaves or any(isinstance(x, np.ndarray) for x in leaves)
    with pytest.raises(ValueError, match="more leaves"):
        tree_unflatten(structure, [*leaves, 1])
    if leaves:
        with pytest.raises(ValueError, match="fewer leaves"):
            tree_unflatten(structure, leaves[1:])


@given(CONTAINERS, CONTAINERS)
def test_structures_are_equal_if_and_only_if_containers_are_of_the_same_classes_keys_and_lengths(one, other):
    assert (tree_flatten(one)[1] == tree_flatten(other)[1]) == (text_of(one) == text_of(other))


def text_of(tree):
    if isinstance(tree, dict):
        return f"{type(tree).__name__}({[(key, text_of(item)) for key, item in tree.items()]})"
    if isinstance(tree, (list, tuple)):
        return f"{type(tree).__name__}({[text_of(item) for item in tree]})"
    if hasattr(type(tree), "__dataclass_fields__"):
        return f"{type(tree).__name__}({[text_of(getattr(tree, name)) for name in type(tree).__dataclass_fields__]})"
    return "leaf"


@given(CONTAINERS)
def test_containers_are_new_ones(tree):
    again = tree_map(lambda leaf: leaf, tree)
    assert again is not tree or tree == ()
    assert type(again) is type(tree)


def test_what_a_dataclass_is_made_of():
    half = Line.__new__(Line)
    half.slope = 1.0  # offset is a class attribute, its default
    assert tree_leaves(half) == [1.0, 0]
    empty = Slotted.__new__(Slotted)
    empty.right = 2.0
    assert tree_leaves(empty) == [2.0]
    assert not hasattr(tree_map(lambda x: x, empty), "left")
    assert tree_leaves(Checked((1, 2))) == [1, 2, "tuple"]
    assert tree_leaves(Line) == [Line]  # the class itself
    dense = tg.nn.Dense(2, 2)
    assert tree_leaves([dense]) == [dense]

    @dataclass
    class Layer(tg.nn.Module):
        width: int = 3

    schedule = tg.optim.cosine_decay(0.1, 10)
    for whole in (Layer(), schedule):
        assert tree_leaves([whole]) == [whole]


def test_another_dataclass_does_not_fit():
    with pytest.raises(ValueError, match=r"a Line of \['slope', 'offset'\], got a Frozen of \['content', 'name'\]"):
        tree_map(max, Line(1, 2), Frozen(1))
    with pytest.raises(ValueError, match=r"expected a Line of .*, got a dict of \['slope', 'offset'\]"):
        tree_map(max, Line(1, 2), {"slope": 1, "offset": 2})


# What takes and returns them


@given(st.one_of(CONTAINERS, FLOATS))
@settings(deadline=None)
def test_gradients_of_random_trees(tree):
    if not any(map(is_float, tree_leaves(tree))):
        return
    assert_same(gradient_of_loss(tree), tg.grad(loss)(tree))
    value, gradient = tg.value_and_grad(tg.checkpoint(loss))(tree)
    assert value == pytest.approx(loss(tree))
    assert_same(gradient_of_loss(tree), gradient)


@given(TREES_OF_ARRAYS)
@settings(deadline=None)
def test_gradients_of_tensors_come_in_the_containers_of_the_tensors(tree):
    """But for a list in the place of a tuple, outermost."""
    tree = tree_map(lambda leaf: np.ones(2) if isinstance(leaf, str) else leaf, tree)
    tensors = tree_map(lambda x: tg.Tensor(x, requires_grad=True), tree)
    found = tg.gradients(tg.Tensor(1.0, requires_grad=True) * loss(tensors), tensors)
    expected = gradient_of_loss(tree)
    assert_same(list(expected) if type(expected) is tuple else expected, tree_map(lambda x: x.data, found))


@given(TREES_OF_ARRAYS)
@settings(deadline=None, max_examples=examples(50))
def test_maps_of_random_trees(tree):
    def f(tree):
        return tree_map(lambda x: x**3 if is_float(x) else x, tree)

    if not any(map(is_float, tree_leaves(tree))):
        return

    def times(tree, other):
        return tree_map(lambda x, t: 3 * x**2 * t if is_float(x) else None, tree, other)

    tangent = tree_map(lambda x: np.cos(x) if is_float(x) else None, tree)
    _, found = tg.jvp(f, (tree,), (tangent,))
    assert_same(times(tree, tangent), found)
    _, pullback = tg.vjp(f, tree)
    (found,) = pullback(tangent)
    assert_same(times(tree, tangent), found)
    blocks = tg.jacobian(f)(tree)
    for i, (x, row) in enumerate(zip(tree_leaves(tree), flatten_up_to(tree_flatten(tree)[1], blocks))):
        assert row is None if not is_float(x) else tree_flatten(row)[1] == tree_flatten(tree)[1]
        if is_float(x):
            np.testing.assert_allclose(tree_leaves(row)[i].reshape(x.size, x.size), np.diag(3 * x.ravel() ** 2))


@given(st.lists(CONTAINERS, min_size=1, max_size=2))
@settings(deadline=None, max_examples=examples(50))
def test_a_compiled_function_takes_and_returns_random_trees(trees):
    def f(*trees):
        return tree_map(lambda leaf: leaf * 2 if is_float(leaf) else leaf, list(trees))

    compiled, pure = tg.compile(f), tg.compile(f, pure=True)
    for _ in range(3):
        assert_same(f(*trees), compiled(*trees))
        assert_same(f(*trees), pure(*trees))
        trees = tree_map(lambda leaf: leaf + 1 if isinstance(leaf, np.ndarray) else leaf, trees)
    assert pure.explain().count("made in ms") == 1  # one program for all of them


@given(TREES_OF_ARRAYS)
@settings(deadline=None, max_examples=examples(25))
def test_checks_look_into_random_trees(tree):
    if not any(is_float(leaf) and leaf.size for leaf in tree_leaves(tree)):
        return

    def f(tree):
        return [np.tanh(x) for x in tree_leaves(tree) if is_float(x)]

    check_call(f, tree)
    tg.gradcheck(f, [tree], order=2)
    tg.gradcheck(f, tree if isinstance(tree, dict) else {"tree": tree})


@given(TREES_OF_ARRAYS)
@settings(deadline=None, max_examples=examples(50))
def test_a_module_finds_parameters_in_random_trees(tree):
    class Holder(tg.nn.Module):
        def __init__(self, tree):
            self.tree = tree

    held = tree_map(lambda x: tg.Tensor(x, requires_grad=True) if is_float(x) else x, tree)
    expected = [x for x in tree_leaves(held) if isinstance(x, tg.Tensor)]
    module = Holder(held)
    assert {id(x) for x in module.parameters()} == {id(x) for x in expected}
    state = module.state_dict()
    other = Holder(copy.deepcopy(held))
    for parameter in other.parameters():
        parameter.data = parameter.data + 1
    other.load_state_dict(state)
    assert_same(*(tree_map(lambda x: x.data if isinstance(x, tg.Tensor) else x, m.tree) for m in (module, other)))


def test_methods_of_a_dataclass_are_part_of_a_compiled_function():
    weight = tg.Tensor(np.ones(2), requires_grad=True)

    @tg.compile
    def predict(line, x):
        return (line.at(x) * weight).detach()

    for slope in (1.0, 2.0, 3.0):
        line = Line(np.full(2, slope), {"unused": 3})
        line.offset = np.ones(2) * slope
        np.testing.assert_allclose(predict(line, np.arange(2.0)).data, line.at(np.arange(2.0)))


@pytest.mark.parametrize("change", [lambda p: p.append(1), lambda p: p.__setitem__(0, p[0] * 2), lambda p: p.clear()])
def test_a_function_that_changes_a_container_does_so_in_each_call_or_is_not_pure(change):
    def f(parts):
        total = np.sum(parts[0])
        change(parts)
        return total

    with pytest.raises(tg.CaptureError, match=r"f: changes a container that is an argument.*a copy.*leave out"):
        tg.compile(f, pure=True)([np.ones(3)])
    compiled = tg.compile(f)
    for _ in range(3):
        expected, found = [np.ones(3)], [np.ones(3)]
        assert f(expected) == compiled(found)
        assert_same(expected, found)

    def remedy(parts):
        parts = list(parts)
        return f(parts), parts

    compiled = tg.compile(remedy, pure=True)
    for _ in range(3):
        assert_same(remedy([np.ones(3)]), compiled([np.ones(3)]))


# What an object reaches

GLOBAL = np.random.default_rng(0)


class Holder:
    def __init__(self, content):
        self.content = content

    def method(self):
        return self.content


WRAPPERS = [
    lambda x: [x],
    lambda x: {"key": (x,)},
    lambda x: defaultdict(list, key=x),
    lambda x: types.SimpleNamespace(x=x),
    lambda x: types.MappingProxyType({"x": x}),
    lambda x: deque([x]),
    lambda x: np.array([x, None], dtype=object),
    lambda x: {HashedByIdentity(x)},
    lambda x: Holder(x),
    lambda x: Holder(x).method,
    lambda x: Slotted(x, None),
    lambda x: Frozen(x),
    lambda x: partial(max, x),
    lambda x: partial(max, key=x),
    lambda x: lambda: x,
    lambda x: lambda y=x: y,
    lambda x: staticmethod(lambda: x).__func__,
    lambda x: functools.wraps(lambda: x)(lambda: None),
]


class HashedByIdentity(Holder):
    pass


@given(st.lists(st.sampled_from(WRAPPERS), max_size=5))
def test_what_is_wrapped_any_number_of_times_is_reached_once(wrappers):
    source = np.random.default_rng(0)
    value = source
    for wrap in wrappers:
        value = wrap(value)
    cycle = [value]
    cycle.append(cycle)
    assert [x for x in reachable([cycle, value]) if isinstance(x, np.random.Generator)] == [source]
    assert [x for x in reachable(value, (np.random.Generator,)) if isinstance(x, np.random.Generator)] == []


def test_global_variables_are_reached_by_way_of_functions_too():
    def inner():
        return GLOBAL

    def unset():
        return later

    assert any(x is GLOBAL for x in reachable(lambda: inner()))
    assert not any(x is GLOBAL for x in reachable(unset))
    assert any(x is tree_map_of_global for x in reachable(lambda: tree_map_of_global))
    assert any(x is GLOBAL for x in reachable(lambda: tree_map_of_global))
    later = 1


def tree_map_of_global():
    return GLOBAL


@given(st.lists(st.sampled_from(WRAPPERS), max_size=3))
@settings(deadline=None, max_examples=examples(30))
def test_a_checkpoint_repeats_the_draws_of_a_generator_wherever_it_is(wrappers):
    def loss(make):
        source = np.random.default_rng(0)
        value = source
        for wrap in wrappers:
            value = wrap(value)

        def f(x, held):
            drawn = next(item for item in reachable(held) if isinstance(item, np.random.Generator))
            return np.sum(tg.dropout(x, 0.5, drawn) ** 2)

        return tg.grad(lambda x: make(f)(x, value))(np.arange(8.0)), source.random()

    assert_same(loss(lambda f: f), loss(tg.checkpoint))
