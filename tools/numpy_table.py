"""The table of NumPy's and SciPy's functions: python -m tools.numpy_table writes tensorgrad/ops/numpy_functions.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special

import tensorgrad as tg
import tensorgrad.interop.scipy  # declares the ops of scipy.special
from tensorgrad._atomic import replacing
from tensorgrad.core import status

FILE = Path(tg.__file__).parent / "ops" / "numpy_functions.md"
MODULES = (np, np.linalg, np.fft, scipy.special)
DISPATCHED = (np.ufunc, type(np.sum))
"""The kinds of functions that ask their arguments what to do; all others do not know of Tensors."""

HEAD = """# NumPy's functions on Tensors

Written by `python -m tools.numpy_table` from the code (NumPy {version});
a test compares it with the installed NumPy. At the end are the functions of `scipy.special`.

- **differentiable**: recorded, with gradients of any order; an argument that is not handled raises and is named.
  **Complex too**: so are complex numbers on the way to a real loss, which raise elsewhere.
- **no derivative**: gives what it gives on arrays (integers, booleans, steps, shapes), without a gradient.
- **refused**: raises an error that names the function and the remedy.
"""


def main() -> None:
    """Write the table."""
    with replacing(FILE) as temporary:
        temporary.write_text(as_text())
    print(f"{FILE}: {sum(len(rows(module)) for module in MODULES)} functions")


def rows(module: Any) -> dict[str, str]:
    """Every function of a module that takes arrays, of SciPy those not refused, and what it does to Tensors."""
    found = {name: status(function) for name, function in _functions(module)}
    return found if module is not scipy.special else {name: kind for name, kind in found.items() if kind != "refused"}


def _functions(module: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in sorted(dir(module), key=str.lower):
        if not name.startswith("_") and isinstance(function := getattr(module, name), DISPATCHED):
            yield name, function


def as_text() -> str:
    """The table as Markdown."""
    lines = [HEAD.format(version=np.__version__)]
    for module in MODULES:
        found = rows(module)
        kinds = sorted(set(found.values()), reverse=True)
        counts = "; ".join(f"{list(found.values()).count(kind)} {kind}" for kind in kinds)
        counts += "; all others are refused" if module is scipy.special else ""
        lines += [f"## {module.__name__}", "", counts, "", "| function | on Tensors |", "|---|---|"]
        lines += [f"| `{name}` | {kind} |" for name, kind in found.items()]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
