"""Autoscaling: at every interval, how many replicas a pool should have; compiled.

The rule of Kubernetes' HorizontalPodAutoscaler: ceil(current x measured / target), the measured value a
mean over current replicas, so that it is their sum over the target. More is started at once; fewer only
after the need was lower for the whole of ``down_after_s``, and then as many as the highest need in it.
"""

from __future__ import annotations

import math

from tokenroof.serve.arrays import DRAINING, ID_BITS, NONE, OFF, STARTING, TICK, UP, World
from tokenroof.serve.events import INF, push_event
from tokenroof.serve.fleet_loss import drop_stale, lose_waiting
from tokenroof.serve.fleet_status import add_one, become, serving_soon
from tokenroof.serve.jit import jit
from tokenroof.serve.progress import used_now
from tokenroof.serve.replica import look_again

RATE, QUEUE, KV = 1, 2, 3
"""``POOL["signal"]``; 0: not autoscaled."""


@jit
def tick(w: World, p: int, now_s: float) -> None:
    """Decide on pool ``p``, and when to decide next."""
    pool = w.pool[p]
    need, current = _need(w, p, now_s), serving_soon(w, p)
    pool["arrived"] = 0
    pool["wanted"] = max(need, current)
    if need >= current:
        pool["low_since_s"] = INF
        for _ in range(need - current):
            add_one(w, p, now_s)
    else:
        if pool["low_since_s"] == INF:
            pool["low_since_s"] = now_s
            pool["low_most"] = 0
        pool["low_most"] = max(pool["low_most"], need)
        if now_s - pool["low_since_s"] >= pool["down_after_s"]:
            pool["low_since_s"] = INF
            pool["wanted"] = min(current, pool["low_most"])
            for _ in range(current - pool["wanted"]):
                _remove_one(w, p, now_s)
    if _goes_on(w):
        push_event(w, now_s + pool["interval_s"], TICK, p)


@jit
def _need(w: World, p: int, now_s: float) -> int:
    """Replicas that would see the target, within the bounds."""
    pool = w.pool[p]
    measured = 0.0
    if pool["signal"] == RATE:
        measured = pool["arrived"] / pool["interval_s"]
    else:
        for r in range(pool["first"], pool["first"] + pool["count"]):
            if pool["signal"] == QUEUE:
                measured += w.rep[r]["waiting"]
            else:
                measured += used_now(w, r, now_s) / pool["num_blocks"]
    need = math.ceil(measured / pool["goal"] - 1e-9)
    return int(min(max(need, pool["least"]), pool["most"]))


@jit
def _remove_one(w: World, p: int, now_s: float) -> None:
    """One replica fewer: the last that starts up, else the one with the fewest requests."""
    first, found = w.pool[p]["first"], NONE
    for r in range(first, first + w.pool[p]["count"]):
        if w.rep[r]["status"] == STARTING:
            found = r
    if found != NONE:
        become(w, found, OFF, now_s)
        drop_stale(w)
        lose_waiting(w, found, found, 0)
        return
    for r in range(first, first + w.pool[p]["count"]):
        if w.rep[r]["status"] == UP and (
            found == NONE or w.rep[r]["outstanding"] <= w.rep[found]["outstanding"]
        ):
            found = r
    if found != NONE:
        become(w, found, DRAINING, now_s)
        look_again(w, found)


@jit
def _goes_on(w: World) -> bool:
    """Whether anything happens but decisions like this one."""
    g = w.g[0]
    if g["clock"] > 0 or g["dirty"] > 0 or (g["concurrency"] == 0 and g["next_head"] < w.heads.size):
        return True
    at = 0
    while at < g["heap"] and w.event_k[at] >> ID_BITS == TICK:
        at += 1
    return bool(at < g["heap"])
