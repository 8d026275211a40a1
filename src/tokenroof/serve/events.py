"""What happens when: pending events by time, and the replicas by the end of their segments.

Events at one time are taken in the order of their keys: kind, then number.
"""

from __future__ import annotations

from tokenroof.serve.arrays import ID_BITS, NONE, World
from tokenroof.serve.jit import jit

INF = float("inf")


@jit
def push_event(w: World, at_s: float, kind: int, number: int) -> None:
    """Something of ``kind`` happens to ``number`` at ``at_s``."""
    g = w.g[0]
    if at_s < g["now_s"]:
        g["past_event"] += 1
    key = (kind << ID_BITS) | number
    at = g["heap"]
    g["heap"] += 1
    while at > 0:
        above = (at - 1) >> 1
        if w.event_t[above] < at_s or (w.event_t[above] == at_s and w.event_k[above] <= key):
            break
        w.event_t[at] = w.event_t[above]
        w.event_k[at] = w.event_k[above]
        at = above
    w.event_t[at] = at_s
    w.event_k[at] = key


@jit
def pop_event(w: World) -> int:
    """Take out the first event; returns its key."""
    g = w.g[0]
    found = w.event_k[0]
    g["heap"] -= 1
    size = g["heap"]
    at_s, key = w.event_t[size], w.event_k[size]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        other = below + 1
        if other < size and (
            w.event_t[other] < w.event_t[below]
            or (w.event_t[other] == w.event_t[below] and w.event_k[other] < w.event_k[below])
        ):
            below = other
        if w.event_t[below] > at_s or (w.event_t[below] == at_s and w.event_k[below] >= key):
            break
        w.event_t[at] = w.event_t[below]
        w.event_k[at] = w.event_k[below]
        at = below
    w.event_t[at] = at_s
    w.event_k[at] = key
    return int(found)


@jit
def _sooner(w: World, a: int, b: int) -> bool:
    ends_a, ends_b = w.rep[a]["end_s"], w.rep[b]["end_s"]
    return bool(ends_a < ends_b or (ends_a == ends_b and a < b))


@jit
def _settle(w: World, at: int) -> None:
    """Move the replica at a position of the clock to where it belongs."""
    r = w.clock[at]
    while at > 0:
        above = (at - 1) >> 1
        other = w.clock[above]
        if not _sooner(w, r, other):
            break
        w.clock[at] = other
        w.rep[other]["place"] = at
        at = above
    size = w.g[0]["clock"]
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _sooner(w, w.clock[below + 1], w.clock[below]):
            below += 1
        other = w.clock[below]
        if not _sooner(w, other, r):
            break
        w.clock[at] = other
        w.rep[other]["place"] = at
        at = below
    w.clock[at] = r
    w.rep[r]["place"] = at


@jit
def set_end(w: World, r: int, end_s: float) -> None:
    """The segment of replica ``r`` ends at ``end_s``; infinite: it has none."""
    g, replica = w.g[0], w.rep[r]
    if end_s < g["now_s"]:
        g["past_event"] += 1
    place = replica["place"]
    replica["end_s"] = end_s
    if end_s == INF:
        if place == NONE:
            return
        g["clock"] -= 1
        size = g["clock"]
        replica["place"] = NONE
        if place < size:
            w.clock[place] = w.clock[size]
            _settle(w, place)
        return
    if place == NONE:
        place = g["clock"]
        g["clock"] += 1
        w.clock[place] = r
    _settle(w, place)


@jit
def mark(w: World, r: int) -> None:
    """Replica ``r`` needs a new segment once everything that happens now has happened."""
    if not w.rep[r]["dirty"]:
        w.rep[r]["dirty"] = 1
        w.dirty[w.g[0]["dirty"]] = r
        w.g[0]["dirty"] += 1
