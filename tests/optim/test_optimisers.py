"""Every optimiser against its formula and, where it is installed, PyTorch; groups of parameters."""

import copy
import pickle

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.optim.optimiser import FEW
from tensorgrad.training import fit, training_step
from tests.support import blobs

VARIANTS = {
    "SGD": {"lr": 1e-2},
    "SGD decay": {"lr": 1e-2, "weight_decay": 0.1},
    "SGD momentum": {"lr": 1e-2, "momentum": 0.9, "weight_decay": 0.01},
    "SGD dampening": {"lr": 1e-2, "momentum": 0.8, "dampening": 0.3},
    "SGD nesterov": {"lr": 1e-2, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "Adam": {"lr": 1e-3},
    "Adam decay": {"lr": 1e-3, "betas": (0.8, 0.99), "weight_decay": 0.1},
    "AdamW": {"lr": 1e-3},
    "AdamW decay": {"lr": 1e-2, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.3},
    "RMSprop": {"lr": 1e-3},
    "RMSprop momentum": {"lr": 1e-3, "alpha": 0.9, "momentum": 0.9, "weight_decay": 0.1},
    "RMSprop centered": {"lr": 1e-3, "alpha": 0.95, "centered": True},
    "RMSprop all": {"lr": 1e-3, "eps": 1e-4, "momentum": 0.5, "centered": True, "weight_decay": 0.01},
    "Adagrad": {"lr": 1e-1},
    "Adagrad decay": {"lr": 1e-1, "initial_accumulator_value": 0.3, "weight_decay": 0.1, "eps": 1e-6},
    "Adamax": {"lr": 1e-2},
    "Adamax decay": {"lr": 1e-2, "betas": (0.8, 0.9), "weight_decay": 0.1},
    "Lion": {"lr": 1e-3},
    "Lion decay": {"lr": 1e-2, "betas": (0.95, 0.98), "weight_decay": 1.0},
}
"""Settings by the class, and what is special about them; PyTorch calls all of them the same."""

variants = pytest.mark.parametrize("variant", VARIANTS)


def kind_of(variant):
    return variant.partition(" ")[0]


def made(variant, parameters, **others):
    return getattr(optim, kind_of(variant))(parameters, **{**VARIANTS[variant], **others})


def parameters(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [tg.Tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in [(3, 4), (5,), (), (40, 50)]]


def gradients_of_step(t, tensors):
    rng = np.random.default_rng(t)
    return [(rng.standard_normal(p.shape) * 10.0 ** rng.integers(-3, 3)).astype(p.dtype) for p in tensors]


def steps(optimiser, tensors, which):
    for t in which:
        for tensor, gradient in zip(tensors, gradients_of_step(t, tensors)):
            tensor.grad = gradient
        optimiser.step()


def assert_equal(one, two):
    for x, y in zip(one, two):
        np.testing.assert_array_equal(x.data, y.data)


# Formulas, as the papers and PyTorch's pages write them


def sgd(x, g, s, t, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    g = g + weight_decay * x
    s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g
    return x - lr * (g + momentum * s["b"] if nesterov else s["b"])


def adam(x, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    g = g + weight_decay * x
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    return x - lr * (s["m"] / (1 - betas[0] ** t)) / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps)


def adamw(x, g, s, t, lr, weight_decay=1e-2, **settings):
    return adam(x - lr * weight_decay * x, g, s, t, lr, **settings)


def rmsprop(x, g, s, t, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    g = g + weight_decay * x
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g**2
    s["m"] = alpha * s.get("m", 0) + (1 - alpha) * g
    v = s["v"] - s["m"] ** 2 if centered else s["v"]
    s["b"] = momentum * s.get("b", 0) + g / (np.sqrt(v) + eps)
    return x - lr * s["b"]


def adagrad(x, g, s, t, lr, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    g = g + weight_decay * x
    s["v"] = s.get("v", initial_accumulator_value) + g**2
    return x - lr * g / (np.sqrt(s["v"]) + eps)


def adamax(x, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    g = g + weight_decay * x
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["u"] = np.maximum(betas[1] * s.get("u", 0), np.abs(g) + eps)
    return x - lr / (1 - betas[0] ** t) * s["m"] / s["u"]


def lion(x, g, s, t, lr, betas=(0.9, 0.99), weight_decay=0.0):
    m = s.get("m", np.zeros_like(x))
    update = np.sign(betas[0] * m + (1 - betas[0]) * g)
    s["m"] = betas[1] * m + (1 - betas[1]) * g
    return x - lr * (update + weight_decay * x)


FORMULAS = {f.__name__: f for f in (sgd, adam, adamw, rmsprop, adagrad, adamax, lion)}


@pytest.mark.parametrize("compiled, count", [(False, 20), (True, 20), pytest.param(True, 1000, marks=pytest.mark.slow)])
@variants
def test_as_its_formula_says(variant, compiled, count):
    tensors = parameters()
    values, states = [p.data.copy() for p in tensors], [{} for _ in tensors]
    optimiser = made(variant, tensors)
    for t in range(1, count + 1):
        gradients = gradients_of_step(t, tensors)
        for i, (tensor, gradient) in enumerate(zip(tensors, gradients)):
            tensor.grad = gradient
            values[i] = FORMULAS[kind_of(variant).lower()](values[i], gradient, states[i], t, **VARIANTS[variant])
        optimiser.step() if compiled else optimiser._step()
    for tensor, value in zip(tensors, values):
        np.testing.assert_allclose(tensor.data, value, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 1e-5)])
@variants
def test_as_pytorch_over_1000_steps(variant, dtype, tolerance):
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, kind_of(variant)):
        pytest.skip("not in PyTorch")
    tensors = parameters(dtype)
    twins = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in tensors]
    optimiser, peer = made(variant, tensors), getattr(torch.optim, kind_of(variant))(twins, **VARIANTS[variant])
    for t in range(1000):
        for tensor, twin, gradient in zip(tensors, twins, gradients_of_step(t, tensors)):
            tensor.grad, twin.grad = gradient, torch.from_numpy(np.array(gradient))
        optimiser.step()
        peer.step()
    for tensor, twin in zip(tensors, twins):
        assert tensor.dtype == dtype
        expected = twin.detach().numpy()
        assert np.abs(tensor.data - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


def test_every_optimiser_of_the_package_is_compared():
    kinds = {x.__name__ for x in vars(optim).values() if isinstance(x, type) and issubclass(x, optim.Optimiser)}
    assert {kind_of(variant) for variant in VARIANTS} == kinds - {"Optimiser"}


@variants
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_state_continues_exactly_and_narrow_parameters_keep_their_dtype(variant, dtype):
    straight = parameters(dtype)
    steps(made(variant, straight), straight, range(10))
    first = parameters(dtype)
    optimiser = made(variant, first)
    steps(optimiser, first, range(5))
    second = [tg.Tensor(p.data.copy(), requires_grad=True) for p in first]
    resumed = made(variant, second)
    resumed.load_state_dict({name: np.asarray(value) for name, value in optimiser.state_dict().items()})
    steps(resumed, second, range(5, 10))
    assert_equal(straight, second)
    assert {p.dtype for p in second} == {np.dtype(dtype)}
    assert {s.dtype for kept in resumed.state.values() for s in kept} <= {np.dtype(np.float32)}


@variants
@pytest.mark.parametrize("exponent", [-7, -2, 4])
def test_a_step_in_float16_is_that_in_float32_rounded(variant, exponent):
    rng = np.random.default_rng(0)
    half = tg.Tensor(np.concatenate([rng.standard_normal(50), np.zeros(5)]).astype(np.float16), requires_grad=True)
    single = tg.Tensor(half.data.astype(np.float32), requires_grad=True)
    of_half, of_single = made(variant, [half]), made(variant, [single])
    for step in range(15):
        gradient = (rng.standard_normal(55) * 10.0**exponent).astype(np.float16) * np.float16(step % 4 != 3)
        half.grad, single.grad = gradient, gradient.astype(np.float32)
        single.data = half.data.astype(np.float32)
        of_half.step()
        of_single.step()
        assert half.dtype == np.float16
        np.testing.assert_array_equal(half.data, single.data.astype(np.float16))
    for name, array in of_single.state_dict().items():
        np.testing.assert_array_equal(of_half.state_dict()[name], array)


@variants
def test_all_of_them_train(variant):
    x, y = blobs()
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Dense(2, 16, rng), nn.ReLU(), nn.Dense(16, 3, rng))
    optimiser = made(variant, model.parameters(), lr=0.05 if kind_of(variant) in ("SGD", "Adagrad") else 2e-2)
    history = fit(model, (x, y), (x, y), optimiser, epochs=10, batch_size=20, rng=rng, quiet=True)
    assert history[-1].validation_accuracy > 0.9


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda p: optim.SGD(p, nesterov=True),
            "SGD: nesterov=True needs momentum, and no dampening, got momentum=0.0",
        ),
        (lambda p: optim.SGD(p, momentum=0.9, dampening=0.5, nesterov=True), "needs momentum, and no dampening"),
        (lambda p: optim.SGD(p, momentum=0.9, dampening=2.0), "0 <= dampening <= 1, got 2.0"),
        (lambda p: optim.SGD(p, weight_decay=-1), "SGD: weight_decay must be finite and not negative, got -1"),
        (lambda p: optim.AdamW(p, weight_decay=np.nan), "AdamW: weight_decay must be finite and not negative, got nan"),
        (lambda p: optim.AdamW(p, betas=(0.9,)), r"AdamW: betas must be two numbers .* got \(0.9,\)"),
        (lambda p: optim.RMSprop(p, alpha=1.0), "RMSprop: alpha must satisfy 0 <= alpha < 1, got 1.0"),
        (lambda p: optim.RMSprop(p, eps=0.0), "RMSprop: needs a finite eps > 0, got 0.0"),
        (
            lambda p: optim.Adagrad(p, initial_accumulator_value=-1.0),
            "initial_accumulator_value must be finite and not",
        ),
        (lambda p: optim.Adamax(p, betas=(0.9, 1.0)), "Adamax: betas must be two numbers with 0 <= beta < 1"),
        (lambda p: optim.Adam(p, betas=0.9), "Adam: betas must be two numbers with 0 <= beta < 1, got 0.9"),
        (lambda p: optim.Lion(p, betas=(-0.1, 0.9)), "Lion: betas must be two numbers with 0 <= beta < 1"),
    ],
)
def test_settings_are_checked_in_the_constructor_in_groups_and_when_set(make, message):
    x = tg.Tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match=message):
        make([x])
    with pytest.raises(ValueError, match=message):
        make([{"params": [x]}])


# Groups


def in_groups(variant, tensors, **own):
    """The first half of the parameters as the variant says, the others with settings of their own."""
    return made(variant, [{"params": tensors[:2]}, {"params": tensors[2:], **own}])


@pytest.mark.parametrize("compiled", [False, True])
@variants
def test_groups_are_updated_as_by_optimisers_of_their_own(variant, compiled):
    own = {"lr": 3e-3, **({"weight_decay": 0.2} if kind_of(variant) != "Adam" else {"betas": (0.5, 0.5)})}
    tensors, twins = parameters(np.float32), parameters(np.float32)
    optimiser = in_groups(variant, tensors, **own)
    alone = [made(variant, twins[:2]), made(variant, twins[2:], **own)]
    for t in range(12):
        for tensor, twin, gradient in zip(tensors, twins, gradients_of_step(t, tensors)):
            tensor.grad = twin.grad = gradient if t % 3 or tensor is not tensors[1] else None
        optimiser.step() if compiled else optimiser._step()
        for each in alone:
            each.step()
        if t == 6:
            for group in (optimiser.param_groups[1], alone[1].param_groups[0]):
                group["lr"], group["weight_decay"] = group["lr"] / 2, 0.3
    assert_equal(tensors, twins)


def test_groups_with_and_without_what_needs_state():
    """Momentum in one group only; the other one keeps none that is used."""
    tensors, twins = parameters(), parameters()
    groups = [{"params": tensors[:2], "momentum": 0.9}, {"params": tensors[2:]}]
    optimiser = optim.SGD(groups, lr=0.1)
    alone = [optim.SGD(twins[:2], 0.1, momentum=0.9), optim.SGD(twins[2:], 0.1)]
    steps(optimiser, tensors, range(5))
    for t in range(5):
        for twin, gradient in zip(twins, gradients_of_step(t, twins)):
            twin.grad = gradient
        for each in alone:
            each.step()
    assert_equal(tensors, twins)
    with pytest.raises(ValueError, match=r"no velocity is kept, as no group needed one .* make a new one"):
        alone[1].momentum = 0.9
    assert alone[1].momentum == 0.0


@pytest.mark.parity
def test_groups_as_in_pytorch_with_the_rate_of_each_changed_by_hand():
    torch = pytest.importorskip("torch")
    tensors = parameters()
    twins = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in tensors]

    def groups(p):
        return [{"params": p[:1]}, {"params": p[1:3], "weight_decay": 0.0}, {"params": p[3], "lr": 1e-4}]

    optimiser, peer = optim.AdamW(groups(tensors), lr=1e-2), torch.optim.AdamW(groups(twins), lr=1e-2)
    for t in range(100):
        for tensor, twin, gradient in zip(tensors, twins, gradients_of_step(t, tensors)):
            tensor.grad, twin.grad = gradient, torch.from_numpy(np.array(gradient))
        optimiser.step()
        peer.step()
        for group in (*optimiser.param_groups, *peer.param_groups) if t % 10 == 0 else ():
            group["lr"] *= 0.9
    for tensor, twin in zip(tensors, twins):
        np.testing.assert_allclose(tensor.data, twin.detach().numpy(), rtol=1e-12, atol=1e-12)
    for group, other in zip(optimiser.param_groups, peer.param_groups):
        assert {name: group[name] for name in group if name != "params"}.items() <= other.items()


def test_a_setting_of_the_optimiser_is_that_of_all_groups():
    weight, bias = (tg.Tensor([1.0], requires_grad=True) for _ in range(2))
    optimiser = optim.AdamW([{"params": weight}, {"params": [bias], "weight_decay": 0.0, "lr": 0.5}])
    assert optimiser.weight_decay == 0.01 and optimiser.learning_rate == optimiser.lr == 1e-3
    optimiser.weight_decay, optimiser.lr = 0.2, 0.1
    assert [(group["weight_decay"], group["lr"]) for group in optimiser.param_groups] == [(0.2, 0.1)] * 2
    assert repr(optimiser.param_groups[1]) == (
        "ParameterGroup(params=<1 Tensors>, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.2, lr=0.1)"
    )


@pytest.mark.parametrize("pure", [False, True])
def test_a_setting_changed_between_two_steps_of_one_compiled_call_counts_for_the_second(pure):
    def run(wrap):
        x = tg.Tensor([1.0, 2.0], requires_grad=True)
        optimiser = optim.SGD([x], lr=0.1, momentum=0.5)
        changes = iter(range(100))

        def two_steps():
            x.grad = x.data * 0.5
            optimiser.step()
            if not pure:
                optimiser.momentum = 0.1 * (next(changes) % 3)
                optimiser.param_groups[0]["weight_decay"] = 0.01 * (next(changes) % 2)
            x.grad = x.data * 0.5
            optimiser.step()

        two_steps = wrap(two_steps)
        for i in range(12):
            two_steps()
            if pure:
                optimiser.weight_decay = 0.1 * (i % 3)
        return x

    assert_equal([run(lambda f: f)], [run(lambda f: tg.compile(f, pure=pure))])


@pytest.mark.parametrize(
    "groups, error, message",
    [
        (lambda x, y: [{"params": [x]}, y], TypeError, "SGD: group 1 must be a dict with params, .* got Tensor"),
        (lambda x, y: [{"lr": 0.1}], TypeError, r"group 0 must be a dict with params, .* got a dict with \['lr'\]"),
        (lambda x, y: {"params": [x]}, TypeError, "takes a sequence of parameters"),
        (
            lambda x, y: [{"params": [x], "beta": 1}],
            TypeError,
            "group 0 has 'beta', which is none of params, momentum,",
        ),
        (lambda x, y: [{"params": 3}], TypeError, "params of group 0 must be Tensors in a list, got int"),
        (lambda x, y: [{"params": [x]}, {"params": [x]}], ValueError, "given twice"),
        (lambda x, y: [{"params": []}], ValueError, "got no parameters"),
        (lambda x, y: [{"params": [x], "lr": -1}], ValueError, "SGD: lr must be a number that is not negative"),
        (lambda x, y: [{"params": [x], "momentum": 1}], ValueError, "SGD: momentum must satisfy"),
    ],
)
def test_groups_that_cannot_be_are_refused(groups, error, message):
    x, y = (tg.Tensor([1.0], requires_grad=True) for _ in range(2))
    with pytest.raises(error, match=message):
        optim.SGD(groups(x, y))


def test_what_cannot_be_set_in_a_group_is_refused_and_leaves_it_as_it_was():
    x = tg.Tensor([1.0], requires_grad=True)
    optimiser = optim.Adam([{"params": [x]}, {"params": []}])
    group = optimiser.param_groups[0]
    for name, value, error, message in (
        ("params", [], KeyError, "the parameters of a group stay; make a new optimiser"),
        ("momentum", 0.1, KeyError, "a group has no 'momentum'; it has params, betas, eps, weight_decay, lr"),
        ("eps", -1.0, ValueError, "needs a finite eps > 0"),
        ("lr", "0.1", TypeError, "lr must be a number"),
    ):
        before = dict(group)
        with pytest.raises(error, match=message):
            group[name] = value
        assert dict(group) == before
    optim.Adam([x]).step()


def test_rates_changed_in_each_step_need_no_new_program():
    tensors = parameters()
    optimiser = in_groups("AdamW", tensors, lr=0.1)
    for t in range(20):
        steps(optimiser, tensors, [t])
        for group in optimiser.param_groups:
            group["lr"] *= 0.9
    assert optimiser._compiled_step._made == 1
    optimiser.param_groups[0]["weight_decay"] = 0.0
    steps(optimiser, tensors, range(3))
    assert optimiser._compiled_step._made == 2


def test_schedules_of_groups_are_each_told_of_losses_once_and_saved():
    shared, own = optim.Plateau(1.0, patience=2), optim.warm_up(optim.Plateau(0.5, patience=1), 3)

    def optimiser():
        x, y, z = (tg.Tensor([1.0], requires_grad=True) for _ in range(3))
        groups = [{"params": [x]}, {"params": [y], "lr": copy.deepcopy(own)}, {"params": [z]}]
        return optim.SGD(groups, lr=copy.deepcopy(shared))

    first = optimiser()
    for loss in (1.0, 2.0):
        first.observe(loss)
    assert first.learning_rates == [1.0, 0.25 / 3, 1.0]
    second = optimiser()
    second.load_state_dict(first.state_dict())
    for each in (first, second, pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
        each.observe(3.0)
        each.steps = 3
        assert each.learning_rates == [0.5, 0.125, 0.5]


def test_a_state_of_other_groups_is_refused():
    def optimiser(sizes):
        tensors = iter([tg.Tensor([1.0], requires_grad=True) for _ in range(3)])
        return optim.Adam([{"params": [next(tensors) for _ in range(size)]} for size in sizes])

    with pytest.raises(ValueError, match=r"groups of \[2, 1\] parameters, the optimiser's have \[1, 2\]"):
        optimiser([1, 2]).load_state_dict(optimiser([2, 1]).state_dict())
    with pytest.raises(KeyError, match="the state differs in groups"):
        optimiser([3]).load_state_dict(optimiser([2, 1]).state_dict())


def test_settings_changed_by_hand_are_saved_and_those_of_the_code_are_not():
    def optimiser(lr=0.1):
        tensors = parameters()
        return tensors, in_groups("AdamW", tensors, lr=lr)

    tensors, first = optimiser()
    assert not any(name.startswith("setting") for name in first.state_dict())
    steps(first, tensors, range(3))
    first.param_groups[1]["lr"], first.betas, first.param_groups[0]["weight_decay"] = 0.01, (0.5, 0.9), 0
    arrays = {name: np.asarray(value) for name, value in first.state_dict().items()}
    others, second = optimiser()
    second.load_state_dict(arrays)
    assert [{**group, "params": 0} for group in second.param_groups] == [
        {**group, "params": 0} for group in first.param_groups
    ]
    for tensor, other in zip(tensors, others):
        other.data = tensor.data.copy()
    steps(first, tensors, range(3, 6))
    steps(second, others, range(3, 6))
    assert_equal(tensors, others)
    with pytest.raises(ValueError, match="betas must be two numbers"):
        second.load_state_dict({**arrays, "setting.0.betas": np.ones(2)})
    with pytest.raises(KeyError, match=r"has no settings \['beta'\]"):
        second.load_state_dict({**arrays, "setting.0.beta": np.ones(2)})
    assert second.betas == (0.5, 0.9) and second.steps == 6


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_the_settings_of_a_copy_are_its_own(copied):
    tensors = parameters()
    optimiser = in_groups("AdamW", tensors, lr=0.1)
    optimiser.param_groups[1]["lr"] = 0.2
    other = copied(optimiser)
    assert {name for name in other.state_dict() if name.startswith("setting")} == {"setting.1.lr"}
    assert other.state_dict()["setting.1.lr"] == 0.2
    other.param_groups[1]["lr"] = other.param_groups[1]["weight_decay"] = 0.3
    assert optimiser.param_groups[1]["lr"] == 0.2 and optimiser.param_groups[1]["weight_decay"] == 0.01
    own = [p for group in other.param_groups for p in group["params"]]
    assert all(one is two for one, two in zip(own, other.parameters))


def without_decay_of_biases(model, **settings):
    named = list(model.named_parameters())
    groups = [
        {"params": [p for name, p in named if not name.endswith("bias")]},
        {"params": [p for name, p in named if name.endswith("bias")], "weight_decay": 0.0, "lr": optim.Plateau(3e-3)},
    ]
    return optim.AdamW(groups, **settings)


@pytest.mark.parametrize("compiled", [False, True])
def test_training_with_groups_resumes_to_the_last_bit(tmp_path, compiled):
    def run(epochs, **settings):
        rng = np.random.default_rng(0)
        model = nn.Sequential(nn.Dense(2, 16, rng), nn.ReLU(), nn.Dense(16, 3, rng))
        optimiser = without_decay_of_biases(model, lr=optim.warm_up(1e-2, 20), weight_decay=0.1)

        def lower(epoch):
            if epoch.epoch == 2:
                optimiser.param_groups[0]["lr"] = 1e-3

        common = {"batch_size": 32, "rng": rng, "quiet": True, "compiled": compiled, "on_epoch": lower}
        fit(model, blobs(), blobs(60, 1), optimiser, epochs=epochs, **common, **settings)
        return optimiser

    straight = run(6)
    run(3, folder=tmp_path)
    resumed = run(6, folder=tmp_path, resume=True)
    one, two = straight.state_dict(), resumed.state_dict()
    assert one.keys() == two.keys() and "setting.0.lr" in one and "schedule.1.scale" in one
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_fit_compiles_groups_with_rates_that_are_functions_of_a_users():
    from tensorgrad.training.step import is_from_library

    model = nn.Dense(2, 3, np.random.default_rng(0))
    groups = [{"params": [model.weight], "lr": lambda step: 0.1 / (1 + step)}, {"params": [model.bias]}]
    optimiser = optim.SGD(groups, lr=0.1)
    assert is_from_library(model, optimiser)
    plain, step = training_step(model, optimiser), tg.compile(training_step(model, optimiser), pure=True)
    x, y = blobs(20)
    before = model.state_dict()
    results = []
    for each in (plain, step):
        model.load_state_dict(before)
        optimiser.load_state_dict({**optimiser.state_dict(), "steps": 0})
        for _ in range(4):
            each(x, y)
        results.append(model.state_dict())
    for name in before:
        np.testing.assert_array_equal(results[0][name], results[1][name])


def test_several_settings_are_set_at_once_or_not_at_all():
    sgd = optim.SGD([tg.Tensor([1.0], requires_grad=True)], momentum=0.9, nesterov=True)
    (group,) = sgd.param_groups
    group.update({"nesterov": False, "momentum": 0.0, "lr": 0.5})
    assert (sgd.nesterov, sgd.momentum, sgd.lr) == (False, 0.0, 0.5)
    group.update({"momentum": 0.9, "nesterov": True})
    for wrong in ({"lr": 0.1, "momentum": 0.0}, {"lr": 0.1, "betas": 3}, {"lr": 0.1, "params": []}):
        with pytest.raises((ValueError, KeyError)):
            group.update(wrong)
        assert (sgd.nesterov, sgd.momentum, sgd.lr) == (True, 0.9, 0.5)
    other = optim.SGD([tg.Tensor([1.0], requires_grad=True)], momentum=0.9, nesterov=True)
    group.update({"nesterov": False, "momentum": 0.0})
    other.load_state_dict(sgd.state_dict())
    assert (other.nesterov, other.momentum, other.lr) == (False, 0.0, 0.5)


def test_a_state_whose_schedule_does_not_fit_changes_nothing():
    tensors = [tg.Tensor([1.0], requires_grad=True) for _ in range(2)]
    groups = [{"params": tensors[:1], "lr": optim.Plateau(0.1)}, {"params": tensors[1:], "lr": optim.Plateau(0.2)}]
    adam = optim.Adam(groups)
    before = adam.state_dict()
    with pytest.raises(ValueError):
        adam.load_state_dict({**before, "schedule.lowest": 2.0, "schedule.1.waited": "x"})
    np.testing.assert_equal(adam.state_dict(), before)


def test_the_first_steps_are_not_compiled_and_those_of_compiled_functions_never_alone():
    tensors = parameters()
    optimiser = optim.Adam(tensors)
    steps(optimiser, tensors, [0, 1])
    assert optimiser._compiled_step._made == 0
    steps(optimiser, tensors, [2])
    assert optimiser._compiled_step._made == 1

    def step(x):
        optimiser.zero_grad()
        (x @ weight).sum().backward()
        optimiser.step()

    weight = tg.Tensor(np.ones(3), requires_grad=True)
    optimiser, compiled = optim.Adam([weight]), tg.compile(step)
    for _ in range(5):
        compiled(np.ones(3))
    assert len(compiled._segments) == 1
    assert optimiser._compiled_update._made == optimiser._compiled_step._made == 0


def test_optimisers_of_others_and_large_ones_are_compiled_at_once():
    class Sum(optim.SGD):
        def _update(self, numbers, value, gradient, *state, **settings):
            return super()._update(numbers, value, gradient * gradient.sum(), *state, **settings)

    for kind, size in ((Sum, 3), (optim.SGD, FEW + 1)):
        x = tg.Tensor(np.zeros(size), requires_grad=True)
        optimiser = kind([x], lr=0.1)
        x.grad = np.ones(size)
        optimiser.step()
        assert optimiser._compiled_step._made == 1
