"""Which replicas serve, start, rest or leave, and how one becomes the other; compiled."""

from __future__ import annotations

from tokenroof.serve.account import note
from tokenroof.serve.arrays import (
    DOWN,
    DRAINING,
    NONE,
    OFF,
    SERVES,
    SPARE,
    STARTING,
    UP,
    World,
)
from tokenroof.serve.events import INF, push_event
from tokenroof.serve.jit import jit
from tokenroof.serve.prefix import clear


@jit
def count_status(w: World, p: int, status: int) -> int:
    """Replicas of pool ``p`` in this status."""
    first, count = w.pool[p]["first"], 0
    for r in range(first, first + w.pool[p]["count"]):
        count += w.rep[r]["status"] == status
    return int(count)


@jit
def serving_soon(w: World, p: int) -> int:
    """Replicas of pool ``p`` that serve or start up."""
    return count_status(w, p, UP) + count_status(w, p, STARTING)


@jit
def become(w: World, r: int, status: int, now_s: float) -> None:
    """Replica ``r`` changes its status; the time until now is accounted to the old one."""
    note(w, r, now_s)
    w.rep[r]["status"] = status
    w.rep[r]["serves_s"] = INF


@jit
def start(w: World, r: int, now_s: float, after_s: float) -> None:
    """Replica ``r`` will serve when ``after_s`` have passed."""
    become(w, r, STARTING, now_s)
    w.rep[r]["serves_s"] = now_s + after_s
    push_event(w, now_s + after_s, SERVES, r)


@jit
def vacant(w: World, r: int) -> bool:
    """Whether a new machine can take the place of ``r``: nobody is there, or one that never comes back."""
    replica = w.rep[r]
    return bool(replica["status"] == OFF or (replica["status"] == DOWN and replica["serves_s"] == INF))


@jit
def retire(w: World, r: int, now_s: float) -> None:
    """Replica ``r``, which holds no request, becomes a spare where one is missing; else it is given back."""
    p = w.rep[r]["pool"]
    if count_status(w, p, SPARE) < w.pool[p]["spares"]:
        become(w, r, SPARE, now_s)
        return
    become(w, r, OFF, now_s)
    clear(w.prefix, r)


@jit
def add_one(w: World, p: int, now_s: float) -> int:
    """One more replica of pool ``p``: one that was about to leave, else a new one; or ``NONE``."""
    first = w.pool[p]["first"]
    for r in range(first, first + w.pool[p]["count"]):
        if w.rep[r]["status"] == DRAINING:
            become(w, r, UP, now_s)
            return int(r)
    for r in range(first, first + w.pool[p]["count"]):
        if vacant(w, r):
            start(w, r, now_s, w.pool[p]["start_up_s"])
            return int(r)
    return NONE


@jit
def call_up(w: World, stage: int) -> int:
    """Nobody serves or will: an autoscaled pool does not wait for its next look. Returns who, or ``NONE``."""
    for p in range(w.pool.size):
        own = w.pool[p]["stage"]
        if w.pool[p]["signal"] > 0 and (own == 0 or own == stage):
            found = add_one(w, p, w.g[0]["now_s"])
            if found != NONE:
                w.pool[p]["wanted"] = max(w.pool[p]["wanted"], serving_soon(w, p))
                return found
    return NONE
