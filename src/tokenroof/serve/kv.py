"""Blocks: what sequences need, what is left, and who gives some back; compiled.

A request holds blocks of its own (and the fixed ones of every sequence) and shared prefix units. A
decoding sequence whose ``past`` tokens fill its blocks exactly needs a new one in its next step; which
steps these are depends only on the remainder of the step's number, so that the need of many steps of
many sequences is a sum over remainders. With speculation tokens per step differ, and it is a sum over
sequences.
"""

from __future__ import annotations

import math

from tokenroof.serve.arrays import DECODING, NONE, World
from tokenroof.serve.jit import jit
from tokenroof.serve.lists import HEAD
from tokenroof.serve.prefix import drop, evict, idle_units


@jit
def blocks_of(w: World, p: int, tokens: int) -> int:
    """Blocks that a sequence of so many cached tokens takes, the fixed ones included."""
    pool = w.pool[p]
    shift = pool["block_shift"]
    if shift >= 0:  # a power of two: division is slow
        return int(((tokens + pool["block_tokens"] - 1) >> shift) + pool["fixed_blocks"])
    return int(-(-tokens // pool["block_tokens"]) + pool["fixed_blocks"])


@jit
def available(w: World, r: int) -> int:
    """Blocks of which the plan knows that nobody holds them; cached ones that could be evicted count."""
    replica = w.rep[r]
    return int(w.pool[replica["pool"]]["num_blocks"] - replica["used"] - replica["late_blocks"])


@jit
def take(w: World, r: int, blocks: int, now_s: float) -> None:
    """Hold so many more blocks; the caller has made sure that they are available."""
    replica = w.rep[r]
    pool = w.pool[replica["pool"]]
    replica["used"] += blocks
    replica["taken"] += blocks
    replica["peak"] = max(replica["peak"], replica["used"])
    if pool["prefix"] and pool["unit_blocks"] > 0:
        over = replica["used"] + idle_units(w.prefix, r) * pool["unit_blocks"] - pool["num_blocks"]
        if over > 0:
            evict(w.prefix, r, int(-(-over // pool["unit_blocks"])), now_s)


@jit
def give(w: World, r: int, blocks: int) -> None:
    """Hold so many fewer."""
    w.rep[r]["used"] -= blocks
    w.rep[r]["freed"] += blocks


@jit
def release(w: World, r: int, i: int) -> None:
    """Request ``i`` gives back all its blocks; shared ones stay cached while there is room."""
    request = w.req[i]
    give(w, r, int(request["blocks"]))
    request["blocks"] = 0
    if request["units"] > 0:
        idle = drop(w.prefix, r, i, int(request["units"]))
        give(w, r, int(idle * w.pool[w.rep[r]["pool"]]["unit_blocks"]))
        request["units"] = 0


@jit
def growth_of(w: World, i: int) -> float:
    """Tokens that request ``i`` gains per decode step; 1 without speculation."""
    request = w.req[i]
    if request["steps"] == request["osl"] - 1 or request["steps"] <= 0:
        return 1.0
    return (request["osl"] - 1) / request["steps"]


@jit
def cached_tokens(w: World, r: int, i: int, steps: int) -> int:
    """Tokens of decoding request ``i`` in the cache when its replica has done ``steps`` steps in all."""
    request = w.req[i]
    if request["steps"] == request["osl"] - 1:
        return int(request["past"] + steps - request["join_step"])
    gained = growth_of(w, i) * (steps - request["join_step"])
    return int(request["past"] + math.floor(gained + 1e-9))


@jit
def join_blocks(w: World, r: int, i: int, change: int) -> None:
    """Count a sequence that begins (1) or ends (-1) to decode in the remainders of new blocks."""
    bs = w.pool[w.rep[r]["pool"]]["block_tokens"]
    # At step s it has past + s - join tokens; a new block is due when that is a multiple of bs.
    w.phase[r, (w.req[i]["join_step"] - w.req[i]["past"]) % bs] += change


@jit
def decode_need(w: World, r: int, steps: int) -> int:
    """New blocks that all decoding sequences need for their next ``steps`` steps."""
    replica = w.rep[r]
    p = replica["pool"]
    if w.pool[p]["speculative"]:
        return _speculative_need(w, r, steps)
    bs = w.pool[p]["block_tokens"]
    seqs = w.lists[r, DECODING, 2] - replica["zombies"]
    need, rest = 0, steps
    if steps >= bs:
        need, rest = steps // bs * seqs, steps % bs
    at = replica["phase_at"]
    for _ in range(rest):
        need += w.phase[r, at]
        at = at + 1 if at + 1 < bs else 0
    return int(need)


@jit
def _speculative_need(w: World, r: int, steps: int) -> int:
    done = w.rep[r]["done_steps"]
    need = 0
    i = w.lists[r, DECODING, HEAD]
    while i != NONE:
        if w.req[i]["state"] == 3:
            p = w.rep[r]["pool"]
            need += blocks_of(w, p, cached_tokens(w, r, i, done + steps))
            need -= blocks_of(w, p, cached_tokens(w, r, i, done))
        i = w.req[i]["after"]
    return need


@jit
def steps_that_fit(w: World, r: int, steps: int) -> int:
    """Most decode steps, up to ``steps``, whose new blocks are available."""
    room = available(w, r)
    bs = w.pool[w.rep[r]["pool"]]["block_tokens"]
    seqs = w.lists[r, DECODING, 2]
    if not w.pool[w.rep[r]["pool"]]["speculative"] and (steps + bs) * seqs <= room * bs:
        return steps  # without looking closer
    if decode_need(w, r, steps) <= room:
        return steps
    low, high = 0, steps  # low fits, high does not
    while high - low > 1:
        middle = (low + high) >> 1
        if decode_need(w, r, middle) <= room:
            low = middle
        else:
            high = middle
    return low
