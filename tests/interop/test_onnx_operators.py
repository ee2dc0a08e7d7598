"""The operators of ONNX that are read, one by one: each gives what onnxruntime gives."""

import numpy as np
import pytest

from tensorgrad.interop import onnx
from tensorgrad.training import CheckpointError

library = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4)).astype(np.float32)
Y = RNG.standard_normal((3, 4)).astype(np.float32)
ABOVE = np.abs(X) + 0.5
SMALL = np.clip(X, -0.9, 0.9)
IMAGES = RNG.standard_normal((2, 4, 6, 5)).astype(np.float32)
KERNEL = RNG.standard_normal((4, 4, 2, 3)).astype(np.float32)
TRUTHS, OTHERS = X > 0, np.roll(X, 1) > 0
WHOLE, DIVISORS = np.array([7, -7, 5, -9]), np.array([2, 2, -3, -4])
ODD = np.where(X > 1, np.nan, np.where(X < -1, -np.inf, np.where(X > 0.5, np.inf, X))).astype(np.float32)


def integers(*values):
    return np.array(values, np.int64)


CASES = {
    **{name: ([X],) for name in ("Neg", "Abs", "Exp", "Sign", "Floor", "Ceil", "Round", "Sin", "Cos", "Tan", "Atan")},
    **{name: ([X],) for name in ("Sinh", "Cosh", "Tanh", "Asinh", "Relu", "Sigmoid", "Softplus", "Softsign", "Erf")},
    **{name: ([X],) for name in ("Identity", "Dropout", "LeakyRelu", "Elu", "Selu", "HardSigmoid", "HardSwish")},
    **{name: ([X],) for name in ("Softmax", "LogSoftmax", "Shape", "Size", "Transpose", "Flatten", "Mish")},
    **{name: ([ABOVE],) for name in ("Log", "Sqrt", "Reciprocal")},
    **{name: ([SMALL],) for name in ("Asin", "Acos", "Atanh")},
    **{name: ([X, Y],) for name in ("Add", "Sub", "Mul", "Div", "Equal", "Less", "LessOrEqual", "Greater")},
    **{name: ([X, Y],) for name in ("GreaterOrEqual", "PRelu")},
    **{name: ([TRUTHS, OTHERS],) for name in ("And", "Or", "Xor")},
    **{name: ([X, Y, SMALL],) for name in ("Max", "Min", "Sum")},
    **{f"Reduce{name}": ([ABOVE, integers(1, -1)],) for name in ("Sum", "Mean", "Prod", "Max", "Min", "LogSumExp")},
    **{f"Reduce{name}": ([ABOVE],) for name in ("L1", "L2", "SumSquare", "LogSum")},
    **{name: ([X], {"axis": 1}) for name in ("ArgMax", "ArgMin")},
    **{f"Global{name}Pool": ([IMAGES],) for name in ("Average", "Max")},
    "Acosh": ([ABOVE + 1],),
    "Not": ([TRUTHS],),
    "IsNaN": ([ODD],),
    "IsInf": ([ODD],),
    "IsInf, positive": ([ODD], {"detect_negative": 0}),
    "IsInf, negative": ([ODD], {"detect_positive": 0}),
    "Div of integers": ([WHOLE, DIVISORS],),
    "Mod": ([WHOLE, DIVISORS],),
    "Mod of floats": ([X, ABOVE], {"fmod": 1}),
    "Pow": ([ABOVE, Y],),
    "Clip": ([X, np.array(-0.5, np.float32)],),
    "Clip above": ([X, None, np.array(0.5, np.float32)],),
    "Where": ([TRUTHS, X, Y],),
    "MatMul": ([X, Y.T.copy()],),
    "Gelu": ([X], {}, 20),
    "Gelu by tanh": ([X], {"approximate": "tanh"}, 20),
    "Softmax over the first": ([X], {"axis": 0}),
    "Cast": ([X * 3], {"to": 7}),
    "ReduceMax of older files": ([X], {"axes": [0, 2], "keepdims": 0}, 17),
    "CumSum": ([X, np.array(2)],),
    "CumSum in reverse": ([X, np.array(1)], {"reverse": 1}),
    "Einsum": ([X, Y], {"equation": "nij,ij->ni"}),
    "Constant": ([], {"value": library.numpy_helper.from_array(Y)}),
    "Constant of floats": ([], {"value_floats": [1.0, 2.5]}),
    "Constant of one": ([], {"value_int": 3}),
    "ConstantOfShape": ([integers(2, 3)], {"value": library.numpy_helper.from_array(np.array([5]))}),
    "ConstantOfShape of zeros": ([integers(2, 3)],),
    "Shape of a part": ([X], {"start": 1, "end": 3}),
    "Reshape": ([X, integers(0, -1)],),
    "Flatten all": ([X], {"axis": -2}),
    "Expand": ([Y, integers(2, 1, 4)],),
    "Tile": ([Y, integers(2, 3)],),
    "Transpose by order": ([X], {"perm": [1, 2, 0]}),
    "Squeeze": ([X[:, :1]],),
    "Squeeze an axis": ([X[:1, :1], integers(1)],),
    "Unsqueeze": ([X, integers(0, -1)],),
    "Concat": ([X, X], {"axis": 1}),
    "Split": ([X, integers(1, 2)], {"axis": 1}),
    "Split into": ([X], {"axis": 2, "num_outputs": 2}),
    "Split of older files": ([X], {"axis": 2}, 17),
    "Slice": ([X, integers(0, 1), integers(1, 9)],),
    "Slice backwards": ([X, integers(-1), integers(-9), integers(2), integers(-2)],),
    "Gather": ([X, integers(2, -1)], {"axis": 1}),
    "GatherElements": ([X, integers(*[0, 2, 1] * 8).reshape(2, 3, 4)], {"axis": 1}),
    "Pad": ([Y, integers(1, 0, 0, 2), np.array(3, np.float32)],),
    "Pad an axis": ([Y, integers(1, 2), None, integers(-1)], {"mode": "reflect"}),
    "Pad edges": ([Y, integers(1, 0, 0, 2)], {"mode": "edge"}),
    "Gemm": ([Y, Y, Y[:, :3].copy()], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    "Gemm of a transpose": ([Y, Y], {"transA": 1}),
    "Conv": (
        [IMAGES, KERNEL[:2, :2]],
        {"group": 2, "pads": [1, 0, 0, 1], "strides": [2, 1]},
    ),
    "Conv, same": ([IMAGES, KERNEL[:2]], {"auto_pad": "SAME_UPPER"}),
    "Conv, valid": ([IMAGES, KERNEL[:2]], {"auto_pad": "VALID"}),
    "ConvTranspose": (
        [IMAGES, KERNEL[:, :2]],
        {"strides": [2, 1], "pads": [1, 0, 0, 1]},
    ),
    "MaxPool": ([IMAGES], {"kernel_shape": [2, 3], "pads": [1, 0, 0, 1]}),
    "AveragePool": ([IMAGES], {"kernel_shape": [2, 3], "pads": [1, 0, 0, 1]}),
    "AveragePool with its padding": ([IMAGES], {"kernel_shape": [2, 2], "pads": [1] * 4, "count_include_pad": 1}),
    "BatchNormalization": ([IMAGES, *np.abs(IMAGES[0, :, :4, 0].T.copy())], {"epsilon": 0.1}),
    "LayerNormalization": ([X, Y, Y], {"axis": 1}),
    "LayerNormalization without a bias": ([X, Y[0]],),
    "InstanceNormalization": ([X, Y[:, 0].copy(), Y[:, 1].copy()],),
}


def described(values):
    kind = library.helper.np_dtype_to_tensor_dtype
    return [library.helper.make_tensor_value_info(name, kind(x.dtype), x.shape) for name, x in values.items()]


def saved(name, path, results):
    """Write a network of one operator with outputs like ``results``; returns its inputs."""
    case = CASES[name]
    inputs, attributes, opset = (*case, *({}, 18)[len(case) - 1 :])
    operator = name.split()[0].rstrip(",")
    given = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    outputs = {f"y{i}": x for i, x in enumerate(results)}
    node = library.helper.make_node(operator, names, list(outputs), **attributes)
    graph = library.helper.make_graph([node], "g", described(given), described(outputs))
    opsets = [library.helper.make_opsetid("", opset)]
    path.write_bytes(library.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return given


def runs(path, given):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, given)


@pytest.mark.parametrize("name", CASES)
def test_an_operator_gives_what_onnxruntime_gives(name, tmp_path):
    path = tmp_path / "a.onnx"
    count = 2 if name.startswith("Split") else 1
    given = saved(name, path, [X] * count)
    model = library.load(path)
    for output in model.graph.output:
        output.ClearField("type")  # onnxruntime finds it out
    path.write_bytes(model.SerializeToString())
    expected = runs(path, given)
    saved(name, path, expected)
    found = onnx.load(path)(*given.values())
    for x, y in zip(found if isinstance(found, tuple) else [found], expected):
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_allclose(x.numpy(), y, rtol=1e-5, atol=1e-5)


def test_a_sum_over_no_axes_is_over_all_or_over_none():
    sum_of = onnx.OPERATORS["ReduceSum"]
    assert sum_of(X, noop_with_empty_axes=1) is X and sum_of(X, keepdims=0) == X.sum()


def test_every_operator_that_is_read_is_among_them():
    assert onnx.OPERATORS.keys() <= {name.split()[0].rstrip(",") for name in CASES}


REFUSED = {
    "Selu with constants of its own": ("Selu", [X], {"alpha": 1.0}),
    "select_last_index": ("ArgMax", [X], {"select_last_index": 1}),
    "exclusive CumSum": ("CumSum", [X, np.array(1)], {"exclusive": 1}),
    "MaxPool with ceil_mode": ("MaxPool", [IMAGES], {"kernel_shape": [2, 2], "ceil_mode": 1}),
    "AveragePool with ceil_mode": ("AveragePool", [IMAGES], {"kernel_shape": [2, 2], "ceil_mode": 1}),
    "windows with auto_pad=SAME_LOWER": ("MaxPool", [IMAGES], {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}),
    "a Pad that cuts off": ("Pad", [X, integers(-1, 0, 0, 0, 0, 0)], {}),
    "a Constant with value_string": ("Constant", [], {"value_string": "a"}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_an_operator_cannot_do_here_is_named(reason, tmp_path, monkeypatch):
    operator, inputs, attributes = REFUSED[reason]
    monkeypatch.setitem(CASES, operator, (inputs, attributes))
    given = saved(operator, tmp_path / "a.onnx", [X])
    with pytest.raises((ValueError, CheckpointError), match=reason):
        onnx.load(tmp_path / "a.onnx")(*given.values())
