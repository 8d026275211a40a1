"""Which rule finds a replica for a request."""

from __future__ import annotations

from tokenroof.serve.arrays import NONE, World
from tokenroof.serve.jit import jit
from tokenroof.serve.routers import least_loaded
from tokenroof.serve.routers.common import LATER, NOW


@jit
def route(w: World, i: int, stage: int) -> int:
    """The replica for request ``i``: one that serves now, else one that will, else ``NONE``."""
    for when in (NOW, LATER):
        found = least_loaded.choose(w, i, stage, when)
        if found != NONE:
            return found
    return NONE
