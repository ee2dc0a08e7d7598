"""The table of NumPy's functions: it is what the code does."""

import re

import numpy as np
import pytest

import tensorgrad as tg
from tools import numpy_table


def written():
    """The table in the repository: (module, function) -> status."""
    found, module = {}, None
    for line in numpy_table.FILE.read_text().splitlines():
        if heading := re.fullmatch(r"## (\S+)", line):
            module = heading[1]
        elif row := re.fullmatch(r"\| `(\w+)` \| (.+) \|", line):
            found[module, row[1]] = row[2]
    return found


def test_the_written_table_is_current():
    table = written()
    installed = {
        (module.__name__, name): status
        for module in numpy_table.MODULES
        for name, status in numpy_table.rows(module).items()
    }
    assert len(installed) > 350
    assert {key: table.get(key) for key in installed} == installed, "run python -m tools.numpy_table"


@pytest.mark.parametrize("module", numpy_table.MODULES, ids=lambda module: module.__name__)
def test_what_the_table_calls_refused_raises_and_is_named(module):
    x = tg.Tensor(np.eye(2), requires_grad=True)
    for name, status in numpy_table.rows(module).items():
        if status == "refused":
            function = getattr(module, name)
            with pytest.raises(TypeError, match=rf"{function.__name__}.* has no gradient rule in tensorgrad"):
                if isinstance(function, np.ufunc):
                    function(*[x] * function.nin)
                else:
                    x.__array_function__(function, (tg.Tensor,), (x,), {})
