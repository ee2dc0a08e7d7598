"""The engine: recording, the backward pass, and what a Tensor refuses."""

import asyncio
import copy
import gc
import operator
import pickle
import sys
import threading
import tracemalloc
import weakref
from functools import partial
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import samples
from tensorgrad.testing import check_op
from tests.support import examples


def leaf(*values, dtype=np.float64):
    return tg.Tensor(np.array(values, dtype), requires_grad=True)


# Values and gradients


def test_gradient_has_shape_and_dtype_of_the_data_and_is_none_before_backward():
    x = tg.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    assert x.grad is None
    (x * 2.0).sum().backward()
    assert type(x.grad) is np.ndarray
    assert x.grad.shape == (2, 3) and x.grad.dtype == np.float32


def test_zero_dimensional_tensors_get_arrays_as_data_and_gradient():
    x = tg.Tensor(3.0, requires_grad=True)
    y = x * x
    y.backward()
    assert type(y.data) is np.ndarray and type(x.grad) is np.ndarray
    assert x.grad.shape == () and x.grad == 6


def test_gradients_accumulate_until_zero_grad():
    x = leaf(1.0, 2.0)
    for _ in range(2):
        (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [4, 8])
    x.zero_grad()
    assert x.grad is None


def test_an_earlier_gradient_array_is_not_changed_by_a_later_backward():
    x = leaf(1.0)
    (x * 3).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert first == [3] and x.grad == [6]


def test_shared_nodes_are_visited_once():
    calls = []
    op = tg.declare("counted", lambda x: x * 2, lambda g, out, x: calls.append(1) or 2 * g, sample=tg.samples.unary())
    try:
        x = leaf(1.0)
        y = op(x)
        for _ in range(50):
            y = y + y  # 2**50 paths
        y.sum().backward()
    finally:
        del tg.OPS["counted"]
    assert len(calls) == 1
    assert x.grad == [2.0**51]


def test_nothing_is_computed_for_operands_that_need_no_gradient():
    def forbidden(g, out, x, y):
        raise AssertionError("rule of a constant operand was called")

    op = tg.declare("one_sided", lambda x, y: x * y, lambda g, out, x, y: g * y, forbidden, sample=tg.samples.binary())
    try:
        x = leaf(2.0)
        op(x, tg.Tensor([3.0])).sum().backward()
    finally:
        del tg.OPS["one_sided"]
    assert x.grad == [3]


def test_gradients_of_two_leaves_do_not_share_memory():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    seed = np.ones(2)
    (x + y).backward(seed)
    x.grad *= 0
    np.testing.assert_array_equal(y.grad, [1, 1])
    np.testing.assert_array_equal(seed, [1, 1])


def test_gradient_of_a_reshaped_leaf_is_writable_and_its_own():
    x = tg.Tensor(np.ones((2, 3)), requires_grad=True)
    x.sum().backward()
    assert x.grad.flags.writeable and x.grad.flags.owndata
    x.grad *= 2


def test_a_rule_that_returns_an_array_it_keeps_fails_its_check():
    kept = {}

    def keeps(g, out, x):
        if isinstance(g, tg.Tensor):
            return g * 2
        array = kept.setdefault((x.shape, x.dtype), np.zeros_like(x))
        array[...] = g * 2
        return array

    op = tg.declare("keeps", lambda x: x * 2, keeps, sample=tg.samples.unary())
    try:
        with pytest.raises(AssertionError, match="keeps: the rule for operand 0 returned the same array twice"):
            check_op(op)
    finally:
        del tg.OPS["keeps"]


@st.composite
def programs(draw):
    """A random graph over three leaves: each step applies an op to two earlier values."""
    count = draw(st.integers(1, 12))
    return [
        (draw(st.sampled_from("+-*m/")), draw(st.integers(0, 2 + i)), draw(st.integers(0, 2 + i))) for i in range(count)
    ]


def run_program(program, values):
    values = list(values)
    for op, i, j in program:
        x, y = values[i], values[j]
        made = {
            "+": lambda x, y: x + y,
            "-": lambda x, y: x - y,
            "*": lambda x, y: np.sin(x) * y,
            "m": lambda x, y: x @ (y * 0.3),
            "/": lambda x, y: x / (y * y + 2),
        }[op](x, y)
        values.append(made)
    return np.sum(values[-1] * values[len(values) // 2])


@settings(max_examples=examples(60), deadline=None)
@given(programs())
def test_any_graph_of_shared_values_has_the_numeric_gradient(program):
    rng = np.random.default_rng(0)
    inputs = [rng.uniform(-1, 1, (2, 2)) for _ in range(3)]
    tg.gradcheck(lambda *leaves: run_program(program, leaves) + 0 * sum(leaf.sum() for leaf in leaves), inputs)


# Depth, memory, threads


@pytest.mark.slow
def test_a_chain_of_100_000_ops():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1e-9
    y.sum().backward()
    assert x.grad == [1]
    del y


@pytest.mark.slow
def test_a_deep_graph_that_is_never_used_is_released_without_recursion():
    y = leaf(1.0)
    for _ in range(200_000):
        y = y * 1.0
    del y


def test_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0)
        y = np.exp(x * 2)
        z = y.sum()
        watched = weakref.ref(y)
        z.backward()
        del y, z
        assert watched() is None
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("create_graph", [False, True])
def test_memory_is_flat_with_the_collector_off(create_graph):
    x = tg.Tensor(np.ones(1000), requires_grad=True)

    def step():
        loss = (np.tanh(x) * x).sum()
        if create_graph:
            gradient = tg.gradients(loss, x, create_graph=True)
            (gradient * gradient).sum().backward()
        else:
            loss.backward()
        x.zero_grad()

    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        for _ in range(200):  # the interpreter's own free lists fill
            step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            step()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < 4000  # less than a single array of a single step


def test_the_graph_is_freed_as_the_sweep_goes():
    x = tg.Tensor(np.ones(250_000), requires_grad=True)  # 2 MB
    y = x
    for _ in range(20):
        y = np.sin(y)
    loss = y.sum()
    del y
    tracemalloc.start()
    loss.backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 2e6


def test_threads_build_and_differentiate_at_once():
    wrong = []

    def work(k):
        for _ in range(100):
            x = leaf(float(k), 2.0)
            y = x
            for _ in range(20):
                y = y * x
            y.sum().backward()
            if not np.allclose(x.grad, 21 * x.data**20):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# no_grad


def test_no_grad_as_context_and_decorator():
    x = leaf(1.0)
    with tg.no_grad():
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad

    @tg.no_grad()
    def f():
        return x * 2

    assert not f().requires_grad and not f().requires_grad


def test_no_grad_ends_with_an_error_inside():
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        raise ZeroDivisionError
    assert (leaf(1.0) * 2).requires_grad


def test_no_grad_is_local_to_the_thread():
    seen = []
    with tg.no_grad():
        thread = threading.Thread(target=lambda: seen.append((leaf(1.0) * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_no_grad_is_local_to_the_task():
    async def quiet(started, release):
        with tg.no_grad():
            started.set()
            await release.wait()
            return (leaf(1.0) * 2).requires_grad

    async def loud(started, release):
        await started.wait()
        recorded = (leaf(1.0) * 2).requires_grad
        release.set()
        return recorded

    async def both():
        started, release = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(quiet(started, release), loud(started, release))

    assert asyncio.run(both()) == [False, True]


# Errors of backward


def test_a_second_backward_says_that_the_history_was_freed():
    x = leaf(1.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="freed by an earlier backward; pass retain_graph=True"):
        y.backward()


def test_retain_graph_allows_a_second_backward():
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad == [12]


def test_backward_of_a_shared_part_that_was_freed():
    x = leaf(1.0)
    shared = x * x
    shared.sum().backward()
    with pytest.raises(RuntimeError, match="freed"):
        (shared * 2).sum().backward()


def test_backward_without_history():
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        tg.Tensor([1.0]).backward()
    with tg.no_grad():
        y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        y.backward()


def test_backward_of_several_elements_needs_a_gradient():
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(ValueError, match=r"needs gradient= of that shape"):
        y.backward()
    with pytest.raises(ValueError, match=r"gradient= has shape \(3,\), the output \(2,\)"):
        y.backward(np.ones(3))


def test_data_changed_after_use_is_noticed():
    w = leaf(1.0, 2.0)
    loss = (w * w).sum()
    w.data -= 0.5
    with pytest.raises(RuntimeError, match="multiply was changed after it was used"):
        loss.backward()


def test_an_optimiser_step_between_forward_and_backward_is_noticed():
    w = leaf(1.0, 2.0)
    optimiser = tg.optim.SGD([w], lr=0.1)
    (w * w).sum().backward()
    loss = (w * w).sum()
    optimiser.step()
    with pytest.raises(RuntimeError, match="changed after it was used"):
        loss.backward()
    with pytest.raises(RuntimeError, match="changed"):
        tg.gradients(loss, w)


def test_a_rule_of_the_wrong_shape_or_dtype_is_named():
    for name, rule, came in (
        ("wrong_shape", lambda g, out, x: np.ones(5), r"float64 of shape \(5,\)"),
        ("wrong_dtype", lambda g, out, x: np.ones(2), r"float64 of shape \(2,\)"),
    ):
        op = tg.declare(name, lambda x: x * 2, rule, sample=tg.samples.unary())
        try:
            x = leaf(1.0, 2.0, dtype=np.float32)
            with pytest.raises(RuntimeError, match=f"rule of {name} for operand 0 returned {came}"):
                op(x).sum().backward()
        finally:
            del tg.OPS[name]


# Anything that changes between forward and backward is noticed, or does not matter


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("change", ["data", "in place", "load"])
def test_a_changed_constant_tensor_is_noticed(change, create_graph):
    x, w = leaf(1.0), tg.Tensor([2.0])
    y = (x * w).sum()
    if change == "data":
        w.data = np.array([7.0])
    elif change == "in place":
        w.data -= 1
    else:
        holder = tg.nn.Module()
        holder.w = w
        holder.load_state_dict({"w": np.array([9.0])})
    with pytest.raises(RuntimeError, match="multiply was changed after it was used"):
        tg.gradients(y, x, create_graph=create_graph)


def test_a_detached_copy_does_not_follow_the_optimiser():
    p, x = leaf(2.0), leaf(1.0)
    optimiser = tg.optim.SGD([p], lr=1.0)
    y = (x * p.detach()).sum()
    p.grad = np.ones(1)
    optimiser.step()
    y.backward()
    assert x.grad == [2]


def test_indices_and_labels_are_copied():
    x, index = leaf(1.0, 2.0), np.array([0])
    y = x[index].sum()
    index[0] = 1
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, 0])
    logits, labels = leaf([0.0, 0.0]), np.array([0])
    loss = tg.softmax_cross_entropy(logits, labels)
    labels[0] = 1
    loss.backward()
    np.testing.assert_array_equal(logits.grad, [[-0.5, 0.5]])


def test_data_of_a_result_cannot_be_assigned():
    y = np.exp(leaf(1.0))
    with pytest.raises(RuntimeError, match=r"cannot be changed; use tensor.detach\(\)"):
        y.data = np.array([100.0])


def test_recorded_gradients_do_not_share_memory():
    x, y, seed = leaf(1.0), leaf(1.0), np.ones(1)
    of_x, of_y = tg.gradients(x + y, [x, y], seed, create_graph=True)
    seed *= 9
    assert not np.shares_memory(of_x.data, of_y.data) and of_x.data == of_y.data == [1]


def test_lists_as_operands_at_second_order():
    for f in (lambda x: x @ [[1.0], [2.0]], lambda x: np.concatenate([[1.0, 2.0], x]), lambda x: x ** [2.0, 3.0]):
        tg.gradcheck(f, np.array([0.5, 2.0]), order=2)


def test_backward_takes_a_tensor_as_gradient():
    x = leaf(1.0, 2.0)
    (x * x).backward(tg.Tensor([1.0, 10.0]))
    np.testing.assert_array_equal(x.grad, [2, 40])


def test_an_intermediate_gradient_leaves_the_rest_of_the_history():
    x = leaf(3.0)
    y = x * x
    gradient = tg.gradients((y * 2).sum(), y)
    y.backward(gradient)
    assert x.grad == [12]


def test_concatenation_of_thousands():
    parts = [leaf(1.0) for _ in range(3000)]
    np.concatenate(parts).sum().backward()
    assert all(part.grad == [1] for part in parts)


@pytest.mark.parametrize("exponent_dtype", [np.uint8, np.uint16, np.int8, np.int64, np.float16, np.float32, bool])
@pytest.mark.parametrize("base_dtype", [np.float16, np.float32, np.float64])
def test_power_of_small_dtypes(base_dtype, exponent_dtype):
    base, exponent = np.array([2.0, 3.0], base_dtype), np.array([0, 1], exponent_dtype)
    x = tg.Tensor(base, requires_grad=True)
    (x**exponent).sum().backward()
    np.testing.assert_allclose(x.grad, [0, 1])
    y = tg.Tensor(base, requires_grad=True)
    powers = np.array([3, 1], exponent_dtype) ** y
    powers.sum().backward()
    exact = np.log(np.float64(np.array([3, 1], exponent_dtype))) * powers.data
    np.testing.assert_allclose(y.grad, exact, rtol=4 * np.finfo(powers.dtype).eps + 2 * np.finfo(base_dtype).eps)


def test_square_of_integers_follows_numpy():
    for array, exponent in (
        (np.array([100], np.int8), 2.0),
        (np.array([4_000_000_000]), 2.0),
        (np.array([100], np.int8), 2),
    ):
        with np.errstate(over="ignore"):
            result = tg.Tensor(array) ** exponent
            np.testing.assert_array_equal(result.data, array**exponent)
        assert result.dtype == (array**exponent).dtype


def test_counts_beyond_float16():
    x = tg.Tensor(np.ones(100_000, np.float16), requires_grad=True)
    x.mean().backward()
    np.testing.assert_allclose(x.grad, 1e-5, rtol=1e-2)
    x.zero_grad()
    x.max().backward()
    np.testing.assert_allclose(x.grad, 1e-5, rtol=1e-2)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_variance_without_degrees_of_freedom_follows_numpy():
    for x, keywords in ((np.zeros((0, 3)), {"axis": 1}), (np.ones(1), {"ddof": 1}), (np.ones(2), {"ddof": 3})):
        tensor = tg.Tensor(x, requires_grad=True)
        tensor.var(**keywords).sum().backward()
        assert tensor.grad.size == 0 or not np.isfinite(tensor.grad).any()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda x: np.maximum(x, 1j), "maximum is differentiated for real numbers only, got 1j"),
        (lambda x: x * np.array([1, 2], object), "object"),
        (lambda x: x.astype("U5"), "astype gives <U5"),
        (lambda x: x * np.ma.array([1.0, 2.0], mask=[0, 1]), "masked arrays"),
        (lambda x: tg.Tensor(np.ma.array([1.0], mask=[1])), "masked arrays"),
        (lambda x: type("Mine", (tg.Tensor,), {}), "final"),
        (lambda x: tg.dropout(np.ones(3, int), 0.5, np.random.default_rng(0)), "takes floats, got int64"),
        (lambda x: tg.no_grad()(lambda: (yield)), "generator and coroutine"),
    ],
)
def test_what_is_not_differentiated_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make(leaf(1.0, 2.0))


# NumPy on Tensors


def test_plain_numpy_is_recorded():
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((4, 3)), rng.standard_normal((3, 2)), rng.standard_normal(2)
    tg.gradcheck(lambda x, w, b: np.exp(x @ w + b).sum(), [x, w, b], order=2)
    tg.gradcheck(lambda x: np.where(x > 0, x, 0), [x])
    tg.gradcheck(lambda x, w: np.concatenate([x, np.transpose(w)]), [x, rng.standard_normal((3, 2))[:, :2].T[:2].T])


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda x: np.linalg.eigvals(x), "np.linalg.eigvals"),
        (lambda x: np.nextafter(x, x), "np.nextafter"),
        (lambda x: np.add.reduceat(x, [0]), "np.add.reduceat"),
        (lambda x: np.add.at(x, [0], 1), "np.add.at"),
        (lambda x: np.sum(x, initial=tg.Tensor(3.0)), "np.sum: initial="),
        (lambda x: np.sum(x, out=np.zeros(())), "np.sum: out="),
        (lambda x: np.mean(x, 0, np.float32, np.zeros(())), "np.mean: out="),
        (lambda x: np.exp(x, where=np.array([True])), "np.exp: where="),
        (lambda x: np.add(x, x, out=np.zeros(1)), "np.add: out="),
        (lambda x: np.concatenate([x, x], out=np.zeros(2)), "np.concatenate: out="),
        (lambda x: np.stack([x, x], out=np.zeros((2, 1))), "np.stack: out="),
        (lambda x: np.reshape(x, (1, 1), order="A"), "np.reshape: order="),
        (lambda x: np.clip(x, 0, 1, out=np.zeros(1)), "np.clip: out="),
    ],
)
def test_what_has_no_rule_raises_and_is_named(call, name):
    with pytest.raises(TypeError) as caught:
        call(leaf(1.0))
    assert name in str(caught.value)


def test_an_array_is_not_updated_in_place_by_a_tensor():
    array = np.zeros(1)
    with pytest.raises(TypeError, match=r"np\.add in place: an array cannot become a Tensor"):
        array += leaf(1.0)


def test_arrays_and_scalars_on_the_left():
    x = leaf(1.0, 2.0)
    for result in (np.ones(2) + x, 2 - x, np.ones(2) / x, 2**x, np.ones((2, 2)) @ x, np.float64(3) * x, [1, 1] - x):
        assert isinstance(result, tg.Tensor) and result.requires_grad


OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lt", "le", "gt", "ge", "eq", "ne"]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtypes", [("f4", "f4"), ("f4", "f8"), ("f8", "i4"), ("i4", "i8"), ("f4", "i8")])
def test_operators_follow_numpy_in_value_and_dtype(name, dtypes):
    x, y = (np.array([[3, 2], [1, 5]], dtype) for dtype in dtypes)
    apply = getattr(operator, name)
    expected = apply(x, y)
    for left, right in ((tg.Tensor(x), tg.Tensor(y)), (x, tg.Tensor(y)), (tg.Tensor(x), y)):
        result = apply(left, right)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result.data, expected)


@pytest.mark.parametrize("scalar", [2, 2.5, True])
def test_python_scalars_keep_float32(scalar):
    x = tg.Tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    results = [x + scalar, scalar - x, x * scalar, scalar / x, x**scalar, scalar**x, np.maximum(x, scalar)]
    results += [x % scalar, x.clip(0, scalar), np.where(x > 1, x, scalar), abs(x), -x, x.mean() * scalar]
    for result in results:
        assert result.dtype == np.float32
        x.zero_grad()
        result.sum().backward()
        assert x.grad.dtype == np.float32


def test_masks_combine():
    x = leaf(-1.0, 0.5, 2.0)
    mask = (x > 0) & ~(x > 1) | (x == 2.0)
    np.testing.assert_array_equal(mask.data, [False, True, True])
    assert not mask.requires_grad


# What a Tensor is and refuses


def test_only_floats_can_require_gradients():
    with pytest.raises(TypeError, match="only floating and complex tensors can require gradients, got int64"):
        tg.Tensor([1, 2], requires_grad=True)
    assert tg.Tensor([1, 2], requires_grad=True, dtype=np.float32).dtype == np.float32
    with pytest.raises(TypeError, match="data must be numbers"):
        tg.Tensor(["a"])
    with pytest.raises(TypeError, match="is a Tensor already"):
        tg.Tensor(tg.Tensor([1.0]))


def test_conversions_of_constants_work():
    x = tg.Tensor([1.0])
    assert float(x) == 1.0 and np.asarray(x).tolist() == [1.0] and x.item() == 1.0
    assert [10, 20][tg.Tensor(1)] == 20


def test_truth_of_several_elements():
    assert bool(leaf(1.0) > 0)
    with pytest.raises(ValueError, match=r"shape \(2,\) is ambiguous; use np.where"):
        if leaf(1.0, 2.0) > 0:
            pass


def test_assignment_is_refused():
    with pytest.raises(TypeError, match=r"change a copy \(x = x \+ 0\)"):
        leaf(1.0)[0] = 2.0


def test_data_assignment_keeps_shape_and_dtype():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"expected float64 of shape \(2,\), got float64 of shape \(3,\)"):
        x.data = np.ones(3)


def test_wrong_shapes_name_the_op():
    with pytest.raises(ValueError, match=r"add got \(float64 of shape \(2,\), float64 of shape \(3,\)\) but takes"):
        leaf(1.0, 2.0) + np.ones(3)
    with pytest.raises(ValueError, match=r"matmul got .* but takes operands of shapes \(..., n, k\)"):
        tg.Tensor(np.ones((2, 3))) @ np.ones((2, 3))
    with pytest.raises(IndexError, match="getitem got"):
        leaf(1.0)[3]
    with pytest.raises((ValueError, IndexError), match=r"sum got .* axis=2"):
        leaf(1.0).sum(axis=2)


def test_detach_numpy_item_and_copies():
    x = leaf(1.0, 2.0)
    assert not x.detach().requires_grad and not np.shares_memory(x.detach().data, x.data) and x.numpy() is x.data
    with pytest.raises(ValueError, match="one element"):
        x.item()
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad and twin.data is not x.data
        (twin * x).sum().backward()
        np.testing.assert_array_equal(twin.grad, [1, 2])
    with pytest.raises(TypeError, match="with history cannot be copied"):
        copy.deepcopy(x * 2)


def test_iteration_length_and_repr():
    x = leaf(1.0, 2.0)
    assert [value.item() for value in x] == [1, 2] and len(x) == 2
    assert repr(x) == "Tensor([1., 2.], requires_grad=True)"
    assert f"{tg.Tensor(1.5):.2f}" == "1.50"
    with pytest.raises(TypeError, match="0-d"):
        iter(tg.Tensor(1.0))


def test_requires_grad_of_a_result_cannot_be_switched_off():
    with pytest.raises(RuntimeError, match="detach"):
        (leaf(1.0) * 2).requires_grad = False


# Declaring ops


def test_declare_refuses_what_is_incomplete():
    with pytest.raises(TypeError, match="sample"):
        tg.declare("no_sample", lambda x: x, None)
    with pytest.raises(TypeError, match="not a function that draws"):
        tg.declare("no_sample", lambda x: x, None, sample=3)
    with pytest.raises(ValueError, match="exists already"):
        tg.declare("add", np.add, None, None, sample=tg.samples.binary())
    with pytest.raises(ValueError, match="2 operand"):
        tg.declare("one_rule", lambda x, y: x, None, sample=tg.samples.binary())


def test_settings_and_operands_are_checked():
    with pytest.raises(TypeError, match="sum has no setting axes="):
        tg.OPS["sum"](leaf(1.0), axes=0)
    with pytest.raises(TypeError, match="add takes 2 operand"):
        tg.OPS["add"](leaf(1.0))


@pytest.mark.parametrize(
    "call",
    [
        lambda m, t: m * t,
        lambda m, t: t + m,
        lambda m, t: m < t,
        lambda m, t: np.ma.exp(t),
        lambda m, t: np.ma.multiply(t, 2),
        lambda m, t: np.ma.where([1, 0], t, 0),
        lambda m, t: np.ma.getdata(t),
    ],
)
def test_masked_arrays_do_not_lose_gradients(call):
    with pytest.raises(TypeError):
        call(np.ma.array([1.0, 2.0]), tg.Tensor([1.0, 2.0], requires_grad=True))


@pytest.mark.parametrize(
    "method",
    [
        lambda x: x.sum(0, np.float32),
        lambda x: x.sum(0, None, None, True),
        lambda x: x.sum(axis=1, initial=2.0, where=[True, False, True]),
        lambda x: x.max(0, None, True),
        lambda x: x.mean(dtype=np.float32),
        lambda x: x.var(0, None, None, 1),
        lambda x: x.std(axis=1, ddof=1, keepdims=True),
        lambda x: x.prod(axis=-1),
        lambda x: x.any(axis=0, keepdims=True),
        lambda x: x.reshape(3, 2, order="F"),
        lambda x: x.ravel("F"),
        lambda x: x.flatten(order="F"),
        lambda x: x.astype(np.float32, copy=False),
        lambda x: x.clip(0.2, 0.5, None),
        lambda x: x.compress([True, False], axis=0),
        lambda x: x.conjugate(),
        lambda x: divmod(x, 0.7)[1],
        lambda x: divmod(2.0, x)[0],
        lambda x: x.mT,
        lambda x: x.take([0, 1], axis=1),
        lambda x: x.repeat(2, axis=0),
        lambda x: (x > 0.5) << 1,
    ],
)
def test_methods_take_the_parameters_of_arrays(method):
    array = np.random.default_rng(0).random((2, 3))
    found = method(tg.Tensor(array, requires_grad=True))
    expected = np.asarray(method(array))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.data, expected, rtol=1e-6)
    if found.requires_grad and expected.dtype == np.float64:
        tg.gradcheck(lambda x: method(x) * 1.0, array)


def test_a_missing_bound_of_clip_does_not_bind():
    for array in (np.array([True, False]), np.array([1, 2], np.uint8)):
        bound = tg.Tensor(np.array(300.5), requires_grad=True)
        clipped = np.clip(array, bound, None)
        np.testing.assert_array_equal(clipped.data, np.clip(array, 300.5, None))
        clipped.sum().backward()
        assert bound.grad == 2


def test_zero_dimensional_products_along_an_axis():
    x = tg.Tensor(np.array(0.4), requires_grad=True)
    assert tg.gradients(np.prod(x, axis=0), x).item() == 1


def test_arrays_may_be_written_into_after_they_were_used():
    """Scratch arrays in a loop: each step is differentiated with what they were then."""

    def energy(x):
        weights, total = np.zeros(3), 0.0
        for i in range(3):
            weights[:] = 0
            weights[i] = i + 1
            total = total + np.sum(weights * x**2)
        return total

    x = np.array([0.3, -1.2, 2.0])
    np.testing.assert_allclose(tg.grad(energy)(x), 2 * x * [1, 2, 3])
    image, grid = tg.Tensor(np.ones((300, 300)), requires_grad=True), np.full((300, 300), 2.0)
    product = image * grid
    grid[:] = 5
    product.sum().backward()
    assert (image.grad == 2).all()


@pytest.mark.parametrize(
    ("function", "setting", "other"),
    [
        (lambda x, axis: np.cumsum(x, axis=axis), np.array(0), 1),
        (lambda x, axis: np.max(x, axis=axis), np.array(0), 1),
        (lambda x, axes: np.transpose(x, axes), [1, 0], [0, 1]),
        (lambda x, axes: x.transpose(axes), np.array([1, 0]), [0, 1]),
        (lambda x, axes: np.rot90(x, 1, axes), [0, 1], [1, 0]),
    ],
)
def test_settings_that_are_written_into_before_the_backward_pass(function, setting, other):
    def gradient(change):
        x, own = tg.Tensor(np.arange(9.0).reshape(3, 3) ** 2, requires_grad=True), copy.copy(setting)
        y = function(x, own)
        loss = (y * np.arange(y.size).reshape(y.shape)).sum()
        if change:
            own[slice(None) if np.ndim(own) else ()] = other
        loss.backward()
        return x.grad

    np.testing.assert_array_equal(gradient(True), gradient(False))


def kept_by(result):
    """The arrays that the history of a result holds, by operand."""
    return result.creator[1]


def test_histories_keep_no_copies_of_what_nobody_can_write_into():
    x, weights = tg.Tensor(np.ones(300), requires_grad=True), np.ones(300)
    weights.flags.writeable = False
    assert kept_by(x * weights)[1] is weights
    held = np.ones((2, 300))
    view = held[0]
    view.flags.writeable = False  # but held is not
    assert kept_by(x * view)[1] is not view


def test_a_matrix_that_is_used_often_is_copied_once():
    matrix, x = np.ones((300, 300)), tg.Tensor(np.ones(300), requires_grad=True)
    results = [matrix @ x, matrix @ x]
    assert kept_by(results[0])[0] is kept_by(results[1])[0] is not matrix
    matrix[0] = -0.0 * matrix[0]  # equal numbers do not do
    results.append(matrix @ x)
    matrix[0] = 0.0
    results.append(matrix @ x)
    kept = [kept_by(result)[0] for result in results[1:]]
    assert len(set(map(id, kept))) == 3
    assert np.signbit(kept[1][0]).all() and not np.signbit(kept[2][0]).any()


ALIASES = {
    "a small array": lambda: (c := np.array([3.0, 4.0]), c),
    "a large array": lambda: (c := np.full((200, 200), 3.0), c),
    "a column of it": lambda: (c := np.full((300, 300), 3.0), c[:, 0]),
    "a read-only view": lambda: (c := np.full((300, 300), 3.0), np.broadcast_to(c[0], (300, 300))),
    "numpy()": lambda: ((t := tg.Tensor([3.0, 4.0])).numpy(), t),
    "data": lambda: ((t := tg.Tensor(np.full((200, 200), 3.0))).data, t),
    "np.asarray": lambda: (np.asarray(t := tg.Tensor([3.0, 4.0])), t),
    "a view of a constant": lambda: ((t := tg.Tensor(np.full((9, 9), 3.0))).numpy(), t.T[2:]),
    "numpy() of a view": lambda: ((t := tg.Tensor(np.full((9, 9), 3.0))[1:]).numpy(), t),
    "a plain result": lambda: ((t := tg.Tensor([3.0, 4.0]) * 2).numpy(), t),
    "an object with __array__": lambda: (c := np.array([3.0, 4.0]), Wrapped(c)),
    "a Fortran array": lambda: (c := np.asfortranarray(np.full((200, 100), 3.0)), c),
    "a complex array": lambda: (c := np.full(3000, 3.0 + 1j), c),
}


class Wrapped:
    """What other libraries' tables are: not an array, but held in one."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.mark.parametrize("name", ALIASES)
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("asked", ["before", "after"])
def test_an_array_written_into_after_its_use_leaves_gradients_alone(name, create_graph, asked):
    """Whoever writes, and however: the gradient is with respect to the values that were used."""
    alias, operand = ALIASES[name]()
    values = np.array(operand if not isinstance(operand, Wrapped) else operand.array)
    w = tg.Tensor(np.ones(values.shape), requires_grad=True)
    loss = np.abs(w * operand).sum()
    if asked == "after" and isinstance(operand, tg.Tensor):
        alias = operand.numpy()
    alias[...] = 100.0
    np.testing.assert_allclose(tg.gradients(loss, w, create_graph=create_graph).data, np.abs(values))


def test_a_leaf_written_into_through_its_data_keeps_earlier_gradients():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    early = w.data
    first = (w * v).sum()
    early[0] = 10.0
    second = (w * v).sum()
    w.data[1] = 20.0
    assert w.data.tolist() == [10, 20]
    assert tg.gradients(first, v).data.tolist() == [1, 2] and tg.gradients(second, v).data.tolist() == [10, 2]


def test_a_leaf_written_into_through_its_data_keeps_the_values_used_in_higher_derivatives():
    w = leaf(1.0, 2.0)
    alias, view = w.data, w[:1]
    loss = (w**3).sum() + (view**3).sum()
    alias[...] = 100.0
    loss = loss + (view**3).sum()
    first = tg.gradients(loss, w, create_graph=True)
    assert first.data.tolist() == [3 + 3 + 3 * 100.0**2, 12]
    alias[...] = 7.0
    assert tg.gradients(first.sum(), w).data.tolist() == [6 + 6 + 600, 12]


def trained(w, steps=3):
    """Steps of an optimiser, which soon writes into the array of its parameter."""
    optimiser = tg.optim.SGD([w], lr=0.5)
    for _ in range(steps):
        w.grad = np.ones(w.shape)
        optimiser.step()
    return optimiser


def unrecorded(view):
    def of(w):
        with tg.no_grad():
            return view(w)

    return of


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("view", [lambda w: w, lambda w: w.T, lambda w: w.T[::-1][0]])
@pytest.mark.parametrize("record", [unrecorded, lambda view: view])
def test_a_view_of_a_parameter_that_is_updated_after_its_use(view, record, steps):
    """Also where the gradient that is asked for is not that of the parameter."""
    w, v = tg.Tensor(np.arange(4.0).reshape(2, 2), requires_grad=True), leaf(1.0, 1.0)
    trained(w, steps)
    optimiser = trained(w, 2)
    seen = record(view)(w)
    product = v * seen
    optimiser.step()
    with pytest.raises(RuntimeError, match=r"multiply was changed after it was used.*call backward before"):
        tg.gradients(product.sum(), v)
    product = v * record(view)(w)
    values = product.detach().numpy()
    gradient = tg.gradients(product.sum(), v)
    optimiser.step()
    np.testing.assert_array_equal(gradient.data, values.sum(axis=0) if values.ndim > 1 else values)


def test_a_view_that_is_kept_follows_the_optimiser():
    def train(of):
        w, v = tg.Tensor(np.arange(4.0).reshape(2, 2), requires_grad=True), leaf(1.0, 2.0)
        optimiser = tg.optim.SGD([w, v], lr=0.1)
        turned = w.T
        for _ in range(5):
            optimiser.zero_grad()
            ((of(w, turned) @ v) ** 2).sum().backward()
            optimiser.step()
        return w.data, v.data

    for kept, new in zip(train(lambda w, turned: turned), train(lambda w, turned: w.T)):
        np.testing.assert_array_equal(kept, new)


def test_a_view_of_a_constant_that_a_compiled_step_changes():
    x, w = tg.Tensor(np.ones(3)), leaf(1.0, 1.0)

    @partial(tg.compile, pure=True)
    def double():
        x[0] = x[0] * 2
        return x.sum()

    for _ in range(3):
        double()
    part = x[:2]
    loss = (part * w).sum()
    double()
    assert part.tolist() == [16, 1]
    with pytest.raises(RuntimeError, match="multiply was changed after it was used"):
        loss.backward()
    (part * w).sum().backward()
    assert w.grad.tolist() == [16, 1]


@pytest.mark.slow
def test_views_of_views_by_the_thousand():
    x = tg.Tensor(np.arange(5000.0))
    rest = x
    while len(rest) > 1:
        rest = rest[1:]
    x += 1
    assert rest.tolist() == [5000]
    w = leaf(3.0)
    for _ in range(20_000):
        w = w[::-1]
    (w * w).sum().backward()


def test_a_view_that_is_made_a_leaf_is_a_tensor_of_its_own():
    x = tg.Tensor(np.ones(3))
    w = x[:2]
    first = w[:1]
    w.requires_grad = True
    x[0] = 5.0
    (w * w).sum().backward()
    assert w.grad.tolist() == [2, 2]
    with tg.no_grad():
        w[0] = 7.0
    assert x.tolist() == [5, 1, 1] and first.data.tolist() == [7]


@pytest.mark.parametrize("requires_grad", [False, True])
def test_data_that_was_handed_out_goes_on_sharing_memory(requires_grad):
    x = tg.Tensor(np.asfortranarray(np.zeros((2, 3))), requires_grad)
    alias = x.data
    with tg.no_grad():
        turned = x.T.data
        x += 1
        x[0] = 2.0
    alias[0, 0] = 7.0
    turned[1, 0] += 1
    assert x.data.tolist() == alias.tolist() == turned.T.tolist() == [[7, 3, 2], [1, 1, 1]]


def test_assigning_the_data_of_a_view_changes_what_it_is_a_view_of():
    x = tg.Tensor(np.zeros((2, 2)))
    row = x[0]
    row.data = np.ones(2)
    row.data += 1
    assert x.tolist() == [[2, 2], [0, 0]] and row.tolist() == [2, 2]
    with pytest.raises(ValueError, match=r"Tensor\.data: expected"):
        row.data = np.ones(3)


def test_flatten_is_a_copy_whoever_writes():
    x = tg.Tensor(np.zeros(2), requires_grad=True)
    alias, flat = x.data, x.flatten()
    alias[0] = 1.0
    trained(x)
    assert flat.detach().tolist() == [0, 0]


def test_backward_in_threads_adds_up():
    w = leaf(1.0)

    def work():
        for _ in range(100):
            (w * 1).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert w.grad.tolist() == [800]


def test_the_grad_of_a_result_is_answered():
    w = leaf(1.0, 2.0)
    y = w * 2
    y.sum().backward()
    with pytest.warns(UserWarning, match=r"this is a result.*retain_grad\(\) .*tensorgrad\.gradients\(loss, tensor\)"):
        assert y.grad is None
    y = w * 2
    assert tg.gradients(y.sum(), y).data.tolist() == [1, 1]
    y.retain_grad()
    assert y.grad is None
    y.sum().backward()
    assert y.grad.tolist() == [1, 1]


# Gradients of results


def with_views_and_changes(program, w, kept):
    """A random program that also writes into what it has computed, with the results that retain their gradients."""
    values = [w * 1, w + 1, np.sin(w)]
    for op, i, j in program:
        x, y = values[i], values[j]
        values[i] = x = x * 1.5
        if op == "m":
            x = x @ y
        elif op == "/":
            x = x.T / (y * y + 2)
        else:
            row = x[0]
            row.retain_grad()
            x.retain_grad()  # before it is changed: it is the gradient of the new value that is kept
            if op == "+":
                row += y[1]
                kept.append(row)
                x = x + row
            elif op == "-":
                x -= y
            else:
                x[1] = row * y[0]
        values.append(x)
        x.retain_grad()
        kept.append(x)
    return (values[-1] * values[len(values) // 2]).sum()


@settings(max_examples=examples(60), deadline=None)
@given(programs(), st.sampled_from(["eager", "compiled"]))
def test_retained_gradients_are_those_of_gradients(program, way):
    w = tg.Tensor(np.random.default_rng(0).uniform(-1, 1, (2, 2)), requires_grad=True)
    kept = []
    with_views_and_changes(program, w, kept)
    loss = with_views_and_changes(program, w, expected := [])
    expected = [gradient.data for gradient in tg.gradients(loss, [*expected, w])]

    def step(kept):
        with_views_and_changes(program, w, kept).backward()

    step = step if way == "eager" else tg.compile(step)
    for _ in range(1 if way == "eager" else 3):
        w.zero_grad()
        step(kept := [])
        found = [tensor.grad if tensor.grad is not None else np.zeros(tensor.shape) for tensor in [*kept, w]]
        for one, other in zip(found, expected):
            np.testing.assert_array_equal(one, other)
        assert len({id(array) for array in found}) == len(found)


def test_retained_gradients_add_up_and_are_forgotten():
    w = leaf(1.0, 2.0)
    y = w * 3
    y.retain_grad()
    w.retain_grad()  # as it is
    loss = (y * y).sum()
    loss.retain_grad()
    loss.backward(retain_graph=True)
    loss.backward()
    assert y.grad.tolist() == [12, 24] and loss.grad.tolist() == 2 and w.grad.tolist() == [36, 72]
    y.grad += 1  # it is the user's: no other gradient changes with it
    assert w.grad.tolist() == [36, 72]
    y.zero_grad()
    assert y.grad is None
    second = tg.gradients(tg.gradients((y * y * y).sum(), y, create_graph=True).sum(), y)
    assert y.grad is None and second.data.tolist() == [18, 36]


def test_what_retains_its_gradient_is_released():
    y = leaf(1.0) * 2
    y.retain_grad()
    reference = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert reference() is None
    finally:
        gc.enable()


def test_gradients_are_retained_in_pure_compiled_functions():
    w = leaf(1.0, 2.0)

    @tg.compile(pure=True)
    def gradient(x):
        y = x * w
        y.retain_grad()
        (y * y).sum().backward()
        return y.grad

    for x in (1.0, 2.0):
        assert gradient(np.full(2, x)).tolist() == [2 * x, 4 * x]


def test_where_no_gradient_can_be_retained():
    x = leaf(1.0)
    with tg.no_grad():
        (x * 2).retain_grad()  # nothing is recorded, and nothing is asked for
    with pytest.raises(RuntimeError, match="no gradient flows to this tensor; make an input with requires_grad=True"):
        (tg.Tensor([1.0]) * 2).retain_grad()

    def block(x):
        y = x * x
        y.retain_grad()
        return y

    loss = tg.checkpoint(block)(x).sum()
    with pytest.raises(
        RuntimeError, match=r"retain_grad: inside tensorgrad\.checkpoint .* on what the function returns"
    ):
        loss.backward()
    y = tg.checkpoint(lambda x: x * x)(x)
    y.retain_grad()
    (y * 3).sum().backward()
    assert y.grad.tolist() == [3] and x.grad.tolist() == [6]


def columns(x):
    return [x[:, i] for i in range(x.shape[1])]


def pairs(x):
    return [x[[0, i]] for i in range(len(x))]


@pytest.mark.parametrize("read", [list, columns, pairs])
def test_reading_a_tensor_part_by_part_makes_one_array_of_its_size(read):
    """Each part's gradient is added to one array; none of the size of the whole is made for it."""
    x, made, zeros_like = tg.Tensor(np.ones((300, 10)), requires_grad=True), [], np.zeros_like
    expected = tg.grad(lambda x: (np.stack(read(x)) ** 2).sum())(x.data)
    loss = sum((part * part).sum() for part in read(x))
    with mock.patch.object(np, "zeros_like", lambda *args, **keywords: made.append(1) or zeros_like(*args, **keywords)):
        loss.backward()
    assert len(made) == 1
    np.testing.assert_array_equal(x.grad, expected)


def test_a_chain_of_changes_in_place_has_a_linear_backward_pass():
    """Each change leaves the value before to the history: nobody looks for it."""

    def nodes(count):
        y, total, w = tg.Tensor(np.zeros(2)), 0, leaf(1.0, 2.0)
        for _ in range(count):
            y += w
            total = total + (y * y).sum()
        calls = []
        profile = sys.getprofile()
        sys.setprofile(lambda frame, event, arg: calls.append(1) if event == "call" else None)
        try:
            total.backward()
        finally:
            sys.setprofile(profile)
        assert w.grad.tolist() == [sum(2 * (i + 1) ** 2 for i in range(count)) * v for v in (1, 2)]
        return len(calls)

    assert nodes(200) < 11 * nodes(20)


T = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: np.asmatrix(np.eye(3)) * T, "np.matrix multiplies in its own way"),
        (lambda: tg.Tensor(np.zeros(3)).__setitem__(0, T[0] * 1j), "would lose the imaginary part of the value"),
        (lambda: tg.Tensor(np.zeros(3, int)).__setitem__(0, T[0]), "would lose the gradient of the value"),
        (lambda: np.array([[T[0], 1.0], [2.0, T[1]]]), r"tensorgrad\.array join them, np\.zeros_like\(tensor\)"),
        (lambda: T.__isub__(0.1), r"change it inside tensorgrad\.no_grad\(\)"),
        (lambda: np.frompyfunc(abs, 1, 1)(T), r"^abs .*has no gradient rule .*; declare it with tensorgrad\.declare"),
        (lambda: tg.declare("exp", np.exp, None, sample=tg.samples.unary()), r"first del tensorgrad\.OPS\['exp'\]"),
    ],
)
def test_mistakes_are_explained(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_complex_results_are_collected_in_a_complex_tensor():
    def collected(angles):
        z = tg.Tensor(np.zeros(3, complex))
        for i in range(3):
            z[i] = np.exp(1j * angles[i])
        return (z * z.conj() * angles).real + z.imag

    tg.gradcheck(collected, [np.array([0.3, -1.2, 2.0])], order=2)


def test_ufunc_keywords_that_say_what_is_so_anyway():
    x = leaf(1.0, 2.0)
    np.add(x, 1, where=True, casting="same_kind", order="K", subok=True, dtype=None).sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])
    for keywords in ({"where": np.array([True, False])}, {"where": False}, {"casting": "safe"}, {"dtype": np.float32}):
        with pytest.raises(TypeError, match=rf"np\.add: {next(iter(keywords))}= is not differentiated"):
            np.add(x, 1, **keywords)


def test_a_buffer_that_is_used_again_does_not_change_tensors_made_of_it():
    weight, buffer = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True), np.zeros(3)
    loss = 0.0
    for i in range(3):
        buffer[:] = i
        loss = loss + (tg.Tensor(buffer) * weight).sum()
    loss.backward()
    np.testing.assert_array_equal(weight.grad, [3, 3, 3])


def test_results_that_a_gradient_may_need_cannot_be_written_into():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = np.exp(x)
    for array in (y.data, y.numpy()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 100
        with pytest.raises(ValueError, match="read-only"):
            array *= 0
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.exp([1.0, 2.0]))
    y.numpy()[0] = 100  # the gradient has been computed
    x.data[0] = 5  # a leaf's own array


def test_settings_and_parameters_that_are_missing_or_unknown_are_named():
    x = tg.Tensor([1.0, 2.0])
    with pytest.raises(TypeError, match="einsum needs the setting subscripts="):
        tg.OPS["einsum"](x)
    with pytest.raises(TypeError, match=r"sum has no parameter dim= \(it takes axis, dtype, "):
        x.sum(dim=0)


def test_a_forward_function_that_gives_a_tensor_is_named():
    wrong = tg.declare("wraps", lambda x: tg.Tensor(x), lambda g, out, x: g, sample=samples.unary(), expects="anything")
    try:
        with pytest.raises(TypeError, match="wraps: its forward function gave a Tensor"):
            wrong(tg.Tensor([1.0]))
        wrong.forward = np.asarray
        assert wrong(tg.Tensor([1.0])).item() == 1
    finally:
        del tg.OPS["wraps"]
