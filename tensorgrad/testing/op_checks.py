"""Property tests for ops, the engine's own and yours: needs Hypothesis (the extra ``test``)."""

from __future__ import annotations

import copy
import warnings
from typing import Any, Callable

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..autodiff import gradients
from ..compiler import compile
from ..core import Op, Tensor
from ..core.tensor import history
from .gradcheck import GradientError, gradcheck
from .operands import as_it_lies, assert_close, assert_same, in_precision, is_float, read_only, reversed_twice, strided
from .strategies import Case, cases, complex_cases


def check_op(op: Op, max_examples: int = 60) -> None:
    """Check everything that an op promises, on operands drawn from its sample.

    Its value (against the NumPy function that it stands in for), first and second derivatives against finite
    differences, shape and dtype of every gradient, float32 kept, mixed dtypes, operands left unchanged and accepted
    read-only, strided and in Fortran order; compiled, the same results to the last bit. An op that accepts complex
    operands is checked on such as well.

    Parameters
    ----------
    op
        The op, as returned by ``tg.declare`` or found in ``tg.OPS``.
    max_examples
        How many cases Hypothesis draws.

    Raises
    ------
    AssertionError
        With the smallest failing case that Hypothesis finds.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> from tensorgrad.testing import check_op
    >>> check_op(tg.OPS["tanh"], max_examples=5)
    """

    _run(cases(op), lambda case: check_case(op, *case), max_examples)
    if op.on_complex is not None:
        _run(complex_cases(op), lambda case: _check_complex_case(op, *case), max_examples // 2)


def _run(strategy: st.SearchStrategy[Case], check: Callable[[Case], None], max_examples: int) -> None:
    settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )(given(strategy)(check))()


def check_case(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> None:
    """The checks of :func:`check_op` on one case."""
    before = copy.deepcopy(operands)
    _check_value(op, operands, keywords)
    _check_filled(op, operands, keywords)
    _check_rules_keep_nothing(op, operands, keywords)
    _check_gradients(op, operands, keywords)
    _check_layouts(op, operands, keywords)
    _check_rewritten_constants(op, operands, keywords)
    for dtype in (np.float32, np.float64):
        _check_dtype(op, operands, keywords, dtype)
    if op.broadcasts:
        _check_python_scalars(op, operands, keywords)
    _check_replay(op, operands, keywords)
    assert_same(before, operands, f"{op.name} changed its operands")


def _check_complex_case(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> None:
    """The same checks, or, where NumPy takes no complex operands, that Tensors do not either."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _apply(op, operands, keywords)
    except TypeError:
        try:
            _apply(op, _tensors(operands), keywords)
        except TypeError as error:
            assert op.name in str(error), f"{op.name} is not named in: {error}"
        else:
            raise AssertionError(f"{op.name} takes complex Tensors, but not complex arrays") from None
    else:
        with warnings.catch_warnings():
            for warning in caught:  # NumPy's own, as of astype from complex to real
                warnings.simplefilter("ignore", warning.category)
            check_case(op, operands, keywords)


def _apply(op: Op, operands: Any, keywords: dict[str, object]) -> Any:
    """Call with settings of its own, so that a random generator among them starts where it stood."""
    return op(*operands, **copy.deepcopy(keywords))


def _tensors(operands: tuple[Any, ...]) -> list[Tensor]:
    return [as_it_lies(x, is_float(x)) if isinstance(x, np.ndarray) else Tensor(x) for x in operands]


def _differentiable(op: Op, operands: tuple[Any, ...]) -> list[int]:
    """Positions of the operands that have a gradient."""
    rules = op.rules * len(operands) if op.arity is None else op.rules
    return [i for i, x in enumerate(operands) if is_float(x) and rules[i] is not None]


def _check_value(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> None:
    expected = _apply(op, operands, keywords)
    result = _apply(op, _tensors(operands), keywords)
    assert isinstance(result, Tensor), f"{op.name} on Tensors gave {type(result)}"
    assert_same(np.asarray(expected), result.data, f"{op.name} on Tensors differs from arrays")
    assert result.requires_grad == bool(_differentiable(op, operands)), f"{op.name}: requires_grad is wrong"
    if op.numpy is not None:
        assert_same(np.asarray(op.numpy(*operands, **keywords)), result.data, f"{op.name} differs from NumPy")
        through_numpy = op.numpy(*_tensors(operands), **keywords)
        assert isinstance(through_numpy, Tensor)
        assert_same(result.data, through_numpy.data, f"{op.name} through NumPy differs")


def _check_filled(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> None:
    """An op that takes ``out`` writes its whole result there, however that lies in memory."""
    if not op.takes_out:
        return
    arrays = [x.numpy() if isinstance(x, Tensor) else x for x in operands]
    expected = op(*arrays, **keywords)
    for order in ("C", "F"):
        out = np.full(expected.shape, np.nan, expected.dtype, order=order)
        op.forward(*arrays, out=out, **keywords)
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12, err_msg=f"{op.name}: out={order}")


def _check_gradients(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> None:
    positions = _differentiable(op, operands)

    def of_floats(*floats: Tensor) -> Any:
        full = list(operands)
        for position, tensor in zip(positions, floats):
            full[position] = tensor
        return _apply(op, full, keywords)

    if not positions:
        return
    try:
        gradcheck(of_floats, [operands[i] for i in positions], order=2)
    except GradientError as error:
        raise GradientError(f"{op.name}, operands {positions}: {error}") from None


def _check_rules_keep_nothing(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> None:
    """A rule returns a new array each time, or what it was given: gradients belong to who asks for them."""
    tensors = _tensors(operands)
    out = _apply(op, tensors, keywords)
    if not _differentiable(op, operands):
        return
    node, g = history(out), np.asarray(_seed(out))
    rules: Any = op.rules
    for position in _differentiable(op, operands):
        if op.arity is None:
            first, second = (rules[0](g, node.array, *node.arrays, **node.settings)[position] for _ in range(2))
        else:
            first, second = (rules[position](g, node.array, *node.arrays, **node.settings) for _ in range(2))
        given = any(np.may_share_memory(first, array) for array in (g, node.array, *node.arrays))
        assert given or not np.may_share_memory(first, second), (
            f"{op.name}: the rule for operand {position} returned the same array twice; return a new one each time"
        )


def _gradients(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> list[Any]:
    """The result and its gradients with respect to the differentiable operands; nothing where there are none."""
    positions = _differentiable(op, operands)
    tensors = [as_it_lies(x, i in positions) if isinstance(x, np.ndarray) else x for i, x in enumerate(operands)]
    out = _apply(op, tensors, keywords)
    if not positions:
        return []
    return [out.data] + [g.data for g in gradients(out, [tensors[i] for i in positions], _seed(out))]


def _check_layouts(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> None:
    expected = _gradients(op, operands, keywords)
    for layout in (read_only, strided, reversed_twice, np.asfortranarray):
        changed = tuple(layout(x) if isinstance(x, np.ndarray) and x.ndim else x for x in operands)
        for before, after in zip(expected, _gradients(op, changed, keywords)):
            np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-12, err_msg=f"{op.name}, {layout.__name__}")


def _check_rewritten_constants(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> None:
    """One operand a Tensor, the others arrays that are written into before the backward pass: the same gradient."""
    positions = _differentiable(op, operands)
    exact = dict(zip(positions, _gradients(op, operands, keywords)[1:]))
    for position in positions if len(operands) > 1 else ():
        mixed = [x.copy() if isinstance(x, np.ndarray) else x for x in operands]
        variable = mixed[position] = Tensor(mixed[position], requires_grad=True)
        out = _apply(op, mixed, keywords)
        for array in mixed:
            if isinstance(array, np.ndarray):
                array[...] = 7
        found = gradients(out, variable, _seed(out)).data
        message = f"{op.name}, operand {position}, with constants that are written into afterwards"
        np.testing.assert_allclose(found, exact[position], rtol=1e-12, atol=1e-12, err_msg=message)


def _seed(out: Tensor) -> np.ndarray:
    seed: np.ndarray = np.linspace(0.5, 1.5, out.size, dtype=out.dtype).reshape(out.shape)
    seed.flags.writeable = False
    return seed


def _check_dtype(op: Op, operands: tuple[Any, ...], keywords: dict[str, object], dtype: object) -> None:
    """All operands float32, then the first alone: gradients keep the dtype of their operand."""
    positions = _differentiable(op, operands)
    reference = _gradients(op, operands, keywords)
    for count in {len(operands), 1}:
        cast = tuple(
            in_precision(x, np.float32 if i < count else dtype) if is_float(x) else x for i, x in enumerate(operands)
        )
        expected = np.asarray(_apply(op, cast, keywords))
        if dtype == np.float32 and _should_keep_float32(op, cast) and expected.dtype.kind in "fc":
            assert expected.dtype in (np.float32, np.complex64), f"{op.name}: {expected.dtype} from float32"
        found = _gradients(op, cast, keywords)
        if found:
            assert found[0].dtype == expected.dtype, f"{op.name}: {found[0].dtype} instead of {expected.dtype}"
        for position, gradient, exact in zip(positions, found[1:], reference[1:]):
            assert gradient.shape == cast[position].shape, f"{op.name}: gradient {position} has shape {gradient.shape}"
            assert gradient.dtype == cast[position].dtype, f"{op.name}: gradient {position} is {gradient.dtype}"
            np.testing.assert_allclose(gradient, exact, rtol=2e-3, atol=2e-3, err_msg=f"{op.name} in {gradient.dtype}")


def _should_keep_float32(op: Op, operands: tuple[Any, ...]) -> bool:
    """Not where NumPy or a setting decides the dtype, or with integers."""
    floats = all(is_float(x) for x in operands if isinstance(x, np.ndarray))
    return op.numpy is None and "dtype" not in op.settings and floats


def _check_python_scalars(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> None:
    """One operand at a time a Python number, the others float32: their gradients stay what they were, in float32."""
    arrays = [in_precision(x, np.float32) if is_float(x) else x for x in operands]
    for scalar, x in enumerate(arrays):
        if not (is_float(x) and x.size):
            continue
        with_array = tuple(x.reshape(-1)[0].reshape(()) if i == scalar else y for i, y in enumerate(arrays))
        with_number = tuple(y.item() if i == scalar else y for i, y in enumerate(with_array))
        try:
            _apply(op, with_array, keywords)
        except ValueError:
            continue  # an op without 0-d operands
        positions = _differentiable(op, with_number)
        exact = dict(zip(_differentiable(op, with_array), _gradients(op, with_array, keywords)[1:]))
        for position, gradient in zip(positions, _gradients(op, with_number, keywords)[1:]):
            message = f"{op.name} with a Python number as operand {scalar}"
            assert gradient.dtype == with_array[position].dtype, f"{message}: the gradient is {gradient.dtype}"
            np.testing.assert_allclose(gradient, exact[position], rtol=1e-4, atol=1e-5, err_msg=message)


def _check_replay(op: Op, operands: tuple[Any, ...], keywords: dict[str, object]) -> None:
    """Compiled, the value and the gradients are the same to the last bit, recorded and replayed.

    But for complex numbers, whose products NumPy rounds one way or another, depending on where they lie in memory.
    """
    arrays = [x for x in operands if isinstance(x, np.ndarray)]
    same = assert_close if any(x.dtype.kind == "c" for x in arrays) else assert_same

    def function(keywords: dict[str, object], *arrays: Any) -> Any:
        rest = iter(arrays)
        full = tuple(next(rest) if isinstance(x, np.ndarray) else x for x in operands)
        tensors = [Tensor(x, requires_grad=x.dtype.kind in "fc") if hasattr(x, "dtype") else x for x in full]
        out = op(*tensors, **keywords)
        wanted = [tensors[i] for i in _differentiable(op, operands)]
        seed = np.linspace(0.5, 1.5, out.size, dtype=out.dtype).reshape(out.shape)
        return [out.data, *(g.data for g in (gradients(out, wanted, seed) if wanted else ()))]

    plain, captured = copy.deepcopy(keywords), copy.deepcopy(keywords)
    compiled = compile(lambda *arrays: function(captured, *arrays), fast=False, pure=True)
    for these in (arrays, [np.flip(x).copy() for x in arrays], arrays):
        with np.errstate(all="ignore"):
            same(tuple(function(plain, *these)), tuple(compiled(*these)), f"{op.name}, compiled")
