"""Pictures of graphs: what they show, that every format holds together, and that long graphs stay readable."""

import re
import shutil
import subprocess
import sys
from unittest.mock import Mock
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings

import tensorgrad as tg
from tensorgrad.inspection import formats
from tests.support import NASTY, ROOT, examples, graph_programs, run_graph_program

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawing):
    return [text.text for text in ElementTree.fromstring(drawing.svg).iter(f"{SVG}text")]


def boxes(drawing):
    """Left, top, right and bottom of the boxes, and the size of the picture."""
    root = ElementTree.fromstring(drawing.svg)
    numbers = [
        [float(rect.get(key)) for key in ("x", "y", "width", "height")]
        for rect in root.iter(f"{SVG}rect")
        if rect.get("rx") == "6" and rect.get("x")
    ]
    size = float(root.get("width")), float(root.get("height"))
    return [(x, y, x + width, y + height) for x, y, width, height in numbers], size


def recurrent(steps, start=None):
    """A loss of a recurrent network, with its parameters."""
    rng = np.random.default_rng(0)
    w, u = (tg.Tensor(0.5 * rng.standard_normal((2, 2)), requires_grad=True) for _ in range(2))
    state = np.zeros((1, 2)) if start is None else start
    for x in rng.standard_normal((steps, 1, 2)):
        state = np.tanh(x @ w + state @ u)
    return state.sum(), {"w": w, "u": u}


def test_a_network_is_drawn_with_the_names_of_its_users():
    rng = np.random.default_rng(0)
    network = tg.nn.Sequential(tg.nn.Dense(3, 4, rng, weight_l2=0.1), tg.nn.ReLU(), tg.nn.Dense(4, 2, rng))
    images, labels = rng.standard_normal((5, 3)), np.array([0, 1, 1, 0, 1])
    loss = tg.softmax_cross_entropy(network(images), labels) + network.penalty()
    names = network, {"images": images, "labels": labels}
    shown = texts(tg.draw(loss, *names))
    for text in ("images", "labels", "0.weight", "2.bias", "x @ w + b", "+", "relu", "(5, 4) float32", "(5,) int64"):
        assert text in shown, text
    assert shown.count("0.weight") == 1 and f"{loss.item():.4g}" in shown and "squared_norm(…, 0.1)" in shown
    assert shown.count("gradient not computed") == 4 and "array" not in shown
    loss.backward(retain_graph=True)
    weight = network[0].weight
    norm = f"gradient norm {np.linalg.norm(weight.grad):.3g}"
    shown = texts(tg.draw(loss, *names))
    assert norm in shown and "gradient not computed" not in shown
    weight.grad = None
    shown = texts(tg.draw(loss, *names, gradients=True))
    assert norm in shown and "gradient norm 1" in shown and weight.grad is None


def test_views_changes_in_place_and_numbers_are_shown_as_they_are_written():
    x = tg.Tensor(np.ones((2, 3)), requires_grad=True)
    y = x * 2
    row = y[0]
    row += 1
    y[1, 1:] = np.maximum(0.5, row[:2])
    shown = texts(tg.draw((1 - y).sum(axis=0).sum(), {"x": x, "y": y}))
    for text in ("* 2", "[0]", "(3,) float64, a view", "assign to [0]", "np.maximum(0.5, …)", "y: assign to [1, 1:]"):
        assert text in shown, text
    assert "1 -" in shown and "axis=0" in shown


def test_names_come_from_local_variables_too():
    def loss():
        w = tg.Tensor([1.0, 2.0], requires_grad=True)
        unrelated, x = object(), np.array([3.0, 5.0])
        hidden = np.exp(w * x)
        assert unrelated
        return texts(tg.draw(hidden.sum(), locals()))

    assert {"w", "x", "hidden = np.exp(…)"} <= set(loss())
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    of_a_notebook = {"__name__": "__main__", "_5": w, "mock": Mock(), "w": w, "np": np}
    assert "w" in texts(tg.draw(np.exp(w), of_a_notebook)) and "_5" in texts(tg.draw(np.exp(w), {"_5": w}))


@given(graph_programs)
@settings(max_examples=examples(30))
def test_boxes_lie_inside_the_picture_and_beside_each_other(program):
    loss, leaves = run_graph_program(program)
    drawing = tg.draw(loss, leaves, fold=False)
    places, (width, height) = boxes(drawing)
    assert min(x for x, *_ in places) > 0 and min(y for _, y, *_ in places) > 0
    assert max(right for *_, right, _ in places) < width and max(bottom for *_, bottom in places) < height
    for i, (left, top, right, bottom) in enumerate(places):
        for other_left, other_top, other_right, other_bottom in places[:i]:
            assert right < other_left or other_right < left or bottom < other_top or other_bottom < top
    assert re.findall(r"n\d+(?=[\[(])", drawing.mermaid) == [f"n{i}" for i in range(len(places))]


@pytest.mark.parametrize("steps", [5, 20, pytest.param(200, marks=pytest.mark.slow)])
def test_steps_that_repeat_are_drawn_once(steps):
    loss, leaves = recurrent(steps)
    drawing = tg.draw(loss, leaves, fold=True, gradients=True)
    shown = texts(drawing)
    assert shown.count("np.tanh") == 2 and shown.count(f"{steps - 1} times") == 4
    assert f"4 ops are done {steps - 1} times over and shown once." in shown
    assert drawing.svg.count("stroke-dasharray") == drawing.mermaid.count("-. next .->") == 1
    assert len([text for text in shown if re.fullmatch(r"gradient norm \S+ to \S+", text)]) >= 3, "how it vanishes"
    plain = tg.draw(loss, leaves, fold=False)
    assert texts(plain).count("np.tanh") == steps if steps < 30 else "are left out" in plain.svg


def test_a_loop_is_folded_where_it_begins_and_ends():
    start = tg.Tensor(np.ones((1, 2)), requires_grad=True)
    loss, leaves = recurrent(6, np.exp(start))
    shown = texts(tg.draw(loss, {**leaves, "start": start}, fold=True))
    assert shown.count("6 times") == 4 and shown.count("np.tanh") == 1 and "6 of them" in shown


def test_layers_that_repeat_have_their_parameters_together():
    rng = np.random.default_rng(0)
    layers = [layer for _ in range(8) for layer in (tg.nn.Dense(4, 4, rng), tg.nn.ReLU())]
    network = tg.nn.Sequential(*layers, tg.nn.Dense(4, 1, rng))
    loss = network(np.ones((2, 4))).sum()
    shown = texts(tg.draw(loss, network, fold=True))
    assert {"2.weight … 14.weight", "7 of them", "7 times", "16.bias"} <= set(shown)


def test_what_does_not_repeat_is_not_folded():
    x = tg.Tensor(0.5, requires_grad=True)
    y = x
    for i in range(12):
        y = np.sin(y) if i % 5 in (0, 3) else np.exp(-y) if i % 3 else y * y
    assert texts(tg.draw(y, fold=True)) == texts(tg.draw(y, fold=False))


def test_of_large_graphs_the_part_near_the_result_is_drawn_and_a_sentence_says_so():
    x = tg.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(2000):
        y = np.sin(y)
    drawing = tg.draw(y, {"x": x}, fold=False, limit=30)
    shown = texts(drawing)
    sentence = "The 30 boxes of ops nearest to the result are shown; 1,970 earlier ops are left out"
    assert shown.count("np.sin") == 30 and "1,970 earlier ops" in shown and any(sentence in text for text in shown)
    assert sentence in drawing.mermaid and sentence in drawing.dot and "x" not in shown
    with pytest.raises(ValueError, match="at least 1, got 0"):
        tg.draw(y, limit=0)


def test_several_results_are_drawn_together():
    x = tg.Tensor(1.0, requires_grad=True)
    hidden = np.exp(x)
    shown = texts(tg.draw([np.sin(hidden), np.cos(hidden)]))
    assert shown.count("np.exp") == 1 and {"np.sin", "np.cos", "parameter"} <= set(shown)
    with pytest.raises(ValueError, match="gradients=True takes one result, got 2; add them up"):
        tg.draw([np.sin(hidden), np.cos(hidden)], gradients=True)
    tg.draw(np.sin(hidden) + np.cos(hidden), gradients=True)


def nasty():
    leaves = {name: tg.Tensor([1.0, -2.0], requires_grad=True) for name in NASTY}
    return tg.draw(sum(np.exp(leaf).sum() for leaf in leaves.values()), leaves, fold=False)


def test_names_may_be_any_text():
    drawing = nasty()
    assert "<script>" not in drawing.svg and "<script>alert(1)</script>" in texts(drawing)
    labels = re.findall(r'^  n\d+(?:\[|\(\[)"(.*)"(?:\]|\]\)):::\w+$', drawing.mermaid, re.MULTILINE)
    assert len(labels) == drawing.mermaid.count(":::") - 3, "each box is one line, its text in quotes"
    assert not re.search(r'"|<(?!/?b>|br/>)', "".join(labels))


DOT = shutil.which("dot")


@pytest.mark.slow
@pytest.mark.skipif(DOT is None, reason="no Graphviz on this machine")
def test_graphviz_reads_the_picture(tmp_path):
    for number, drawing in enumerate((nasty(), tg.draw(recurrent(5)[0], fold=True))):
        subprocess.run([DOT, "-Tcanon"], input=drawing.dot.encode(), stdout=subprocess.PIPE, check=True)
        drawing.save(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").read_bytes()[:4] == b"\x89PNG"


def test_it_is_saved_in_the_format_of_the_suffix(tmp_path):
    loss, leaves = recurrent(2)
    drawing = tg.draw(loss, leaves)
    starts = {
        "svg": "<svg ",
        "html": "<!doctype html>",
        "mmd": "flowchart TB",
        "mermaid": "flowchart TB",
        "md": "```mermaid\nflowchart TB",
        "dot": "digraph {",
        "gv": "digraph {",
        "SVG": "<svg ",
    }
    for suffix, start in starts.items():
        drawing.save(tmp_path / f"graph.{suffix}")
        assert (tmp_path / f"graph.{suffix}").read_text(encoding="utf-8").startswith(start)
    for name in ("graph.jpg", "graph"):
        with pytest.raises(ValueError, match=r"one of \.svg, \.html, .*\.png, \.pdf; got '(\.jpg|)'"):
            drawing.save(tmp_path / name)


def test_without_graphviz_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    drawing = tg.draw(recurrent(2)[0])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match=r"\.png needs Graphviz.*apt install graphviz.*or save as \.svg"):
        drawing.save(tmp_path / "graph.png")
    drawing.save(tmp_path / "graph.svg")


def test_notebooks_show_it_with_a_legend():
    drawing = tg.draw(recurrent(2)[0])
    assert drawing._repr_svg_().startswith("<svg")
    for format in (formats.svg, formats.mermaid, formats.dot):
        assert "such as inputs and labels" in format(drawing._picture)
    assert repr(drawing) == "<drawing of 14 boxes and 15 lines; .save('graph.svg') writes it>"


def test_the_picture_of_the_page_is_what_its_code_draws():
    page = (ROOT / "docs" / "graphs.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[:2]
    names = {}
    exec("\n".join(re.findall(r"^(?:>>>|\.\.\.) (.*)$", "".join(blocks), re.MULTILINE)), names)
    kept = ElementTree.parse(ROOT / "docs" / "recurrent.svg").getroot()
    assert len(texts(names["drawing"])) == len(list(kept.iter(f"{SVG}text")))
    without_numbers = [re.sub(r"norm .*", "", text) for text in texts(names["drawing"])]
    assert without_numbers == [re.sub(r"norm .*", "", text.text) for text in kept.iter(f"{SVG}text")]


def test_arrays_are_named_by_their_elements_where_that_is_certain():
    w = tg.Tensor(np.ones(2), requires_grad=True)
    x, same, other = np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.array([5.0, 6.0])
    loss = (w * x * other.astype(np.float32)).sum()
    assert {"array", "other"} <= set(texts(tg.draw(loss, {"x": x, "same": same, "other": other})))
    images = np.arange(8.0).reshape(1, 2, 2, 2)
    flattened = tg.nn.Sequential(tg.nn.Flatten(), tg.nn.Dense(8, 2, rng=0))(images).sum()
    assert "images" in texts(tg.draw(flattened, {"images": images}))


@pytest.mark.slow
def test_an_array_that_is_used_twice_is_drawn_once():
    w = tg.Tensor(np.ones(2), requires_grad=True)
    x = np.array([1.0, 2.0])
    assert texts(tg.draw((w * x + np.exp(w * x)).sum())).count("array") == 1


def test_lines_come_in_from_the_left_in_the_order_of_operands():
    a, b = (tg.Tensor(number, requires_grad=True) for number in (1.0, 2.0))
    for first, second in ((a, b), (b, a)):
        svg = tg.draw(np.exp(a) * (first - second), {"a": a, "b": b}).svg
        place = {text.text: text.get("x") for text in ElementTree.fromstring(svg).iter(f"{SVG}text")}
        lines = re.findall(r'd="M([\d.]+),[\d.]+ C.*? ([\d.]+),[\d.]+"', svg)
        entries = {start: float(end) for start, end in lines if abs(float(end) - float(place["-"])) < 20}
        assert (entries[place["a"]] < entries[place["b"]]) == (first is a)


@pytest.mark.slow
def test_importing_the_library_does_not_import_this():
    code = (
        "import sys, tensorgrad as tg; assert 'draw' in dir(tg); print([m for m in sys.modules if 'inspection' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout.strip() == "[]"
