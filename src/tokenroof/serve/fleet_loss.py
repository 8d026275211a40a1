"""A replica fails: what it held is lost; ``fleet_resume`` sends those who lost it again; compiled.

Tokens that are out stay out: prompt and answer so far are computed again elsewhere. A request whose
cache waits on a prefill replica that lives is only sent to another decode replica.
"""

from __future__ import annotations

from tokenroof.serve.account import note
from tokenroof.serve.arrays import (
    DECODING,
    DOWN,
    DRAINING,
    EMERGES,
    ID_BITS,
    LEVELS,
    LISTS,
    LOADED,
    LOST,
    MOVED,
    MOVING_IN,
    NONE,
    PREFILLING,
    READY,
    SERVES,
    STARTING,
    UP,
    World,
)
from tokenroof.serve.events import push_event
from tokenroof.serve.fleet_status import become
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import blocks_of, give, release
from tokenroof.serve.lists import HEAD, append, remove
from tokenroof.serve.moves import (
    DECODES,
    LOADS,
    MOVES,
    WAITS,
    forget,
    leave_line,
    let_go,
    part,
    release_home,
)
from tokenroof.serve.prefix import clear
from tokenroof.serve.replica import look_again


@jit
def go_down(w: World, r: int, now_s: float, serves_s: float) -> None:
    """Replica ``r`` fails now and may serve again at ``serves_s``; its requests come to its list ``LOST``.

    Its work has been broken off.
    """
    replica = w.rep[r]
    counts = 1 if replica["status"] in (UP, DRAINING) else 0
    become(w, r, DOWN, now_s)
    replica["serves_s"] = serves_s
    _lose_decoding(w, r, counts)
    _lose_held(w, r, PREFILLING, counts)
    _lose_held(w, r, READY, counts)
    _lose_held(w, r, MOVING_IN, counts)
    _lose_homed(w, r, counts)
    lose_waiting(w, r, r, counts)
    clear(w.prefix, r)
    replica["ratio"], replica["hold_until_s"] = w.pool[replica["pool"]]["ratio_start"], 0.0
    replica["ratio_step"], replica["full"] = replica["done_steps"], 0
    replica["link_free_s"] = now_s


@jit
def _lose(w: World, r: int, i: int, counts: int) -> None:
    """Request ``i``, which is in no list and holds nothing on ``r``, is lost with it."""
    request = w.req[i]
    request["state"] = WAITS
    request["retries"] += counts
    append(w, r, LOST, i)


@jit
def _lose_decoding(w: World, r: int, counts: int) -> None:
    replica = w.rep[r]
    i = w.lists[r, DECODING, HEAD]
    while i != NONE:
        request = w.req[i]
        following = request["after"]
        if request["state"] == DECODES:
            if replica["done_steps"] > request["join_step"]:
                request["last_s"] = replica["decoded_s"]
            part(w, r, i)
            release(w, r, i)
            let_go(w, r, i)
            forget(w, i)
            _lose(w, r, i, counts)
        else:  # has ended and keeps its place
            remove(w, r, DECODING, i)
            release(w, r, i)
            replica["zombies"] -= 1
        i = following
    replica["context"], replica["growth"] = 0.0, 0.0


@jit
def _lose_held(w: World, r: int, which: int, counts: int) -> None:
    """What is prefilled on ``r``, about to decode there, or comes in: from a cache tier or a replica."""
    while w.lists[r, which, HEAD] != NONE:
        i = w.lists[r, which, HEAD]
        if which == MOVING_IN and w.req[i]["home"] != NONE:
            turn_back(w, r, i)
        else:
            remove(w, r, which, i)
            release(w, r, i)
            let_go(w, r, i)
            forget(w, i)
        _lose(w, r, i, counts)


@jit
def turn_back(w: World, d: int, i: int) -> None:
    """Request ``i`` moves to decode replica ``d`` no longer; its cache is where it was prefilled."""
    remove(w, d, MOVING_IN, i)
    give(w, d, blocks_of(w, w.rep[d]["pool"], w.req[i]["target"]))
    let_go(w, d, i)


@jit
def _lose_homed(w: World, r: int, counts: int) -> None:
    """Requests elsewhere whose cache was to come from ``r``."""
    for d in range(w.rep.size):
        for which in range(LISTS):
            if which in (PREFILLING, DECODING, READY):
                continue  # these have all they need
            i = w.lists[d, which, HEAD]
            while i != NONE:
                following = w.req[i]["after"]
                if w.req[i]["home"] == r:
                    _lose_home(w, d, which, i, r, counts)
                i = following


@jit
def _lose_home(w: World, d: int, which: int, i: int, r: int, counts: int) -> None:
    if which != LOST:
        note(w, d, w.g[0]["now_s"])
        if which == MOVING_IN:
            turn_back(w, d, i)
        else:
            leave_line(w, d, i)
            let_go(w, d, i)
        look_again(w, d)
    release_home(w, r, i)
    forget(w, i)
    if which != LOST:
        _lose(w, r, i, counts)


@jit
def lose_waiting(w: World, r: int, to: int, counts: int) -> None:
    """All that wait at ``r`` come to the list ``LOST`` of ``to``."""
    for level in range(LEVELS):
        while w.lists[r, level, HEAD] != NONE:
            i = w.lists[r, level, HEAD]
            leave_line(w, r, i)
            let_go(w, r, i)
            _lose(w, to, i, counts)


@jit
def drop_stale(w: World) -> None:
    """Take out pending events of moves, loads and start-ups that were broken off."""
    g = w.g[0]
    size = g["heap"]
    g["heap"] = 0
    for at in range(size):
        at_s, key = w.event_t[at], w.event_k[at]
        kind, number = key >> ID_BITS, key & ((1 << ID_BITS) - 1)
        if _stands(w, at_s, kind, number):
            push_event(w, at_s, kind, number)


@jit
def _stands(w: World, at_s: float, kind: int, number: int) -> bool:
    if kind in (MOVED, EMERGES):
        return bool(w.req[number]["state"] == MOVES)
    if kind == LOADED:
        return bool(w.req[number]["state"] == LOADS)
    if kind == SERVES:
        return bool(w.rep[number]["status"] == STARTING and w.rep[number]["serves_s"] == at_s)
    return True
