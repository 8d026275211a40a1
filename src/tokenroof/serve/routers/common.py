"""Which replicas can be chosen at all; compiled."""

from __future__ import annotations

from tokenroof.serve.arrays import DOWN, STARTING, UP, World
from tokenroof.serve.jit import jit

NOW, LATER = 0, 1
"""Replicas that serve now; those that will (they start up, or come back)."""


@jit
def serves(w: World, r: int, stage: int, when: int) -> bool:
    """Whether replica ``r`` takes requests for ``stage`` (prefill: 1, decode: 2; both: 0 does either)."""
    replica = w.rep[r]
    own = w.pool[replica["pool"]]["stage"]
    if own != 0 and own != stage:
        return False
    if when == NOW:
        return bool(replica["status"] == UP)
    if replica["status"] == DOWN:
        return bool(replica["serves_s"] < float("inf"))
    return bool(replica["status"] == STARTING)
