"""Every error tokenroof raises, as one tree.

::

    TokenroofError
    +-- InputError          what the user gave is wrong; the CLI prints one line and exits with code 2
    |   +-- UnknownNameError    a name that no catalog file defines (the nearest names are offered)
    |   +-- UnitError           a quantity without, or with a wrong, unit
    |   +-- UnsupportedModelError   a model architecture the importer does not know
    +-- CatalogError        a catalog file (ours or the user's) is malformed

Infeasibility (a model that does not fit, a layout that is not legal) is a *result*, never an
exception: see ``tokenroof.deploy.core.Infeasible``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TokenroofError(Exception):
    """Root of every error raised on purpose."""


class InputError(TokenroofError, ValueError):
    """What the user gave cannot be used; the message says what, what was given, and what to do."""


class UnitError(InputError):
    """A quantity has no unit, an unknown unit, or one of another dimension."""


class UnsupportedModelError(InputError):
    """A model architecture that the importer does not know."""


class CatalogError(TokenroofError, ValueError):
    """A catalog file is malformed; the message names file, row and field."""


_LISTED = {
    "chip": "chips",
    "memory": "memories",
    "link": "links",
    "node": "nodes",
    "engine": "engines",
    "model": "models",
    "source": "sources",
    "figure": "prices",
    "run": "runs",
}
"""Commands that list the names of a kind; of other kinds the error lists all."""


class UnknownNameError(InputError):
    """A name that no catalog file defines.

    Parameters
    ----------
    kind : str
        What was looked up, in the singular ("chip", "model").
    given : str
        The name as the user wrote it.
    known : iterable of str
        Every name that would have been accepted.
    """

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(given.lower(), names, n=3, cutoff=0.4)
        hint = f"Nearest: {', '.join(near)}. " if near else ""
        known_names = (
            f"{len(names)} are known; list them with 'tokenroof {_LISTED[kind]} list'."
            if kind in _LISTED
            else f"Known: {', '.join(names)}."
        )
        super().__init__(f"unknown {kind} {given!r}. {hint}{known_names}")
