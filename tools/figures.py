"""Draw the figures of the pages in docs/learn/: python -m tools.figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tensorgrad as tg
from tensorgrad.nn import Dense, Sequential
from tensorgrad.report.figure import saved_figure

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
BLUE, RED, GREEN, YELLOW, GRAY = "#4477aa", "#ee6677", "#228833", "#ccbb44", "#777777"


def main() -> None:
    """Draw them all."""
    FOLDER.mkdir(exist_ok=True)
    for draw in (
        backprop,
        backprop_worksheet,
        zero_grad,
        overflow,
        initial_values,
        initial_gradients,
        rates_parabola,
        rates_network,
        dead_units,
        subnormals,
        boundary,
        paths,
        surface,
    ):
        path = FOLDER / f"{draw.__name__.replace('_', '-')}.png"
        draw(path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def dress(axes: Any, **settings: Any) -> None:
    """Labels, a light grid, and no frame above and on the right."""
    axes.set(**settings)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


# Backprop in one page


def backprop(path: Path) -> None:
    """The graph of (w x + b - y)^2, with values above the arrows and derivatives below."""
    draw_steps(path, "red: derivatives of the loss, from right to left")


def backprop_worksheet(path: Path) -> None:
    """The same, for a class to fill in the derivatives."""
    draw_steps(path, "red: derivatives of the loss, to fill in", are_shown=False)


def draw_steps(path: Path, legend: str, are_shown: bool = True) -> None:
    """Draw the graph of both, with the derivatives or with question marks."""
    places = {"w": (-0.4, 2.25), "x": (-0.4, 0.75), "b": (1.3, 0.1), "y": (2.8, 0.1)}
    ops = {"·": (1.5, 1.5), "+": (3, 1.5), "-": (4.5, 1.5), "²": (6, 1.5), "loss": (7.5, 1.5)}
    arrows = [("w", "·", "2", "-30"), ("x", "·", "3", "-20"), ("·", "+", "6", "-10"), ("b", "+", "-1", "-10")]
    arrows += [("+", "-", "5", "-10"), ("y", "-", "10", "10"), ("-", "²", "-5", "-10"), ("²", "loss", "25", "1")]
    with saved_figure(path, 7.6, 2.4) as figure:
        axes = figure.subplots()
        axes.set(xlim=(-0.75, 8.15), ylim=(-0.25, 2.5), aspect="equal")
        axes.axis("off")
        places.update(ops)
        for start, stop, value, slope in arrows:
            (x0, y0), (x1, y1) = places[start], places[stop]
            arrow = {"arrowstyle": "->", "color": GRAY, "shrinkA": 17, "shrinkB": 17}
            axes.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
            along = 0.5 if y0 == y1 else 0.42
            x, y = x0 + along * (x1 - x0), y0 + along * (y1 - y0)
            side = 0.17 if y0 == y1 else 0.21
            lean = 0.0 if y0 == y1 else 0.12 if y1 > y0 else -0.12  # away from an arrow that is not level
            number = {"ha": "center", "va": "center", "fontsize": 12, "fontweight": "bold"}
            axes.text(x - lean, y + side, value, color=BLUE, **number)
            axes.text(x + lean, y - side, slope if are_shown or stop == "loss" else "?", color=RED, **number)
        for name, (x, y) in places.items():
            ground = "white" if name in ops and name != "loss" else "#eeeeee"
            box = {"boxstyle": "circle,pad=0.35" if len(name) == 1 else "round,pad=0.4", "fc": ground, "ec": GRAY}
            axes.text(x, y, name, ha="center", va="center", fontsize=13, bbox=box)
        axes.text(4.5, 0.5, "blue: values, from left to right", color=BLUE, fontsize=10)
        axes.text(4.5, 0.15, legend, color=RED, fontsize=10)


# Break it yourself


def moons(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points of two half circles that reach into each other, and which one each is of."""
    rng = np.random.default_rng(seed)
    angle, label = np.pi * rng.random(count), np.arange(count) % 2
    x = np.where(label, 1 - np.cos(angle), np.cos(angle))
    y = np.where(label, 0.5 - np.sin(angle), np.sin(angle))
    return np.stack([x, y], axis=1) + 0.12 * rng.standard_normal((count, 2)), label


def network(hidden: int = 16, seed: int = 1, activation: Callable[[Any], Any] = np.tanh) -> Sequential:
    """A classifier of points in the plane."""
    rng, double = np.random.default_rng(seed), {"dtype": np.float64}
    return Sequential(
        Dense(2, hidden, rng, **double),
        activation,
        Dense(hidden, hidden, rng, **double),
        activation,
        Dense(hidden, 2, rng, **double),
    )


def descend(model: Sequential, optimiser: Any, steps: int) -> list[float]:
    """Losses of training on all points of the two moons at once."""
    points, labels = moons(200)
    losses = []
    for _ in range(steps):
        loss = tg.softmax_cross_entropy(model(points), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def zero_grad(path: Path) -> None:
    """Losses of a linear regression with and without zero_grad."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 2))
    y = x @ [2.0, -1.0]
    with saved_figure(path, 6, 3.2) as figure:
        axes = figure.subplots()
        for forgets, color, label in ((False, BLUE, "with zero_grad"), (True, RED, "without")):
            w, losses = tg.Tensor(np.zeros(2), requires_grad=True), []
            optimiser = tg.optim.SGD([w], lr=0.02)
            for _ in range(120):
                loss = np.mean((x @ w - y) ** 2)
                if not forgets:
                    optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
            axes.plot(losses, color=color, label=label)
        axes.legend(frameon=False, loc="upper right", ncols=2)
        dress(axes, xlabel="step", ylabel="loss", ylim=(0, 5.4))


def overflow(path: Path) -> None:
    """The largest probability of a softmax in float32, by the size of its logits."""
    size = np.arange(0, 121, dtype=np.float32)
    logits = np.stack([size, size - 1], axis=1)
    with np.errstate(all="ignore"), saved_figure(path, 6, 3) as figure:
        naive = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        axes = figure.subplots()
        axes.plot(
            size,
            np.asarray(tg.softmax(logits))[:, 0],
            color=BLUE,
            linewidth=5,
            alpha=0.5,
            label="shifted by the largest",
        )
        axes.plot(size, naive[:, 0], color=RED, label="as in the formula")
        axes.axvspan(88.7, 120, color=RED, alpha=0.12)
        axes.text(104, 0.35, "exp gives infinity,\ninfinity / infinity\nis NaN", ha="center", va="center", color=RED)
        axes.legend(frameon=False, loc="lower left")
        dress(axes, xlabel="a logit z; the other one is z - 1", ylabel="softmax", ylim=(0, 1), xlim=(0, 120))


def initial_sizes(factor: float, depth: int = 10, width: int = 256) -> tuple[list[float], list[float]]:
    """How large values and gradients of the weights are in each layer, for a multiple of He's initial weights."""
    rng, scale = np.random.default_rng(0), factor * np.sqrt(2 / width)
    weights = [tg.Tensor(scale * rng.standard_normal((width, width)), requires_grad=True) for _ in range(depth)]
    values = [rng.standard_normal((128, width))]
    for weight in weights:
        values.append(tg.relu(values[-1] @ weight))
    np.mean(values[-1] ** 2).backward()
    return [value.data.std() for value in values[1:]], [np.sqrt(np.mean(weight.grad**2)) for weight in weights]


def initial_values(path: Path) -> None:
    """The size of the values in each of ten layers, for three sizes of initial weights."""
    draw_sizes(path, 0, "standard deviation of the values")


def initial_gradients(path: Path) -> None:
    """The size of the weights' gradients, likewise."""
    draw_sizes(path, 1, "size of the weights' gradient")


def draw_sizes(path: Path, which: int, label: str) -> None:
    """One of the sizes by layer."""
    kinds = ((2.0, RED, "twice He's"), (1.0, GREEN, "He: sqrt(2 / n)"), (0.5, BLUE, "half of it"))
    with saved_figure(path, 5, 3.6) as figure:
        axes = figure.subplots()
        for factor, color, kind in kinds:
            sizes = initial_sizes(factor)[which]
            axes.plot(np.arange(1, len(sizes) + 1), sizes, ".-", color=color, label=kind)
        axes.set_yscale("log")
        axes.set_xticks(range(1, 11))
        if which == 0:
            axes.legend(frameon=False, title="initial weights")
        dress(axes, xlabel="layer", ylabel=label)


def rates_parabola(path: Path) -> None:
    """Gradient descent on a parabola at four rates."""
    with saved_figure(path, 5, 3.6) as figure:
        axes, line = figure.subplots(), np.linspace(-1.5, 1.5, 100)
        axes.plot(line, line**2, color="0.8")
        for rate, color in ((0.05, BLUE), (0.45, GREEN), (0.95, YELLOW), (1.03, RED)):
            w = np.array([1.2 * (1 - 2 * rate) ** step for step in range(12)])
            axes.plot(w, w**2, ".-", color=color, linewidth=0.8, label=f"rate {rate}")
        axes.legend(frameon=False, loc="upper right")
        dress(axes, xlabel="w", ylabel="w²", xlim=(-1.9, 3.6), ylim=(-0.1, 3.3))


def rates_network(path: Path) -> None:
    """The losses of a network at four rates."""
    with saved_figure(path, 5, 3.6) as figure:
        axes = figure.subplots()
        for rate, color in ((0.03, BLUE), (0.3, GREEN), (3.0, YELLOW), (30.0, RED)):
            model = network()
            losses = descend(model, tg.optim.SGD(model.parameters(), lr=rate), 100)
            axes.plot(losses, color=color, label=f"rate {rate:g}")
        axes.set_yscale("log")
        axes.legend(frameon=False, loc="center right")
        dress(axes, xlabel="step", ylabel="loss of a network")


def dead_units(path: Path) -> None:
    """The share of units that are 0 for every example, during trainings at two rates."""
    points, labels = moons(200)
    with saved_figure(path, 6, 3.2) as figure:
        axes = figure.subplots()
        for rate, color in ((0.01, BLUE), (0.3, RED)):
            model = network(hidden=64, activation=tg.relu)
            optimiser, shares = tg.optim.Adam(model.parameters(), lr=rate), []
            for _ in range(100):
                hidden = model[:4](points)
                shares.append(np.mean((hidden.data == 0).all(axis=0)))
                optimiser.zero_grad()
                tg.softmax_cross_entropy(model[4](hidden), labels).backward()
                optimiser.step()
            axes.plot(shares, color=color, label=f"Adam at rate {rate}")
        axes.legend(frameon=False)
        dress(axes, xlabel="step", ylabel="share of dead units", ylim=(0, 1), xlim=(0, 100))


def subnormals(path: Path) -> None:
    """A float32 that loses a tenth in each step."""
    from tensorgrad.subnormals import without_subnormals

    steps = np.arange(1200)
    plain, kept = [np.float32(1)], [np.ones(1, np.float32)]
    for _ in steps[1:]:
        plain.append(plain[-1] * np.float32(0.9))
        kept.append(without_subnormals(kept[-1] * np.float32(0.9)))
    with saved_figure(path, 6, 3.2) as figure:
        axes = figure.subplots()
        tiny = float(np.finfo(np.float32).tiny)
        axes.axhspan(1e-46, tiny, color=RED, alpha=0.12)
        axes.text(20, 1e-42, "subnormal numbers", color=RED, va="center")
        axes.plot(steps, plain, color=RED, label="plain float32: stays there for good")
        values = np.concatenate(kept)
        axes.plot(steps[values > 0], values[values > 0], color=BLUE, label="in tensorgrad: stays above")
        axes.set_yscale("log")
        axes.legend(frameon=False)
        dress(axes, xlabel="step", ylabel="a moment of Adam", ylim=(1e-46, 10), xlim=(0, 1200))


# Decision boundaries and loss surfaces


def boundary(path: Path) -> None:
    """What a network says of every point of the plane, at four times of its training."""
    points, labels = moons(200)
    model = network()
    optimiser, done = tg.optim.Adam(model.parameters(), lr=0.02), 0
    side = np.linspace(-1.6, 2.6, 121), np.linspace(-1.3, 1.8, 91)
    grid = np.stack(np.meshgrid(*side), axis=-1)
    with saved_figure(path, 8, 6.4) as figure:
        for axes, steps in zip(figure.subplots(2, 2).flat, (0, 10, 40, 200)):
            for _ in range(steps - done):
                loss = tg.softmax_cross_entropy(model(points), labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            done = steps
            with tg.no_grad():
                shares = tg.softmax(model(grid)).numpy()[..., 1]
            axes.contourf(*side, shares, levels=np.linspace(0, 1, 21), cmap="RdBu", alpha=0.7)
            axes.contour(*side, shares, levels=[0.5], colors="black", linewidths=1)
            for label, color in ((0, "#a01010"), (1, "#103080")):
                axes.plot(*points[labels == label].T, ".", color=color, markersize=4)
            right = np.mean(model(points).data.argmax(axis=1) == labels)
            axes.set_title(f"after {steps} steps: {right:.0%} right", fontsize=10)
            axes.set(xticks=[], yticks=[], aspect="equal")


def valley(w: Any) -> Any:
    """A long valley, steep across and flat along it, a little bent."""
    return 0.5 * (w[0] - 2) ** 2 / 4 + 0.5 * (w[1] - 0.25 * w[0] ** 2) ** 2 * 2


def paths(path: Path) -> None:
    """The ways of three optimisers down the same loss."""
    across, up = np.linspace(-3.2, 3.2, 161), np.linspace(-1.2, 3.2, 111)
    heights = valley(np.stack(np.meshgrid(across, up)))
    makers: list[tuple[str, str, Callable[[Any], Any]]] = [
        ("SGD, rate 0.2", BLUE, lambda w: tg.optim.SGD([w], lr=0.2)),
        ("SGD with momentum 0.9, rate 0.02", GREEN, lambda w: tg.optim.SGD([w], lr=0.02, momentum=0.9)),
        ("Adam, rate 0.2", RED, lambda w: tg.optim.Adam([w], lr=0.2)),
    ]
    with saved_figure(path, 7, 4.4) as figure:
        axes = figure.subplots()
        axes.contour(across, up, heights, levels=np.geomspace(0.01, 20, 18), colors="0.75", linewidths=0.8)
        for label, color, make in makers:
            w = tg.Tensor([-2.6, -0.6], requires_grad=True)
            optimiser, way = make(w), [w.data.copy()]
            for _ in range(150):
                optimiser.zero_grad()
                valley(w).backward()
                optimiser.step()
                way.append(w.data.copy())
            axes.plot(*np.transpose(way), ".-", color=color, linewidth=1, markersize=4, label=label)
        axes.plot(2, 1, "k*", markersize=12)
        axes.legend(frameon=True, loc="upper center")
        dress(axes, xlabel="first weight", ylabel="second weight", aspect="equal")


def heights_around(model: Sequential, line: np.ndarray) -> np.ndarray:
    """The loss along two random directions from the weights of a model, each as long as they are in every array."""
    points, labels = moons(200)
    trained = [parameter.data.copy() for parameter in model.parameters()]
    rng = np.random.default_rng(0)
    directions = [[rng.standard_normal(w.shape) for w in trained] for _ in range(2)]
    for direction in directions:
        for part, w in zip(direction, trained):
            part *= np.linalg.norm(w) / np.linalg.norm(part)
    heights = np.empty((len(line), len(line)))
    with tg.no_grad():
        for i, b in enumerate(line):
            for j, a in enumerate(line):
                for parameter, w, u, v in zip(model.parameters(), trained, *directions):
                    parameter.data = w + a * u + b * v
                heights[i, j] = tg.softmax_cross_entropy(model(points), labels).item()
    return heights


def surface(path: Path) -> None:
    """The loss around trained weights as a map and, in a file of its own, as a surface."""
    model, line = network(), np.linspace(-1, 1, 41)
    descend(model, tg.optim.Adam(model.parameters(), lr=0.02), 200)
    heights = heights_around(model, line)
    with saved_figure(path, 5, 4.2) as figure:
        axes, ticks = figure.subplots(), [-1, 0, 1]
        drawn = axes.contourf(line, line, heights, levels=20, cmap="viridis")
        axes.plot(0, 0, "w*", markersize=12)
        axes.set(xlabel="along a random direction", ylabel="along another", aspect="equal", xticks=ticks, yticks=ticks)
        figure.colorbar(drawn, ax=axes, label="loss")
    with saved_figure(path.with_name("surface-solid.png"), 5, 4.2) as figure:
        figure.set_layout_engine("none")  # which finds no room for axes in three dimensions
        axes = figure.add_axes((0.02, 0.02, 0.9, 0.96), projection="3d")
        axes.plot_surface(*np.meshgrid(line, line), heights, cmap="viridis", rcount=41, ccount=41)
        axes.set(xticklabels=[], yticklabels=[])


if __name__ == "__main__":
    main()
