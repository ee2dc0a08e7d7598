"""Optimisers against references in float64, and schedules."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.optim import SGD, Adam, cosine_decay, inverse_time_decay


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


def test_clipping_gradients_whose_squares_overflow():
    x = tg.Tensor(np.zeros(2, np.float32), requires_grad=True)
    x.grad = np.array([3e20, 4e20], np.float32)
    assert tg.optim.clip_gradients([x], 1.0) == pytest.approx(5e20, rel=1e-6)
    np.testing.assert_allclose(x.grad, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("max_norm", [0, -1.0, float("nan"), float("inf"), np.float32(-1), np.int64(0)])
def test_norms_to_which_nothing_can_be_clipped_are_refused(max_norm):
    x = tg.Tensor([1.0], requires_grad=True)
    x.grad = np.ones(1)
    with pytest.raises(ValueError, match="clip_gradients: max_norm must be positive and finite"):
        tg.optim.clip_gradients([x], max_norm)


def test_schedules_of_no_steps_are_refused():
    with pytest.raises(ValueError, match="step_decay: every must be at least 1, got 0"):
        tg.optim.step_decay(0.1, 0)
    with pytest.raises(ValueError, match="warm_up: steps must be at least 1, got 0"):
        tg.optim.warm_up(tg.optim.cosine_decay(0.1, 10), 0)
