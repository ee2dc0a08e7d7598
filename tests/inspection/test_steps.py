"""The backward pass step by step: the numbers are those of ``backward``, and looking changes nothing."""

import io

import numpy as np
import pytest
from hypothesis import given, settings

import tensorgrad as tg
from tensorgrad.core.registry import OPS
from tensorgrad.inspection.formulas import FORMULAS, MATRICES, WORDS, formula
from tensorgrad.testing.strategies import cases
from tests.support import examples, graph_programs, run_graph_program


def gradients(leaves):
    return {name: None if leaf.grad is None else leaf.grad.copy() for name, leaf in leaves.items()}


def expected(program):
    loss, leaves = run_graph_program(program)
    loss.backward()
    return gradients(leaves)


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def printed(function, *args, **settings):
    stream = io.StringIO()
    function(*args, file=stream, **settings)
    return stream.getvalue()


@given(graph_programs)
@settings(max_examples=examples(40))
def test_the_steps_are_those_of_backward(program):
    loss, leaves = run_graph_program(program)
    arrived = {}
    for step in tg.backward_steps(loss):
        assert step.gradient_in.shape == step.result.shape
        np.testing.assert_allclose(step.gradient_in, arrived.get(id(step.result), step.gradient_in), 1e-12, 1e-12)
        for operand, part in zip(step.operands, step.gradients_out):
            assert part is None or (part.shape, part.dtype) == (operand.shape, operand.dtype)
            if part is not None:
                arrived[id(operand)] = arrived.get(id(operand), 0) + part
        assert gradients(leaves) == dict.fromkeys(leaves), "nothing is set before the last step"
    assert same(gradients(leaves), expected(program))
    with pytest.raises(RuntimeError, match="freed by an earlier backward"):
        loss.backward()


@given(graph_programs)
@settings(max_examples=examples(40))
def test_looking_changes_neither_history_nor_gradients(program):
    loss, leaves = run_graph_program(program)
    text = printed(tg.explain, loss, leaves, limit=1000)
    tg.draw(loss, leaves, gradients=True).svg  # noqa: B018
    next(iter(tg.backward_steps(loss)))
    assert gradients(leaves) == dict.fromkeys(leaves) and "dL/da" in text
    assert printed(tg.explain, loss, leaves, limit=1000) == text, "and it can be done again"
    with tg.print_ops(file=io.StringIO()):
        loss.backward()
    assert same(gradients(leaves), expected(program))


def test_an_explanation_has_the_numbers_of_the_graph():
    a, b = tg.Tensor(2.0, requires_grad=True), tg.Tensor([[1.0], [3.0]], requires_grad=True)
    x = np.array([10.0, 20.0])
    loss = (np.maximum(a * x, 25) + b).sum()
    assert printed(tg.explain, loss, {"a": a, "b": b, "x": x}).splitlines() == [
        "Forward: what was computed, in this order",
        "  a = 2, a leaf",
        "  x = [10. 20.], no gradient",
        "  t1 = a * x = [20. 40.]",
        "  t2 = np.maximum(t1, 25) = [25. 40.]",
        "  b, (2, 1) float64, a leaf:",
        "    [[1.]",
        "     [3.]]",
        "  t3 = t2 + b, (2, 2) float64:",
        "    [[26. 41.]",
        "     [28. 43.]]",
        "  t4 = np.sum(t3) = 138",
        "",
        "Backward: the chain rule, from the result L = t4 back to the leaves",
        "  dL/dt4 = 1",
        "",
        "  1. t4 = np.sum(t3), so with g = dL/dt4",
        "     dL/dt3 = g at each of the elements summed, (2, 2) float64:",
        "       [[1. 1.]",
        "        [1. 1.]]",
        "",
        "  2. t3 = t2 + b, so with g = dL/dt3",
        "     dL/dt2 = g, summed to (2,) as t2 was broadcast = [2. 2.]",
        "     dL/db = g, summed to (2, 1) as b was broadcast, (2, 1) float64:",
        "       [[2.]",
        "        [2.]]",
        "",
        "  3. t2 = np.maximum(t1, 25), so with g = dL/dt2",
        "     dL/dt1 = g where t1 is larger, else 0 = [0. 2.]",
        "",
        "  4. t1 = a * x, so with g = dL/dt1",
        "     dL/da = g * x, summed to scalar as a was broadcast = 40",
        "",
        "The leaves have their gradients, which backward() adds to .grad:",
        "  dL/da = 40",
        "  dL/db, (2, 1) float64:",
        "    [[2.]",
        "     [2.]]",
    ]


def test_a_long_explanation_says_what_it_leaves_out():
    x = tg.Tensor(0.5, requires_grad=True)
    y = x
    for _ in range(50):
        y = np.sin(y)
    text = printed(tg.explain, y, {"x": x}, limit=5)
    assert "45 earlier ops are not written out (limit=5)" in text and "and 45 more steps" in text
    assert text.count("np.sin") == 10 and f"dL/dx = {tg.gradients(y, x).item():.4g}" in text


def test_steps_of_a_vector_start_from_the_given_gradient_and_may_keep_the_history():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    (step,) = tg.backward_steps(y, gradient=[1.0, 10.0], retain_graph=True)
    assert step.op is OPS["multiply"] and step.operands[1] == 3 and step.formulas == ("g * y", None)
    assert str(step) == "(2,) float64 * 3: g = [ 1. 10.]; operand 0 gets g * y = [ 3. 30.]"
    y.backward([1.0, 10.0])
    assert x.grad.tolist() == [6.0, 60.0]


def test_steps_left_early_have_changed_nothing():
    x = tg.Tensor(2.0, requires_grad=True)
    loss = np.exp(x * x)
    for step in tg.backward_steps(loss):
        assert step.op.name == "exp"
        break
    assert x.grad is None
    loss.backward()
    assert x.grad is not None


MISTAKES = [
    (lambda: np.ones(3), TypeError, "takes Tensors, got"),
    (lambda: tg.Tensor(1.0, requires_grad=True), RuntimeError, "no history; compute it from parameters"),
    (lambda: freed(), RuntimeError, "freed by an earlier backward.*retain_graph=True"),
    (lambda: tg.Tensor([1.0, 2.0], requires_grad=True) * 2, ValueError, r"or \.sum\(\) first"),
]


def freed():
    loss = np.exp(tg.Tensor(1.0, requires_grad=True))
    loss.backward()
    return loss


@pytest.mark.parametrize("function", [tg.explain, tg.backward_steps, lambda x: tg.draw(x, gradients=True)])
@pytest.mark.parametrize("make, error, message", MISTAKES)
def test_mistakes_raise_at_once(function, make, error, message):
    with pytest.raises(error, match=message):
        function(make())


@pytest.mark.parametrize("function", [tg.explain, tg.draw, lambda loss, names: tg.print_ops(names)])
def test_names_are_modules_or_mappings_and_the_remedy_works(function, capsys):
    w = tg.Tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"got list; write \w+\(loss, network\), or \w+\(loss, \{'w': w\}\)"):
        function((w * 2).sum(), [w])
    function((w * 2).sum(), {"w": w})


def test_ops_are_printed_as_they_happen_and_nothing_is_outside():
    layer, stream = tg.nn.Dense(2, 2, rng=0), io.StringIO()
    before = np.exp(layer.weight).sum()
    with tg.print_ops(layer, file=stream):
        with tg.no_grad():
            np.cos(layer.weight)
        loss = layer(np.ones((3, 2))).sum()
        forward = stream.getvalue().splitlines()
        loss.backward()
    after = stream.getvalue()
    before.backward()
    assert stream.getvalue() == after
    assert [line.split(" = ")[1] for line in forward] == ["array @ weight + bias", "np.sum(t1)"]
    (line,) = [line for line in after.splitlines() if "bias gets" in line]
    assert line == "  bias gets g, summed to (2,) as bias was broadcast = [3. 3.], (2,) float32"


def test_each_backward_pass_is_printed():
    x, stream = tg.Tensor(3.0, requires_grad=True), io.StringIO()
    loss = np.square(x)
    with tg.print_ops({"x": x}, file=stream):
        loss.backward(retain_graph=True)
        loss.backward()
    lines = ["backward of t1 = np.square(x): g = 1, scalar float64", "  x gets g * 2 * x = 6, scalar float64"]
    assert stream.getvalue().splitlines() == lines * 2


def test_watchers_inside_each_other_are_all_told():
    x, stream = tg.Tensor([0.0, 1.0], requires_grad=True), io.StringIO()
    for outer, inner in (
        (tg.detect_anomaly(), tg.print_ops(file=stream)),
        (tg.print_ops(file=stream), tg.detect_anomaly()),
    ):
        stream.truncate(stream.seek(0))
        with np.errstate(all="ignore"), outer, inner, pytest.raises(tg.AnomalyError, match="log"):
            np.log(np.tanh(x))
        assert "np.tanh" in stream.getvalue()
        np.log(x * 0 + 1)
    assert stream.getvalue().count("np.") < 4


def test_gradients_of_gradients_are_looked_at_like_others():
    x = tg.Tensor([0.3, -0.5], requires_grad=True)
    (slope,) = tg.gradients(np.tanh(x).sum(), [x], create_graph=True)
    loss = (slope**2).sum()
    assert "tanh_slope" in printed(tg.explain, loss, {"x": x})
    list(tg.backward_steps(loss))
    t = np.tanh(x.data)
    np.testing.assert_allclose(x.grad, 2 * (1 - t**2) * -2 * t * (1 - t**2))


@pytest.mark.slow
def test_functions_that_are_compiled_are_looked_at_where_they_have_values():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    stream = io.StringIO()

    @tg.compile
    def followed(x):
        tg.explain((x * 2).sum(), file=stream)
        return len(tg.draw(np.exp(x)).svg)

    assert followed(x) == followed(x) == followed(x) and "dL/dleaf1 = [2. 2.]" in stream.getvalue()
    with pytest.raises(RuntimeError, match="there are no values yet while a pure function is compiled"):
        tg.compile(lambda: tg.draw(np.exp(x)), pure=True)()


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_computes_what_the_rule_does(name):
    op = OPS[name]
    count = min(examples(20), 20)

    @given(cases(op))
    @settings(max_examples=count)
    def check(case):
        operands, keywords = case
        arrays = tuple(np.asarray(x, float) for x in operands)
        out = op.forward(*arrays, **keywords)
        known = {"np": np, "g": np.full(np.shape(out), 1.5), "out": out, **dict(zip("xy", arrays))}
        with np.errstate(all="ignore"):
            for position, rule in enumerate(op.rules):
                if rule is None:
                    continue
                found = eval(formula(op, position, arrays, ("x", "y"), "out"), known)
                np.testing.assert_allclose(
                    np.broadcast_to(found, np.shape(out)) if op.broadcasts else found,
                    np.broadcast_to(rule(known["g"], out, *arrays, **keywords), np.shape(found)),
                    rtol=1e-9,
                    atol=1e-12,
                )

    check()


def test_the_formula_of_a_product_of_matrices():
    rng = np.random.default_rng(0)
    x, y, g = rng.standard_normal((3, 2)), rng.standard_normal((2, 4)), rng.standard_normal((3, 4))
    for position, text in enumerate(MATRICES):
        found = eval(text.format(x="x", y="y"), {"x": x, "y": y, "g": g})
        np.testing.assert_allclose(found, OPS["affine"].rules[position](g, x @ y + 1, x, y, np.ones(4)))
        if position < 2:
            np.testing.assert_allclose(found, OPS["matmul"].rules[position](g, x @ y, x, y))


def test_words_belong_to_ops_that_there_are():
    for name, words in {**FORMULAS, **WORDS}.items():
        assert name == "embedding" or (name in OPS and len(words) <= len(OPS[name].rules)), name


def test_an_op_of_the_users_is_named_as_declared():
    op = tg.declare("my_cube", lambda x: x**3, lambda g, out, x: 3 * g * x**2, sample=tg.samples.unary())
    try:
        x = tg.Tensor(2.0, requires_grad=True)
        text = printed(tg.explain, op(x), {"x": x})
    finally:
        del tg.OPS["my_cube"]
    assert "t1 = my_cube(x) = 8" in text and "dL/dx = what the gradient rule of my_cube gives = 12" in text
