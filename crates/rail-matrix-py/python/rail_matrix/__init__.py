"""Device matrices that jaccl cannot hang on."""

from ._native import *
from ._native import __all__ as __all__
