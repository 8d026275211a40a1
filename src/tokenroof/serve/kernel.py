"""The event loop: what happens next, until nothing does; compiled.

At one time segments end first, then events happen, then requests of an open loop are sent; replicas
that this concerns plan their next step after all of it.
"""

from __future__ import annotations

from tokenroof.serve.account import note
from tokenroof.serve.arrays import (
    EMERGES,
    FLEET_EVENT,
    HELD,
    ID_BITS,
    LOADED,
    MOVED,
    MOVING_IN,
    PREFILLING,
    SEND,
    SERVES,
    World,
)
from tokenroof.serve.events import INF, mark, pop_event, set_end
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import blocks_of
from tokenroof.serve.lists import append, remove
from tokenroof.serve.moves import PREFILLS, REJECTED, arrived, end, send_next
from tokenroof.serve.replica import PREFILL_STAGE, begin, dispatch, look_again, prompt_done, settle

TOO_LARGE = 1


@jit
def advance(w: World, events: int) -> bool:
    """Process up to ``events`` events. Returns whether there are more.

    It also stops, with ``GLOBAL["changes"]`` set, in front of an event of the fleet: these are rare, and
    ``fleet.change`` is compiled only where there are any.
    """
    g = w.g[0]
    if g["events"] == 0:
        _open(w)
    for _ in range(events):
        next_end = w.rep[w.clock[0]]["end_s"] if g["clock"] > 0 else INF
        next_event = w.event_t[0] if g["heap"] > 0 else INF
        next_sent = INF
        if g["concurrency"] == 0 and g["next_head"] < w.heads.size:
            next_sent = w.req[w.heads[g["next_head"]]]["arrival_s"]
        now = min(next_end, next_event, next_sent)
        if now > g["now_s"] or now == INF:
            _begin_all(w, g["now_s"])
            if g["dirty"] > 0:
                continue
            if g["ended"] == w.req.size and g["clock"] == 0:
                return False  # whatever else is planned happens to nobody
            next_end = w.rep[w.clock[0]]["end_s"] if g["clock"] > 0 else INF
            next_event = w.event_t[0] if g["heap"] > 0 else INF
            now = min(next_end, next_event, next_sent)
            if now == INF:
                return False
        if next_end > now and next_event == now and FLEET_EVENT <= w.event_k[0] >> ID_BITS <= SERVES:
            g["changes"] = 1
            return True
        g["events"] += 1
        if now < g["now_s"]:
            g["past_event"] += 1
        g["now_s"] = now
        if next_end == now:
            r = int(w.clock[0])
            settle(w, r, now)
            set_end(w, r, INF)
            mark(w, r)
        elif next_event == now:
            key = pop_event(w)
            _happen(w, key >> ID_BITS, key & ((1 << ID_BITS) - 1), now)
        else:
            i = int(w.heads[g["next_head"]])
            g["next_head"] += 1
            send(w, i, now)
    return True


@jit
def _open(w: World) -> None:
    """Closed loop: the first ones are sent."""
    g = w.g[0]
    for _ in range(min(g["concurrency"], w.heads.size)):
        send_next(w, 0.0)


@jit
def _begin_all(w: World, now_s: float) -> None:
    """Replicas that something happened to plan their next step."""
    g = w.g[0]
    count = g["dirty"]
    g["dirty"] = 0
    for at in range(count):
        w.rep[w.dirty[at]]["dirty"] = 0
    for at in range(count):
        begin(w, int(w.dirty[at]), now_s)


@jit
def send(w: World, i: int, now_s: float) -> None:
    """Request ``i`` is sent: a replica is found, or it is refused."""
    g, request = w.g[0], w.req[i]
    request["arrival_s"] = now_s
    g["sent"] += 1
    if too_large(w, i):
        request["reason"] = TOO_LARGE
        end(w, i, REJECTED, now_s)
        return
    dispatch(w, i, now_s, 1)


@jit
def too_large(w: World, i: int) -> bool:
    """Whether no replica could ever hold request ``i``."""
    request = w.req[i]
    for p in range(w.pool.size):
        tokens = request["isl"]
        if w.pool[p]["stage"] != PREFILL_STAGE:
            tokens += request["osl"] - 1
        if blocks_of(w, p, int(tokens)) > w.pool[p]["num_blocks"]:
            return True
    return False


@jit
def _happen(w: World, kind: int, number: int, now_s: float) -> None:
    """An event that was pending."""
    if kind == SEND:
        send(w, number, now_s)
    elif kind == MOVED:
        r = int(w.req[number]["replica"])
        note(w, r, now_s)
        note(w, int(w.req[number]["home"]), now_s)
        home = arrived(w, r, number, now_s)
        look_again(w, home)
        look_again(w, r)
    elif kind == EMERGES:
        r = int(w.req[number]["replica"])
        note(w, r, now_s)
        remove(w, r, MOVING_IN, number)
        prompt_done(w, r, number, now_s)
        look_again(w, r)
    elif kind == LOADED:
        r = int(w.req[number]["replica"])
        note(w, r, now_s)
        remove(w, r, MOVING_IN, number)
        w.req[number]["state"] = PREFILLS
        append(w, r, PREFILLING, number)
        look_again(w, r)
    elif kind == HELD and w.rep[number]["kind"] == 0:
        mark(w, number)
