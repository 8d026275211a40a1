"""The less loaded of two replicas drawn by chance.

M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001; ``power_of_two`` of SGLang's
router. It needs the load of two replicas only, and does not send a whole burst to the same one.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.serve.arrays import NONE, POWER_OF_TWO, World
from tokenroof.serve.jit import jit
from tokenroof.serve.routers.common import NOW, draw, serves


@dataclass(frozen=True, slots=True)
class PowerOfTwo:
    """Two different ones by chance, then the one with fewer requests; the first drawn of equals."""

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Router``."""
        return {"router": POWER_OF_TWO}


@jit
def choose(w: World, i: int, stage: int) -> int:
    """The replica for request ``i``, or ``NONE``."""
    count = 0
    for r in range(w.rep.size):
        count += serves(w, r, stage, NOW)
    if count < 2:
        return _nth(w, stage, 0)
    first = draw(w, count)
    second = draw(w, count - 1)
    if second >= first:
        second += 1
    a, b = _nth(w, stage, first), _nth(w, stage, second)
    return b if w.rep[b]["outstanding"] < w.rep[a]["outstanding"] else a


@jit
def _nth(w: World, stage: int, number: int) -> int:
    """Of the serving replicas the one with this number, or ``NONE``."""
    for r in range(w.rep.size):
        if serves(w, r, stage, NOW):
            if number == 0:
                return int(r)
            number -= 1
    return NONE
