"""What the batching rules of all engines share: taking a prompt, and a chunk of it; compiled."""

from __future__ import annotations

import math

from tokenroof.serve.arrays import (
    DECODING,
    LEVELS,
    LOADED,
    MOVING_IN,
    NONE,
    PREFILLING,
    READY,
    World,
)
from tokenroof.serve.events import push_event
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import available, blocks_of, take
from tokenroof.serve.lists import COUNT, HEAD, TAIL, append
from tokenroof.serve.moves import LOADS, PREFILLS, leave_line, preempt, pull
from tokenroof.serve.prefix import hold, load, load_s, match, match_below
from tokenroof.serve.steptime import prompt_s


@jit
def next_waiting(w: World, r: int) -> int:
    """The request that is first in line, by priority, then by order; or ``NONE``."""
    if w.rep[r]["waiting"] == 0:
        return NONE
    for level in range(LEVELS):
        i = w.lists[r, level, HEAD]
        if i != NONE:
            return int(i)
    return NONE


@jit
def held_seqs(w: World, r: int) -> int:
    """Sequences that take a place: in prefill, in decode, on their way in."""
    inside = w.lists[r, PREFILLING, COUNT] + w.lists[r, DECODING, COUNT]
    return int(inside + w.lists[r, MOVING_IN, COUNT] + w.lists[r, READY, COUNT])


@jit
def pull_moved(w: World, r: int, now_s: float) -> None:
    """Decode replicas: admit prefilled requests from the front of the line while there is room."""
    while True:
        i = next_waiting(w, r)
        if i == NONE or w.req[i]["home"] == NONE or not pull(w, r, i, now_s):
            return


@jit
def clear_chunks(w: World, r: int) -> None:
    """Begin to plan a step."""
    replica = w.rep[r]
    replica["chunks"], replica["chunk_tokens"], replica["chunk_ends"] = 0, 0, 0
    replica["chunk_past"], replica["chunk_pairs"] = 0.0, 0.0
    replica["with_decode"] = 1


@jit
def room_for(w: World, r: int, i: int, past: int, tokens: int, units: int, reserve: int) -> bool:
    """Whether blocks for ``tokens`` more tokens of request ``i`` are available beside ``reserve``."""
    p = w.rep[r]["pool"]
    need = blocks_of(w, p, past + tokens) - w.req[i]["blocks"] - units * w.pool[p]["unit_blocks"]
    return bool(need <= available(w, r) - reserve)


@jit
def add_chunk(w: World, r: int, i: int, tokens: int, now_s: float) -> None:
    """The next step computes ``tokens`` more tokens of prompt ``i``; room has been made sure of."""
    replica, request = w.rep[r], w.req[i]
    p = replica["pool"]
    past = request["past"]
    need = blocks_of(w, p, past + tokens)
    need -= request["blocks"] + request["units"] * w.pool[p]["unit_blocks"]
    if need > 0:
        take(w, r, int(need), now_s)
        request["blocks"] += need
    request["chunk"] = tokens
    replica["chunks"] += 1
    replica["chunk_tokens"] += tokens
    replica["chunk_past"] += past
    replica["chunk_pairs"] += tokens * (float(past) + 0.5 * (tokens + 1.0))
    if past + tokens >= request["target"]:
        replica["chunk_ends"] += 1


@jit
def prefix_units(w: World, r: int, i: int) -> int:
    """Leading units of request ``i`` that replica ``r`` has cached; one token is always left to compute."""
    pool = w.pool[w.rep[r]["pool"]]
    if not pool["prefix"]:
        return 0
    known = w.prefix.start[i + 1] - w.prefix.start[i]
    most = min(known, (w.req[i]["target"] - 1) // pool["unit_tokens"])
    return int(match(w.prefix, r, i, int(most)))


@jit
def admit(w: World, r: int, i: int, units: int, now_s: float) -> bool:
    """Take request ``i`` out of the line with ``units`` cached units, which it holds from now on.

    What lower tiers have of the rest is loaded when that is faster than computing it; then the request
    is on its way in, and False is returned: it has no chunk in this step.
    """
    request, replica = w.req[i], w.rep[r]
    p = replica["pool"]
    pool = w.pool[p]
    leave_line(w, r, i)
    if units > 0:
        was_idle = hold(w.prefix, r, i, units)
        request["units"] = units
        take(w, r, int(was_idle * pool["unit_blocks"]), now_s)
        request["past"] = units * pool["unit_tokens"]
    request["state"] = PREFILLS
    first_time = math.isnan(request["start_s"])
    if first_time:
        request["start_s"] = now_s
        request["cached"] = request["past"]
    if pool["prefix"]:
        more = _worth_loading(w, r, i, units, now_s)
        if more > 0:
            take(w, r, int(more * pool["unit_blocks"]), now_s)
            done_s = load(w.prefix, r, i, units, units + more, now_s)
            request["units"] = units + more
            request["past"] = (units + more) * pool["unit_tokens"]
            if first_time:
                request["cached"] = request["past"]
            request["state"] = LOADS
            append(w, r, MOVING_IN, i)
            push_event(w, done_s, LOADED, i)
            return False
    append(w, r, PREFILLING, i)
    return True


@jit
def _worth_loading(w: World, r: int, i: int, units: int, now_s: float) -> int:
    """Units below HBM that are loaded sooner than computed and have room; 0 when computing is better."""
    pool = w.pool[w.rep[r]["pool"]]
    known = w.prefix.start[i + 1] - w.prefix.start[i]
    most = min(known, (w.req[i]["target"] - 1) // pool["unit_tokens"])
    more = match_below(w.prefix, r, i, units, int(most))
    if more <= 0 or more * pool["unit_blocks"] > available(w, r):
        return 0
    tokens = float(more * pool["unit_tokens"])
    saved_s = prompt_s(w, int(w.rep[r]["pool"]), tokens, float(units * pool["unit_tokens"]))
    return int(more) if load_s(w.prefix, r, i, units, units + more, now_s) < saved_s else 0


@jit
def victim(w: World, r: int) -> int:
    """The request that was taken last, prompts in prefill before sequences that decode; or ``NONE``."""
    i = w.lists[r, PREFILLING, TAIL]
    return int(i if i != NONE else w.lists[r, DECODING, TAIL])


@jit
def make_room(w: World, r: int, need: int) -> bool:
    """Preempt from the back until ``need`` blocks are available. Returns whether anybody was."""
    some = False
    while available(w, r) < need and held_seqs(w, r) > 1:
        i = victim(w, r)
        if i == NONE:
            break
        preempt(w, r, i, True)
        some = True
    return some
