"""What the batching rules of all engines share: taking a prompt, and a chunk of it; compiled."""

from __future__ import annotations

import math

from tokenroof.serve.ahead import known
from tokenroof.serve.arrays import (
    DECODING,
    LEVELS,
    LOADED,
    MOVING_IN,
    NONE,
    PREFILLING,
    READY,
    STATIC,
    TRTLLM,
    World,
)
from tokenroof.serve.events import push_event
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import available, blocks_of, cached_tokens, decode_need, take
from tokenroof.serve.lists import COUNT, HEAD, TAIL, append
from tokenroof.serve.moves import DECODES, LOADS, MOVES, PREFILLS, leave_line, preempt, pull
from tokenroof.serve.prefix import arrived_s, hold, load, load_s, match, match_below
from tokenroof.serve.steptime import prompt_s
from tokenroof.serve.tiers import IDLE

ANY_LENGTH = 1 << 40
"""Tokens of a prompt in a step: all."""


@jit
def next_waiting(w: World, r: int) -> int:
    """The request that is first in line, by priority, then by order, and known to the plan; or ``NONE``."""
    if w.rep[r]["waiting"] == 0:
        return NONE
    for level in range(LEVELS):
        i = w.lists[r, level, HEAD]
        while i != NONE:
            if known(w, r, i):
                return int(i)
            i = w.req[i]["after"]
    return NONE


@jit
def held_seqs(w: World, r: int) -> int:
    """Sequences that take a place: in prefill, in decode, on their way in, and not known to have ended."""
    inside = w.lists[r, PREFILLING, COUNT] + w.lists[r, DECODING, COUNT]
    inside += w.rep[r]["late_seqs"]
    return int(inside + w.lists[r, MOVING_IN, COUNT] + w.lists[r, READY, COUNT])


@jit
def pull_moved(w: World, r: int, now_s: float) -> None:
    """Decode replicas: admit prefilled requests from the front of the line while there is room."""
    pool = w.pool[w.rep[r]["pool"]]
    if pool["policy"] == STATIC and w.lists[r, DECODING, COUNT] > 0:
        return
    while True:
        i = next_waiting(w, r)
        if i == NONE or w.req[i]["home"] == NONE:
            return
        whole = pool["policy"] == STATIC or (pool["policy"] == TRTLLM and pool["reserve"])
        if whole and not room_to_the_end(w, r, i, 0):
            return
        if not pull(w, r, i, now_s):
            return


@jit
def clear_chunks(w: World, r: int) -> None:
    """Begin to plan a step."""
    replica = w.rep[r]
    replica["chunks"], replica["chunk_tokens"], replica["chunk_ends"] = 0, 0, 0
    replica["chunk_past"], replica["chunk_pairs"], replica["padding"] = 0.0, 0.0, 0
    replica["with_decode"] = 1


@jit
def new_blocks(w: World, r: int, i: int, tokens: int, units: int) -> int:
    """Blocks that waiting request ``i`` takes to have ``tokens`` tokens cached, ``units`` units found.

    Units that others hold cost nothing, idle ones are no longer available to anybody.
    """
    p = w.rep[r]["pool"]
    shared = units - idle_among(w, r, i, units)
    return int(blocks_of(w, p, tokens) - shared * w.pool[p]["unit_blocks"])


@jit
def idle_among(w: World, r: int, i: int, units: int) -> int:
    """How many of the first ``units`` of request ``i``, all in HBM, nobody holds."""
    count = 0
    at = w.prefix.start[i] if units > 0 else 0
    for unit in range(units):
        if w.prefix.unit[r, w.prefix.ids[at + unit] + 1]["users"] == IDLE:
            count += 1
    return count


@jit
def more_blocks(w: World, r: int, i: int, tokens: int) -> int:
    """Blocks that request ``i``, in prefill, takes for ``tokens`` more tokens."""
    p = w.rep[r]["pool"]
    request = w.req[i]
    held = request["blocks"] + request["units"] * w.pool[p]["unit_blocks"]
    return int(max(0, blocks_of(w, p, request["past"] + tokens) - held))


@jit
def hold_blocks(w: World, r: int, i: int, tokens: int, now_s: float) -> None:
    """Request ``i``, in prefill, holds the blocks of ``tokens`` more tokens from now on."""
    need = more_blocks(w, r, i, tokens)
    if need > 0:
        take(w, r, need, now_s)
        w.req[i]["blocks"] += need


@jit
def whole_tokens(w: World, i: int) -> int:
    """Tokens of request ``i`` that are cached at its end: the last one never is."""
    return int(w.req[i]["isl"] + w.req[i]["osl"] - 1)


@jit
def owed(w: World, r: int) -> int:
    """Blocks that all those who hold a place still take until their ends."""
    p, done = w.rep[r]["pool"], w.rep[r]["done_steps"]
    total = 0
    for which in range(PREFILLING, READY + 1):
        i = w.lists[r, which, HEAD]
        while i != NONE:
            state = w.req[i]["state"]
            if state == DECODES:
                has = blocks_of(w, p, cached_tokens(w, r, i, done))
            elif state == MOVES:
                has = blocks_of(w, p, int(w.req[i]["target"]))
            else:
                has = int(w.req[i]["blocks"] + w.req[i]["units"] * w.pool[p]["unit_blocks"])
            total += max(0, blocks_of(w, p, whole_tokens(w, i)) - has)
            i = w.req[i]["after"]
    return total


@jit
def room_to_the_end(w: World, r: int, i: int, units: int) -> bool:
    """Whether waiting request ``i`` and all who hold a place can run to their ends without losing blocks."""
    need = new_blocks(w, r, i, whole_tokens(w, i), units)
    room = available(w, r)
    return bool(need <= room and need + owed(w, r) <= room)


@jit
def add_chunk(w: World, r: int, i: int, tokens: int, now_s: float) -> None:
    """The next step computes ``tokens`` more tokens of prompt ``i``; room has been made sure of."""
    replica, request = w.rep[r], w.req[i]
    past = request["past"]
    hold_blocks(w, r, i, tokens, now_s)
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

    What lower tiers have of the rest is loaded when that is faster than computing it; then, and while
    cached units are still coming for somebody else, the request is on its way in, and False is returned:
    it has no chunk in this step.
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
        done_s = arrived_s(w.prefix, r, i, units)
        more = _worth_loading(w, r, i, units, now_s)
        if more > 0:
            new = _not_held(w, r, i, units, units + more)
            done_s = max(done_s, load(w.prefix, r, i, units, units + more, now_s))
            take(w, r, int(new * pool["unit_blocks"]), now_s)
            request["units"] = units + more
            request["past"] = (units + more) * pool["unit_tokens"]
            if first_time:
                request["cached"] = request["past"]
        if done_s > now_s:
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
    if more <= 0 or _not_held(w, r, i, units, units + more) * pool["unit_blocks"] > available(w, r):
        return 0
    tokens = float(more * pool["unit_tokens"])
    saved_s = prompt_s(w, int(w.rep[r]["pool"]), tokens, float(units * pool["unit_tokens"]))
    return int(more) if load_s(w.prefix, r, i, units, units + more, now_s) < saved_s else 0


@jit
def _not_held(w: World, r: int, i: int, first: int, last: int) -> int:
    """Units [first, last) of request ``i`` that nobody on ``r`` holds: their blocks are to be taken."""
    count = 0
    at = w.prefix.start[i]
    for unit in range(first, last):
        if w.prefix.unit[r, w.prefix.ids[at + unit] + 1]["users"] <= IDLE:
            count += 1
    return count


@jit
def victim(w: World, r: int) -> int:
    """Whoever gives way first: of the least urgent, the one that was sent last; or ``NONE``.

    Places are given in this order within a priority, so it is also the one that was taken last.
    """
    found = NONE
    for which in range(PREFILLING, DECODING + 1):
        i = w.lists[r, which, TAIL]
        while i != NONE:
            if found == NONE or gives_way(w, i, found):
                found = int(i)
            i = w.req[i]["before"]
    return found


@jit
def gives_way(w: World, i: int, other: int) -> bool:
    """Whether request ``i`` gives way before ``other`` does."""
    one, two = w.req[i], w.req[other]
    if one["level"] != two["level"]:
        return bool(one["level"] > two["level"])
    if one["arrival_s"] != two["arrival_s"]:
        return bool(one["arrival_s"] > two["arrival_s"])
    return bool(i > other)


@jit
def make_room(w: World, r: int) -> bool:
    """Preempt until the next decode step finds its blocks. Returns whether anybody was."""
    some = False
    while decode_need(w, r, 1) > available(w, r):
        i = victim(w, r)
        if i == NONE:
            break
        preempt(w, r, i, True)
        some = True
    return some


@jit
def chunk_of(w: World, r: int, left: int, budget: int, unit: int) -> int:
    """Tokens of a prompt in the next step when ``left`` are missing and ``budget`` may be taken.

    Chunks that do not end the prompt are multiples of ``unit``.
    """
    pool = w.pool[w.rep[r]["pool"]]
    tokens = int(min(left, pool["chunk_cap"]))
    if tokens > budget and not pool["chunked"]:
        # Longer than any step may be: it has one of its own.
        return tokens if tokens > pool["budget"] and w.rep[r]["chunks"] == 0 else 0
    tokens = int(min(tokens, budget))
    return tokens if tokens == left else tokens - tokens % unit
