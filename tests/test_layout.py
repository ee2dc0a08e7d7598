"""The tests are laid out as the packages are, and none imports another."""

import ast
import re
from pathlib import Path

import pytest

from tests.support import ROOT

TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("folder", sorted({path.parent.name for path in TESTS} - {"tests"}))
def test_each_folder_of_tests_is_that_of_a_package(folder):
    assert any((place / folder).is_dir() for place in (ROOT, ROOT / "tensorgrad"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_no_file_of_tests_imports_another(path):
    imported = re.findall(r"^ *(?:from|import) (tests\.\S+|\.\S*)", path.read_text(), re.MULTILINE)
    itself = ".".join(path.relative_to(ROOT).with_suffix("").parts)  # by scripts that a test runs
    assert set(imported) <= {"tests.support", itself}


def test_the_files_that_the_architecture_names_are_there():
    text = "".join((ROOT / "docs" / name).read_text() for name in ("architecture.md", "architecture.dot"))
    names = re.findall(r"[\w/]+\.(?:py|md)\b|(?:tensorgrad|models|experiments)/[\w/]*", text)
    known = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tensorgrad").rglob("*.*")]
    missing = {name for name in names if not (ROOT / name).exists() and not any(k.endswith("/" + name) for k in known)}
    assert len(names) > 40 and not missing


def imports(path):
    """The modules of the package that a module imports when it runs, also inside functions."""
    package = path.relative_to(ROOT).parent.parts
    tree = ast.parse(path.read_text())
    unused = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node not in unused:
            start = [*package[: len(package) + 1 - node.level], *filter(None, (node.module or "").split("."))]
            for target in (start, *([*start, alias.name] for alias in node.names)):
                if (ROOT / Path(*target)).with_suffix(".py").is_file():
                    yield ".".join(target)


def cycle(graph):
    """The modules that are left when those are taken away, again and again, that import none of the others."""
    left = dict(graph)
    while ends := [module for module, imported in left.items() if not imported & left.keys()]:
        for module in ends:
            del left[module]
    return sorted(left)


def test_no_module_imports_another_that_imports_it():
    files = [path for path in (ROOT / "tensorgrad").rglob("*.py") if path.name != "__init__.py"]
    graph = {".".join(path.relative_to(ROOT).with_suffix("").parts): set(imports(path)) for path in files}
    assert len(graph) > 100 and sum(map(len, graph.values())) > 300
    assert cycle(graph) == []
    assert cycle({**graph, "tensorgrad._text": {"tensorgrad.train"}, "tensorgrad.train": {"tensorgrad._text"}}) != []


def test_the_engine_is_as_short_as_the_readme_says():
    lines = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "tensorgrad" / "core").glob("*.py")}
    assert {name: count for name, count in lines.items() if count > 450} == {}
    for page in ("README.md", "docs/architecture.md"):
        said = re.search(r"about (\d,\d{3}) lines", (ROOT / page).read_text())
        assert abs(int(said[1].replace(",", "")) - sum(lines.values())) <= 150
