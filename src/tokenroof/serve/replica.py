"""One replica: it begins a segment, is interrupted, and settles what the segment did; compiled.

A segment is a stretch of equal work: one step with prompts in it, or as many decode steps as pass
before anything can change (a sequence ends, blocks run out, somebody arrives who can be taken).
"""

from __future__ import annotations

import math

from tokenroof.serve.account import DECODED, PREFILL, gap, note, spread, step_gaps
from tokenroof.serve.ahead import look, look_up, seen, steps_until_known
from tokenroof.serve.arrays import (
    DECODE,
    DECODING,
    DOWN,
    DRAINING,
    EMERGES,
    ID_BITS,
    IDLE,
    MOVING_IN,
    NONE,
    OFF,
    PREFILLING,
    PROMPTS,
    SGLANG,
    SPARE,
    STARTING,
    STATIC,
    World,
)
from tokenroof.serve.events import INF, mark, push_event, set_end
from tokenroof.serve.fleet_status import retire
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import decode_need, release, steps_that_fit, take
from tokenroof.serve.lists import COUNT, HEAD, TAIL, append, pop_key, remove
from tokenroof.serve.moves import (
    DECODES,
    FAILED,
    MOVES,
    REJECTED,
    complete,
    count_step,
    empty_places,
    end,
    join_ready,
    join_soon,
    keep_place,
    leave_batch,
    line_up,
    release_home,
    share_prompt,
    take_charge,
)
from tokenroof.serve.policies.common import held_seqs, pull_moved
from tokenroof.serve.policies.dispatch import plan
from tokenroof.serve.routers.dispatch import route
from tokenroof.serve.steptime import decode_steps, mixed_step_s, visit_decode

PREFILL_STAGE, DECODE_STAGE = 1, 2
NOBODY_LEFT = 2


@jit
def begin(w: World, r: int, now_s: float) -> None:
    """Replica ``r``, which has no segment in progress, plans and begins one; or it is idle."""
    replica = w.rep[r]
    note(w, r, now_s)
    replica["kind"], replica["steps"] = IDLE, 0
    replica["slow"] = replica["pace"]
    status = replica["status"]
    if status == DRAINING and replica["outstanding"] == 0 and w.lists[r, DECODING, COUNT] == 0:
        retire(w, r, now_s)
        status = OFF
    if status in (DOWN, OFF, STARTING, SPARE):
        set_end(w, r, INF)
        return
    p = replica["pool"]
    blind = w.pool[p]["blind"]
    if blind:
        look(w, r, now_s)
    while True:
        join_ready(w, r)
        if w.pool[p]["stage"] == DECODE_STAGE:
            pull_moved(w, r, now_s)
        replica["late_blocks"] = min(replica["late_blocks"], w.pool[p]["num_blocks"] - replica["used"])
        limit = plan(w, r, now_s)
        if not (blind and look_up(w, r)):
            break
    if blind:
        limit = min(limit, steps_until_known(w, r, now_s))
        replica["late_seqs"], replica["late_blocks"] = 0, 0
    seqs = w.lists[r, DECODING, COUNT]
    if replica["chunks"] > 0:
        together = seqs if replica["with_decode"] else 0
        taken_s, through_s = mixed_step_s(
            w,
            p,
            together,
            replica["context"] if together else 0.0,
            replica["chunks"],
            float(replica["chunk_tokens"] + replica["padding"]),
            replica["chunk_past"],
            replica["chunk_pairs"],
            replica["chunk_ends"],
        )
        replica["prompts_end_s"] = now_s + through_s * replica["slow"]
        replica["round_end_s"] = now_s + taken_s * replica["slow"]
        if together == 0 and replica["waiting"] == 0:
            taken_s = through_s  # nobody else for the stages that are free: see ``interrupt``
        replica["kind"] = PROMPTS
        replica["steps"] = 1 if together else 0
    elif seqs > 0 and replica["with_decode"]:
        most = (w.finish[r, 0] >> ID_BITS) - replica["done_steps"]
        if w.g[0]["crawl"]:
            most = 1
        most = max(1, steps_that_fit(w, r, min(most, limit)))
        steps, taken_s = decode_steps(
            w, p, seqs, replica["context"] / seqs, replica["growth"] / seqs, most, INF
        )
        replica["kind"], replica["steps"] = DECODE, steps
    else:
        set_end(w, r, INF)
        return
    replica["start_s"] = now_s
    taken_s *= replica["slow"]
    set_end(w, r, now_s + taken_s)


@jit
def interrupt(w: World, r: int, now_s: float, more: int) -> None:
    """Let the decode segment of ``r`` end with the step that is in progress now, and ``more``, 0 or 1.

    While lone prompts pass the last pipeline stages, the first ones are free for others.
    """
    replica = w.rep[r]
    if replica["kind"] == PROMPTS and w.pool[replica["pool"]]["pp"] > 1:
        free_s = max(now_s, replica["round_end_s"])
        if free_s < replica["end_s"]:
            set_end(w, r, free_s)
        return
    if replica["kind"] != DECODE or replica["steps"] <= 1:
        return
    seqs = w.lists[r, DECODING, COUNT]
    room_s = (now_s - replica["start_s"]) / replica["slow"]
    steps, taken_s = decode_steps(
        w,
        replica["pool"],
        seqs,
        replica["context"] / seqs,
        replica["growth"] / seqs,
        replica["steps"],
        max(room_s, 0.0),
    )
    if steps < replica["steps"]:
        if more > 0:
            steps += 1
            context, growth = replica["context"] / seqs, replica["growth"] / seqs
            _, taken_s = decode_steps(w, replica["pool"], seqs, context, growth, steps, INF)
        replica["steps"] = steps
        set_end(w, r, max(now_s, replica["start_s"] + taken_s * replica["slow"]))


@jit
def wake(w: World, r: int, i: int, now_s: float) -> None:
    """Request ``i`` has lined up at ``r``: does that change what the replica does?"""
    replica = w.rep[r]
    if replica["kind"] == IDLE:
        mark(w, r)
        return
    level = w.req[i]["level"]
    alone = w.lists[r, level, COUNT] == 1
    for before in range(level):
        if w.lists[r, before, COUNT] > 0:
            alone = False
    if w.pool[replica["pool"]]["balance"] and w.pool[replica["pool"]]["dp"] > 1:
        alone = True  # those who wait for others count them
    # Whoever stands behind somebody that could not be taken cannot be taken either. SGLang takes note.
    pool = w.pool[replica["pool"]]
    if alone and (held_seqs(w, r) < pool["max_seqs"] or pool["policy"] == SGLANG):
        interrupt(w, r, now_s, int(pool["ahead"] and w.req[i]["home"] == NONE))


@jit
def _count_gaps(w: World, r: int, prompts: int, steps: int, now_s: float) -> None:
    """Gaps between tokens in the decode steps of the segment that ends now."""
    replica = w.rep[r]
    p = replica["pool"]
    seqs = w.lists[r, DECODING, COUNT] - replica["zombies"]
    step_s = (now_s - replica["start_s"]) / steps
    if replica["decoded_s"] == replica["start_s"]:
        step_gaps(w, r, prompts, step_s, float(seqs * steps))
        return
    # The batch stood still before: the first gap is longer, and shorter for those who joined since.
    first_s = replica["start_s"] + step_s
    i = w.lists[r, DECODING, TAIL]
    joined = 0
    while i != NONE and w.req[i]["join_step"] == replica["done_steps"]:
        if w.req[i]["state"] == DECODES:
            gap(w, p, first_s - w.req[i]["last_s"], 1.0)
            joined += 1
        i = w.req[i]["before"]
    if seqs > joined:
        gap(w, p, first_s - replica["decoded_s"], float(seqs - joined))
    if steps > 1:
        step_gaps(w, r, prompts, step_s, float(seqs * (steps - 1)))


@jit
def settle(w: World, r: int, now_s: float) -> None:
    """The segment of ``r`` is over: its steps are done, sequences end, prompts advance."""
    replica = w.rep[r]
    note(w, r, now_s)
    _record(w, r, now_s)
    p, steps, kind = replica["pool"], replica["steps"], replica["kind"]
    replica["slowed_s"] += (now_s - replica["start_s"]) * (1.0 - 1.0 / replica["slow"])
    seqs = w.lists[r, DECODING, COUNT]
    if w.pool[p]["blind"]:
        seen(w, r, now_s)
    replica["kind"], replica["steps"] = IDLE, 0
    replica["rounds"] += max(steps, 1)
    if steps > 0:
        take(w, r, decode_need(w, r, steps), now_s)
        if kind == DECODE:
            visit_decode(w, p, seqs, replica["context"] / seqs, replica["growth"] / seqs, steps)
        _count_gaps(w, r, int(kind == PROMPTS), steps, now_s)
        replica["done_steps"] += steps
        bs = w.pool[p]["block_tokens"]
        replica["phase_at"] += steps
        if replica["phase_at"] >= bs:
            replica["phase_at"] %= bs
        replica["context"] += replica["growth"] * steps
        replica["decoded_s"] = now_s
        spread(w, p, DECODED, replica["start_s"], now_s, replica["growth"] * steps)
        _finish(w, r, now_s)
    if kind == PROMPTS:
        spread(w, p, PREFILL, replica["start_s"], now_s, float(replica["chunk_tokens"]))
        replica["prefill_tokens"] += replica["chunk_tokens"]
        _advance_prompts(w, r, now_s)
    if replica["zombies"] > 0 and replica["zombies"] == held_seqs(w, r):
        empty_places(w, r)


@jit
def _finish(w: World, r: int, now_s: float) -> None:
    """Sequences whose last step this was leave."""
    replica = w.rep[r]
    while replica["finishing"] > 0 and (w.finish[r, 0] >> ID_BITS) <= replica["done_steps"]:
        i = int(w.finish[r, 0] & ((1 << ID_BITS) - 1))
        replica["finishing"] = pop_key(w.finish[r], replica["finishing"], 0)
        leave_batch(w, r, i)
        share_prompt(w, r, i, int(w.req[i]["isl"] + w.req[i]["osl"] - 1))
        _leave(w, r, i, now_s)


@jit
def _leave(w: World, r: int, i: int, now_s: float) -> None:
    """Request ``i``, which is in no list, has its last token; in a static batch its place is not free yet.

    Whoever ends with its prompt in the middle of a step (it emerges from a pipeline) was not in the batch.
    """
    if w.pool[w.rep[r]["pool"]]["policy"] == STATIC and w.rep[r]["kind"] == IDLE:
        keep_place(w, r, i)
    else:
        used = w.rep[r]["used"]
        release(w, r, i)
        _free_late(w, r, int(used - w.rep[r]["used"]))
    complete(w, r, i, now_s)


@jit
def _free_late(w: World, r: int, blocks: int) -> None:
    """A place and blocks of ``r`` are free: its plan of the next step does not know."""
    replica = w.rep[r]
    if w.pool[replica["pool"]]["ahead"]:
        replica["late_seqs"] += 1
        replica["late_blocks"] += blocks


@jit
def _advance_prompts(w: World, r: int, now_s: float) -> None:
    i = w.lists[r, PREFILLING, HEAD]
    while i != NONE:
        request = w.req[i]
        following = request["after"]
        if request["chunk"] > 0:
            request["past"] += request["chunk"]
            request["prefilled"] += request["chunk"]
            request["chunk"] = 0
            if request["past"] >= request["target"]:
                remove(w, r, PREFILLING, i)
                if w.pool[w.rep[r]["pool"]]["pp"] > 1 and w.rep[r]["prompts_end_s"] > now_s:
                    request["state"] = MOVES
                    append(w, r, MOVING_IN, i)
                    push_event(w, w.rep[r]["prompts_end_s"], EMERGES, i)
                else:
                    prompt_done(w, r, i, now_s)
        i = following


@jit
def prompt_done(w: World, r: int, i: int, now_s: float) -> None:
    """The prefill of request ``i`` has ended, which yields a token."""
    request, replica = w.req[i], w.rep[r]
    share_prompt(w, r, i, int(request["isl"]))
    replica["prefill_ends"] += 1
    request["prefiller"] = r
    again = not math.isnan(request["first_s"])
    if w.pool[replica["pool"]]["stage"] == PREFILL_STAGE and request["made"] + again < request["steps"]:
        hand_over(w, r, i, now_s)
        return
    if again:
        gap(w, replica["pool"], now_s - request["last_s"], 1.0)
        count_step(w, r, i)
    else:
        request["first_s"] = now_s
    request["last_s"] = now_s
    if request["made"] >= request["steps"]:
        _leave(w, r, i, now_s)
    else:
        join_soon(w, r, i)


@jit
def hand_over(w: World, r: int, i: int, now_s: float) -> None:
    """Request ``i`` lines up at a decode replica; its cache stays on ``r`` until it has moved."""
    request = w.req[i]
    request["home"] = r
    if math.isnan(request["first_s"]):
        request["last_s"] = now_s
    _free_late(w, r, 0)
    dispatch(w, i, now_s, 1)


@jit
def dispatch(w: World, i: int, now_s: float, arrives: int) -> None:
    """Request ``i`` lines up at a replica that prefills it, or decodes it if its cache is at its home.

    If there is none it is over. ``arrives``: 1 when this counts as an arrival, 0 when it is sent again.
    """
    home = int(w.req[i]["home"])
    to = route(w, i, PREFILL_STAGE if home == NONE else DECODE_STAGE)
    if to == NONE:
        if home != NONE:
            release_home(w, home, i)
            look_again(w, home)
        w.req[i]["reason"] = NOBODY_LEFT
        taken = w.req[i]["retries"] > 0 or home != NONE
        end(w, i, FAILED if taken else REJECTED, now_s)
        return
    note(w, to, now_s)
    w.pool[w.rep[to]["pool"]]["arrived"] += arrives
    take_charge(w, to, i)
    # A hand-off is begun by the host, between steps; its plan has to know of the cache that has arrived.
    w.req[i]["here_s"] = now_s if home == NONE else -1.0
    line_up(w, to, i, False)
    wake(w, to, i, now_s)


@jit
def look_again(w: World, r: int) -> None:
    """Something has changed for replica ``r``: it plans anew, after its step if it is at work."""
    if w.rep[r]["kind"] == IDLE:
        mark(w, r)
    else:
        interrupt(w, r, w.g[0]["now_s"], 0)


@jit
def _record(w: World, r: int, now_s: float) -> None:
    """Keep the segment for a trace while there is room."""
    replica = w.rep[r]
    g = w.g[0]
    replica["segments"] += 1
    at = g["segments"]
    if at >= w.segment.size:
        return
    g["segments"] = at + 1
    row = w.segment[at]
    row["replica"], row["steps"] = r, replica["steps"]
    row["start_s"], row["end_s"] = replica["start_s"], now_s
    row["decode_seqs"] = w.lists[r, DECODING, COUNT] if replica["steps"] > 0 else 0
    prompts = replica["kind"] == PROMPTS
    row["prefill_seqs"] = replica["chunks"] if prompts else 0
    row["prefill_tokens"] = replica["chunk_tokens"] if prompts else 0
    row["used_blocks"] = replica["used"]
