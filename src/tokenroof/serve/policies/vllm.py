"""vLLM V1: one token budget per step, running requests first, prompts in chunks, recompute preemption.

The rule of ``vllm/v1/core/sched/scheduler.py``: decoding sequences take their tokens from the budget;
then prompts in progress, then waiting ones, each as large a chunk as is left. When a running request
finds no block, the one that was taken last gives back its own and waits in front; in such a step
nobody new is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.errors import InputError
from tokenroof.serve.arrays import DECODING, NONE, PREFILLING, VLLM, World
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import decode_need
from tokenroof.serve.lists import COUNT, HEAD
from tokenroof.serve.moves import preempt
from tokenroof.serve.policies.common import (
    add_chunk,
    admit,
    clear_chunks,
    held_seqs,
    make_room,
    next_waiting,
    prefix_units,
    room_for,
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
    """

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    long_prefill_token_threshold: int = 0
    enable_chunked_prefill: bool = True

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
        return {
            "policy": VLLM,
            "max_seqs": self.max_num_seqs,
            "budget": self.max_num_batched_tokens,
            "chunk_cap": self.long_prefill_token_threshold or self.max_num_batched_tokens,
            "chunked": self.enable_chunked_prefill,
            "mixed": 1,
        }


@jit
def plan(w: World, r: int, now_s: float) -> None:
    """What the next step of replica ``r`` computes."""
    clear_chunks(w, r)
    pool = w.pool[w.rep[r]["pool"]]
    reserve = decode_need(w, r, 1)
    preempted = make_room(w, r, reserve)
    if preempted:
        reserve = decode_need(w, r, 1)
    budget = pool["budget"] - w.lists[r, DECODING, COUNT] * pool["query_tokens"]
    i = w.lists[r, PREFILLING, HEAD]
    while i != NONE and budget > 0:
        following = w.req[i]["after"]
        tokens = min(w.req[i]["target"] - w.req[i]["past"], budget, pool["chunk_cap"])
        while not room_for(w, r, i, w.req[i]["past"], tokens, w.req[i]["units"], reserve):
            last = victim(w, r)
            preempted = True
            make_one_wait(w, r, last)
            if last == i:
                break
        if w.req[i]["state"] != 2:
            break
        add_chunk(w, r, i, int(tokens), now_s)
        budget -= tokens
        i = following if following == NONE or w.req[following]["state"] == 2 else NONE
    while budget > 0 and not preempted and held_seqs(w, r) < pool["max_seqs"]:
        i = next_waiting(w, r)
        if i == NONE or w.req[i]["home"] != NONE:
            break
        units = prefix_units(w, r, i)
        past = units * pool["unit_tokens"]
        left = w.req[i]["target"] - past
        tokens = min(left, budget, pool["chunk_cap"])
        if not pool["chunked"] and tokens < left:
            if w.rep[r]["chunks"] > 0:
                break
            tokens = left  # longer than any step: alone
        if not room_for(w, r, i, past, tokens, 0, reserve):  # cached units may be taken out of the idle ones
            break
        if admit(w, r, i, units, now_s):
            add_chunk(w, r, i, int(tokens), now_s)
            budget -= tokens


@jit
def make_one_wait(w: World, r: int, i: int) -> None:
    """Preempt ``i``; if it has a chunk in the step that is planned, that is taken out again."""
    from_step = w.req[i]["chunk"]
    if from_step > 0:
        replica = w.rep[r]
        past = w.req[i]["past"]
        replica["chunks"] -= 1
        replica["chunk_tokens"] -= from_step
        replica["chunk_past"] -= past
        replica["chunk_pairs"] -= from_step * (float(past) + 0.5 * (from_step + 1.0))
        if past + from_step >= w.req[i]["target"]:
            replica["chunk_ends"] -= 1
    preempt(w, r, i, True)
