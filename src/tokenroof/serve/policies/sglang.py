"""SGLang: prompts come first, answers that run are reserved in part, retraction when that was too little.

The rules of ``managers/scheduler.py`` (``get_next_batch_to_run``, ``update_running_batch``),
``managers/schedule_policy.py`` (``PrefillAdder``) and ``managers/schedule_batch.py`` (``retract_decode``):

- A batch of prompts alone runs whenever one can be formed, else a decode step. With mixed chunks the
  decoding sequences take part in it.
- A request is taken when its prompt, its answer (at most ``CLIP_MAX_NEW_TOKENS``) and a block fit beside
  what running answers still take, of which a part is counted: the new token ratio. It falls with every
  decode step.
- Once somebody did not fit the batch is full: nobody is looked at until it has shrunk. That is seen at the
  next decode step, so that prompts come a step after the end that made room for them.
- A decode step that finds no memory retracts the sequences with the fewest tokens out, of these the longest
  prompt first, until all others have room for ``SGLANG_RETRACT_DECODE_STEPS`` tokens. They wait at the end
  of the line, and the ratio becomes what would have been enough.

- With a receive interval of N an engine that decodes looks at its socket once in N steps, and after every
  batch of prompts (``SchedulerRecvSkipper``, ``managers/scheduler_components/recv_skipper.py``: a counter
  grows by 1 with a decode step or a verified one, by 1000 with any other, and starts again at N).

The largest answer of a request (``max_new_tokens``) is taken to be its answer. In a prefill pool it is 1,
as in the engine. With the overlap schedule (``serve.ahead``) ends are seen and requests are taken a step
later; that the engine does not overlap two batches of prompts, for their first tokens, is left out.
``--num-continuous-decode-steps``, which recipes still give, does nothing: the loop that read it went with
sgl-project/sglang#2095 (November 2024), when results began to be processed beside the next step.
Requests that alone fill the cache are taken when nothing else runs; the engine shortens their answers.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.errors import InputError
from tokenroof.serve.ahead import NO_LIMIT
from tokenroof.serve.arrays import DECODING, MOVING_IN, NONE, PREFILLING, SGLANG, World
from tokenroof.serve.jit import jit
from tokenroof.serve.kv import available, decode_need
from tokenroof.serve.lists import COUNT, HEAD, TAIL
from tokenroof.serve.moves import LOADS, out_tokens, preempt
from tokenroof.serve.policies.common import (
    ANY_LENGTH,
    add_chunk,
    admit,
    clear_chunks,
    held_seqs,
    idle_among,
    new_blocks,
    next_waiting,
    prefix_units,
)

CLIP_MAX_NEW_TOKENS = 4096
INIT_NEW_TOKEN_RATIO, MIN_NEW_TOKEN_RATIO_FACTOR, NEW_TOKEN_RATIO_DECAY_STEPS = 0.7, 0.14, 600
RETRACT_DECODE_STEPS = 20
PREFILL_STAGE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sglang:
    """SGLang's scheduler with its own parameter names.

    Attributes
    ----------
    max_running_requests : int
        Sequences at once, per data parallel rank.
    chunked_prefill_size : int
        Prompt tokens of a batch, per rank; -1: prompts are not split.
    max_prefill_tokens : int
        A batch that has so many prompt tokens takes no more prompts.
    schedule_conservativeness : float
        Factor on the part of running answers that is reserved at first.
    enable_mixed_chunk : bool
        Decoding sequences take part in batches of prompts.
    async_scheduling : bool
        A step is planned while the one before runs (``serve.ahead``), SGLang's overlap schedule.
    scheduler_recv_interval : int
        Decode steps from one receiving of new requests to the next.
    """

    max_running_requests: int = 256
    chunked_prefill_size: int = 8192
    max_prefill_tokens: int = 16384
    schedule_conservativeness: float = 1.0
    enable_mixed_chunk: bool = False
    async_scheduling: bool = False
    scheduler_recv_interval: int = 1

    def __post_init__(self) -> None:
        for name in ("max_running_requests", "max_prefill_tokens", "scheduler_recv_interval"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        size = self.chunked_prefill_size
        if size < 1 and size != -1:
            raise InputError(f"chunked_prefill_size must be at least 1, or -1 for no chunks, got {size}.")
        if not self.schedule_conservativeness > 0.0:
            raise InputError(
                f"schedule_conservativeness must be above 0, got {self.schedule_conservativeness!r}."
            )

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Scheduler``."""
        start = min(INIT_NEW_TOKEN_RATIO * self.schedule_conservativeness, 1.0)
        least = start * MIN_NEW_TOKEN_RATIO_FACTOR
        chunked = self.chunked_prefill_size != -1
        return {
            "policy": SGLANG,
            "max_seqs": self.max_running_requests,
            "budget": self.chunked_prefill_size if chunked else ANY_LENGTH,
            "chunk_cap": self.chunked_prefill_size if chunked else ANY_LENGTH,
            "chunked": chunked,
            "mixed": self.enable_mixed_chunk,
            "prefill_budget": self.max_prefill_tokens,
            "ratio_start": start,
            "ratio_least": least,
            "ratio_decay": (start - least) / NEW_TOKEN_RATIO_DECAY_STEPS,
            "ratio_clip": CLIP_MAX_NEW_TOKENS,
            "ahead": self.async_scheduling,
            "poll_steps": self.scheduler_recv_interval,
        }


@jit
def plan(w: World, r: int, now_s: float) -> int:
    """What the next step of replica ``r`` computes; see ``policies.dispatch.plan``."""
    replica, pool = w.rep[r], w.pool[w.rep[r]["pool"]]
    seqs = w.lists[r, DECODING, COUNT] + replica["late_seqs"]
    # A chunk that did not end its prompt, and a prompt that was the whole request, have left the batch.
    left_it = w.lists[r, PREFILLING, COUNT] > 0 or (replica["chunks"] > 0 and seqs + 1 < replica["full"])
    if left_it or seqs == 0:
        replica["full"] = 0
    clear_chunks(w, r)
    retracted = False
    if w.lists[r, PREFILLING, COUNT] > 0 or (replica["full"] == 0 and _somebody(w, r)):
        if pool["mixed"] and decode_need(w, r, 1) > available(w, r):
            _retract(w, r)
            retracted = True
        _take_prompts(w, r, now_s)
        while replica["chunks"] == 0 and _stuck(w, r):
            preempt(w, r, int(w.lists[r, PREFILLING, TAIL]), True)
            _take_prompts(w, r, now_s)
    seqs = w.lists[r, DECODING, COUNT] + replica["late_seqs"]
    if replica["chunks"] > 0:
        replica["with_decode"] = pool["mixed"]
        if pool["mixed"] and w.lists[r, DECODING, COUNT] > 0:
            replica["ratio_step"] += 1
        if replica["full"] > 0:
            replica["full"] = seqs + replica["chunk_ends"] + 1
        return NO_LIMIT
    if seqs == 0:
        replica["full"] = 0
        replica["ratio"], replica["ratio_step"] = pool["ratio_start"], replica["done_steps"]
        return NO_LIMIT
    if decode_need(w, r, 1) > available(w, r):
        _retract(w, r)
        retracted = True
    seqs = w.lists[r, DECODING, COUNT] + replica["late_seqs"]
    if seqs + 1 < replica["full"]:
        replica["full"] = 0
    elif replica["full"] > 0:
        replica["full"] = seqs + 1
    return 1 if retracted or (replica["full"] == 0 and _somebody(w, r)) else NO_LIMIT


@jit
def _somebody(w: World, r: int) -> bool:
    """Whether a request waits whose prompt is to be computed here."""
    i = next_waiting(w, r)
    return bool(i != NONE and w.req[i]["home"] == NONE)


@jit
def _stuck(w: World, r: int) -> bool:
    """Whether prompts in progress hold everything between them, so that none of them can ever go on.

    An engine has one such prompt at a time; here there is one on each rank and in each micro-batch.
    """
    if w.lists[r, PREFILLING, COUNT] < 2:
        return False
    held = 0
    i = w.lists[r, PREFILLING, HEAD]
    while i != NONE:
        held += w.req[i]["blocks"] + w.req[i]["units"] * w.pool[w.rep[r]["pool"]]["unit_blocks"]
        i = w.req[i]["after"]
    return bool(held >= w.rep[r]["used"])


@jit
def ratio_now(w: World, r: int) -> float:
    """The new token ratio: falls by the same amount with every decode step, down to the least."""
    replica, pool = w.rep[r], w.pool[w.rep[r]["pool"]]
    fallen = pool["ratio_decay"] * (replica["done_steps"] - replica["ratio_step"])
    return float(max(pool["ratio_least"], replica["ratio"] - fallen))


@jit
def _answer_left(w: World, r: int, i: int) -> int:
    """Tokens that are reserved for the rest of an answer, all of them counted."""
    pool = w.pool[w.rep[r]["pool"]]
    if pool["stage"] == PREFILL_STAGE:
        return 1
    return int(min(w.req[i]["osl"] - out_tokens(w, i), pool["ratio_clip"]))


@jit
def _spare_tokens(w: World, r: int) -> float:
    """Tokens that new prompts and their answers may take (``PrefillAdder.rem_total_tokens``)."""
    pool = w.pool[w.rep[r]["pool"]]
    answers, loading = 0, 0
    i = w.lists[r, DECODING, HEAD]
    while i != NONE:
        answers += _answer_left(w, r, i)
        i = w.req[i]["after"]
    i = w.lists[r, MOVING_IN, HEAD]
    while i != NONE:
        if w.req[i]["state"] == LOADS:
            loading += w.req[i]["target"] - w.req[i]["past"] + _answer_left(w, r, i)
        i = w.req[i]["after"]
    return float(available(w, r) * pool["block_tokens"] - loading) - ratio_now(w, r) * answers


@jit
def _take_prompts(w: World, r: int, now_s: float) -> None:
    """A batch of prompts: those in progress, then from the line."""
    replica, pool = w.rep[r], w.pool[w.rep[r]["pool"]]
    page = pool["block_tokens"]
    decoding = w.lists[r, DECODING, COUNT] * pool["query_tokens"] if pool["mixed"] else 0
    reserve = decode_need(w, r, 1) if pool["mixed"] else 0
    spare = _spare_tokens(w, r) - decoding
    input_left, chunk_left = int(pool["prefill_budget"] - decoding), int(pool["budget"] - decoding)
    i = w.lists[r, PREFILLING, HEAD]
    while i != NONE and chunk_left > 0:
        tokens = _next_chunk(w, r, i, spare, chunk_left, reserve)
        if tokens > 0:
            ends = w.req[i]["past"] + tokens >= w.req[i]["target"]
            add_chunk(w, r, i, tokens, now_s)
            paged = -(-tokens // page) * page
            spare -= paged + page + (_answer_left(w, r, i) if ends else 0)
            input_left -= paged
            chunk_left -= paged
        i = w.req[i]["after"]
    while input_left > 0 and chunk_left > 0:
        i = next_waiting(w, r)
        if i == NONE or w.req[i]["home"] != NONE:
            return
        units = prefix_units(w, r, i)
        past = units * pool["unit_tokens"]
        idle = idle_among(w, r, i, int(units)) * pool["unit_tokens"]
        left = int(w.req[i]["target"] - past)
        answer = _answer_left(w, r, i)
        fixed = pool["fixed_blocks"] * page
        alone = held_seqs(w, r) == 0
        if held_seqs(w, r) >= pool["max_seqs"] or not (alone or left + answer + page + fixed < spare - idle):
            replica["full"] = 1
            return
        paged = -(-left // page) * page
        tokens = left
        if pool["chunked"]:
            most = min(chunk_left, pool["chunk_cap"])
            if paged > most:
                tokens = int((past + most) // page * page - past)
        elif replica["chunks"] > 0 and paged >= input_left:
            return
        if tokens <= 0:
            return
        if new_blocks(w, r, i, int(past + tokens), int(units)) > available(w, r) - reserve:
            replica["full"] = 1
            return
        if admit(w, r, i, int(units), now_s):
            add_chunk(w, r, i, tokens, now_s)
        paged = -(-tokens // page) * page
        spare -= paged + page + fixed + idle + (answer if tokens == left else 0)
        input_left -= paged
        chunk_left -= paged
        if spare <= 0.0:
            replica["full"] = 1
            return


@jit
def _next_chunk(w: World, r: int, i: int, spare: float, chunk_left: int, reserve: int) -> int:
    """Tokens of a prompt in progress in this batch: it has to come on even if nothing is to spare."""
    pool, request = w.pool[w.rep[r]["pool"]], w.req[i]
    most = min(chunk_left, pool["chunk_cap"])
    if 0 < int(spare) < most:
        most = int(spare)
    held = request["blocks"] + request["units"] * pool["unit_blocks"] - pool["fixed_blocks"]
    room = (held + available(w, r) - reserve) * pool["block_tokens"] - request["past"]
    return int(min(request["target"] - request["past"], most, room))


@jit
def _retract(w: World, r: int) -> None:
    """Sequences lose their memory until the others can go on, and the ratio is what it should have been."""
    replica, pool = w.rep[r], w.pool[w.rep[r]["pool"]]
    per_seq = RETRACT_DECODE_STEPS + (pool["query_tokens"] if pool["speculative"] else 0)
    left = w.lists[r, DECODING, COUNT]
    some = False
    while left > 1 and (not some or available(w, r) * pool["block_tokens"] < left * per_seq):
        preempt(w, r, _first_to_go(w, r), False)
        left -= 1
        some = True
    while decode_need(w, r, 1) > available(w, r) and w.lists[r, PREFILLING, COUNT] > 0:
        preempt(w, r, int(w.lists[r, PREFILLING, TAIL]), True)
    if decode_need(w, r, 1) > available(w, r):  # the rest is held by what is on its way in
        preempt(w, r, _first_to_go(w, r), False)
        left = 0
    out, most = RETRACT_DECODE_STEPS * left, 0
    i = w.lists[r, DECODING, HEAD]
    while i != NONE:
        out += out_tokens(w, i)
        most += w.req[i]["osl"]
        i = w.req[i]["after"]
    replica["ratio"] = min(1.0, out / most) if most > 0 else 1.0
    replica["ratio_step"] = replica["done_steps"] + 1
    replica["full"] = 0


@jit
def _first_to_go(w: World, r: int) -> int:
    """Fewest tokens out, then longest prompt, then last in the batch."""
    found = int(w.lists[r, DECODING, TAIL])
    fewest = out_tokens(w, found)
    i = w.req[found]["before"]
    while i != NONE:
        out = out_tokens(w, i)
        if out < fewest or (out == fewest and w.req[i]["isl"] > w.req[found]["isl"]):
            found, fewest = int(i), out
        i = w.req[i]["before"]
    return found
