"""One replica after another."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.serve.arrays import NONE, ROUND_ROBIN, World
from tokenroof.serve.jit import jit
from tokenroof.serve.routers.common import NOW, serves


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """In turn, whatever they are doing; prefill and decode replicas each have their own turn."""

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Router``."""
        return {"router": ROUND_ROBIN}


@jit
def choose(w: World, i: int, stage: int) -> int:
    """The replica for request ``i``, or ``NONE``."""
    g, count = w.g[0], w.rep.size
    start = g["decode_turn"] if stage == 2 else g["turn"]
    for step in range(count):
        r = (start + step) % count
        if serves(w, r, stage, NOW):
            if stage == 2:
                g["decode_turn"] = (r + 1) % count
            else:
                g["turn"] = (r + 1) % count
            return int(r)
    return NONE
