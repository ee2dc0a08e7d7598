"""The README and the pages: short, linked, executed, and true to the files that they name."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

import tensorgrad as tg
from tests.support import ROOT, needs_chromium, shown_in_chromium

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page, language):
    """The blocks of code of a language, in the order of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_the_readme_is_short_and_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 250
    assert [page.name for page in PAGES[2:] if f"({page.relative_to(ROOT).as_posix()})" not in text] == []


@every_page
def test_links_and_pictures_lead_somewhere(page):
    targets = re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', page.read_text())
    files = [link or source for link, source in targets if "://" not in link + source]
    assert [file for file in files if not (page.parent / file.partition("#")[0]).exists()] == []


@every_page
def test_every_block_of_python_is_an_example_that_runs(page):
    for block in blocks(page, "python"):
        assert block.startswith(">>> "), block  # pytest runs it
        assert block.endswith("\n\n"), block  # the blank line ends the output of the last statement


@every_page
def test_modules_that_commands_name_exist(page):
    named = re.findall(r"python -m ((?:experiments|benchmarks|tools|models|tensorgrad)[.\w]*)", page.read_text())
    assert [name for name in named if importlib.util.find_spec(name) is None] == []


@every_page
def test_paths_that_are_named_exist(page):
    folders = r"tensorgrad|tests|models|experiments|benchmarks|tools|notebooks|docs|\.ci|\.github"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_page_on_the_architecture_names_every_package():
    text = (ROOT / "docs" / "architecture.md").read_text()
    packages = [path.parent for path in ROOT.glob("*/__init__.py")]
    packages += [path.parent for path in ROOT.glob("tensorgrad/*/__init__.py")]
    paths = [package.relative_to(ROOT).as_posix() for package in packages if package != ROOT / "tensorgrad"]
    assert [path for path in paths if f"`{path}/`" not in text] == []


def test_the_tables_of_speeds_are_those_of_the_benchmarks():
    rows = [line for line in (ROOT / "docs" / "speed.md").read_text().splitlines() if line.startswith("|")]
    files = [ROOT / "benchmarks" / "results" / name for name in ("benchmark.md", "optimisers.md", "runs.md")]
    printed = [line for file in files for line in file.read_text().splitlines()]
    assert len(rows) > 10 and [row for row in rows if row not in printed] == []


def test_the_accuracies_of_the_readme_are_those_of_the_results():
    results = (ROOT / "docs" / "results.md").read_text()
    rows = re.findall(r"^\| `(python -m experiments.+?)` \| (\S+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 3
    for command, mean in rows:
        assert re.search(rf"^\| `{re.escape(command)} --seed N` \|.+\| {mean} \|", results, re.MULTILINE)


def test_the_commands_of_contributing_are_sessions_of_nox():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    sessions = re.findall(r"^@nox\.session.*?^def (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE | re.DOTALL)
    named = re.findall(r"nox -s (\w+)", text)
    assert named and set(named) <= set(sessions)


# The pages as HTML

HTML = [page.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for page in PAGES[2:]]
HTML += [f"notebooks/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder in which the pages are built, without a warning."""
    for library in ("sphinx", "furo", "myst_nb", "latex2mathml"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(folder / ".doctrees"), "docs"]
    done = subprocess.run([*command, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.deep
def test_the_pages_are_built_without_a_warning_and_listed(site):
    index = (site / "index.html").read_text()
    assert [name for name in HTML if not (site / name).exists()] == []
    assert [name for name in HTML if f'href="{name}"' not in index and name != "index.html"] == []
    assert 'id="tensorgrad.nn.Dense"' in (site / "api" / "nn.html").read_text()
    page = (site / "api" / "tensorgrad.html").read_text()
    names = set(tg.__all__) - {"OPS", "distributed", "nn", "optim", "random", "samples"}
    assert {name for name in names if f'id="tensorgrad.{name}"' not in page} == set()


@pytest.mark.deep
def test_the_pages_need_no_network(site):
    loaded = re.compile(
        r"""<(?:script|link|img|iframe)[^>]*(?:src|href)="https?:[^>]*>|(?:import|fetch)[^;\n]*https?:"""
    )
    pages = {page.name: loaded.findall(page.read_text()) for page in site.rglob("*.html")}
    assert {name: found for name, found in pages.items() if found} == {}
    assert "<math" in (site / "notebooks" / "Neural_Network_NumPy_Handwritten_detection.html").read_text()


PROBE = """<script>
const pages = %s, widths = [1280, 390], found = []
async function probe(page, width) {
  const frame = Object.assign(document.createElement("iframe"), {src: page, width, height: 900})
  document.body.append(frame)
  await new Promise(done => frame.onload = done)
  const inside = frame.contentDocument
  if (inside.documentElement.scrollWidth > width) found.push(page + " is wider than " + width)
  for (const image of inside.images) if (!image.naturalWidth) found.push(page + " lacks " + image.src)
  frame.remove()
}
onload = async () => {
  for (const page of pages) for (const width of widths) await probe(page, width)
  document.body.textContent = "FOUND " + JSON.stringify(found)
}
</script><body></body>"""


@pytest.mark.deep
@needs_chromium
def test_the_pages_fit_a_screen_and_a_phone(site, tmp_path):
    (site / "probe.html").write_text(PROBE % json.dumps(HTML))
    shown = shown_in_chromium(site / "probe.html", tmp_path / "profile")
    assert "FOUND []" in shown, shown


@pytest.mark.deep
@pytest.mark.parity
def test_the_page_on_other_libraries_runs_to_its_end():
    if not all(importlib.util.find_spec(library) for library in ("torch", "keras")):
        pytest.skip("PyTorch and Keras are not installed")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "docs/learn/libraries.md"]
    settings = {**os.environ, "OTHER_LIBRARIES": "1"}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=300)
    assert "1 passed" in done.stdout, done.stdout
