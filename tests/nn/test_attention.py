"""Attention and residual blocks: beside plain loops, beside PyTorch, compiled, trained."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.training import evaluate, fit

EXAMPLES, TARGETS, SOURCES, FEATURES, HEADS = 3, 4, 5, 6, 2


def plain_softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def dense(layer, x):
    return x @ layer.weight.data + (0 if layer.bias is None else layer.bias.data)


def plain(layer, query, key, value, allowed):
    """The output and the weights, by loops over examples, heads and targets."""
    size = query.shape[-1] // layer.num_heads
    output, weights = np.zeros_like(query), np.zeros((len(query), layer.num_heads, query.shape[1], key.shape[1]))
    q, k, v = dense(layer.query, query), dense(layer.key, key), dense(layer.value, value)
    for n in range(len(query)):
        for h in range(layer.num_heads):
            part = slice(h * size, (h + 1) * size)
            for t in range(query.shape[1]):
                seen = np.flatnonzero(allowed[n, h, t])
                if len(seen):
                    scores = k[n, seen, part] @ q[n, t, part] / np.sqrt(size)
                    weights[n, h, t, seen] = plain_softmax(scores)
                    output[n, t, part] = weights[n, h, t, seen] @ v[n, seen, part]
    return dense(layer.output, output), weights


def make(seed=0, **settings):
    rng = np.random.default_rng(seed)
    normal = {"bias_init": "normal", "dtype": np.float64}
    layer = nn.MultiHeadAttention(FEATURES, HEADS, rng, **{**normal, **settings})
    query = rng.standard_normal((EXAMPLES, TARGETS, FEATURES))
    key = rng.standard_normal((EXAMPLES, SOURCES, settings.get("kdim", FEATURES)))
    return layer, query, key, rng.standard_normal((EXAMPLES, SOURCES, settings.get("vdim", FEATURES)))


def masks(seed=0):
    """By name, masks of cross attention and where they allow it."""
    rng = np.random.default_rng(seed)
    full = (EXAMPLES, HEADS, TARGETS, SOURCES)
    of_all, of_examples, of_heads = (rng.random(shape) < 0.6 for shape in (full[2:], (full[0], *full[2:]), full))
    of_keys = np.arange(SOURCES) < np.array([5, 2, 3])[:, None]
    return {
        "none": ({}, np.ones(full, bool)),
        "for all": ({"mask": of_all}, np.broadcast_to(of_all, full)),
        "for each example": ({"mask": of_examples}, np.broadcast_to(of_examples[:, None], full)),
        "for each head": ({"mask": of_heads}, of_heads),
        "of keys": ({"key_mask": of_keys}, np.broadcast_to(of_keys[:, None, None], full)),
        "both": ({"mask": of_all, "key_mask": of_keys}, np.broadcast_to(of_all & of_keys[:, None, None], full)),
        "added": (
            {"mask": np.where(of_all, 0.0, -1e30) * 1.0},
            np.broadcast_to(of_all | ~of_all.any(1)[:, None], full),
        ),
        "infinite": (
            {"mask": np.where(of_examples, 0.0, -np.inf), "key_mask": of_keys},
            np.broadcast_to(of_examples[:, None] & of_keys[:, None, None], full),
        ),
        "infinite alone": ({"mask": np.where(of_heads, 0.0, -np.inf)}, of_heads),
    }


@pytest.mark.parametrize("name, causal", [(name, causal) for name in masks() for causal in (False, name != "added")])
def test_attention_is_that_of_plain_loops(name, causal):
    layer, query, key, value = make(causal=causal, kdim=3, vdim=7)
    settings, allowed = masks()[name]
    if causal:
        allowed = allowed & np.tri(TARGETS, SOURCES, dtype=bool)
    output, weights = layer(query, key, value, return_weights=True, **settings)
    expected, shares = plain(layer, query, key, value, allowed)
    np.testing.assert_allclose(output.data, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(weights.data, shares, rtol=1e-12, atol=1e-14)
    assert np.array_equal(output.data, layer(query, key, value, **settings).data)


def test_self_attention_and_one_source_of_keys_and_values():
    layer, query, key, _ = make()
    assert np.array_equal(layer(query).data, layer(query, query, query).data)
    assert np.array_equal(layer(query, key).data, layer(query, key, key).data)


@pytest.mark.slow
@pytest.mark.parametrize("junk", [np.nan, np.inf])
def test_what_padding_of_sequences_that_attend_to_themselves_holds_changes_no_gradient(junk):
    layer, query, *_ = make()
    kept = np.arange(query.shape[1]) < np.arange(1, len(query) + 1)[:, None]
    found = []
    for held in 0.0, junk:
        sequence = tg.Tensor(np.where(kept[..., None], query, held), requires_grad=True)
        output = np.where(kept[..., None], layer(sequence, key_mask=kept), 0)
        found.append([output.numpy(), *tg.gradients(np.sin(output).sum(), [sequence, *layer.parameters()])])
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e30])
def test_what_masked_sources_hold_changes_nothing(junk):
    layer, query, key, value = make()
    kept = masks()["of keys"][0]["key_mask"]
    found = []
    for held in 0.0, junk:
        leaves = [tg.Tensor(np.where(kept[..., None], x, held), requires_grad=True) for x in (key, value)]
        wanted = [*leaves, *layer.parameters()]
        output = layer(query, *leaves, key_mask=kept)
        found.append([output.numpy(), *tg.gradients(np.sin(output).sum(), wanted)])
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


def test_a_target_that_infinite_numbers_keep_from_all_sources_gets_zeros_and_finite_gradients():
    layer, query, key, value = make(kdim=3, vdim=7)
    mask = np.where(np.arange(TARGETS)[:, None] == 1, -np.inf, np.zeros((TARGETS, SOURCES)))
    output = layer(query, key, value, mask=mask)
    np.testing.assert_array_equal(output.data[:, 1], np.broadcast_to(layer.output.bias.data, output.data[:, 1].shape))
    output.sum().backward()
    assert all(np.isfinite(parameter.grad).all() for parameter in layer.parameters())


def test_gradients_of_attention():
    layer, query, key, value = make()
    mask = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 0]], bool)
    tg.gradcheck(lambda *x: layer(*x, mask=mask) ** 2, [query, key, value])
    tg.gradcheck(
        lambda *x: tg.scaled_dot_product_attention(*x, mask, causal=True), [query[0], key[0], value[0]], order=2
    )


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("causal", [False, True])
def test_agreement_with_pytorch(causal):
    torch = pytest.importorskip("torch")
    layer, query, key, value = make(causal=causal, kdim=3, vdim=7)
    other = torch.nn.MultiheadAttention(FEATURES, HEADS, kdim=3, vdim=7, batch_first=True, dtype=torch.float64)
    pairs = [(layer.query, "q"), (layer.key, "k"), (layer.value, "v")]
    for own, name in pairs:
        getattr(other, f"{name}_proj_weight").data = torch.tensor(own.weight.data.T.copy())
    other.in_proj_bias.data = torch.tensor(np.concatenate([own.bias.data for own, _ in pairs]))
    other.out_proj.weight.data = torch.tensor(layer.output.weight.data.T.copy())
    other.out_proj.bias.data = torch.tensor(layer.output.bias.data)
    keys = np.arange(SOURCES) < np.array([5, 2, 3])[:, None]
    inputs = [tg.Tensor(x, requires_grad=True) for x in (query, key, value)]
    others = [torch.tensor(x, requires_grad=True) for x in (query, key, value)]
    output, weights = layer(*inputs, key_mask=keys, return_weights=True)
    forbidden = torch.tensor(~np.tri(TARGETS, SOURCES, dtype=bool)) if causal else None
    expected, shares = other(
        *others, key_padding_mask=torch.tensor(~keys), attn_mask=forbidden, average_attn_weights=False
    )
    close(output, expected)
    close(weights, shares)
    parameters = [own.weight for own, _ in pairs]
    theirs = [getattr(other, f"{name}_proj_weight") for _, name in pairs]
    found = tg.gradients((output * output).sum(), [*inputs, *parameters])
    wanted = torch.autograd.grad((expected * expected).sum(), [*others, *theirs])
    for one, two in zip(found, [*wanted[:3], *(x.T for x in wanted[3:])]):
        close(one, two)
    q, k, v = (np.random.default_rng(i).standard_normal((2, 3, n, 4)) for i, n in enumerate((4, 5, 5)))
    mask = np.random.default_rng(3).random((3, 4, 5)) < 0.7
    mask[..., 0] = True
    close(
        tg.scaled_dot_product_attention(tg.Tensor(q), k, v, mask, causal=False),
        torch.nn.functional.scaled_dot_product_attention(*map(torch.tensor, (q, k, v)), torch.tensor(mask)),
    )


def close(found, expected):
    np.testing.assert_allclose(found.data, expected.detach().numpy(), rtol=1e-10, atol=1e-12)


def block(features, heads, rng, masks_rng, dropout=0.1):
    """A block of a transformer, the normalisation first."""
    return nn.Sequential(
        nn.Residual(
            nn.LayerNorm(features), nn.MultiHeadAttention(features, heads, rng, dropout=dropout, dropout_rng=masks_rng)
        ),
        nn.Residual(
            nn.LayerNorm(features),
            nn.Dense(features, 4 * features, rng),
            nn.GELU(),
            nn.Dense(4 * features, features, rng),
        ),
    )


def classifier(features=8, seed=0, **settings):
    """Of sequences of numbers: the mean of what a block makes of them."""
    rng, masks_rng = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    middle = block(features, 2, rng, masks_rng, **settings)
    return nn.Sequential(nn.Dense(3, features, rng), middle, lambda x: x.mean(axis=1), nn.Dense(features, 2, rng))


def sequences(count, seed=0):
    """Whether two steps of a sequence are alike, wherever they are."""
    rng = np.random.default_rng(seed)
    x, labels = rng.standard_normal((count, 6, 3)).astype(np.float32), rng.integers(0, 2, count)
    for n in np.flatnonzero(labels):
        first, second = rng.choice(6, 2, replace=False)
        x[n, first] = x[n, second] = 3 * np.sign(x[n, second])
    return x, labels


@pytest.mark.slow
@pytest.mark.parametrize("way", ["compiled", "pure"])
def test_a_compiled_step_is_the_same(way):
    def run(compile):
        model = classifier()
        adam = tg.optim.Adam(model.parameters(), lr=1e-2)

        def step(x, labels):
            loss = tg.softmax_cross_entropy(model(x), labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
            return loss.detach()

        step, (x, labels) = compile(step), sequences(20)
        return [step(x, labels).item() for _ in range(5)], model.state_dict()

    compiled = run(tg.compile if way == "compiled" else lambda f: tg.compile(f, pure=True))
    losses, state = run(lambda f: f)
    assert losses == pytest.approx(compiled[0], rel=1e-4)
    for name, array in state.items():
        np.testing.assert_allclose(compiled[1][name], array, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_causal_network_does_not_see_the_future():
    rng = np.random.default_rng(0)
    layer = nn.Residual(nn.LayerNorm(6), nn.MultiHeadAttention(6, 3, rng, causal=True))
    x = rng.standard_normal((1, 5, 6)).astype(np.float32)
    other = x.copy()
    other[:, 3:] += 1
    same = layer(x).data == layer(other).data
    assert same[:, :3].all() and not same[:, 3:].all(axis=-1).any()


@pytest.mark.slow
def test_a_small_transformer_learns():
    model, rng = classifier(16, dropout=0.0), np.random.default_rng(0)
    adam = tg.optim.Adam(model.parameters(), lr=3e-3)
    fit(model, sequences(600), sequences(200, seed=1), adam, epochs=10, batch_size=50, rng=rng, quiet=True)
    assert evaluate(model, sequences(200, seed=1)).accuracy > 0.9


def test_dropout_of_attention_weights():
    layer, query, _, _ = make(dropout=0.5, dropout_rng=0)
    assert [name for name, _ in layer.named_generators()] == ["dropout.rng"]
    _, weights = layer(query, return_weights=True)
    assert weights.data.all()  # they are those before dropout
    assert not np.array_equal(layer(query).data, layer(query).data)
    layer.eval()
    assert np.array_equal(layer(query).data, layer(query).data)


X = np.ones((2, 3, 6))


@pytest.mark.parametrize(
    "f, message",
    [
        (lambda: nn.MultiHeadAttention(6, 4), "MultiHeadAttention: 6 features cannot be divided into 4 heads"),
        (lambda: nn.MultiHeadAttention(6, 0), "num_heads must be a positive integer, got 0"),
        (
            lambda: nn.MultiHeadAttention(6, 2)(X[0]),
            r"must have shapes \(examples, targets or sources, features\), .* got",
        ),
        (lambda: nn.MultiHeadAttention(6, 2)(X, X[:1]), r"got \(2, 3, 6\), \(1, 3, 6\), \(1, 3, 6\)"),
        (
            lambda: nn.MultiHeadAttention(6, 2)(X, mask=np.ones((2, 3), bool)),
            r"mask must have shape \(3, 3\), \(2, 3, 3\) or \(2, 2, 3, 3\), got \(2, 3\); for padding .* key_mask=",
        ),
        (
            lambda: nn.MultiHeadAttention(6, 2)(X, key_mask=np.ones((2, 4), bool)),
            r"key_mask must be boolean and of shape \(2, 3\), got bool and \(2, 4\)",
        ),
        (
            lambda: nn.Residual(nn.Dense(6, 1))(X),
            r"the layers give shape \(2, 3, 1\), and \(2, 3, 6\) goes around them",
        ),
    ],
)
def test_attention_and_residuals_refuse(f, message):
    with pytest.raises(ValueError, match=message):
        f()


def test_a_mask_of_another_precision_does_not_change_that_of_the_result():
    x = X.astype(np.float32)
    assert nn.MultiHeadAttention(6, 2)(x, mask=np.zeros((3, 3))).dtype == np.float32
    assert tg.scaled_dot_product_attention(x, x, x, np.zeros((3, 3))).dtype == np.float32


def test_a_mask_of_integers_is_refused():
    with pytest.raises(TypeError, match=r"must hold booleans, True to attend, or floats .* got int64 of shape"):
        tg.scaled_dot_product_attention(X, X, X, np.ones((3, 3), int))
    with pytest.raises(TypeError, match="Sequential: layer 0 is the class Dense"):
        nn.Residual(np.tanh, shortcut=nn.Dense)


def test_residual_blocks():
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    inner, around = nn.Dense(4, 4, 0), nn.Dense(4, 4, 1, bias=False)
    assert np.array_equal(nn.Residual(inner, np.tanh)(x).data, x + np.tanh(inner(x)).data)
    assert nn.Residual(inner)(x.astype(np.float64)).dtype == np.float32
    both = nn.Residual(inner, nn.ReLU(), shortcut=around)
    assert np.array_equal(both(x).data, around(x).data + np.maximum(inner(x).data, 0))
    assert [name for name, _ in both.named_parameters()] == ["0.weight", "0.bias", "shortcut.weight"]
    assert repr(both).splitlines()[1:] == [
        "  (0): Dense(4 -> 4)",
        "  (1): ReLU()",
        "  (shortcut): Dense(4 -> 4, bias=False)",
        ")",
    ]
    assert len(both) == 2 and type(both[:1]) is nn.Sequential


def test_reprs_of_attention():
    layer = nn.MultiHeadAttention(6, 2, causal=True, dropout=0.1, bias=False)
    assert repr(layer) == "MultiHeadAttention(6, num_heads=2, causal, dropout=0.1, bias=False)"
