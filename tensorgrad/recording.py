from .core.context import *
from .core.context import _capture as _capture
from .core.context import _recording as _recording
