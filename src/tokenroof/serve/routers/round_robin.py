"""One replica after another."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.serve.arrays import NONE, ROUND_ROBIN, World
from tokenroof.serve.jit import jit
from tokenroof.serve.routers.common import serves


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """In turn, whatever they are doing."""

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Router``."""
        return {"router": ROUND_ROBIN}


@jit
def choose(w: World, i: int, stage: int, when: int) -> int:
    """The replica for request ``i``, or ``NONE``."""
    count = w.rep.size
    start = w.g[0]["turn"]
    for step in range(count):
        r = (start + step) % count
        if serves(w, r, stage, when):
            w.g[0]["turn"] = (r + 1) % count
            return int(r)
    return NONE
