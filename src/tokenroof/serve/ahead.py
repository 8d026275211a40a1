"""What the plan of a step does not know yet; compiled.

vLLM's asynchronous scheduling and the overlap schedulers of SGLang and TensorRT-LLM plan step m when step
m - 1 begins, with what step m - 2 has brought. So

- a request can be taken into step m if it came before step m - 1 began: who comes during a step waits for
  the rest of it and for the next one, which is planned already;
- a place and blocks that become free with step m - 1 are given to somebody in step m + 1. The sequence that
  has ended takes no part in step m (vLLM leaves it out; the others compute a token that nobody gets).

An engine may also not receive what was sent to it before every step (SGLang's ``scheduler_recv_interval``):
then a plan knows who came before the last plan that did, after so many decode steps or a batch of prompts.

When nothing is planned the device rests, and the next plan knows everything. Hand-offs between replicas and
loads from cache tiers begin at once: the host starts them. What is handed over decodes by the same rule.

Simpler than the engines: all plan ahead with speculation too, as vLLM does with EAGLE's drafts, SGLang only
with its second implementation; a prompt that has been loaded from a cache tier goes on at the next step.
"""

from __future__ import annotations

from tokenroof.serve.arrays import DECODING, LEVELS, NONE, PREFILLING, PROMPTS, READY, World
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
    """Begin to plan a step: after a rest everything is known; else what :func:`seen` has said."""
    if w.rep[r]["ended_s"] != now_s:
        _rested(w, r)


@jit
def look_up(w: World, r: int) -> bool:
    """If nothing is planned the device rests: everything is known now. Returns whether to plan again."""
    replica = w.rep[r]
    if replica["chunks"] > 0 or w.lists[r, DECODING, COUNT] > 0 or replica["known_s"] == INF:
        return False
    _rested(w, r)
    waiting = replica["waiting"] + w.lists[r, READY, COUNT] + w.lists[r, PREFILLING, COUNT]
    return bool(waiting > 0)


@jit
def _rested(w: World, r: int) -> None:
    """An idle engine receives all the time."""
    replica = w.rep[r]
    replica["known_s"], replica["late_seqs"], replica["late_blocks"] = INF, 0, 0
    replica["unpolled"] = 0


@jit
def seen(w: World, r: int, now_s: float) -> None:
    """The segment of ``r``, not settled yet, ends now: what the next plan will know.

    Who came before the last plan that received requests, or, planned ahead, before the step began during
    which it was made. The first step after a rest is planned, and right behind it the next, when somebody
    comes: these know the same.
    """
    replica = w.rep[r]
    pool = w.pool[replica["pool"]]
    ahead = pool["ahead"]
    steps, since, received = replica["steps"], 0, True
    if replica["kind"] != PROMPTS:
        received = replica["unpolled"] + steps >= pool["poll_steps"]
        since = (replica["unpolled"] + steps) % pool["poll_steps"]
    last = since + ahead  # decode steps from that time on
    known_s = replica["known_s"]
    if known_s == INF and (not received or (ahead and last >= steps)):
        known_s = replica["start_s"] + 2.0 * SAME_S
    elif received and ahead and last >= steps:
        known_s = replica["start_s"]
    elif received and last == 0:
        known_s = now_s + 2.0 * SAME_S
    elif received:
        known_s = now_s
        if replica["waiting"] + w.lists[r, READY, COUNT] > 0:
            seqs = w.lists[r, DECODING, COUNT]
            context, growth = replica["context"] / seqs, replica["growth"] / seqs
            before = steps - last
            _, last_s = decode_steps(w, replica["pool"], seqs, context + before * growth, growth, last, INF)
            known_s -= last_s * replica["slow"] - (0.0 if ahead else 2.0 * SAME_S)
    replica["known_s"], replica["ended_s"], replica["unpolled"] = known_s, now_s, since
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
        limit = _until_known(w, r, int(w.lists[r, READY, HEAD]), now_s)
    if replica["waiting"] == 0:
        return limit
    for level in range(LEVELS):
        i = w.lists[r, level, HEAD]
        if i != NONE and known(w, r, i):  # it could not be taken, so nobody behind it can be
            return 1 if late else limit
        if i != NONE:
            limit = min(limit, _until_known(w, r, int(i), now_s))
    return limit


@jit
def _until_known(w: World, r: int, i: int, now_s: float) -> int:
    """Decode steps from now on after which a plan knows of request ``i``.

    Planned ahead, who came during the last step is known to the next plan, who comes just now to the one
    after; if these receive requests.
    """
    pool = w.pool[w.rep[r]["pool"]]
    steps = int(pool["poll_steps"] - w.rep[r]["unpolled"])
    if pool["ahead"] and steps == 1 and w.req[i]["here_s"] >= now_s - SAME_S:
        steps += int(pool["poll_steps"])
    return steps
