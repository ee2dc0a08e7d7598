"""Files are whole or absent."""

import os

import pytest

from tensorgrad.extras import MissingExtra, require
from tensorgrad.files import replacing


def test_an_error_while_writing_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    with replacing(tmp_path / "new") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_library_is_named_with_the_remedy():
    with pytest.raises(MissingExtra, match=r"drawing needs no_such_library .* pip install no_such_library"):
        require("no_such_library.sub", "drawing")
