"""Writes to files are atomic."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorgrad._atomic import replacing
from tensorgrad._optional import MissingExtra, require
from tensorgrad._paths import cache_folder, check_regular, open_regular, printable
from tests.support import examples


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


@settings(max_examples=examples(200), deadline=None)
@given(st.text(st.characters(categories=["L", "N", "P", "Cc", "Cs"])))
def test_any_name_can_be_printed_and_a_plain_one_is_itself(name):
    shown = printable(name)
    assert shown.encode() is not None and not set(shown) & {chr(code) for code in (*range(32), *range(127, 160))}
    if name.isprintable():
        assert shown == name


def test_bytes_of_a_name_that_is_not_utf_8_are_shown():
    assert printable(os.fsdecode(b"caf\xe9\x1b[31m")) == r"caf\xe9\x1b[31m"


def test_only_regular_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"abc" and check_regular(tmp_path / "file").st_size == 3
    os.mkfifo(tmp_path / "pipe")
    for name, kind in [("pipe", OSError), ("", IsADirectoryError), ("missing", FileNotFoundError)]:
        with pytest.raises(kind):
            open_regular(tmp_path / name)


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tensorgrad"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "tensorgrad"
