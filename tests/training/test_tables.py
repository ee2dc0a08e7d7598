"""Tables as newcomers have them: frames of pandas and polars, columns of text, Tensors, and one class alone."""

import re

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.training import evaluate, fit, predict

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")

RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame(
    {
        "size": RNG.standard_normal(60),
        "rooms": RNG.integers(1, 6, 60),
        "garden": RNG.integers(0, 2, 60).astype(bool),
        "city": RNG.choice(["Bern", "Genf", "Basel"], 60),
    }
)
PRICE = FRAME["size"] + FRAME["rooms"]
NUMBERS = FRAME.drop(columns="city")


def fitted(train, inputs, outputs=1, **options):
    model = nn.Sequential(nn.Dense(inputs, 8, rng=0), nn.ReLU(), nn.Dense(8, outputs, rng=0))
    return model, fit(model, train, epochs=3, rng=0, quiet=True, **options)


@pytest.mark.slow
def test_frames_of_columns_of_several_number_types_are_the_arrays_of_them():
    array = np.stack([np.asarray(NUMBERS[name], float) for name in NUMBERS], axis=1)
    expected = fitted((array, PRICE.to_numpy()), 3, loss="mse")
    for frame, target in (
        (NUMBERS, PRICE),
        (polars.from_pandas(NUMBERS), polars.from_pandas(PRICE)),
        (NUMBERS, PRICE.to_frame()),
        (tg.Tensor(array), tg.Tensor(PRICE.to_numpy(), requires_grad=True)),
    ):
        model, history = fitted((frame, target), 3, loss="mse")
        assert [row.loss for row in history] == [row.loss for row in expected[1]]
        np.testing.assert_array_equal(predict(model, frame), predict(expected[0], array))
        assert evaluate(model, (frame, target), loss="mse") == evaluate(
            expected[0], (array, PRICE.to_numpy()), loss="mse"
        )


@pytest.mark.parametrize("kind", [lambda frame: frame, polars.from_pandas])
def test_columns_of_validation_in_another_order_are_refused_with_a_remedy_that_works(kind):
    train, validation = kind(NUMBERS), kind(NUMBERS[["size", "garden", "rooms"]])
    with pytest.raises(ValueError, match="in another order, as column 1 is 'rooms' and 'garden'; take ") as caught:
        fitted((train, PRICE), 3, validation=(validation, PRICE), loss="mse")
    remedy = str(caught.value).partition("; take ")[2]
    mended = eval(remedy, {"train": train, "validation": validation})
    found, expected = (fitted((train, PRICE), 3, validation=(each, PRICE), loss="mse")[1] for each in (mended, train))
    assert found[-1].validation_loss == expected[-1].validation_loss
    fitted((train, PRICE), 3, validation=(mended.to_numpy().astype(float), PRICE), loss="mse")


def test_columns_of_text_are_named_with_a_remedy_that_works():
    with pytest.raises(
        TypeError, match=r"such as '\w+' in column 3; .*pandas.get_dummies\(frame, dtype=float\)"
    ) as caught:
        fitted((FRAME, PRICE), 4, loss="mse")
    remedy = re.search(r"pandas\.get_dummies\(.*?\)", str(caught.value)).group()
    numbers = eval(remedy, {"pandas": pandas, "frame": FRAME})
    fitted((numbers, PRICE), numbers.shape[1], loss="mse")
    with pytest.raises(TypeError, match="in column 3; "):
        predict(nn.Dense(4, 1), FRAME)


def test_several_targets_of_a_frame_are_numbers_or_truth_values():
    labels = pandas.DataFrame({"large": FRAME["rooms"] > 3, "garden": FRAME["garden"]})
    binary = {"loss": "binary_cross_entropy_with_logits"}
    assert fitted((NUMBERS, labels), 3, 2, **binary)[1][-1].accuracy > 0.3
    fitted((NUMBERS, FRAME[["size", "rooms"]]), 3, 2, loss="mse", metrics=["r2"])


def test_one_class_is_always_right_and_two_of_one_output_are_told_their_loss():
    model, history = fitted((NUMBERS, np.zeros(60, int)), 3)
    assert history[-1].accuracy == evaluate(model, (NUMBERS, np.zeros(60, int))).accuracy == 1.0
    with pytest.raises(ValueError, match=r"give its last layer 2 outputs, or take loss='(\w+)'") as caught:
        fitted((NUMBERS, FRAME["garden"]), 3)
    fitted((NUMBERS, FRAME["garden"]), 3, 2)
    fitted((NUMBERS, FRAME["garden"]), 3, loss=re.search(r"loss='(\w+)'", str(caught.value)).group(1))


def test_several_labels_at_once_are_told_their_loss():
    labels = np.stack([FRAME["garden"], FRAME["rooms"] > 2, FRAME["size"] > 0], axis=1).astype(int)
    with pytest.raises(ValueError, match=r"for several labels at once take loss='(\w+)'") as caught:
        fitted((NUMBERS, labels), 3, 3)
    fitted((NUMBERS, labels), 3, 3, loss=re.search(r"loss='(\w+)'", str(caught.value)).group(1))


def test_a_network_of_one_input_is_told_what_it_got_instead():
    numbers = np.asarray(NUMBERS, float)
    with pytest.raises(TypeError, match=r"Dense\(3 -> 8\): the input must be an array or a Tensor, got dict; .*Module"):
        fitted(({"a": numbers}, PRICE), 3, loss="mse")
    with pytest.raises(TypeError, match=r"the input is complex128, the parameters float32; use x\.real"):
        fitted((numbers + 1j, PRICE), 3, loss="mse")
    fitted(((numbers + 1j).real, PRICE), 3, loss="mse")
