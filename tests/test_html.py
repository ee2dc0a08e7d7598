"""What notebooks show of Tensors, modules and compiled functions."""

from html.parser import HTMLParser

import numpy as np
import pytest

import tensorgrad as tg
from tests.support import NASTY

VOID = {"br", "hr", "img"}


class Reader(HTMLParser):
    """The text of HTML whose tags are all closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert tag in {"div", "b", "span", "pre", "table", "tr", "th", "td", "details", "summary"}
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def texts(shown):
    return Reader(shown._repr_html_()).texts


def test_a_tensor():
    x = tg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert texts(x) == ["Tensor", "(2, 3)", "float64", "requires a gradient, not computed", "[[0. 1. 2.]\n [3. 4. 5.]]"]
    (x * 2).sum().backward()
    assert "requires a gradient, computed: .grad" in texts(x) and "has a history" in texts(x * 2)
    assert len("".join(texts(tg.Tensor(np.zeros((1000, 1000)))))) < 300
    assert texts(tg.Tensor(3)) == ["Tensor", "()", "int64", "3"]


def test_a_tensor_without_values():
    shown = []

    @tg.compile(pure=True)
    def function(x):
        shown.append(texts(np.exp(tg.Tensor(np.ones(2)) * x)))
        return x * 2

    function(np.ones(2))
    assert any("no values yet" in text for text in shown[0])


class Model(tg.nn.Module):
    def __init__(self):
        self.scale = tg.Tensor(1.0, requires_grad=True)
        self.mean = tg.Tensor(np.zeros(4))
        self.body = tg.nn.Sequential(tg.nn.Dense(3, 4, rng=0), tg.nn.ReLU())
        self.tied = self.body
        self.itself = [self]

    def forward(self, x):
        return self.scale * self.body(x)


def test_a_module():
    shown = texts(Model())
    assert shown[:3] == ["Model", "17 parameters, 4 not trained, 104 bytes", "in training mode"], (
        "shared ones count once"
    )
    for text in (
        "scale",
        "no parameter",
        "body: Sequential",
        "0: Dense(3 -> 4)",
        "16 parameters",
        "(3, 4)",
        "1: ReLU()",
    ):
        assert text in shown, text
    assert "itself" not in "".join(shown) and "(itself.0): ..." in repr(Model())
    assert shown.count("0: Dense(3 -> 4)") == 2 and "in evaluation mode" in texts(Model().eval())


@pytest.mark.slow
@pytest.mark.parametrize("fast", [None, False])
def test_a_compiled_function(fast):
    w = tg.Tensor(np.ones((3, 3)), requires_grad=True)

    @tg.compile(fast=fast)
    def step(x):
        w.zero_grad()
        loss = (np.exp(x @ w) * 2).sum()
        loss.backward()
        return loss.item()

    assert texts(step) == ["step", "nothing compiled yet; call it first, twice in the same way"]
    for _ in range(3):
        step(tg.Tensor(np.ones((2, 3))))
    shown = texts(step)
    assert any("fused runs" in text for text in shown) and {"matmul", "2x3", "float64", "program 1"} <= set(shown)
    if fast is False:
        assert any("without numba" in text for text in shown)


def test_text_is_text():
    module = tg.nn.Sequential(tg.nn.ReLU())
    for name in NASTY:
        setattr(module, f"x{name}", tg.nn.Dense(1, 1, rng=0))
    assert "<script>" not in module._repr_html_() and any("<script>" in text for text in texts(module))
