"""The replica with the fewest requests that are its business; the first of equals."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.serve.arrays import LEAST_LOADED, World
from tokenroof.serve.jit import jit
from tokenroof.serve.routers.common import least_loaded


@dataclass(frozen=True, slots=True)
class LeastLoaded:
    """Fewest requests waiting, in prefill and in decode."""

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Router``."""
        return {"router": LEAST_LOADED}


@jit
def choose(w: World, i: int, stage: int) -> int:
    """The replica for request ``i``, or ``NONE``."""
    return least_loaded(w, stage)
