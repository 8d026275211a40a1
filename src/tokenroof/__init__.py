"""How fast, how much memory, how many chips, what cost, what energy, what carbon, and why.

>>> import tokenroof as tr
>>> answer = tr.estimate("llama-3.3-70b", ["h100", "h200"], isl=2000, osl=500)
>>> print(answer)  # doctest: +SKIP

Names load when they are first used, so that importing the package is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenroof.api.answer import Answer
    from tokenroof.api.calibration import Calibration, calibration
    from tokenroof.api.calls import batch_sweep, estimate, explain
    from tokenroof.api.capacity import Rates, capacity
    from tokenroof.api.lookup import import_model, load_catalog
    from tokenroof.api.planning import plan
    from tokenroof.api.simulation import simulate
    from tokenroof.api.validation import ValidationReport, validate
    from tokenroof.errors import CatalogError, InputError, TokenroofError, UnknownNameError

__version__ = "0.1.0"

_HOMES = {
    "Answer": "tokenroof.api.answer",
    "Calibration": "tokenroof.api.calibration",
    "CatalogError": "tokenroof.errors",
    "InputError": "tokenroof.errors",
    "TokenroofError": "tokenroof.errors",
    "UnknownNameError": "tokenroof.errors",
    "ValidationReport": "tokenroof.api.validation",
    "Rates": "tokenroof.api.capacity",
    "batch_sweep": "tokenroof.api.calls",
    "calibration": "tokenroof.api.calibration",
    "capacity": "tokenroof.api.capacity",
    "estimate": "tokenroof.api.calls",
    "explain": "tokenroof.api.calls",
    "import_model": "tokenroof.api.lookup",
    "load_catalog": "tokenroof.api.lookup",
    "plan": "tokenroof.api.planning",
    "simulate": "tokenroof.api.simulation",
    "validate": "tokenroof.api.validation",
}

__all__ = [
    "Answer",
    "Calibration",
    "CatalogError",
    "InputError",
    "Rates",
    "TokenroofError",
    "UnknownNameError",
    "ValidationReport",
    "batch_sweep",
    "calibration",
    "capacity",
    "estimate",
    "explain",
    "import_model",
    "load_catalog",
    "plan",
    "simulate",
    "validate",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tokenroof' has no attribute {name!r}. It has: {', '.join(__all__)}.")
    found: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
