"""The replica with the fewest requests that are its business; the first of equals."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.serve.arrays import LEAST_LOADED, NONE, World
from tokenroof.serve.jit import jit
from tokenroof.serve.routers.common import serves


@dataclass(frozen=True, slots=True)
class LeastLoaded:
    """Fewest requests waiting, in prefill and in decode."""

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Router``."""
        return {"router": LEAST_LOADED}


@jit
def choose(w: World, i: int, stage: int, least_status: int) -> int:
    """The replica for request ``i``, or ``NONE``."""
    best, fewest = NONE, 1 << 60
    for r in range(w.rep.size):
        if serves(w, r, stage, least_status) and w.rep[r]["outstanding"] < fewest:
            best, fewest = r, w.rep[r]["outstanding"]
    return int(best)
