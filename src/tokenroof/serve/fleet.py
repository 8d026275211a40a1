"""What changes during a run: replicas fail, are slow, come back, are added and removed; compiled.

The event loop stops in front of an event of the fleet and ``change`` is called from outside, so that only
runs that have such events wait until all this is compiled.
"""

from __future__ import annotations

from tokenroof.serve.arrays import (
    DOWN,
    DRAINING,
    FLEET_EVENT,
    ID_BITS,
    OFF,
    SERVES,
    SPARE,
    TICK,
    UP,
    World,
)
from tokenroof.serve.events import INF, mark, pop_event, push_event
from tokenroof.serve.fleet_loss import drop_stale, go_down, lose_waiting
from tokenroof.serve.fleet_resume import break_off, send_again
from tokenroof.serve.fleet_scale import tick
from tokenroof.serve.fleet_status import become, count_status, retire, serving_soon, start
from tokenroof.serve.jit import jit
from tokenroof.serve.replica import interrupt


def open_fleet(w: World) -> None:
    """What is known from the start: incidents with their ends, first decisions of autoscalers."""
    if w.incident.size > 0 or w.pool["signal"].any():
        _plan(w)


@jit
def _plan(w: World) -> None:
    for row in range(w.incident.size):
        push_event(w, w.incident[row]["at_s"], FLEET_EVENT, 2 * row)
        if w.incident[row]["until_s"] < INF:
            push_event(w, w.incident[row]["until_s"], FLEET_EVENT, 2 * row + 1)
    for p in range(w.pool.size):
        if w.pool[p]["signal"] > 0:
            push_event(w, w.pool[p]["interval_s"], TICK, p)


@jit
def change(w: World) -> None:
    """The next event, one of the fleet, happens."""
    g = w.g[0]
    now_s = w.event_t[0]
    if now_s < g["now_s"]:
        g["past_event"] += 1
    g["now_s"] = now_s
    g["events"] += 1
    g["changes"] = 0
    key = pop_event(w)
    kind, number = key >> ID_BITS, key & ((1 << ID_BITS) - 1)
    if kind == TICK:
        tick(w, number, now_s)
    elif kind == SERVES:
        _serve(w, number, now_s)
    elif w.incident[number >> 1]["slow"] < INF:
        _change_pace(w, w.incident[number >> 1]["replica"], now_s)
    elif number & 1:
        _come_back(w, w.incident[number >> 1]["replica"], now_s)
    else:
        _fail(w, number >> 1, now_s)
    send_again(w, now_s)


@jit
def _change_pace(w: World, r: int, now_s: float) -> None:
    """The factor on the times of ``r`` is another from its next step on; of several the largest."""
    pace = 1.0
    for row in range(w.incident.size):
        incident = w.incident[row]
        if incident["at_s"] > now_s:
            break
        if incident["replica"] == r and incident["slow"] < INF and now_s < incident["until_s"]:
            pace = max(pace, incident["slow"])
    interrupt(w, r, now_s, 0)
    w.rep[r]["pace"] = pace


@jit
def _down_until_s(w: World, r: int, now_s: float) -> float:
    """When the last failure of ``r`` that has begun is repaired; 0: all are. [s]"""
    until_s = 0.0
    for row in range(w.incident.size):
        incident = w.incident[row]
        if incident["at_s"] > now_s:
            break
        if incident["replica"] == r and incident["slow"] == INF and now_s < incident["until_s"]:
            until_s = max(until_s, incident["until_s"])
    return until_s


@jit
def _fail(w: World, first: int, now_s: float) -> None:
    """All replicas that fail at this instant, when it is the turn of the first of their rows."""
    if first > 0 and w.incident[first - 1]["at_s"] == now_s:
        return
    break_off(w, first, now_s)
    last = first
    while last < w.incident.size and w.incident[last]["at_s"] == now_s:
        r = w.incident[last]["replica"]
        if w.incident[last]["slow"] == INF:
            status = w.rep[r]["status"]
            serves_s = _down_until_s(w, r, now_s) + w.pool[w.rep[r]["pool"]]["start_up_s"]
            if status == DOWN:
                w.rep[r]["serves_s"] = max(w.rep[r]["serves_s"], serves_s)
                lose_waiting(w, r, r, 0)
            elif status != OFF:
                go_down(w, r, now_s, serves_s)
        last += 1
    drop_stale(w)
    for p in range(w.pool.size):
        _call_spares(w, p, now_s)


@jit
def _call_spares(w: World, p: int, now_s: float) -> None:
    """Spares of pool ``p`` take the place of what it is short of."""
    pool = w.pool[p]
    for r in range(pool["first"], pool["first"] + pool["count"]):
        if w.rep[r]["status"] == SPARE and serving_soon(w, p) < pool["wanted"]:
            start(w, r, now_s, w.g[0]["takeover_s"])


@jit
def _come_back(w: World, r: int, now_s: float) -> None:
    """A failure of ``r`` is repaired: unless there is another, it loads its weights."""
    if w.rep[r]["status"] == DOWN and _down_until_s(w, r, now_s) == 0.0:
        start(w, r, now_s, w.pool[w.rep[r]["pool"]]["start_up_s"])


@jit
def _serve(w: World, r: int, now_s: float) -> None:
    """Replica ``r`` is ready: it serves where one is missing, else it is the new spare, or given back."""
    p = w.rep[r]["pool"]
    if count_status(w, p, UP) < w.pool[p]["wanted"]:
        become(w, r, UP, now_s)
        mark(w, r)
    else:
        retire(w, r, now_s)
    for q in range(w.rep.size):
        if w.rep[q]["waiting"] > 0 and w.rep[q]["status"] not in (UP, DRAINING):
            lose_waiting(w, q, q, 0)
