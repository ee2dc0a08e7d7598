"""The figures of the pages for learners."""

import re

import pytest

from tests.support import ROOT
from tools import figures


@pytest.mark.deep
def test_every_figure_that_a_page_shows_is_drawn_and_no_other(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    figures.main()
    drawn = {path.name for path in tmp_path.iterdir()}
    pages = (ROOT / "docs" / "learn").glob("*.md")
    shown = {name for page in pages for name in re.findall(r"\(\.\./pictures/([\w-]+\.png)\)", page.read_text())}
    assert drawn == shown == {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
