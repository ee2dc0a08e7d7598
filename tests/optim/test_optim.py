"""Optimisers against references in float64, and schedules."""

import copy
import pickle
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.optim import (
    SGD,
    Adam,
    GradientsNotFinite,
    Plateau,
    Schedule,
    clip_gradients,
    cosine_decay,
    inverse_time_decay,
    one_cycle,
    polynomial_decay,
    step_decay,
    warm_up,
)
from tensorgrad.training import TrainingError, fit


def parameters(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(3, 4), (5,), (), (300, 150)]  # the last is longer than a block
    return [tg.Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in shapes]


def gradients_of_step(t, parameters):
    rng = np.random.default_rng(t)
    return [rng.standard_normal(p.shape) * 10.0 ** rng.integers(-3, 3) for p in parameters]


def adam_by_the_paper(values, steps, lr, betas=(0.9, 0.999), eps=1e-8):
    m, v = [np.zeros_like(x) for x in values], [np.zeros_like(x) for x in values]
    for t in range(1, steps + 1):
        for i, g in enumerate(gradients_of_step(t, values)):
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g**2
            m_hat, v_hat = m[i] / (1 - betas[0] ** t), v[i] / (1 - betas[1] ** t)
            rate = lr(t - 1) if callable(lr) else lr
            values[i] = values[i] - rate * m_hat / (np.sqrt(v_hat) + eps)
    return values


@pytest.mark.slow
@pytest.mark.parametrize("lr", [1e-3, inverse_time_decay(1e-2, 1e-3)])
def test_adam_agrees_with_the_paper_over_1000_steps(lr):
    tensors = parameters()
    expected = adam_by_the_paper([p.data.copy() for p in tensors], 1000, lr)
    optimiser = Adam(tensors, lr=lr)
    for t in range(1, 1001):
        for parameter, gradient in zip(tensors, gradients_of_step(t, tensors)):
            parameter.grad = gradient
        optimiser.step()
    for parameter, value in zip(tensors, expected):
        np.testing.assert_allclose(parameter.data, value, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parity
def test_adam_agrees_with_pytorch_where_installed():
    torch = pytest.importorskip("torch")
    tensors = parameters()
    twins = [torch.nn.Parameter(torch.from_numpy(np.array(p.data))) for p in tensors]
    optimiser, peer = Adam(tensors, lr=1e-3), torch.optim.Adam(twins, lr=1e-3)
    for t in range(1, 1001):
        for parameter, twin, gradient in zip(tensors, twins, gradients_of_step(t, tensors)):
            parameter.grad = np.asarray(gradient)
            twin.grad = torch.from_numpy(np.array(gradient))
        optimiser.step()
        peer.step()
    for parameter, twin in zip(tensors, twins):
        np.testing.assert_allclose(parameter.data, twin.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd(momentum):
    tensors = parameters()
    values, velocities = [p.data.copy() for p in tensors], [0.0 for _ in tensors]
    optimiser = SGD(tensors, lr=0.1, momentum=momentum)
    for t in range(20):
        for i, (parameter, gradient) in enumerate(zip(tensors, gradients_of_step(t, tensors))):
            parameter.grad = gradient
            velocities[i] = momentum * velocities[i] + gradient
            values[i] = values[i] - 0.1 * velocities[i]
        optimiser.step()
    for parameter, value in zip(tensors, values):
        np.testing.assert_allclose(parameter.data, value, rtol=1e-12)


@pytest.mark.parametrize("make", [Adam, lambda p: SGD(p, momentum=0.9)])
def test_state_dict_continues_exactly(make):
    def run(tensors, optimiser, steps):
        for t in steps:
            for parameter, gradient in zip(tensors, gradients_of_step(t, tensors)):
                parameter.grad = gradient
            optimiser.step()

    straight = parameters()
    run(straight, make(straight), range(10))
    first = parameters()
    optimiser = make(first)
    run(first, optimiser, range(5))
    second = [tg.Tensor(p.data.copy(), requires_grad=True) for p in first]
    resumed = make(second)
    resumed.load_state_dict(optimiser.state_dict())
    run(second, resumed, range(5, 10))
    for one, other in zip(straight, second):
        np.testing.assert_array_equal(one.data, other.data)


def test_a_foreign_state_is_refused_whole():
    optimiser = Adam(parameters())
    state = optimiser.state_dict()
    with pytest.raises(KeyError, match=r"differs in velocity.0"):
        optimiser.load_state_dict({**state, "velocity.0": 1})
    with pytest.raises(ValueError, match=r"first_moment.1 is float64 of shape \(9,\)"):
        optimiser.load_state_dict({**state, "steps": 7, "first_moment.1": np.zeros(9)})
    assert optimiser.steps == 0


def test_float32_parameters_and_state_stay_float32():
    tensors = parameters(np.float32)
    optimiser = Adam(tensors)
    for p in tensors:
        p.grad = np.ones_like(p.data)
    optimiser.step()
    assert {p.dtype for p in tensors} == {a.dtype for a in optimiser.state["first_moment"]} == {np.dtype(np.float32)}


def test_the_callers_array_is_not_touched_and_gradients_are_not_changed():
    array, gradient = np.ones(3), np.ones(3)
    x = tg.Tensor(array, requires_grad=True)
    optimiser = Adam([x])
    x.grad = gradient
    optimiser.step()
    np.testing.assert_array_equal(array, 1)
    np.testing.assert_array_equal(gradient, 1)
    assert not np.array_equal(x.data, array)


def test_parameters_in_any_layout_are_updated():
    for array in (np.ones((3, 4)).T, np.asfortranarray(np.ones((3, 4))), np.ones((6, 8))[::2, ::2]):
        x = tg.Tensor(array, requires_grad=True)
        optimiser = SGD([x], lr=1.0)
        (x * 0.25).sum().backward()
        optimiser.step()
        np.testing.assert_array_equal(x.data, 0.75)


def test_data_assigned_between_steps_is_updated_too():
    x = tg.Tensor(np.ones((3, 4)), requires_grad=True)
    optimiser = SGD([x], lr=1.0)
    x.data = np.full((4, 3), 2.0).T
    (x * 0.25).sum().backward()
    optimiser.step()
    np.testing.assert_array_equal(x.data, 1.75)


def test_parameters_without_gradient_are_left_alone():
    x, y = tg.Tensor([1.0], requires_grad=True), tg.Tensor([1.0], requires_grad=True)
    optimiser = Adam([x, y])
    (x * 2).sum().backward()
    optimiser.step()
    assert x.data != 1 and y.data == 1
    optimiser.zero_grad()
    assert x.grad is None


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: Adam([]), "no parameters"),
        (lambda p: Adam(tg.nn.Dense(1, 1)), r"pass model.parameters\(\)"),
        (lambda p: Adam(p), r"takes a sequence of parameters"),
        (lambda p: Adam([tg.Tensor([1.0])]), "parameter 0 is not a Tensor that requires"),
        (lambda p: Adam(nn.Sequential(nn.Dense(2, 2))), r"of type Dense; pass model\.parameters\(\)"),
        (lambda p: Adam([p], lr=[0.1]), r"lr must be a number .* got \[0\.1\]"),
        (lambda p: Adam([p], lr=None), "lr must be a number .* got None"),
        (lambda p: tg.optim.clip_gradients(nn.Sequential(nn.Dense(2, 2)), 1.0), "such as model.* of type Dense"),
        (lambda p: setattr(p, "data", p), r"Tensor\.data: takes an array, got a Tensor"),
        (lambda p: Adam([p, p]), "given twice"),
        (lambda p: Adam([p], lr=-1.0), "lr must be a number that is not negative"),
        (lambda p: Adam([p], lr=float("nan")), "lr must be a number that is not negative"),
        (lambda p: Adam([p], betas=(1.0, 0.9)), "0 <= beta < 1"),
        (lambda p: Adam([p], eps=0.0), "eps > 0"),
        (lambda p: SGD([p], momentum=1.0), "0 <= momentum < 1"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(tg.Tensor([1.0], requires_grad=True))


def test_a_parameter_that_joins_late_gets_its_own_bias_correction():
    early, late = tg.Tensor([1.0], requires_grad=True), tg.Tensor([1.0], requires_grad=True)
    optimiser = Adam([early, late], lr=0.1)
    for step in range(50):
        early.grad = np.ones(1)
        late.grad = np.ones(1) if step == 49 else None
        optimiser.step()
    assert late.data == pytest.approx(0.9)


def test_results_of_ops_are_no_parameters():
    with pytest.raises(TypeError, match="parameter 0 is a result of ops; pass the leaves"):
        SGD([tg.Tensor([1.0], requires_grad=True) * 2])


def test_a_gradient_of_the_wrong_shape_is_refused():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    optimiser = SGD([x])
    x.grad = np.ones(1)
    with pytest.raises(
        ValueError,
        match=r"parameter 0 has shape \(2,\), its gradient must be an array of that shape, got float64 of shape \(1,\)",
    ):
        optimiser.step()


def test_schedules():
    assert inverse_time_decay(1.0, 0.1)(10) == 0.5
    cosine = cosine_decay(1.0, 10, final=0.2)
    assert cosine(0) == 1.0 and cosine(5) == pytest.approx(0.6) and cosine(10) == cosine(11) == pytest.approx(0.2)
    optimiser = SGD([tg.Tensor([1.0], requires_grad=True)], lr=inverse_time_decay(1.0, 1.0))
    optimiser.step()
    assert optimiser.learning_rate == 0.5


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("rate", [-0.25, float("nan")])
def test_a_schedule_that_becomes_negative_is_refused(rate, compiled):
    x = tg.Tensor([1.0], requires_grad=True)
    optimiser = SGD([x], lr=lambda step: rate if step == 2 else 0.5)

    def step():
        x.grad = np.ones(1)
        optimiser.step()

    step = tg.compile(step) if compiled else step
    step(), step()
    with pytest.raises(ValueError, match=f"SGD: the learning rate of step 3 must be .* not negative, got {rate}"):
        step()
    assert optimiser.steps == 2 and x.data.tolist() == [0.0]


@pytest.mark.parametrize("max_norm", [0, -1.0, float("nan"), float("inf"), np.float32(-1), np.int64(0)])
def test_norms_to_which_nothing_can_be_clipped_are_refused(max_norm):
    x = tg.Tensor([1.0], requires_grad=True)
    x.grad = np.ones(1)
    with pytest.raises(ValueError, match="clip_gradients: max_norm must be positive and finite"):
        tg.optim.clip_gradients([x], max_norm)


# Schedules


class Falling(Schedule):
    """A user's own, with state."""

    def __init__(self, lr):
        self.lr = lr

    def __call__(self, step):
        return self.lr / (step + 1)

    def observe(self, loss):
        self.lr = min(self.lr, abs(loss))

    def state_dict(self):
        return {"lr": self.lr}

    def load_state_dict(self, state):
        self.lr = state["lr"]

    def __repr__(self):
        return "Falling()"


class Duck:
    """What has the methods of a schedule without being one."""

    __init__, __call__, __repr__ = Falling.__init__, Falling.__call__, Falling.__repr__
    observe, state_dict, load_state_dict = Falling.observe, Falling.state_dict, Falling.load_state_dict


def a_function(step):
    return 0.5 / (1 + step)


RATES = st.floats(0, 10)
PLATEAUS = st.builds(
    lambda lr, share, **settings: Plateau(lr, min_lr=lr * share, **settings),
    RATES,
    st.floats(0, 1),
    factor=st.floats(0, 0.9),
    patience=st.integers(1, 3),
    threshold=st.floats(0, 0.5),
    cooldown=st.integers(0, 3),
)
SCHEDULES = st.recursive(
    RATES
    | st.just(a_function)
    | st.builds(Falling, RATES)
    | st.builds(Duck, RATES)
    | st.builds(cosine_decay, RATES, st.integers(1, 50), RATES)
    | st.builds(inverse_time_decay, RATES, RATES)
    | st.builds(step_decay, RATES, st.integers(1, 9), st.floats(0, 1))
    | st.builds(polynomial_decay, RATES, st.integers(1, 50), st.floats(0, 3), RATES)
    | st.builds(one_cycle, RATES, st.integers(2, 50), st.floats(0, 1))
    | PLATEAUS,
    lambda inner: st.builds(warm_up, inner, st.integers(1, 20)),
    max_leaves=4,
)
LOSSES = st.lists(st.floats(-5, 5) | st.sampled_from([inf, nan]), max_size=12)


def rates_of(optimiser, losses):
    """The rates of some steps, the losses observed in between."""
    found = []
    for loss in losses:
        found.append(optimiser.learning_rate)
        optimiser.steps += 1
        optimiser.observe(loss)
    return [*found, optimiser.learning_rate]


@given(SCHEDULES, LOSSES, LOSSES)
def test_schedules_of_any_depth_go_on_from_their_state_and_from_copies(schedule, before, after):
    """By ``state_dict``, by a checkpoint's arrays, pickled, and copied: the rates are those of going on."""
    optimiser = SGD([tg.Tensor([1.0], requires_grad=True)], lr=schedule)
    fresh = [copy.deepcopy(optimiser) for _ in range(2)]
    rates_of(optimiser, before)
    state = optimiser.state_dict()
    fresh[0].load_state_dict(state)
    fresh[1].load_state_dict({name: np.asarray(value) for name, value in state.items()})
    copies = [*fresh, pickle.loads(pickle.dumps(optimiser)), copy.deepcopy(optimiser)]
    expected = rates_of(optimiser, after)
    for other in copies:
        assert rates_of(other, after) == expected
        assert repr(other.lr) == repr(optimiser.lr)


@given(PLATEAUS, st.integers(1, 10), LOSSES)
def test_what_wraps_a_plateau_changes_nothing_after_the_warm_up(plateau, steps, losses):
    wrapped = warm_up(warm_up(copy.deepcopy(plateau), steps), 1)
    for loss in losses:
        plateau.observe(loss)
        wrapped.observe(loss)
    assert [wrapped(step) for step in range(steps, steps + 5)] == [plateau(step) for step in range(steps, steps + 5)]
    assert wrapped(0) == pytest.approx(plateau(0) / steps)


@pytest.mark.parity
def test_plateau_agrees_with_pytorch_where_installed():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for _ in range(60):
        settings = {
            "factor": float(rng.choice([0.1, 0.5])),
            "threshold": float(rng.choice([0.0, 0.1])),
            "cooldown": int(rng.integers(0, 4)),
            "min_lr": float(rng.choice([0.0, 0.03])),
        }
        patience = int(rng.integers(1, 4))
        peer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        expected = torch.optim.lr_scheduler.ReduceLROnPlateau(peer, patience=patience - 1, eps=0, **settings)
        ours = Plateau(1.0, patience=patience, **settings)
        for loss in np.cumsum(rng.normal(size=40)) ** 2:
            expected.step(loss)
            ours.observe(loss)
            assert ours(0) == pytest.approx(peer.param_groups[0]["lr"], rel=1e-12)


@pytest.mark.parity
@pytest.mark.parametrize("steps", [2, 3, 10, 101])
@pytest.mark.parametrize(
    "ours, theirs, settings",
    [
        (polynomial_decay, "PolynomialLR", {"power": 1.0}),
        (polynomial_decay, "PolynomialLR", {"power": 2.5}),
        *((one_cycle, "OneCycleLR", {"pct_start": share}) for share in (0.25, 0.3, 0.5, 0.9)),
        (one_cycle, "OneCycleLR", {"div_factor": 10.0, "final_div_factor": 100.0}),
    ],
)
def test_schedules_agree_with_pytorch_where_installed(ours, theirs, settings, steps):
    torch = pytest.importorskip("torch")
    peer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    if theirs == "OneCycleLR":
        if settings.get("pct_start", 0.3) * steps < 1.001:
            pytest.skip("PyTorch divides by zero, or begins before the first step")
        scheduler = torch.optim.lr_scheduler.OneCycleLR(peer, 0.5, steps, cycle_momentum=False, **settings)
    else:
        scheduler = torch.optim.lr_scheduler.PolynomialLR(peer, steps, **settings)
    schedule = ours(0.5, steps, **settings)
    for step in range(steps):
        assert schedule(step) == pytest.approx(peer.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        peer.step()
        if step < steps - 1:
            scheduler.step()
    assert schedule(steps - 1) == schedule(10 * steps) or theirs == "PolynomialLR"


@given(RATES, st.integers(2, 60), st.floats(0, 1))
def test_one_cycle_rises_to_its_rate_and_falls(lr, steps, share):
    rates = [one_cycle(lr, steps, share)(step) for step in range(steps + 3)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates) >= 0 and max(rates) <= lr * (1 + 1e-12)
    assert rates[steps - 1] == pytest.approx(lr / 25e4) or share > 1 - 1e-9


def test_a_plateau_is_not_led_astray_by_nan():
    schedule = Plateau(1.0, factor=0.5, patience=2)
    rates = []
    for loss in (3.0, nan, 2.0, nan, nan, 1.0, 0.5):
        schedule.observe(loss)
        rates.append(schedule(0))
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.5] and schedule.lowest == 0.5


def test_a_plateau_waits_after_a_reduction_and_ends_at_its_lowest_rate():
    schedule = Plateau(1.0, factor=0.5, patience=1, cooldown=2, min_lr=0.3)
    rates = []
    for _ in range(9):
        schedule.observe(1.0)
        rates.append(schedule(0))
    assert rates == [1, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3]


def test_the_state_of_a_plateau_saved_before_there_was_a_cooldown_is_loaded():
    optimiser = SGD([tg.Tensor([1.0], requires_grad=True)], lr=warm_up(Plateau(1.0), 3))
    assert {name for name in optimiser.state_dict() if name.startswith("schedule.")} == {
        "schedule.scale",
        "schedule.lowest",
        "schedule.waited",
    }


def test_a_number_can_be_warmed_up():
    schedule = warm_up(0.1, 4)
    assert [round(schedule(step), 3) for step in range(6)] == [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    assert repr(schedule) == "warm_up(schedule=0.1, steps=4)"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: step_decay(0.1, 0), "step_decay: every must be at least 1, got 0"),
        (lambda: step_decay(0.1, 2, -1), "step_decay: factor must not be negative, got -1"),
        (lambda: warm_up(cosine_decay(0.1, 10), 0), "warm_up: steps must be at least 1, got 0"),
        (lambda: warm_up(-0.1, 10), "warm_up: schedule must be a number that is not negative .* got -0.1"),
        (lambda: warm_up(None, 10), "warm_up: schedule must be a number .* or a schedule, got None"),
        (lambda: warm_up(Plateau, 10), "warm_up: schedule must be a number .* or a schedule, got <class"),
        (lambda: warm_up("0.1", 10), "warm_up: schedule must be a number .* or a schedule, got '0.1'"),
        (lambda: warm_up(0.1, nan), "warm_up: steps must be finite, got nan"),
        (lambda: warm_up(0.1, "3"), "warm_up: steps must be a number, got '3'"),
        (lambda: cosine_decay(nan, 10), "cosine_decay: lr must be finite, got nan"),
        (lambda: cosine_decay(0.1, 0), "cosine_decay: steps must be at least 1, got 0"),
        (lambda: cosine_decay(0.1, 10, -1.0), "cosine_decay: final must not be negative, got -1.0"),
        (lambda: polynomial_decay(0.1, 0), "polynomial_decay: steps must be at least 1, got 0"),
        (lambda: polynomial_decay(0.1, 10, -1), "polynomial_decay: power must not be negative, got -1"),
        (lambda: one_cycle(0.1, 1), "one_cycle: steps must be at least 2, got 1"),
        (lambda: one_cycle(0.1, 10, 1.5), "one_cycle: pct_start must be at most 1, got 1.5"),
        (lambda: one_cycle(0.1, 10, div_factor=0.5), "one_cycle: div_factor must be at least 1, got 0.5"),
        (lambda: inverse_time_decay(0.1, -1), "inverse_time_decay: decay must not be negative, got -1"),
        (lambda: Plateau(-1.0), "Plateau: lr must not be negative, got -1.0"),
        (
            lambda: Plateau(1.0, factor=1.0),
            "Plateau: factor and threshold must be less than 1.* got factor=1.0",
        ),
        (lambda: Plateau(1.0, patience=0), "Plateau: patience must be at least 1, got 0"),
        (lambda: Plateau(1.0, min_lr=2.0), "min_lr not more than lr.* min_lr=2.0, lr=1.0"),
        (lambda: Plateau(1.0, cooldown=-1), "Plateau: cooldown must not be negative, got -1"),
        (lambda: SGD([tg.Tensor([1.0], requires_grad=True)], lr=inf), "SGD: lr must be a number that .* finite.* inf"),
        (lambda: SGD([tg.Tensor([1.0], requires_grad=True)], lr=Plateau), "SGD: lr must be .* got <class"),
    ],
)
def test_schedules_that_cannot_be_are_refused_when_they_are_made(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def examples(count=40):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((count, 6)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0).astype(int)


def trained(lr, epochs=6, **settings):
    rng = np.random.default_rng(0)
    network = nn.Dense(6, 2, rng)
    train = examples()
    against = train[0], 1 - train[1]  # the better it is in training, the worse in validation
    optimiser = SGD(network.parameters(), lr=lr, momentum=0.5)
    history = fit(network, train, against, optimiser, epochs=epochs, batch_size=10, rng=rng, quiet=True, **settings)
    return optimiser, [row.learning_rate for row in history], [p.data.copy() for p in network.parameters()]


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: warm_up(s, 5), lambda s: warm_up(warm_up(s, 2), 3)])
@pytest.mark.parametrize("make", [lambda: Plateau(0.1, 0.5, 1), lambda: Falling(0.1), lambda: Duck(0.1)])
def test_fit_tells_every_schedule_of_losses_and_resumes_it_exactly(make, wrap, tmp_path):
    optimiser, rates, weights = trained(wrap(make()))
    fallen = 0.1 / 2**4 if isinstance(make(), Plateau) else 0.1 / (optimiser.steps + 1)
    assert optimiser.learning_rate <= fallen
    trained(wrap(make()), epochs=3, folder=tmp_path)
    _, again, resumed = trained(wrap(make()), folder=tmp_path, resume=True)
    assert again == rates
    for one, two in zip(weights, resumed):
        np.testing.assert_array_equal(one, two)


# Dtypes of parameters and gradients


def float32_adam_rounded(w, gradients, lr, betas=(0.9, 0.999), eps=1e-8):
    """Float16 weights, everything else in float32."""
    m, v = np.zeros(w.shape, np.float32), np.zeros(w.shape, np.float32)
    for t, gradient in enumerate(gradients, start=1):
        g = gradient.astype(np.float32)
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g**2
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        w = (w.astype(np.float32) - lr * m_hat / (np.sqrt(v_hat) + eps)).astype(np.float16)
    return w


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("exponent", [-7, -4, -2, 0, 4])
def test_adam_in_float16_is_that_in_float32_rounded(exponent, compiled):
    rng = np.random.default_rng(0)
    start = np.concatenate([rng.standard_normal(50), np.zeros(5)]).astype(np.float16)
    gradients = [(rng.standard_normal(55) * 10.0**exponent).astype(np.float16) for _ in range(20)]
    gradients[3][:], gradients[7][5:] = 0, 0
    x = tg.Tensor(start, requires_grad=True)
    optimiser = Adam([x], lr=1e-2)
    for gradient in gradients:
        x.grad = gradient
        optimiser.step() if compiled else optimiser._step()
    expected = float32_adam_rounded(start, gradients, 1e-2)
    assert x.dtype == np.float16 and optimiser.state["second_moment"][0].dtype == np.float32
    np.testing.assert_allclose(x.data.astype(float), expected.astype(float), rtol=1e-3, atol=1e-6)
    assert (x.data == expected).mean() > 0.9


@pytest.mark.parametrize("make", [Adam, lambda p: SGD(p, lr=0.1, momentum=0.9), lambda p: SGD(p, lr=0.1)])
def test_float16_training_reaches_the_goal_and_its_state_continues_exactly(make):
    def steps(x, optimiser, count):
        for _ in range(count):
            optimiser.zero_grad()
            ((x - 0.25) * (x - 0.25)).sum().backward()
            optimiser.step()

    x = tg.Tensor(np.array([0.3, 0.2, 0.25], np.float16), requires_grad=True)
    optimiser = make([x])
    steps(x, optimiser, 5)
    y = tg.Tensor(x.data.copy(), requires_grad=True)
    other = make([y])
    other.load_state_dict(optimiser.state_dict())
    steps(x, optimiser, 100)
    steps(y, other, 100)
    np.testing.assert_allclose(x.data, 0.25, atol=2e-3)
    np.testing.assert_array_equal(x.data, y.data)


REAL = [np.float16, np.float32, np.float64, np.longdouble, np.int8, np.uint16, np.int64, bool, ">f4", ">i4"]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("gradient", REAL)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("make", [Adam, lambda p: SGD(p, momentum=0.9), SGD])
def test_a_gradient_of_another_real_dtype_is_cast(make, dtype, gradient, compiled):
    one, two = (tg.Tensor(np.array([[1.0, -2.0], [3.0, 0.5]], dtype), requires_grad=True) for _ in range(2))
    values = np.array([[1, 0], [0, 1]], gradient)
    for x, grad in ((one, values), (two, values.astype(dtype))):
        optimiser = make([x])
        for _ in range(3):
            x.grad = grad
            optimiser.step() if compiled else optimiser._step()
    assert one.dtype == dtype and values.dtype == gradient
    np.testing.assert_array_equal(one.data, two.data)


@pytest.mark.parametrize("gradient", [np.ones(2, complex), np.array(["a", "b"]), np.array([None, 1])])
def test_a_gradient_that_is_not_of_real_numbers_is_named(gradient):
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    optimiser = Adam([x])
    x.grad = gradient
    with pytest.raises(TypeError, match=r"parameter 0 is float64, its gradient must be of real numbers, got .*\.real"):
        optimiser.step()
    assert x.data.tolist() == [1.0, 2.0] and optimiser.steps == 0
    x.grad = np.ones(2, complex).real.astype(np.float64)
    optimiser.step()
    assert optimiser.steps == 1


def test_noise_in_double_precision_added_to_gradients():
    rng = np.random.default_rng(0)
    network = nn.Dense(2, 2, rng)
    optimiser = Adam(network.parameters())
    for _ in range(3):
        optimiser.zero_grad()
        network(np.ones((3, 2), np.float32)).sum().backward()
        for p in network.parameters():
            p.grad = p.grad + rng.normal(0, 0.1, p.shape)
        optimiser.step()
    assert {p.dtype for p in network.parameters()} == {np.dtype(np.float32)}


# Clipping


def test_clipping_gradients_whose_squares_overflow():
    x = tg.Tensor(np.zeros(2, np.float32), requires_grad=True)
    x.grad = np.array([3e20, 4e20], np.float32)
    assert clip_gradients([x], 1.0) == pytest.approx(5e20, rel=1e-6)
    np.testing.assert_allclose(x.grad, [0.6, 0.8], rtol=1e-6)


def test_clipping_scales_float16_and_integers_in_a_dtype_that_holds_the_scale():
    x, y = (tg.Tensor(np.zeros(2, dtype), requires_grad=True) for dtype in (np.float16, np.float32))
    x.grad, y.grad = np.array([3e4, 0], np.float16), np.array([0, 40_000])
    assert clip_gradients([x, y], 1e-3) == 50_000
    np.testing.assert_allclose(x.grad, [6e-4, 0], rtol=1e-3)
    np.testing.assert_allclose(y.grad, [0, 8e-4], rtol=1e-6)
    assert x.grad.dtype == np.float16 and y.grad.dtype == np.float32


def test_clipping_what_is_no_array():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    x.grad = [3.0, 4.0]
    with pytest.raises(TypeError, match=r"arrays of their parameter's shape, here \(2,\), got \[3.0, 4.0\]"):
        clip_gradients([x], 1.0)
    x.grad = np.array([3.0, 4.0])
    assert clip_gradients([x], 1.0) == 5


def clipped(gradients, compiled, **settings):
    tensors = [tg.Tensor(np.zeros_like(g), requires_grad=True) for g in gradients]

    def step(*new):
        for tensor, gradient in zip(tensors, new):
            tensor.grad = gradient
        return clip_gradients(tensors, 1.0, **settings)

    step = tg.compile(step) if compiled else step
    step(*(np.ones_like(g) for g in gradients))
    with np.errstate(all="ignore"):
        try:
            return step(*gradients), [tensor.grad for tensor in tensors]
        except GradientsNotFinite as error:
            return error, [tensor.grad for tensor in tensors]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [inf, -inf, nan])
def test_a_norm_that_is_not_finite_is_an_error_unless_asked_for(bad, dtype, compiled):
    gradients = [np.ones(3, dtype), np.array([[1, bad]], dtype)]
    error, left = clipped(gradients, compiled)
    assert isinstance(error, ArithmeticError) and isinstance(error, GradientsNotFinite)
    name = np.dtype(dtype).name
    assert f"gradient 1, {name} of shape (1, 2), has 1 elements that are infinite or NaN" in str(error)
    assert "pass error_if_nonfinite=False" in str(error)
    assert compiled or all(np.array_equal(g, given, equal_nan=True) for g, given in zip(left, gradients))
    norm, left = clipped(gradients, compiled, error_if_nonfinite=False)
    assert not np.isfinite(norm)
    assert np.isnan(left[1][0, 1]) and (np.isnan(left[0]) if np.isnan(bad) else left[0] == 0).all()


def test_a_norm_that_overflows_is_told_from_gradients_that_are_infinite():
    error, _ = clipped([np.full(2, 1e200)], compiled=False)
    assert "all are finite, but their squares overflow" in str(error)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_whose_gradient_is_infinite_ends_with_its_step_and_without_an_update(compiled):
    class Cusp(nn.Module):
        """The logits are finite, their gradient where a weight is 0 is not."""

        def __init__(self):
            self.weight = tg.Tensor(np.ones((6, 2), np.float32), requires_grad=True)

        def forward(self, x):
            return np.sqrt(np.abs(x @ self.weight))

    network, train = Cusp(), examples()
    train[0][25:] = 0
    optimiser = Adam(network.parameters())
    settings = {"epochs": 1, "batch_size": 40, "rng": np.random.default_rng(0), "quiet": True, "compiled": compiled}
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=r"step 1 \(epoch 1\): clip_gradients: the norm"):
        fit(network, train, train, optimiser, max_norm=1.0, **settings)
    assert optimiser.steps == 0 and (network.weight.data == 1).all()


# Copies


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("lr", [0.1, warm_up(Plateau(0.1), 3), cosine_decay(0.1, 10), a_function])
@pytest.mark.parametrize("make", [Adam, lambda p, lr: SGD(p, lr, momentum=0.9)])
def test_a_copy_of_an_optimiser_goes_on_alone(make, lr, copied):
    x = tg.Tensor(np.ones(3), requires_grad=True)
    optimiser = make([x], lr=copy.deepcopy(lr))
    x.grad = np.ones(3)
    optimiser.step()
    other = copied(optimiser)
    other.parameters[0].grad = np.ones(3)
    steps = optimiser.steps
    other.step()
    assert other.steps == 2 and optimiser.steps == steps == 1
    assert other._compiled_step.is_own and other._compiled_step is not optimiser._compiled_step
    assert other.learning_rate == pytest.approx(float(lr(2) if callable(lr) else lr))
    if copied is not copy.copy:  # which shares parameters and state, as copies of lists do
        assert not np.array_equal(other.parameters[0].data, x.data)


def test_clipping_nothing_is_a_mistake():
    parameter = tg.Tensor([3.0, 4.0], requires_grad=True)
    parameter.grad = np.array([3.0, 4.0])
    used_up = iter([parameter])
    list(used_up)
    for clip in (tg.optim.clip_gradients, tg.optim.clip_gradient_values):
        for nothing in ([], used_up):
            with pytest.raises(ValueError, match=rf"{clip.__name__}: got no parameters.*pass a list"):
                clip(nothing, 1.0)
    assert tg.optim.clip_gradients([parameter], 1.0) == 5.0
