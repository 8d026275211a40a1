"""Static batching: a batch is gathered, served until its longest answer ends, then comes the next.

What servers did before continuous batching, as the baseline. A batch that is not full waits until its first
request has waited for the timeout. All prompts of a batch are computed in one step, padded to the longest.
Tokens leave when they are made, but places and blocks are kept until the batch ends, and steps take as long
as if nobody had ended. Blocks for all whole requests of a batch must be there before it begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenroof.errors import InputError
from tokenroof.serve.ahead import NO_LIMIT
from tokenroof.serve.arrays import HELD, LEVELS, NONE, PREFILLING, STATIC, World
from tokenroof.serve.events import INF, push_event
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import available
from tokenroof.serve.lists import COUNT, HEAD
from tokenroof.serve.moves import empty_places
from tokenroof.serve.policies.common import (
    ANY_LENGTH,
    add_chunk,
    admit,
    clear_chunks,
    held_seqs,
    new_blocks,
    next_waiting,
    prefix_units,
    whole_tokens,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """A batch at a time.

    Attributes
    ----------
    max_batch_size : int
        Requests of a batch, per data parallel rank.
    batch_timeout_s : float
        A batch that is not full begins when its first request has waited so long. [s]
    """

    max_batch_size: int = 32
    batch_timeout_s: float = 0.0

    def __post_init__(self) -> None:
        if self.max_batch_size < 1:
            raise InputError(f"max_batch_size must be at least 1, got {self.max_batch_size}.")
        if not (self.batch_timeout_s >= 0.0 and math.isfinite(self.batch_timeout_s)):
            raise InputError(f"batch_timeout_s must be 0 or more and finite, got {self.batch_timeout_s!r}.")

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Scheduler``."""
        return {
            "policy": STATIC,
            "max_seqs": self.max_batch_size,
            "budget": ANY_LENGTH,
            "chunk_cap": ANY_LENGTH,
            "batch_wait_s": self.batch_timeout_s,
        }


@jit
def plan(w: World, r: int, now_s: float) -> int:
    """What the next step of replica ``r`` computes; see ``policies.dispatch.plan``."""
    clear_chunks(w, r)
    if w.rep[r]["zombies"] > 0 and w.rep[r]["zombies"] == held_seqs(w, r):
        empty_places(w, r)
    if held_seqs(w, r) == 0 and _gathered(w, r, now_s):
        _take_batch(w, r, now_s)
    if w.lists[r, PREFILLING, COUNT] > 0:
        _pad(w, r, now_s)
    return NO_LIMIT


@jit
def _gathered(w: World, r: int, now_s: float) -> bool:
    """Whether a batch begins now; if it is to wait, it is looked at again at its timeout."""
    replica, pool = w.rep[r], w.pool[w.rep[r]["pool"]]
    if replica["waiting"] == 0:
        return False
    if replica["waiting"] >= pool["max_seqs"]:
        return True
    first_s = INF
    for level in range(LEVELS):
        i = w.lists[r, level, HEAD]
        if i != NONE:
            first_s = min(first_s, w.req[i]["arrival_s"])
    due_s = first_s + pool["batch_wait_s"]
    if now_s >= due_s:
        return True
    if not now_s < replica["hold_until_s"] <= due_s:
        replica["hold_until_s"] = due_s
        push_event(w, due_s, HELD, r)
    return False


@jit
def _take_batch(w: World, r: int, now_s: float) -> None:
    """From the front of the line as many as have a place and all their blocks."""
    room = available(w, r)
    while held_seqs(w, r) < w.pool[w.rep[r]["pool"]]["max_seqs"]:
        i = next_waiting(w, r)
        if i == NONE or w.req[i]["home"] != NONE:
            return
        units = prefix_units(w, r, i)
        room -= new_blocks(w, r, i, whole_tokens(w, i), units)
        if room < 0:
            return
        admit(w, r, i, units, now_s)


@jit
def _pad(w: World, r: int, now_s: float) -> None:
    """One step for all prompts, each as long as the longest."""
    replica = w.rep[r]
    longest = 0
    i = w.lists[r, PREFILLING, HEAD]
    while i != NONE:
        left = int(w.req[i]["target"] - w.req[i]["past"])
        longest = max(longest, left)
        add_chunk(w, r, i, left, now_s)
        i = w.req[i]["after"]
    replica["padding"] = longest * replica["chunks"] - replica["chunk_tokens"]
    replica["chunk_pairs"] = longest * (replica["chunk_past"] + replica["chunks"] * 0.5 * (longest + 1.0))
    replica["with_decode"] = 0
