"""What is added up while time passes: the timeline and the gaps between tokens; compiled."""

from __future__ import annotations

import math

from tokenroof.serve.arrays import DOWN, DRAINING, ITL_BINS, OFF, TIME_BINS, UP, World
from tokenroof.serve.jit import jit
from tokenroof.serve.results import ITL_BINS_PER_OCTAVE, ITL_LEAST_S

RUNNING, WAITING, USED, PREFILL, DECODED, BUSY, ALIVE, ROWS = range(8)


@jit
def _widen(w: World, until_s: float) -> None:
    """Double the width of the timeline's bins until ``until_s`` lies inside."""
    g = w.g[0]
    while until_s >= g["bin_s"] * TIME_BINS:
        for p in range(w.timeline.shape[0]):
            for row in range(ROWS):
                line = w.timeline[p, row]
                for at in range(TIME_BINS // 2):
                    line[at] = line[2 * at] + line[2 * at + 1]
                for at in range(TIME_BINS // 2, TIME_BINS):
                    line[at] = 0.0
        g["bin_s"] *= 2.0


@jit
def note(w: World, r: int, now_s: float) -> None:
    """Account the state of replica ``r`` from when it was last seen until now; call before it changes."""
    replica = w.rep[r]
    start = replica["seen_s"]
    if now_s <= start:
        return
    replica["seen_s"] = now_s
    _widen(w, now_s)
    g = w.g[0]
    status = replica["status"]
    up = 1.0 if status in (UP, DRAINING) else 0.0
    paid = 0.0 if status in (OFF, DOWN) else 1.0
    busy = 1.0 if replica["kind"] != 0 else 0.0
    replica["up_s"] += paid * (now_s - start)
    replica["busy_s"] += busy * (now_s - start)
    running = float(w.lists[r, 8, 2] + w.lists[r, 9, 2])
    waiting, used = float(replica["waiting"]), float(replica["used"])
    bins = w.timeline[replica["pool"]]
    width = g["bin_s"]
    at = int(start / width)
    while start < now_s:
        edge = min(now_s, (at + 1) * width)
        passed = edge - start
        if passed > 0.0:
            bins[RUNNING, at] += running * passed
            bins[WAITING, at] += waiting * passed
            bins[USED, at] += used * passed
            bins[BUSY, at] += busy * passed
            bins[ALIVE, at] += up * passed
        start = edge
        at += 1


@jit
def spread(w: World, p: int, row: int, start_s: float, end_s: float, amount: float) -> None:
    """Add ``amount`` to a row of the timeline, evenly over an interval."""
    width = w.g[0]["bin_s"]
    if end_s >= width * TIME_BINS:
        _widen(w, end_s)
        width = w.g[0]["bin_s"]
    line = w.timeline[p, row]
    first = int(start_s / width)
    if end_s < (first + 1) * width or end_s <= start_s:
        line[first] += amount
        return
    last = int(end_s / width)
    rate = amount / (end_s - start_s)
    for at in range(first, last + 1):
        line[at] += rate * (min(end_s, (at + 1) * width) - max(start_s, at * width))


@jit
def gap(w: World, p: int, gap_s: float, count: float) -> None:
    """So many gaps between two tokens of a request."""
    w.itl[p, _bin(gap_s)] += count


@jit
def _bin(gap_s: float) -> int:
    if gap_s <= ITL_LEAST_S:
        return 0
    return min(int(math.log2(gap_s / ITL_LEAST_S) * ITL_BINS_PER_OCTAVE), ITL_BINS - 1)


@jit
def step_gaps(w: World, r: int, kind: int, gap_s: float, count: float) -> None:
    """Gaps of a whole batch of replica ``r``; steps of one kind mostly fall where the last one fell.

    Remembering that bin saves a logarithm: ``kind`` is 0 for decode steps, 1 for steps with prompts.
    """
    replica = w.rep[r]
    if not replica["gap_least_s"][kind] <= gap_s < replica["gap_most_s"][kind]:
        at = _bin(gap_s)
        # A little inside, so that rounding never puts a gap into a bin that ``_bin`` would not.
        replica["gap_bin"][kind] = at
        replica["gap_least_s"][kind] = ITL_LEAST_S * 2.0 ** ((at + 1e-6) / ITL_BINS_PER_OCTAVE)
        replica["gap_most_s"][kind] = ITL_LEAST_S * 2.0 ** ((at + 1.0 - 1e-6) / ITL_BINS_PER_OCTAVE)
    w.itl[replica["pool"], replica["gap_bin"][kind]] += count
