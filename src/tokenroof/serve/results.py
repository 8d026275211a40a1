"""The nouns of serving: what came of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from tokenroof.serve.core import Setup
from tokenroof.workload.core import Requests

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]


class State(IntEnum):
    """Where a request is."""

    NOT_SENT = 0
    WAITING = 1
    PREFILLING = 2
    DECODING = 3
    MOVING = 4
    LOADING = 5
    COMPLETED = 6
    REJECTED = 7
    FAILED = 8


REASONS = (
    "",
    "larger than the cache of a replica",
    "no replica was left to serve it",
    "lost with its replica more often than it may be retried",
    "its wait was longer than a client waits",
)
"""Why a request was rejected or failed, by the number in ``RequestLog.reason``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RequestLog:
    """What happened to each request; every column of shape (num_requests,), in the order of ``Requests``.

    Attributes
    ----------
    arrival_s, start_s, first_s, finish_s : FloatArray
        Sent, first taken into a step, first token out, last token out; nan: did not happen. [s]
    transfer_s : FloatArray
        Between its prefill's end and its cache's arrival at the decode replica. [s]
    isl_tokens, osl_tokens : IntArray
        As asked.
    out_tokens : IntArray
        Tokens that came out.
    cached_tokens : IntArray
        Of its prompt, those found in a cache when it was first taken. [tokens]
    prefilled_tokens : IntArray
        Prompt tokens that were computed for it, recomputation included. [tokens]
    state, reason : IntArray
        ``State`` in which the run left it; index into ``REASONS``.
    replica, decode_replica : IntArray
        Last replica that prefilled it and that decoded it (equal when one does both); -1: none.
    preemptions, retries : IntArray
        How often it lost its blocks; its replica.
    class_index, session : IntArray
        As in ``Requests``.
    """

    arrival_s: FloatArray
    start_s: FloatArray
    first_s: FloatArray
    finish_s: FloatArray
    transfer_s: FloatArray
    isl_tokens: IntArray
    osl_tokens: IntArray
    out_tokens: IntArray
    cached_tokens: IntArray
    prefilled_tokens: IntArray
    state: IntArray
    reason: IntArray
    replica: IntArray
    decode_replica: IntArray
    preemptions: IntArray
    retries: IntArray
    class_index: IntArray
    session: IntArray

    def __len__(self) -> int:
        return int(self.arrival_s.size)


TIMELINE = (
    "running_seqs",
    "waiting_seqs",
    "used_blocks",
    "prefill_tokens",
    "decode_tokens",
    "busy_replicas",
    "up_replicas",
)
"""Rows of ``Run.timeline``: the first three, ``busy`` and ``up`` are means over the bin, the others sums.

Up are replicas that serve, or still do before they leave."""

SEGMENT = np.dtype(
    [
        ("replica", "i4"),
        ("steps", "i4"),
        ("start_s", "f8"),
        ("end_s", "f8"),
        ("decode_seqs", "i4"),
        ("prefill_seqs", "i4"),
        ("prefill_tokens", "i4"),
        ("used_blocks", "i4"),
    ]
)
"""A stretch of equal work of one replica: ``steps`` decode steps, or one step with prompts in it."""

ITL_BINS_PER_OCTAVE = 64
ITL_LEAST_S = 1e-6
"""``Run.itl_counts[pool, bin]`` counts gaps from ``ITL_LEAST_S * 2 ** (bin / ITL_BINS_PER_OCTAVE)`` on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What came of serving ``requests`` on ``setup``.

    Attributes
    ----------
    setup, requests : Setup, Requests
        What was asked.
    log : RequestLog
        By request.
    end_s : float
        Time of the last event. [s]
    complete : bool
        Whether every request was dealt with; False after an interruption.
    timeline_bin_s : float
        Width of a bin of the timeline. [s]
    timeline : FloatArray
        By pool, quantity of ``TIMELINE`` and bin: shape (num_pools, 7, num_bins).
    itl_counts : FloatArray
        Gaps between tokens of one request by length, all requests pooled, shape (num_pools, num_bins).
    visits : tuple of FloatArray
        By pool: how often each entry of its flat time table was used (a weight of the interpolation), so
        that any additive quantity of a step sums to ``visits @ quantities``.
    replicas : Mapping of str to FloatArray
        By replica (pool after pool): "pool", "busy_s", "up_s" (serving, leaving, starting up or standing
        by: what is paid for), "steps", "prefill_tokens",
        "decode_tokens", "prefill_ends" (prompts whose prefill yielded a token), "peak_blocks",
        "taken_blocks", "freed_blocks", "link_busy_s", "slowed_s", "segments",
        "rounds" (engine steps of any kind).
    tiers : Mapping of str to FloatArray
        By offload tier of pool 0: "loaded_bytes", "stored_bytes", "busy_s"; empty without tiers.
    segments : Records
        See ``SEGMENT``; empty unless asked for.
    events, past_events : int
        Events that were processed; of these, such as lay in the past (there are none).
    """

    setup: Setup
    requests: Requests
    log: RequestLog
    end_s: float
    complete: bool
    timeline_bin_s: float
    timeline: FloatArray
    itl_counts: FloatArray
    visits: tuple[FloatArray, ...]
    replicas: Mapping[str, FloatArray]
    tiers: Mapping[str, FloatArray]
    segments: Records
    events: int
    past_events: int = 0
