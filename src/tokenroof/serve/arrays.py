"""The arrays that the event kernel works on: everything it knows, and nothing else.

Times are float64 seconds, counts whole numbers. A row of ``REQUEST`` is a request, of ``REPLICA`` a
replica, of ``POOL`` a pool. Compiled functions take the whole ``World``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenroof.serve.block import Block
from tokenroof.serve.prefix import PrefixArrays

Array = npt.NDArray[Any]

NONE = -1
"""No request, no replica."""

# Replica status.
UP, DOWN, OFF, STARTING, DRAINING, SPARE = range(6)

# Kinds of a stretch of work (a segment).
IDLE, DECODE, PROMPTS = range(3)

# Lists of requests of a replica: eight waiting lines by priority, then these.
LEVELS = 8
PREFILLING, DECODING, MOVING_IN, READY, LOST, LISTS = 8, 9, 10, 11, 12, 13

# Kinds of events.
SEND, MOVED, LOADED, FLEET_EVENT, TICK, SERVES, HELD, EMERGES = range(8)

# Policies and routers by number, as their types' ``settings`` give them.
VLLM, SGLANG, TRTLLM, STATIC = range(4)
ROUND_ROBIN, LEAST_LOADED, POWER_OF_TWO, PREFIX_AFFINITY, SESSION_AFFINITY = range(5)

ID_BITS = 28
"""Requests per run are fewer than 2**28; keys of heaps carry the row in these low bits."""

TIME_BINS = 1024
ITL_BINS = 2048

REQUEST = np.dtype(
    [
        ("arrival_s", "f8"),  # sent (before that: given time or delay)
        ("start_s", "f8"),
        ("first_s", "f8"),
        ("finish_s", "f8"),
        ("transfer_s", "f8"),
        ("here_s", "f8"),  # since when its replica could know of it
        ("last_s", "f8"),  # last token before it lost its blocks; end of its prefill while it moves
        ("join_step", "i8"),  # decode steps its replica had done when it began to decode
        ("prefilled", "i8"),  # prompt tokens computed for it
        ("isl", "i4"),
        ("osl", "i4"),
        ("steps", "i4"),  # decode steps that its answer takes after the first token
        ("made", "i4"),  # of these, done before it last lost its blocks
        ("target", "i4"),  # tokens to have cached before it decodes (again)
        ("past", "i4"),  # of these, cached now; while decoding: cached when it joined
        ("chunk", "i4"),  # tokens of its prompt in the step in progress
        ("cached", "i4"),  # prompt tokens found in a cache when it was first taken
        ("blocks", "i4"),  # blocks of its own
        ("units", "i4"),  # shared prefix units that it holds
        ("before", "i4"),  # neighbours in the list it is in
        ("after", "i4"),
        ("follower", "i4"),  # request that is sent after it
        ("replica", "i4"),  # where it is
        ("home", "i4"),  # replica that holds its cache until it has moved
        ("prefiller", "i4"),  # replica that prefilled it last
        ("level", "i4"),  # priority
        ("class_index", "i4"),
        ("session", "i4"),
        ("preemptions", "i4"),
        ("retries", "i4"),
        ("reason", "i4"),
        ("state", "i4"),
    ]
)

REPLICA = np.dtype(
    [
        ("pool", "i8"),
        ("status", "i8"),
        ("kind", "i8"),  # of the segment in progress
        ("start_s", "f8"),  # of it
        ("end_s", "f8"),
        ("round_end_s", "f8"),  # from when on its next step can begin
        ("prompts_end_s", "f8"),  # when its prompts leave the last pipeline stage
        ("steps", "i8"),  # decode steps in it
        ("slow", "f8"),  # factor on its times
        ("pace", "f8"),  # the same, from the next segment on
        ("place", "i8"),  # in the heap of segment ends
        ("dirty", "i8"),  # waits for a new segment at this very time
        ("done_steps", "i8"),  # decode steps since the start
        ("phase_at", "i8"),  # their remainder by the tokens of a block
        ("gap_least_s", "f8", (2,)),  # bounds and number of the bin that the last gaps fell into
        ("gap_most_s", "f8", (2,)),
        ("gap_bin", "i8", (2,)),
        ("context", "f8"),  # cached tokens of decoding sequences, sum
        ("growth", "f8"),  # tokens these gain per step, sum
        ("zombies", "i8"),  # finished sequences that hold their place (static batching)
        ("used", "i8"),  # blocks held
        ("peak", "i8"),
        ("taken", "i8"),
        ("freed", "i8"),
        ("waiting", "i8"),  # requests in its lines
        ("outstanding", "i8"),  # requests that are its business
        ("outstanding_tokens", "i8"),
        ("finishing", "i8"),  # entries in its heap of finishes
        ("chunks", "i8"),  # prompts in the step to come, and sums over them
        ("chunk_tokens", "i8"),
        ("chunk_past", "f8"),
        ("chunk_pairs", "f8"),
        ("chunk_ends", "i8"),
        ("padding", "i8"),  # tokens that the step computes beside those of its chunks (static batching)
        ("with_decode", "i8"),
        (
            "held_at",
            "i8",
        ),  # TensorRT-LLM: decode steps done, and 1, when a prompt began to wait; 0: none does
        ("met_at", "i8"),  # the same, when every rank had one
        ("ratio", "f8"),  # SGLang: part of the remaining answers that is reserved
        ("ratio_step", "i8"),  # decode steps done when it was that
        ("full", "i8"),  # SGLang: decoding sequences, and 1, when no more could be taken; 0: look again
        ("hold_until_s", "f8"),  # static batching: waits for a full batch
        ("known_s", "f8"),  # its plan knows who came before: see ``ahead``
        ("ended_s", "f8"),  # end of its last segment
        ("unpolled", "i8"),  # decode steps since it received what had been sent to it
        ("late_seqs", "i8"),  # places and blocks that its plan does not know to be free
        ("late_blocks", "i8"),
        ("seen_s", "f8"),  # timeline is accounted up to here
        ("decoded_s", "f8"),  # end of its last decode step
        ("busy_s", "f8"),
        ("up_s", "f8"),
        ("slowed_s", "f8"),
        ("link_free_s", "f8"),
        ("link_busy_s", "f8"),
        ("prefill_tokens", "i8"),
        ("decode_tokens", "i8"),
        ("prefill_ends", "i8"),  # prompts whose prefill yielded a token
        ("segments", "i8"),
        ("rounds", "i8"),  # engine steps of any kind
        ("serves_s", "f8"),  # end of its start-up
    ]
)

POOL = np.dtype(
    [
        ("stage", "i8"),
        ("policy", "i8"),
        ("first", "i8"),  # its replicas: first and count, spares and autoscaled ones included
        ("count", "i8"),
        # limits of the engine
        ("max_seqs", "i8"),
        ("budget", "i8"),  # tokens of a step
        ("chunk_cap", "i8"),  # most tokens of one prompt in a step
        ("chunked", "i8"),  # a prompt may be split over steps
        ("mixed", "i8"),  # prompts and decodes share steps
        ("balance", "i8"),  # TensorRT-LLM: prompts wait until every rank has one,
        ("hold_steps", "i8"),  # so many steps at most,
        ("gather_steps", "i8"),  # and then so many more
        ("prefill_budget", "i8"),  # SGLang: most tokens of a batch of new prompts
        ("ratio_start", "f8"),
        ("ratio_least", "f8"),
        ("ratio_decay", "f8"),
        ("ratio_clip", "i8"),
        ("reserve", "i8"),  # blocks of the whole prompt (vLLM), request (TensorRT-LLM) must be there
        ("batch_wait_s", "f8"),
        ("ahead", "i8"),  # a step is planned while the one before is running
        ("poll_steps", "i8"),  # decode steps from one receiving of requests to the next
        ("blind", "i8"),  # its plans may not know of everybody: one of the two
        # cache
        ("num_blocks", "i8"),
        ("block_tokens", "i8"),
        ("block_shift", "i8"),  # if that is a power of two, which; else -1
        ("fixed_blocks", "i8"),
        ("prefix", "i8"),
        ("unit_tokens", "i8"),
        ("unit_blocks", "i8"),
        # time
        ("query_tokens", "i8"),  # per decoding sequence and step
        ("speculative", "i8"),
        ("dp", "i8"),
        ("cp", "i8"),
        ("pp", "i8"),
        ("overhead_s", "f8"),
        ("draft_s", "f8"),  # more in a step with decoding sequences
        ("decode_at", "i8"),  # decode rows in ``table``, their width, and the contexts in ``knots``
        ("contexts", "i8"),
        ("contexts_at", "i8"),
        ("guess_at", "i8"),  # in ``knots``: the knot below every 64th context
        ("guesses", "i8"),
        ("prefill_at", "i8"),
        ("chunk_knots", "i8"),
        ("new_knots", "i8"),
        ("past_knots", "i8"),
        ("chunk_knots_at", "i8"),
        ("new_knots_at", "i8"),
        ("past_knots_at", "i8"),
        # hand-off
        ("link_bytes_per_s", "f8"),
        ("link_latency_s", "f8"),
        ("token_bytes", "f8"),
        ("sequence_bytes", "f8"),
        ("overlap", "f8"),
        ("start_up_s", "f8"),
        # autoscaling
        ("signal", "i8"),  # 0: none
        ("goal", "f8"),
        ("least", "i8"),
        ("most", "i8"),
        ("interval_s", "f8"),
        ("down_after_s", "f8"),
        ("low_since_s", "f8"),  # since when fewer would do; infinite: they would not
        ("low_most", "i8"),  # how many would, at most, since then
        ("arrived", "i8"),  # requests since the last decision
        ("wanted", "i8"),  # replicas that should serve
        ("spares", "i8"),  # replicas that should stand by
    ]
)

GLOBAL = np.dtype(
    [
        ("now_s", "f8"),
        ("next_head", "i8"),  # position in ``heads``
        ("concurrency", "i8"),  # 0: open loop
        ("in_progress", "i8"),
        ("sent", "i8"),
        ("ended", "i8"),  # completed, rejected or failed
        ("completed", "i8"),
        ("events", "i8"),
        ("heap", "i8"),  # pending events
        ("clock", "i8"),  # replicas with a segment in progress
        ("dirty", "i8"),
        ("router", "i8"),
        ("turn", "i8"),  # of round robin
        ("decode_turn", "i8"),  # the same, for decode replicas
        ("cache_threshold", "f8"),  # prefix affinity
        ("balance_abs_threshold", "i8"),
        ("balance_rel_threshold", "f8"),
        ("random", "u8"),  # state of the generator
        ("crawl", "i8"),
        ("changes", "i8"),  # the next event is one of the fleet
        ("bin_s", "f8"),
        ("segments", "i8"),
        ("max_retries", "i8"),
        ("takeover_s", "f8"),
        ("past_event", "i8"),  # events that lay in the past: a bug of ours
    ]
)

INCIDENT = np.dtype([("at_s", "f8"), ("until_s", "f8"), ("replica", "i8"), ("slow", "f8")])
"""One per replica that an incident hits."""


@dataclass(eq=False)
class World(Block):
    """All state. Shapes: n requests, R replicas, P pools.

    ``lane`` (P, 7, 5): offset and length of the dense part in ``table``, offset of the tail's values in
    ``table`` and of its knots in ``knots``, length of the tail; offset -1: no such lane. ``base``
    (P, most sequences + 1): time of a decode step without attention.
    ``row`` likewise: sequences of the busiest rank and micro-batch. ``decode_visits`` likewise: steps.
    ``lists`` (R, LISTS, 3): head, tail, count. ``finish`` (R, most sequences + 1): heap of
    ``step << ID_BITS | request``. ``phase`` (R, most block tokens): sequences that need a new block at
    steps of that remainder.
    """

    g: Array
    pool: Array
    rep: Array
    req: Array
    lane: Array
    table: Array
    visit: Array
    knots: Array
    base: Array
    row: Array
    decode_visits: Array
    lists: Array
    finish: Array
    phase: Array
    clock: Array
    event_t: Array
    event_k: Array
    heads: Array
    done: Array
    dirty: Array
    incident: Array
    sticky: Array
    timeline: Array
    itl: Array
    segment: Array
    prefix: PrefixArrays
