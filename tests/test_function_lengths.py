"""Functions fit on a screen."""

import ast

import pytest

from tests.support import ROOT

LONGEST = 60
FILES = sorted(
    path
    for folder in ("tensorgrad", "models", "experiments", "benchmarks", "tools")
    for path in (ROOT / folder).rglob("*.py")
)


def length(function):
    """Lines from ``def`` to the end, without the docstring."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function) is not None
    return function.end_lineno - function.lineno + 1 - has_docstring * (first.end_lineno - first.lineno + 1)


def long_functions(source):
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    return {function.name: length(function) for function in functions if length(function) > LONGEST}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_is_longer_than_a_screen(path):
    assert not long_functions(path.read_text())


def test_a_long_function_is_found():
    def source(lines):
        return 'class A:\n    def f(self):\n        """One\n\n        two"""\n' + "        x = 1\n" * lines

    assert long_functions(source(LONGEST - 1)) == {}
    assert long_functions(source(LONGEST)) == {"f": LONGEST + 1}
