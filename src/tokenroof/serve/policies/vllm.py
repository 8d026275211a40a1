"""vLLM V1: one token budget per step, running requests first, prompts in chunks, recompute preemption.

The rule of ``vllm/v1/core/sched/scheduler.py``: decoding sequences take their tokens from the budget;
then prompts in progress, then waiting ones, each as large a chunk as is left. When a running request
finds no block, the one that was taken last gives back its own and waits in front; in such a step
nobody new is taken. Requests of other priorities are served as by ``--scheduling-policy priority``: the
most urgent first, and the least urgent gives way first.

One thing is simpler than there: vLLM goes through running requests in the order in which they were taken,
so that prompts that ``long_prefill_token_threshold`` splits can leave nothing of the budget to sequences
that were taken after them. Here sequences that decode come first always.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.errors import InputError
from tokenroof.serve.ahead import NO_LIMIT
from tokenroof.serve.arrays import DECODING, NONE, PREFILLING, VLLM, World
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import available, decode_need
from tokenroof.serve.lists import COUNT, HEAD
from tokenroof.serve.moves import PREFILLS, preempt
from tokenroof.serve.policies.common import (
    ANY_LENGTH,
    add_chunk,
    admit,
    chunk_of,
    clear_chunks,
    held_seqs,
    make_room,
    more_blocks,
    new_blocks,
    next_waiting,
    prefix_units,
    victim,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vllm:
    """vLLM's scheduler with its own parameter names.

    Attributes
    ----------
    max_num_seqs : int
        Sequences in a step, per data parallel rank.
    max_num_batched_tokens : int
        Token budget of a step, per rank.
    long_prefill_token_threshold : int
        Most tokens of one prompt in a step; 0: as many as the budget has left.
    enable_chunked_prefill : bool
        A prompt may be split over steps.
    scheduler_reserve_full_isl : bool
        A request is taken only when blocks for all its tokens are free, not just for its first chunk.
    async_scheduling : bool
        A step is planned while the one before runs (``serve.ahead``).
    """

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    long_prefill_token_threshold: int = 0
    enable_chunked_prefill: bool = True
    scheduler_reserve_full_isl: bool = True
    async_scheduling: bool = False

    def __post_init__(self) -> None:
        for name in ("max_num_seqs", "max_num_batched_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.long_prefill_token_threshold < 0:
            raise InputError(
                f"long_prefill_token_threshold must be at least 0, got {self.long_prefill_token_threshold}."
            )

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Scheduler``."""
        whole = self.max_num_batched_tokens if self.enable_chunked_prefill else ANY_LENGTH
        return {
            "policy": VLLM,
            "max_seqs": self.max_num_seqs,
            "budget": self.max_num_batched_tokens,
            "chunk_cap": self.long_prefill_token_threshold or whole,
            "chunked": self.enable_chunked_prefill,
            "reserve": self.scheduler_reserve_full_isl,
            "mixed": 1,
            "ahead": self.async_scheduling,
        }


@jit
def plan(w: World, r: int, now_s: float) -> int:
    """What the next step of replica ``r`` computes; see ``policies.dispatch.plan``.

    A prompt that gives way to nobody but itself leaves an empty step, and the next one comes at once.
    """
    replica = w.rep[r]
    before = replica["waiting"]
    limit = _plan_once(w, r, now_s)
    while replica["chunks"] == 0 and w.lists[r, DECODING, COUNT] == 0 and replica["waiting"] > before:
        before = replica["waiting"]
        limit = _plan_once(w, r, now_s)
    return limit


@jit
def _plan_once(w: World, r: int, now_s: float) -> int:
    clear_chunks(w, r)
    pool, replica = w.pool[w.rep[r]["pool"]], w.rep[r]
    before = replica["waiting"]
    make_room(w, r)
    budget = pool["budget"] - w.lists[r, DECODING, COUNT] * pool["query_tokens"]
    i = w.lists[r, PREFILLING, HEAD]
    while i != NONE and budget > replica["chunk_tokens"]:
        left = w.req[i]["target"] - w.req[i]["past"]
        tokens = chunk_of(w, r, int(left), int(budget - replica["chunk_tokens"]), 1)
        if tokens > 0 and not _find_room(w, r, i, tokens):
            break
        if tokens > 0:
            add_chunk(w, r, i, tokens, now_s)
        i = w.req[i]["after"]
    if replica["waiting"] > before:
        return 1
    reserve = decode_need(w, r, 1)
    while budget > replica["chunk_tokens"] and held_seqs(w, r) < pool["max_seqs"]:
        i = next_waiting(w, r)
        if i == NONE or w.req[i]["home"] != NONE:
            break
        units = prefix_units(w, r, i)
        past = units * pool["unit_tokens"]
        tokens = chunk_of(w, r, int(w.req[i]["target"] - past), int(budget - replica["chunk_tokens"]), 1)
        room = available(w, r) - reserve
        if tokens == 0 or new_blocks(w, r, i, int(past + tokens), units) > room:
            break
        if pool["reserve"] and new_blocks(w, r, i, int(w.req[i]["target"]), units) > room:
            break
        if admit(w, r, i, units, now_s):
            add_chunk(w, r, i, tokens, now_s)
    return NO_LIMIT


@jit
def _find_room(w: World, r: int, i: int, tokens: int) -> bool:
    """Preempt until prompt ``i`` finds blocks for ``tokens`` more; False: it had to wait itself."""
    while more_blocks(w, r, i, tokens) + decode_need(w, r, 1) > available(w, r):
        last = victim(w, r)
        take_out(w, r, last)
        preempt(w, r, last, True)
        if last == i:
            return False
    return bool(w.req[i]["state"] == PREFILLS)


@jit
def take_out(w: World, r: int, i: int) -> None:
    """Request ``i`` has no part in the step that is being planned."""
    tokens = w.req[i]["chunk"]
    if tokens > 0:
        replica = w.rep[r]
        past = w.req[i]["past"]
        replica["chunks"] -= 1
        replica["chunk_tokens"] -= tokens
        replica["chunk_past"] -= past
        replica["chunk_pairs"] -= tokens * (float(past) + 0.5 * (tokens + 1.0))
        if past + tokens >= w.req[i]["target"]:
            replica["chunk_ends"] -= 1
