"""Which replicas can be chosen at all, how loaded they are, and chance; compiled."""

from __future__ import annotations

import numpy as np

from tokenroof.serve.arrays import DOWN, NONE, STARTING, UP, World
from tokenroof.serve.events import INF
from tokenroof.serve.jit import jit

NOW, LATER = 0, 1
"""Replicas that serve now; those that will (they start up, or come back)."""

_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_FACTOR_HIGH, _FACTOR_LOW = np.uint64(0x2545F491), np.uint64(0x4F6CDD1D)
_SHIFTS = (np.uint64(12), np.uint64(25), np.uint64(27))


@jit
def serves(w: World, r: int, stage: int, when: int) -> bool:
    """Whether replica ``r`` takes requests for ``stage`` (prefill: 1, decode: 2; both: 0 does either)."""
    replica = w.rep[r]
    status = replica["status"]
    if when == NOW:
        if status != UP:
            return False
    elif status != STARTING and not (status == DOWN and replica["serves_s"] < INF):
        return False
    own = w.pool[replica["pool"]]["stage"]
    return bool(own == 0 or own == stage)


@jit
def least_loaded(w: World, stage: int) -> int:
    """The serving replica with the fewest requests that are its business, the first of equals."""
    best, fewest = NONE, 1 << 60
    for r in range(w.rep.size):
        if w.rep[r]["outstanding"] < fewest and serves(w, r, stage, NOW):
            best, fewest = r, w.rep[r]["outstanding"]
    return int(best)


@jit
def soonest(w: World, stage: int) -> int:
    """The replica that will serve first of those that do not yet, or ``NONE``."""
    best, at_s = NONE, INF
    for r in range(w.rep.size):
        if serves(w, r, stage, LATER) and w.rep[r]["serves_s"] < at_s:
            best, at_s = r, w.rep[r]["serves_s"]
    return int(best)


@jit
def draw(w: World, count: int) -> int:
    """A whole number below ``count`` by chance: the upper half of an xorshift64* output, scaled.

    S. Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016. The
    product is put together from halves, so that plain numpy sees no overflow.
    """
    g = w.g[0]
    x = g["random"]
    x ^= x >> _SHIFTS[0]
    x ^= x << _SHIFTS[1]
    x ^= x >> _SHIFTS[2]
    g["random"] = x
    high, low = x >> _HALF, x & _LOW
    upper = (low * _FACTOR_LOW) >> _HALF
    upper += (high * _FACTOR_LOW) & _LOW
    upper += (low * _FACTOR_HIGH) & _LOW
    return int(np.int64(((upper & _LOW) * np.uint64(count)) >> _HALF))
