"""The tests are laid out as the packages are, and none imports another."""

import re

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
    text = "".join((ROOT / "docs" / name).read_text() for name in ("architecture.md", "pictures/architecture.dot"))
    names = re.findall(r"[\w/]+\.(?:py|md)\b|(?:tensorgrad|models|experiments)/[\w/]*", text)
    known = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tensorgrad").rglob("*.*")]
    missing = {name for name in names if not (ROOT / name).exists() and not any(k.endswith("/" + name) for k in known)}
    assert len(names) > 40 and not missing
