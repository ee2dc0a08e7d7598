"""Tables of layers."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn


class Twice(nn.Module):
    """Uses one layer twice, under two names, and gives a dict."""

    def __init__(self):
        self.first = self.again = nn.Dense(3, 3, 0)
        self.scale = tg.Tensor(1.0, requires_grad=True)
        self.unused = [nn.ReLU()]

    def forward(self, x, factor):
        return {"y": self.again(self.first(x)) * self.scale * factor, "count": 2}


def images_network():
    layers = [nn.Conv2d(3, 8, 3, 0), nn.BatchNorm2d(8), nn.Dropout(0.5, 0), nn.Flatten()]
    return nn.Sequential(*layers, nn.Sequential(nn.Dense(8 * 4 * 4, 10, 0), np.tanh))


def test_the_table_of_a_network():
    shown = repr(images_network().summary((5, 3, 6, 6)))
    assert shown.splitlines() == [
        "layer                       output shape  parameters",
        "----------------------------------------------------",
        "Sequential                  (5, 10)",
        "  (0): Conv2d(3 -> 8, 3x3)  (5, 8, 4, 4)         224",
        "  (1): BatchNorm2d(8)       (5, 8, 4, 4)          16",
        "  (2): Dropout(0.5)         (5, 8, 4, 4)",
        "  (3): Flatten()            (5, 128)",
        "  (4): Sequential           (5, 10)",
        "    (0): Dense(128 -> 10)   (5, 10)            1,290",
        "----------------------------------------------------",
        "1,530 parameters, 16 not trained, 6.18 kB",
    ]


def test_the_parts_of_the_table():
    found = Twice().summary((2, 3), np.float32(2))
    assert [(row.name, row.output, row.parameters, row.depth) for row in found.rows] == [
        ("", {"y": (2, 3), "count": "int"}, 1, 0),
        ("first", (2, 3), 12, 1),
        ("again", (2, 3), 0, 1),
        ("unused.0", None, 0, 1),
    ]
    assert (found.parameters, found.other, found.nbytes) == (13, 0, 12 * 4 + 8)
    network = images_network()
    assert network.summary().parameters == sum(x.size for x in network.parameters())
    assert "output" not in repr(network.summary()) + network.summary()._repr_html_()
    html = nn.Sequential(nn.Dense(3, 2)).summary((4, 3))._repr_html_()
    assert "  (0): Dense(3 -&gt; 2)</td>" in html and "(4, 2)" in html and "8 parameters, 32 bytes" in html


def test_a_summary_changes_nothing():
    network = images_network()
    network[2].eval()
    network.penalty()
    before = network.state_dict()
    draws = network[2].rng.bit_generator.state
    held = {name: list(vars(module).items()) for name, module in network.named_modules()}
    network.summary((1, 3, 6, 6))
    assert all(np.array_equal(array, before[name]) for name, array in network.state_dict().items())
    assert network[2].rng.bit_generator.state == draws
    assert {name: list(vars(module).items()) for name, module in network.named_modules()} == held
    with pytest.raises(ValueError, match="must have shape"):
        network.summary((1, 2, 6, 6))
    assert {name: list(vars(module).items()) for name, module in network.named_modules()} == held


def test_where_a_shape_will_not_do():
    network = nn.Sequential(nn.Embedding(10, 3, 0), nn.Dense(3, 1, 0))
    with pytest.raises(
        ValueError, match=r"zeros of \(4, 5\), Sequential raised TypeError: embedding: .* pass inputs as"
    ):
        network.summary((4, 5))
    assert network.summary(np.zeros((4, 5), int)).rows[0].output == (4, 5, 1)
    assert network.summary().rows[0].output is None
