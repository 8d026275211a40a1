"""Engines that plan a step while the one before is running: what such a plan does not know yet; compiled.

vLLM's asynchronous scheduling and the overlap schedulers of SGLang and TensorRT-LLM plan step m when step
m - 1 begins, with what step m - 2 has brought. So

- a request can be taken into step m if it came before step m - 1 began: who comes during a step waits for
  the rest of it and for the next one, which is planned already;
- a place and blocks that become free with step m - 1 are given to somebody in step m + 1. The sequence that
  has ended takes no part in step m (vLLM leaves it out; the others compute a token that nobody gets).

When nothing is planned the device rests, and the next plan knows everything. Hand-offs between replicas and
loads from cache tiers begin at once: the host starts them. What is handed over decodes by the same rule.

Simpler than the engines: all plan ahead with speculation too, as vLLM does with EAGLE's drafts, SGLang only
with its second implementation; a prompt that has been loaded from a cache tier goes on at the next step.
"""

from __future__ import annotations

from tokenroof.serve.arrays import DECODING, LEVELS, NONE, PREFILLING, READY, World
from tokenroof.serve.events import INF
from tokenroof.serve.jit import jit
from tokenroof.serve.lists import COUNT, HEAD
from tokenroof.serve.steptime import decode_steps

NO_LIMIT = 1 << 40
"""Decode steps: until something happens."""

SAME_S = 1e-9
"""Times that are nearer to each other are one: sums of steps are rounded. [s]"""


@jit
def known(w: World, r: int, i: int) -> bool:
    """Whether the plan that is being made knows of request ``i``, which waits at ``r`` or was handed over."""
    return bool(w.req[i]["here_s"] < w.rep[r]["known_s"] - SAME_S)


@jit
def look(w: World, r: int, now_s: float) -> None:
    """Begin to plan a step: after a rest everything is known; else what :func:`last_step_began` has said."""
    replica = w.rep[r]
    if replica["ended_s"] != now_s:
        replica["known_s"], replica["late_seqs"], replica["late_blocks"] = INF, 0, 0


@jit
def look_up(w: World, r: int) -> bool:
    """If nothing is planned the device rests: everything is known now. Returns whether to plan again."""
    replica = w.rep[r]
    if replica["chunks"] > 0 or w.lists[r, DECODING, COUNT] > 0 or replica["known_s"] == INF:
        return False
    replica["known_s"], replica["late_seqs"], replica["late_blocks"] = INF, 0, 0
    waiting = replica["waiting"] + w.lists[r, READY, COUNT] + w.lists[r, PREFILLING, COUNT]
    return bool(waiting > 0)


@jit
def last_step_began(w: World, r: int, now_s: float) -> None:
    """The segment of ``r``, not settled yet, ends now: the next plan knows what came before its last step.

    The first step after a rest is planned, and right behind it the next, when somebody comes: these know
    the same.
    """
    replica = w.rep[r]
    began_s, before = replica["start_s"], replica["steps"] - 1
    if before <= 0 and replica["known_s"] == INF:
        began_s += 2.0 * SAME_S
    elif before > 0 and replica["waiting"] + w.lists[r, READY, COUNT] > 0:
        seqs = w.lists[r, DECODING, COUNT]
        context, growth = replica["context"] / seqs, replica["growth"] / seqs
        _, last_s = decode_steps(w, replica["pool"], seqs, context + before * growth, growth, 1, INF)
        began_s = now_s - last_s * replica["slow"]
    replica["known_s"], replica["ended_s"] = began_s, now_s
    replica["late_seqs"], replica["late_blocks"] = 0, 0


@jit
def steps_until_known(w: World, r: int, now_s: float) -> int:
    """Decode steps from now on after which a plan knows more than the one just made, if it matters."""
    replica = w.rep[r]
    late = replica["late_seqs"] > 0
    if late and (replica["full"] > 0 or w.lists[r, PREFILLING, COUNT] > 0):
        return 1
    limit = NO_LIMIT
    if w.lists[r, READY, COUNT] > 0:
        limit = _until_known(w, int(w.lists[r, READY, HEAD]), now_s)
    if replica["waiting"] == 0:
        return limit
    for level in range(LEVELS):
        i = w.lists[r, level, HEAD]
        if i != NONE and known(w, r, i):  # it could not be taken, so nobody behind it can be
            return 1 if late else limit
        if i != NONE:
            limit = min(limit, _until_known(w, int(i), now_s))
    return limit


@jit
def _until_known(w: World, i: int, now_s: float) -> int:
    """Who came during the last step is known to the next plan, who comes just now to the one after."""
    return 1 if w.req[i]["here_s"] < now_s - SAME_S else 2
