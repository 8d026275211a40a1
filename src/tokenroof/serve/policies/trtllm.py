"""TensorRT-LLM: in-flight batching with blocks reserved for whole requests, or pauses when they run out.

The rules of ``batch_manager/capacityScheduler.cpp`` and ``microBatchScheduler.cpp``: first it is decided who
may hold blocks, then who is in the step. Generation requests come first and count one token each; then
context requests within ``max_num_tokens``, in chunks of whole blocks where they are split
(FIRST_COME_FIRST_SERVED). The most urgent wait in front.

- GUARANTEED_NO_EVICT takes a request when its prompt and its whole answer fit beside what all who run still
  take until their ends: nobody is ever paused.
- MAX_UTILIZATION takes it when its prompt fits now. When a running request finds no block, the last one is
  paused: it loses its blocks and waits in front; in such a step nobody new is taken.

The blocks of a whole prompt are held from its first chunk on (``KVCacheManager::addSequence``; from memory).
The token that ends an answer is never cached: it is not reserved here, where the engine rounds up over it.
Behind a prompt for which no whole block of the step is left nobody is taken, where the engine tries shorter
ones; it also waits with a prompt whose beginning another one is computing just now, which is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.errors import InputError
from tokenroof.serve.ahead import NO_LIMIT
from tokenroof.serve.arrays import DECODING, NONE, PREFILLING, TRTLLM, World
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import available, decode_need
from tokenroof.serve.lists import COUNT, HEAD
from tokenroof.serve.policies.balance import hold_steps
from tokenroof.serve.policies.common import (
    ANY_LENGTH,
    add_chunk,
    admit,
    chunk_of,
    clear_chunks,
    held_seqs,
    hold_blocks,
    make_room,
    new_blocks,
    next_waiting,
    prefix_units,
    room_to_the_end,
)

NO_EVICT, MAX_UTILIZATION = "GUARANTEED_NO_EVICT", "MAX_UTILIZATION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trtllm:
    """TensorRT-LLM's schedulers with their own parameter names.

    Attributes
    ----------
    max_batch_size : int
        Requests of a step, per data parallel rank.
    max_num_tokens : int
        Tokens of a step, per rank.
    enable_balance : bool
        With several data parallel ranks, prompts wait for one another, see ``policies.balance``.
    timeout_iters, batching_wait_iters : int
        Most steps that they wait until every rank has one, and steps that they wait then.
    capacity_scheduler_policy : str
        GUARANTEED_NO_EVICT or MAX_UTILIZATION.
    enable_chunked_context : bool
        A prompt may be split over steps.
    async_scheduling : bool
        A step is planned while the one before runs (``serve.ahead``), TensorRT-LLM's overlap scheduler.
    """

    max_batch_size: int = 2048
    max_num_tokens: int = 8192
    enable_balance: bool = False
    timeout_iters: int = 50
    batching_wait_iters: int = 10
    capacity_scheduler_policy: str = NO_EVICT
    enable_chunked_context: bool = True
    async_scheduling: bool = False

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_num_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("timeout_iters", "batching_wait_iters"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}.")
        if self.capacity_scheduler_policy not in (NO_EVICT, MAX_UTILIZATION):
            raise InputError(
                f"unknown capacity_scheduler_policy {self.capacity_scheduler_policy!r}. "
                f"Give {NO_EVICT} or {MAX_UTILIZATION}."
            )

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Scheduler``."""
        return {
            "policy": TRTLLM,
            "max_seqs": self.max_batch_size,
            "budget": self.max_num_tokens,
            "balance": self.enable_balance,
            "hold_steps": self.timeout_iters,
            "gather_steps": self.batching_wait_iters,
            "chunk_cap": self.max_num_tokens if self.enable_chunked_context else ANY_LENGTH,
            "chunked": self.enable_chunked_context,
            "mixed": 1,
            "reserve": self.capacity_scheduler_policy == NO_EVICT,
            "ahead": self.async_scheduling,
        }


@jit
def plan(w: World, r: int, now_s: float) -> int:
    """What the next step of replica ``r`` computes; see ``policies.dispatch.plan``."""
    clear_chunks(w, r)
    pool, replica = w.pool[w.rep[r]["pool"]], w.rep[r]
    unit = int(pool["block_tokens"])
    paused = not pool["reserve"] and make_room(w, r)
    budget = pool["budget"] - w.lists[r, DECODING, COUNT] * pool["query_tokens"]
    i = w.lists[r, PREFILLING, HEAD]
    while i != NONE and budget > replica["chunk_tokens"]:
        left = w.req[i]["target"] - w.req[i]["past"]
        tokens = chunk_of(w, r, int(left), int(budget - replica["chunk_tokens"]), unit)
        if tokens > 0:
            add_chunk(w, r, i, tokens, now_s)
        i = w.req[i]["after"]
    if paused:
        return 1
    held = hold_steps(w, r)
    if held > 0:
        return held
    while budget > replica["chunk_tokens"] and held_seqs(w, r) < pool["max_seqs"]:
        i = next_waiting(w, r)
        if i == NONE or w.req[i]["home"] != NONE:
            break
        units = prefix_units(w, r, i)
        left = w.req[i]["target"] - units * pool["unit_tokens"]
        tokens = chunk_of(w, r, int(left), int(budget - replica["chunk_tokens"]), unit)
        if tokens == 0 or not _fits(w, r, i, int(units)):
            break
        taken = admit(w, r, i, int(units), now_s)
        hold_blocks(w, r, i, int(w.req[i]["target"] - w.req[i]["past"]), now_s)
        if taken:
            add_chunk(w, r, i, tokens, now_s)
    return NO_LIMIT


@jit
def _fits(w: World, r: int, i: int, units: int) -> bool:
    """Whether the capacity scheduler lets waiting request ``i`` hold blocks."""
    if w.pool[w.rep[r]["pool"]]["reserve"]:
        return room_to_the_end(w, r, i, units)
    need = new_blocks(w, r, i, int(w.req[i]["target"]), units)
    return bool(need <= available(w, r) - decode_need(w, r, 1))
