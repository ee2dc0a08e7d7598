"""One command per habit: `nox -l` lists them, `nox` runs the checks, the quick tests and the documentation.

Each session installs what it needs into an environment of its own, which is used again the next time. What stands after
`--` is handed on: `nox -s test -- tests/core -k views`.
"""

import shutil
from pathlib import Path

import nox

nox.options.sessions = ["check", "quick", "docs"]
nox.options.reuse_existing_virtualenvs = True

PYTHONS = ["3.9", "3.10", "3.11", "3.12", "3.13"]
DOCS = ["README.md", "docs", "tests/test_docs.py", "tests/notebooks"]
OLDEST_NUMPY = {"3.13": "2.1.0"}
"""The first NumPy there is for a Python, where it isn't the 2.0.0 that the project asks for."""


def pytest(session: nox.Session, *arguments: str, extras: str = "test") -> None:
    """Run pytest in an environment with the project's extras."""
    session.install("-e", f".[{extras}]")
    session.run("python", "-m", "pytest", *arguments, *session.posargs)


@nox.session
def test(session: nox.Session) -> None:
    """The tests, docstrings and documentation: what the README's command runs."""
    pytest(session)


@nox.session
def quick(session: nox.Session) -> None:
    """The quick tests: less than a minute."""
    pytest(session, "-m", "quick")


@nox.session
def deep(session: nox.Session) -> None:
    """What `test` leaves out: the long tests, and property tests with all their examples."""
    pytest(session, "-m", "deep or hypothesis", "--hypothesis-profile=deep")


@nox.session
def parity(session: nox.Session) -> None:
    """Values and gradients compared with PyTorch's and JAX's, which `test` skips where they aren't installed."""
    pytest(session, "-m", "parity", extras="test,parity")


@nox.session
def check(session: nox.Session) -> None:
    """Lint, format, types and import contracts: the hooks of pre-commit, on all files."""
    session.install("pre-commit")
    session.run("pre-commit", "run", "--all-files", "--show-diff-on-failure", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Every example of the README and of the pages in docs/; the pages as HTML in build/docs; the notebooks."""
    pytest(session, "-m", "deep or not deep", *DOCS, extras="test,docs")
    session.run("python", "-m", "sphinx", "-W", "docs", "build/docs")


@nox.session
def coverage(session: nox.Session) -> None:
    """The tests with their coverage, and its floor."""
    session.install("pytest-cov")
    pytest(session, "--cov")


@nox.session
def bench(session: nox.Session) -> None:
    """The speed compared with other libraries: tables and pictures in runs/benchmark."""
    session.install("-e", ".[experiments,fast,parity]", "autograd", "mygrad")
    session.run("python", "-m", "benchmarks.speed", *session.posargs)


@nox.session(python=PYTHONS)
@nox.parametrize("numpy", [nox.param("oldest", id="oldest"), nox.param("newest", id="newest")])
def matrix(session: nox.Session, numpy: str) -> None:
    """The tests on one Python, with the oldest or the newest NumPy for it: `nox -s "matrix-3.9(oldest)"`."""
    version = OLDEST_NUMPY.get(str(session.python), "2.0.0")
    session.install("-e", ".[test]", f"numpy=={version}" if numpy == "oldest" else "numpy")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(reuse_venv=False)
def build(session: nox.Session) -> None:
    """The distributions of a release, in dist/: built, checked, and the wheel imported with NumPy alone."""
    shutil.rmtree("dist", ignore_errors=True)
    session.install("build", "twine")
    session.run("python", "-m", "build")
    session.run("python", "-m", "twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    session.install(*map(str, Path("dist").glob("*.whl")))
    with session.chdir(session.create_tmp()):
        session.run("python", "-c", "import tensorgrad; print(tensorgrad.__version__, tensorgrad.__file__)")
