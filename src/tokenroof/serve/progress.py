"""What a stretch of decode steps has done by now, before it is settled; compiled."""

from __future__ import annotations

from tokenroof.serve.arrays import DECODE, DECODING, World
from tokenroof.serve.events import INF
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import decode_need
from tokenroof.serve.lists import COUNT
from tokenroof.serve.prefix import evict, idle_units
from tokenroof.serve.steptime import decode_steps


@jit
def steps_take_s(w: World, r: int, steps: int) -> float:
    """How long the first ``steps`` steps of the segment in progress on ``r`` take. [s]"""
    replica, seqs = w.rep[r], w.lists[r, DECODING, COUNT]
    _, taken_s = decode_steps(
        w, replica["pool"], seqs, replica["context"] / seqs, replica["growth"] / seqs, steps, INF
    )
    return taken_s * replica["slow"]


@jit
def steps_done(w: World, r: int, now_s: float) -> int:
    """Decode steps of the segment in progress on ``r`` that have ended by now; 0 for other segments."""
    replica = w.rep[r]
    if replica["kind"] != DECODE or now_s <= replica["start_s"]:
        return 0
    seqs = w.lists[r, DECODING, COUNT]
    steps, taken_s = decode_steps(
        w,
        replica["pool"],
        seqs,
        replica["context"] / seqs,
        replica["growth"] / seqs,
        replica["steps"],
        (now_s - replica["start_s"]) / replica["slow"],
    )
    return steps if replica["start_s"] + taken_s * replica["slow"] <= now_s else steps - 1


@jit
def used_now(w: World, r: int, now_s: float) -> int:
    """Blocks held on ``r``, those of the steps that have ended included."""
    return int(w.rep[r]["used"] + decode_need(w, r, steps_done(w, r, now_s)))


@jit
def evict_until_now(w: World, r: int) -> None:
    """Evict from the prefix cache of ``r`` what the steps that have ended by now have pushed out."""
    replica = w.rep[r]
    pool = w.pool[replica["pool"]]
    if replica["kind"] != DECODE:
        return
    idle = idle_units(w.prefix, r) * pool["unit_blocks"]
    if replica["used"] + decode_need(w, r, replica["steps"]) + idle <= pool["num_blocks"]:
        return
    over = used_now(w, r, w.g[0]["now_s"]) + idle - pool["num_blocks"]
    if over > 0:
        evict(w.prefix, r, int(-(-over // pool["unit_blocks"])), w.g[0]["now_s"])
