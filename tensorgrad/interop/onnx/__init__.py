"""Reading and writing ONNX files (the extra ``onnx``).

:func:`export` records what a network computes and writes it with the operators of opset 18; :func:`load` reads such
files, and those of other libraries with the same operators, as a module that runs and is trained.
"""

from .operators import OPERATORS
from .reading import OPSETS, Network, load
from .recording import ExportError
from .rules import RULES
from .writing import OPSET, export

__all__ = ["OPERATORS", "OPSET", "OPSETS", "RULES", "ExportError", "Network", "export", "load"]
