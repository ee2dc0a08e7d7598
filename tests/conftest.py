"""Profiles and marks of the tests: CONTRIBUTING.md says which tests run where.

The drawn examples are the same in every run; the profile ``search`` draws new ones.
"""

from contextlib import suppress

import pytest
from hypothesis import settings

with suppress(ImportError):
    import tensorgrad.interop.scipy  # noqa: F401  so that tests which go through all ops find SciPy's

settings.register_profile("usual", max_examples=20, derandomize=True, deadline=None)
settings.register_profile("deep", max_examples=100, derandomize=True, deadline=None)
settings.register_profile("search", max_examples=100, print_blob=True, deadline=None)
settings.load_profile("usual")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Before pytest chooses by mark: a test that is neither slow nor deep is quick."""
    for item in items:
        if not any(item.get_closest_marker(mark) for mark in ("slow", "deep")):
            item.add_marker("quick")
