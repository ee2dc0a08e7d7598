"""Examples that are made in threads, ahead of the step: the same whatever the number of workers."""

import threading

import numpy as np
import pytest
from PIL import Image

import tensorgrad as tg
from tensorgrad.data import DataError, ImageFolder, Loader
from tensorgrad.data.loader import ahead
from tensorgrad.training import Callback, Interrupted, RandomStreams, TrainingError, evaluate, fit, predict
from tests.support import CLASSES, INPUTS, StopAt, network, same

WORKERS = [0, 1, 4]


class Made:
    """Examples that are made one by one; it counts them."""

    def __init__(self, inputs=INPUTS, labels=CLASSES):
        self.inputs, self.own = inputs, labels
        self.asked = []

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.inputs[index], int(self.own[index])


def trained(train, **settings):
    model = network(3)
    settings = {"epochs": 3, "batch_size": 16, "rng": np.random.default_rng(0), "augment": noise, **settings}
    return model, fit(model, train, (INPUTS, CLASSES), quiet=True, compiled=False, **settings)


def noise(inputs, rng):
    return inputs + rng.normal(0, 0.1, inputs.shape).astype(np.float32)


@pytest.mark.parametrize("workers", WORKERS)
def test_training_is_that_on_arrays_whatever_the_number_of_workers(workers):
    expected = trained((INPUTS, CLASSES))
    for source in (Loader(Made(), workers=workers), Loader(INPUTS, CLASSES, workers=workers, prefetch=7)):
        same(trained(source), expected)
        same(trained((source, CLASSES, np.ones(90))), trained((INPUTS, CLASSES, np.ones(90))))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_may_write_each_example_to_the_same_memory(workers):
    class Reusing(Made):
        memory = np.empty_like(INPUTS[0])

        def __getitem__(self, index):
            self.memory[...] = self.inputs[index]
            return self.memory, int(self.own[index])

    same(trained(Loader(Reusing(), workers=workers)), trained((INPUTS, CLASSES)))


@pytest.mark.parametrize("augment", [None, noise])
def test_one_generator_for_everything_draws_the_same_whatever_the_number_of_workers(augment):
    def drawn(train):
        rng = np.random.default_rng(7)
        model = tg.nn.Sequential(tg.nn.Dense(INPUTS.shape[1], 8, 0), tg.nn.Dropout(0.5, rng), tg.nn.Dense(8, 3, 1))
        settings = {"rng": RandomStreams(rng, rng, rng, rng, rng), "epochs": 2, "batch_size": 16, "quiet": True}
        return model, fit(model, train, augment=augment, **settings)

    expected = drawn((INPUTS, CLASSES))
    for workers in WORKERS:
        same(drawn(Loader(INPUTS, CLASSES, workers=workers)), expected)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("step", [1, 8, 12])
def test_what_was_interrupted_in_an_epoch_goes_on_to_the_same_weights(tmp_path, monkeypatch, workers, step):
    with monkeypatch.context() as patched:
        patched.setattr("tensorgrad.training.loop.Interruption", StopAt(step))
        with pytest.raises(Interrupted):
            trained(Loader(Made(), workers=workers), folder=tmp_path)
    other = WORKERS[(WORKERS.index(workers) + 1) % 3]
    same(trained(Loader(Made(), workers=other), folder=tmp_path, resume=True), trained((INPUTS, CLASSES)))


def test_the_next_batches_are_made_while_a_step_is_computed():
    made = Made()

    class Watch(Callback):
        """After each step, until the batches ahead have been made."""

        def on_step_end(self, run, loss):
            wanted = min(90, (run.step + 2) * 16)
            assert any(len(made.asked) >= wanted or pause.wait(0.01) for _ in range(500))

    pause = threading.Event()
    made.labels = CLASSES
    trained(Loader(made, workers=2, prefetch=2), epochs=1, callbacks=[Watch()])
    assert sorted(made.asked) == list(range(90))


def test_what_makes_examples_one_by_one_is_taken_as_it_is():
    (model, history), (other, expected) = trained(Made()), trained(Loader(Made()))
    assert [row.loss for row in history] == [row.loss for row in expected]
    assert evaluate(model, Made()) == evaluate(other, (INPUTS, CLASSES))


@pytest.mark.parametrize("workers", WORKERS)
def test_an_error_is_raised_in_its_place_and_leaves_no_thread(workers):
    class Broken(Made):
        labels = CLASSES

        def __getitem__(self, index):
            if index == 50:
                raise DataError("cat/50.jpg: damaged; remove it")
            return super().__getitem__(index)

    losses = []

    class Watch(Callback):
        def on_step_end(self, run, loss):
            losses.append(loss)

    with pytest.raises(DataError, match=r"cat/50.jpg: damaged"):
        trained(Loader(Broken(), workers=workers), callbacks=[Watch()])
    order = np.random.default_rng(0).spawn(2)[0].permutation(90)
    assert len(losses) == order.tolist().index(50) // 16
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tensorgrad")]
    poisoned = INPUTS.copy()
    poisoned[7, 1] = np.nan
    with pytest.raises(TrainingError, match="training example 7 holds nan at position 1; clean the data"):
        trained(Loader(Made(poisoned), workers=workers))


def test_a_loader_is_evaluated_and_predicted_as_arrays_are():
    model = network(3)
    loader = Loader(Made(), workers=3)
    assert evaluate(model, loader) == evaluate(model, (INPUTS, CLASSES))
    np.testing.assert_array_equal(predict(model, loader), predict(model, INPUTS))
    np.testing.assert_array_equal(loader.labels, CLASSES)
    np.testing.assert_array_equal(loader[5], INPUTS[5])
    np.testing.assert_array_equal(loader[-3:], INPUTS[-3:])
    expected = trained((INPUTS, CLASSES))
    model = network(3)
    settings = {"epochs": 3, "batch_size": 16, "rng": np.random.default_rng(0), "augment": noise, "quiet": True}
    same((model, fit(model, loader, Loader(Made()), compiled=False, **settings)), expected)


@pytest.mark.parametrize("source", [INPUTS.tolist(), "text", [(INPUTS[0], 1, 2)]])
def test_examples_that_are_none_are_refused_with_a_remedy(source):
    with pytest.raises(TypeError, match=r"source\[0\] must be an input and its label, got .*; let __getitem__ return"):
        Loader(source)


def test_loaders_that_cannot_be_are_refused():
    for arguments, settings, kind, message in [
        ((5,), {}, TypeError, "must have a length and examples by index, as ImageFolder has, got int"),
        ((INPUTS,), {}, TypeError, r"needs labels; pass Loader\(inputs, labels\)"),
        ((INPUTS, CLASSES[:-1]), {}, ValueError, r"labels must be 90, one for each input, got shape \(89,\)"),
        ((INPUTS, CLASSES), {"workers": -1}, ValueError, "workers must be an integer of at least 0, got -1"),
        ((INPUTS, CLASSES), {"workers": True}, ValueError, "workers must be an integer"),
        ((INPUTS, CLASSES), {"prefetch": 0}, ValueError, "prefetch must be an integer of at least 1, got 0"),
    ]:
        with pytest.raises(kind, match=f"Loader: .*{message}"):
            Loader(*arguments, **settings)
    uneven = Loader([(np.zeros(2), 0), (np.zeros(3), 1)])
    with pytest.raises(ValueError, match=r"inputs must be of one shape, got \(2,\) and \(3,\); resize them"):
        uneven[[0, 1]]
    with pytest.raises(TypeError, match=r"tensorgrad\.data\.Loader takes examples that are made one by one"):
        trained(iter(Made()))
    trained(Loader(Made()), epochs=1)


def test_items_made_ahead_are_no_more_than_asked_for():
    made = []
    items = ahead((made.append(i) or i for i in range(100)), 3)
    assert [next(items) for _ in range(5)] == list(range(5))
    items.close()
    assert 5 <= len(made) <= 5 + 3


def test_a_folder_of_images_is_trained_on_without_loading_it(tmp_path):
    rng = np.random.default_rng(0)
    for name, level in (("dark", 50), ("light", 200)):
        (tmp_path / name).mkdir()
        for i in range(12):
            pixels = rng.normal(level, 30, (*rng.integers(9, 20, 2), 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    images = ImageFolder(tmp_path, size=(8, 6))
    assert repr(images) == "ImageFolder(24 images of shape (3, 8, 6), 2 classes)"

    def prepare(pixels):
        return pixels.astype(np.float32) / 127.5 - 1

    results = []
    for workers in WORKERS:
        model = tg.nn.Sequential(tg.nn.Flatten(), tg.nn.Dense(3 * 8 * 6, 2, 0))
        loader = Loader(images, workers=workers)
        history = fit(model, loader, epochs=3, batch_size=5, rng=np.random.default_rng(0), prepare=prepare, quiet=True)
        results.append((model, history))
        assert evaluate(model, loader, prepare).accuracy == 1.0
    same(results[0], results[1])
    same(results[0], results[2])
