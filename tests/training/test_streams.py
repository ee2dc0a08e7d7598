"""Random streams: what one part of a training draws leaves all the others as they were."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.data import stratified_split
from tensorgrad.training import RandomStreams, find_learning_rate, fit
from tests.support import blobs

NAMES = ["split", "weights", "dropout", "order", "augmentation"]


@dataclass
class Seen:
    """What a training has drawn."""

    split: list = field(default_factory=list)
    weights: list = field(default_factory=list)
    dropout: list = field(default_factory=list)
    order: list = field(default_factory=list)
    augmentation: list = field(default_factory=list)


class Inputs(nn.Module):
    """Notes which examples come: their number is the first feature."""

    def __init__(self, seen):
        self.seen = seen

    def forward(self, x):
        if self.training:
            self.seen.extend(x[:, 0].tolist())
        return x


class Dropout(nn.Dropout):
    """Notes its masks."""

    def __init__(self, rate, rng, seen):
        super().__init__(rate, rng)
        self.seen = seen

    def forward(self, x):
        mask = super().forward(tg.Tensor(np.ones(x.shape, x.dtype)))
        if self.training:
            self.seen.append(mask.numpy())
        return x * mask


def one_generator():
    """The same generator for everything, as users often pass it."""
    rng = np.random.default_rng(0)
    return dict.fromkeys(["split", "weights", "dropout", "fit"], rng)


def separate_streams():
    streams = RandomStreams.from_seed(0)
    return {**vars(streams), "fit": streams}


def shallow(rate, rngs, seen):
    return [nn.Dense(3, 8, rngs["weights"]), Dropout(rate, rngs["dropout"], seen), nn.Dense(8, 2, rngs["weights"])]


def deep(rate, rngs, seen):
    return [
        nn.Dense(3, 9, rngs["weights"]),
        nn.Dropout(rate, rngs["dropout"]),
        Dropout(rate, rngs["dropout"], seen),
        nn.Dense(9, 5, rngs["weights"]),
        nn.GaussianNoise(0.1, rngs["dropout"]),
        nn.Dense(5, 2, rngs["weights"]),
    ]


def jitter(scale, seen):
    def augment(inputs, rng):
        inputs[:, 1:] += (noise := scale * rng.standard_normal((len(inputs), 2)))
        seen.append(noise / scale)
        return inputs

    return augment


def trained(rngs, augmentation=None, rate=0.3, network=shallow, held_out=0.2, batch_size=8, epochs=3):
    """What was drawn in a training on 50 examples."""
    seen = Seen()
    inputs = np.random.default_rng(9).standard_normal((50, 3)).astype(np.float32)
    inputs[:, 0], labels = np.arange(50), np.arange(50) % 2
    kept, left_out = stratified_split(labels, held_out, rngs["split"])
    seen.split.extend([kept, left_out])
    model = nn.Sequential(Inputs(seen.order), lambda x: x / 50, *network(rate, rngs, seen.dropout))
    seen.weights.extend(parameter.numpy().copy() for parameter in model.parameters())
    augment = None if augmentation is None else jitter(augmentation, seen.augmentation)
    examples, validation = (inputs[kept], labels[kept]), (inputs[left_out], labels[left_out])
    options = {"epochs": epochs, "batch_size": batch_size, "augment": augment, "quiet": True}
    fit(model, examples, validation, tg.optim.Adam(model.parameters()), rng=rngs["fit"], **options)
    return seen


def same(one, other, *names):
    for name in names:
        first, second = getattr(one, name), getattr(other, name)
        assert len(first) == len(second) > 0, name
        for a, b in zip(first, second):
            np.testing.assert_array_equal(a, b, err_msg=name)


BOTH = pytest.mark.parametrize("make", [separate_streams, one_generator])


@BOTH
def test_without_augmentation_weights_order_and_dropout_are_as_they_were(make):
    plain = trained(make())
    for scale in (0.1, 5.0):
        augmented = trained(make(), augmentation=scale)
        same(plain, augmented, "split", "weights", "order", "dropout")
        assert len(augmented.augmentation) == 3 * 5
    order = np.reshape(plain.order, (3, 40))
    assert (np.sort(order) == np.sort(order)[0]).all() and len({row.tobytes() for row in order}) == 3


@BOTH
def test_another_dropout_rate_leaves_split_weights_order_and_augmentation(make):
    one = trained(make(), 1.0)
    for rate in (0.0, 0.7):
        same(one, trained(make(), 1.0, rate=rate), "split", "weights", "order", "augmentation")


@BOTH
def test_another_network_leaves_split_order_and_augmentation(make):
    one, other = trained(make(), 1.0), trained(make(), 1.0, network=deep)
    same(one, other, "split", "order", "augmentation")
    assert [w.shape for w in one.weights] != [w.shape for w in other.weights]


@BOTH
def test_another_batch_size_leaves_split_weights_and_order(make):
    same(trained(make()), trained(make(), batch_size=16), "split", "weights", "order")


@BOTH
def test_more_epochs_begin_with_those_of_fewer(make):
    few, many = trained(make(), 1.0, epochs=2), trained(make(), 1.0, epochs=5)
    many.order, many.dropout = many.order[: len(few.order)], many.dropout[: len(few.dropout)]
    many.augmentation = many.augmentation[: len(few.augmentation)]
    same(few, many, *NAMES)


def test_another_split_leaves_weights():
    one, other = (trained(separate_streams(), held_out=share) for share in (0.2, 0.4))
    same(one, other, "weights")
    np.testing.assert_array_equal(one.dropout[0], other.dropout[0])


def test_nothing_is_drawn_from_the_generator_itself_and_a_second_training_draws_anew():
    rngs = one_generator()
    rngs["split"] = rngs["weights"] = rngs["dropout"] = np.random.default_rng(1)
    before = rngs["fit"].bit_generator.state
    first = trained(rngs, 1.0)
    assert rngs["fit"].bit_generator.state == before
    rngs["split"] = rngs["weights"] = rngs["dropout"] = np.random.default_rng(1)
    second = trained(rngs, 1.0)
    same(first, second, "split", "weights", "dropout")
    assert first.order != second.order and not np.array_equal(first.augmentation, second.augmentation)


# The streams themselves


def test_streams_are_spawned_from_one_seed_in_their_order():
    assert list(vars(RandomStreams.from_seed(7))) == NAMES
    children = np.random.SeedSequence(7).spawn(5)
    for (name, rng), child in zip(vars(RandomStreams.from_seed(7)).items(), children):
        np.testing.assert_array_equal(rng.random(9), np.random.default_rng(child).random(9), err_msg=name)
    drawn = {rng.random() for seed in range(20) for rng in vars(RandomStreams.from_seed(seed)).values()}
    assert len(drawn) == 100
    assert RandomStreams.from_seed(None).order.random() != RandomStreams.from_seed(None).order.random()


@pytest.mark.parametrize(
    "seed, error, words",
    [
        (-1, ValueError, "seed must not be negative, got -1"),
        (1.5, TypeError, "seed must be an integer or None, got 1.5"),
        (True, TypeError, "seed must be an integer or None, got True"),
        ("a", TypeError, "seed must be an integer or None, got 'a'"),
    ],
)
def test_seeds_that_are_none_are_refused(seed, error, words):
    with pytest.raises(error, match=f"RandomStreams: {words}"):
        RandomStreams.from_seed(seed)


def test_streams_are_generators():
    streams = vars(RandomStreams.from_seed(0))
    with pytest.raises(TypeError, match=r"dropout must be a NumPy generator, .* got 3; .*from_seed\(0\) makes"):
        RandomStreams(**{**streams, "dropout": 3})
    assert RandomStreams(**{**streams, "dropout": np.random.Generator(np.random.MT19937(3))})


class Counting(np.random.bit_generator.ISeedSequence):
    """A seed that cannot spawn others."""

    def generate_state(self, n_words, dtype=np.uint32):
        return np.arange(n_words, dtype=dtype)


def test_a_generator_that_cannot_spawn_others_is_refused_with_a_remedy_that_works():
    rngs = one_generator()
    with pytest.raises(TypeError, match=r"can spawn others, such as np.random.default_rng\(0\); the seed of"):
        trained({**rngs, "fit": np.random.Generator(np.random.PCG64(Counting()))})
    trained({**rngs, "fit": np.random.default_rng(0)})


def test_an_integer_seeds_the_generator_of_a_training():
    def state(rng):
        model = tg.nn.Dense(2, 3, 0)
        fit(
            model,
            blobs(),
            optimiser=tg.optim.SGD(model.parameters(), 0.1),
            epochs=2,
            batch_size=50,
            rng=rng,
            quiet=True,
        )
        return model.state_dict()

    assert all(np.array_equal(a, b) for a, b in zip(state(5).values(), state(np.random.default_rng(5)).values()))
    adam = tg.optim.Adam((model := tg.nn.Dense(2, 3, 0)).parameters())
    found, again = (
        find_learning_rate(model, blobs(), adam, steps=20, rng=rng) for rng in (3, np.random.default_rng(3))
    )
    assert np.array_equal(found.losses, again.losses)
