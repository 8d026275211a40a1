"""Requests change their state: join, lose their blocks, move, leave; compiled."""

from __future__ import annotations

import math

from tokenroof.serve.account import gap
from tokenroof.serve.ahead import known
from tokenroof.serve.arrays import (
    DECODING,
    ID_BITS,
    IDLE,
    MOVED,
    MOVING_IN,
    NONE,
    PREFILLING,
    READY,
    SEND,
    World,
)
from tokenroof.serve.events import push_event
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import blocks_of, cached_tokens, give, growth_of, join_blocks, release, take
from tokenroof.serve.lists import COUNT, HEAD, append, find_key, pop_key, prepend, push_key, remove
from tokenroof.serve.prefix import enter, idle_units

# Numbers of serve.results.State.
WAITS, PREFILLS, DECODES, MOVES, LOADS, COMPLETED, REJECTED, FAILED = 1, 2, 3, 4, 5, 6, 7, 8


@jit
def out_tokens(w: World, i: int) -> int:
    """Tokens that have come out of request ``i``, as of its last settled step."""
    request = w.req[i]
    if math.isnan(request["first_s"]):
        return 0
    steps = request["made"]
    if request["state"] == DECODES:
        steps += w.rep[request["replica"]]["done_steps"] - request["join_step"]
    return tokens_after(w, i, int(steps))


@jit
def tokens_after(w: World, i: int, steps: int) -> int:
    """Tokens that are out after ``steps`` decode steps in all."""
    request = w.req[i]
    if steps >= request["steps"]:
        return int(request["osl"])
    if request["steps"] == request["osl"] - 1:
        return int(1 + steps)
    return int(1 + math.floor(steps * growth_of(w, i) + 1e-9))


@jit
def count_step(w: World, r: int, i: int) -> None:
    """A prefill has stood for a decode step of request ``i``: its token is there, with what was drafted."""
    request = w.req[i]
    made = int(request["made"])
    drafted = tokens_after(w, i, made + 1) - tokens_after(w, i, made) - 1
    w.rep[r]["decode_tokens"] += drafted
    request["made"] = made + 1


@jit
def blocks_at(w: World, r: int, i: int) -> int:
    """Blocks that decoding request ``i`` holds on ``r`` now, shared units not counted."""
    p = w.rep[r]["pool"]
    tokens = cached_tokens(w, r, i, int(w.rep[r]["done_steps"]))
    return int(blocks_of(w, p, tokens) - w.req[i]["units"] * w.pool[p]["unit_blocks"])


@jit
def line_up(w: World, r: int, i: int, in_front: bool) -> None:
    """Request ``i`` waits at replica ``r``."""
    request = w.req[i]
    request["state"] = WAITS
    request["replica"] = r
    if in_front:
        prepend(w, r, int(request["level"]), i)
    else:
        append(w, r, int(request["level"]), i)
    w.rep[r]["waiting"] += 1


@jit
def leave_line(w: World, r: int, i: int) -> None:
    """Request ``i`` waits no longer."""
    remove(w, r, int(w.req[i]["level"]), i)
    w.rep[r]["waiting"] -= 1


@jit
def take_charge(w: World, r: int, i: int) -> None:
    """Request ``i`` becomes the business of replica ``r``."""
    w.rep[r]["outstanding"] += 1
    w.rep[r]["outstanding_tokens"] += w.req[i]["isl"] + w.req[i]["osl"]


@jit
def let_go(w: World, r: int, i: int) -> None:
    """It is no longer."""
    w.rep[r]["outstanding"] -= 1
    w.rep[r]["outstanding_tokens"] -= w.req[i]["isl"] + w.req[i]["osl"]


@jit
def join(w: World, r: int, i: int) -> None:
    """Request ``i``, all of whose ``target`` tokens are cached, begins to decode on ``r``."""
    request, replica = w.req[i], w.rep[r]
    request["state"] = DECODES
    request["past"] = request["target"]
    request["join_step"] = replica["done_steps"]
    append(w, r, DECODING, i)
    last = replica["done_steps"] + request["steps"] - request["made"]
    replica["finishing"] = push_key(w.finish[r], replica["finishing"], (last << ID_BITS) | i)
    replica["context"] += request["past"]
    replica["growth"] += growth_of(w, i)
    if not w.pool[replica["pool"]]["speculative"]:
        join_blocks(w, r, i, 1)


@jit
def join_soon(w: World, r: int, i: int) -> None:
    """Request ``i`` decodes from the next step of ``r`` on: the one in progress began without it."""
    if w.rep[r]["kind"] == IDLE:
        join(w, r, i)
    else:
        w.req[i]["state"] = MOVES
        append(w, r, READY, i)


@jit
def join_ready(w: World, r: int) -> None:
    """Those who came during a step of ``r`` join, as soon as its plan knows of them."""
    i = w.lists[r, READY, HEAD]
    while i != NONE and known(w, r, i):
        following = w.req[i]["after"]
        remove(w, r, READY, i)
        join(w, r, i)
        i = following


@jit
def part(w: World, r: int, i: int) -> None:
    """Request ``i`` decodes no longer on ``r``; its blocks are counted and stay its own."""
    replica = w.rep[r]
    at = find_key(w.finish[r], replica["finishing"], i)
    if at != NONE:
        replica["finishing"] = pop_key(w.finish[r], replica["finishing"], at)
    leave_batch(w, r, i)


@jit
def leave_batch(w: World, r: int, i: int) -> None:
    """Take ``i`` out of the list and the sums of what decodes, and count what it has and made."""
    request, replica = w.req[i], w.rep[r]
    remove(w, r, DECODING, i)
    request["blocks"] = blocks_at(w, r, i)
    before = tokens_after(w, i, int(request["made"]))
    made = request["made"] + replica["done_steps"] - request["join_step"]
    replica["decode_tokens"] += tokens_after(w, i, int(made)) - before
    growth = growth_of(w, i)
    gained = growth * (replica["done_steps"] - request["join_step"])
    if w.lists[r, DECODING, COUNT] == 0:
        replica["context"], replica["growth"] = 0.0, 0.0
    else:
        replica["context"] -= request["past"] + gained
        replica["growth"] -= growth
    if not w.pool[replica["pool"]]["speculative"]:
        join_blocks(w, r, i, -1)
    request["made"] = made


@jit
def preempt(w: World, r: int, i: int, in_front: bool) -> None:
    """Request ``i`` loses its blocks and waits, to be computed again with what came out of it."""
    request = w.req[i]
    if request["state"] == DECODES:
        request["last_s"] = w.g[0]["now_s"]
        part(w, r, i)
    else:
        remove(w, r, PREFILLING, i)
    release(w, r, i)
    request["preemptions"] += 1
    forget(w, i)
    line_up(w, r, i, in_front)


@jit
def forget(w: World, i: int) -> None:
    """Nothing of request ``i`` is cached any longer: prompt and answer so far are to be computed."""
    request = w.req[i]
    request["past"], request["chunk"] = 0, 0
    request["home"] = NONE
    request["target"] = request["isl"]
    if not math.isnan(request["first_s"]):
        request["target"] += tokens_after(w, i, int(request["made"]))


@jit
def share_prompt(w: World, r: int, i: int, tokens: int) -> None:
    """The whole units among the first ``tokens`` of request ``i`` can be used by others from now on."""
    pool, request = w.pool[w.rep[r]["pool"]], w.req[i]
    if not pool["prefix"]:
        return
    known = w.prefix.start[i + 1] - w.prefix.start[i]
    units = min(tokens // pool["unit_tokens"], known)
    first = request["units"]
    if units > first:
        idle = idle_units(w.prefix, r)
        twice = enter(w.prefix, r, i, int(first), int(units))
        idle -= idle_units(w.prefix, r)
        request["blocks"] -= (units - first) * pool["unit_blocks"]
        request["units"] = units
        # Somebody else's copy is used and the own one given back; an idle copy is held from now on.
        give(w, r, int(twice * pool["unit_blocks"]))
        take(w, r, int(idle * pool["unit_blocks"]), w.g[0]["now_s"])


@jit
def end(w: World, i: int, state: int, now_s: float) -> None:
    """Request ``i`` is over; whoever follows it is sent."""
    g, request = w.g[0], w.req[i]
    request["state"] = state
    w.done[g["ended"]] = i
    g["ended"] += 1
    if state == COMPLETED:
        g["completed"] += 1
    following = request["follower"]
    if following != NONE:
        push_event(w, now_s + w.req[following]["arrival_s"], SEND, int(following))
    elif g["concurrency"] > 0:
        g["in_progress"] -= 1
        send_next(w, now_s)


@jit
def send_next(w: World, now_s: float) -> None:
    """Closed loop: the next one that follows nobody is sent."""
    g = w.g[0]
    if g["next_head"] < w.heads.size:
        i = w.heads[g["next_head"]]
        g["next_head"] += 1
        g["in_progress"] += 1
        push_event(w, now_s + w.req[i]["arrival_s"], SEND, int(i))


@jit
def keep_place(w: World, r: int, i: int) -> None:
    """Static batching: request ``i`` has ended and keeps its place and its blocks until its batch has."""
    append(w, r, DECODING, i)
    w.rep[r]["zombies"] += 1
    w.rep[r]["context"] += w.req[i]["isl"] + w.req[i]["osl"] - 1


@jit
def empty_places(w: World, r: int) -> None:
    """Static batching: those that have ended give back their blocks and places."""
    replica = w.rep[r]
    i = w.lists[r, DECODING, HEAD]
    while i != NONE:
        following = w.req[i]["after"]
        if w.req[i]["state"] != DECODES:
            remove(w, r, DECODING, i)
            release(w, r, i)
            replica["context"] -= w.req[i]["isl"] + w.req[i]["osl"] - 1
        i = following
    replica["zombies"] = 0
    if w.lists[r, DECODING, COUNT] == 0:
        replica["context"], replica["growth"] = 0.0, 0.0


@jit
def complete(w: World, r: int, i: int, now_s: float) -> None:
    """The last token of request ``i`` is out; it holds nothing on ``r`` any longer."""
    request = w.req[i]
    request["finish_s"] = now_s
    let_go(w, r, i)
    end(w, i, COMPLETED, now_s)


@jit
def start_transfer(w: World, r: int, i: int, now_s: float) -> None:
    """The cache of request ``i`` leaves its prefill replica for ``r``, over both ends' links.

    Each end sends or receives one hand-off after the other. Layer by layer, a part has left before the
    prefill ended.
    """
    request = w.req[i]
    home = int(request["home"])
    bytes_s, latency_s, begin_s = 0.0, 0.0, now_s
    for side in range(2):
        end_of = home if side == 0 else r
        pool = w.pool[w.rep[end_of]["pool"]]
        moved = pool["token_bytes"] * request["target"] + pool["sequence_bytes"]
        bytes_s = max(bytes_s, moved / pool["link_bytes_per_s"])
        latency_s = max(latency_s, pool["link_latency_s"])
        begin_s = max(begin_s, w.rep[end_of]["link_free_s"])
    overlap = w.pool[w.rep[home]["pool"]]["overlap"]
    # What is hidden had to be sent after the first layer of this prefill: only a lone link has done it.
    hidden_s = bytes_s * overlap if begin_s <= request["last_s"] else 0.0
    done_s = begin_s + latency_s + bytes_s - hidden_s
    for side in range(2):
        end_of = home if side == 0 else r
        w.rep[end_of]["link_free_s"] = begin_s + bytes_s - hidden_s
        w.rep[end_of]["link_busy_s"] += bytes_s
    request["state"] = MOVES
    append(w, r, MOVING_IN, i)
    push_event(w, done_s, MOVED, i)


@jit
def pull(w: World, r: int, i: int, now_s: float) -> bool:
    """Admit the prefilled request ``i`` to decode replica ``r`` if there is room for its cache."""
    p = w.rep[r]["pool"]
    request = w.req[i]
    held = w.lists[r, DECODING, COUNT] + w.lists[r, PREFILLING, COUNT]
    held += w.lists[r, MOVING_IN, COUNT] + w.lists[r, READY, COUNT]
    need = blocks_of(w, p, int(request["target"]))
    if held >= w.pool[p]["max_seqs"] or need > w.pool[p]["num_blocks"] - w.rep[r]["used"]:
        return False
    leave_line(w, r, i)
    take(w, r, need, now_s)
    request["replica"] = r
    start_transfer(w, r, i, now_s)
    return True


@jit
def arrived(w: World, r: int, i: int, now_s: float) -> int:
    """The cache of request ``i`` is on ``r``: its first token is out. Returns the replica it came from.

    The blocks on the sending side are given back by the caller through the returned replica.
    """
    request = w.req[i]
    home = int(request["home"])
    p = w.rep[r]["pool"]
    request["transfer_s"] = now_s - request["last_s"]
    remove(w, r, MOVING_IN, i)
    release_home(w, int(home), i)
    request["blocks"] = blocks_of(w, p, int(request["target"]))
    if math.isnan(request["first_s"]):
        request["first_s"] = now_s
    else:
        gap(w, int(p), now_s - request["last_s"], 1.0)
        count_step(w, r, i)
    request["last_s"] = request["here_s"] = now_s
    join_soon(w, r, i)
    return int(home)


@jit
def release_home(w: World, home: int, i: int) -> None:
    """Free what request ``i`` held where it was prefilled."""
    release(w, home, i)
    let_go(w, home, i)
