"""The same examples in every run of the tests; ``--hypothesis-profile=search`` draws new ones."""

from hypothesis import settings

settings.register_profile("repeat", derandomize=True)
settings.register_profile("search", print_blob=True)
settings.load_profile("repeat")
