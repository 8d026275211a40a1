"""The nouns of serving: what is served on. ``serve.results`` has what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tokenroof.perf.table import StepTable

FloatArray = npt.NDArray[np.float64]


class Stage(IntEnum):
    """What replicas of a pool do."""

    BOTH = 0
    PREFILL = 1
    DECODE = 2


class Scheduler(Protocol):
    """The batching rule of an engine; one type per engine in ``serve.policies``."""

    def settings(self) -> dict[str, float]:
        """Fields of ``serve.arrays.POOL`` that the compiled rule reads, ``policy`` among them."""
        ...


class Router(Protocol):
    """How a request finds a replica; one type per rule in ``serve.routers``."""

    def settings(self) -> dict[str, float]:
        """Fields of ``serve.arrays.GLOBAL`` that the compiled rule reads, ``router`` among them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a prompt's cache is handed over by, per replica and direction.

    Attributes
    ----------
    bytes_per_s : float
        All chips of the replica together. [bytes/s]
    latency_s : float
        Start-up and hops of one hand-off. [s]
    bytes_per_token, bytes_per_sequence : float
        What is moved, all chips of the replica together. [bytes]
    overlap_fraction : float
        Part of the bytes that has left when the prefill ends (layer by layer), 0 to 1.
    """

    bytes_per_s: float
    latency_s: float
    bytes_per_token: float
    bytes_per_sequence: float = 0.0
    overlap_fraction: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTier:
    """A place below HBM that cache is kept in: host memory, SSD, a remote store. Nearest first.

    Attributes
    ----------
    name : str
        For tables.
    blocks : int
        What it holds for one replica, in the pool's blocks; all that it holds, if it is shared.
    bytes_per_s, latency_s : float
        Of loading into one replica. [bytes/s], [s]
    shared : bool
        One content for all replicas of the pool (a store over the network); below the tiers that are not.
    write_through : bool
        Written when a prompt has been computed (what vLLM, LMCache and SGLang do unless told otherwise);
        False: only with what the tier above, HBM above the first, evicts.
    """

    name: str
    blocks: int
    bytes_per_s: float
    latency_s: float
    shared: bool = False
    write_through: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """Drafted tokens and how many of them are accepted.

    Attributes
    ----------
    draft_tokens : int
        Drafted and verified per step, beside the one that is always right.
    acceptance_fraction : float
        Probability that a draft token is accepted, given that all before it were, 0 to 1.
    draft_step_s : float
        What drafting adds to a decode step. [s]
    """

    draft_tokens: int
    acceptance_fraction: float
    draft_step_s: float = 0.0

    @property
    def tokens_per_step(self) -> float:
        """Expected tokens of a verified step: 1 + a + a^2 + ... + a^k."""
        return sum(self.acceptance_fraction**power for power in range(self.draft_tokens + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSetup:
    """Replicas of one role, as the event kernel sees them.

    Attributes
    ----------
    table : StepTable
        Times of its steps.
    scheduler : Scheduler
        Batching rule with its limits.
    stage : Stage
        Prefill, decode or both.
    replicas : int
        Copies that serve at the start.
    num_blocks, block_tokens : int
        Cache of one replica, all data parallel ranks together; tokens of a block.
    blocks_per_sequence : int
        Fixed blocks that every sequence takes beside those of its tokens (state, windowed layers).
    block_bytes : float
        Bytes of one block, all chips of the replica together. [bytes]
    prefix_caching : bool
        Keep the blocks of prompts for others with the same prefix.
    tiers : tuple of CacheTier
        Where evicted blocks go; none: they are lost.
    link : Link or None
        Hand-off from (prefill) or to (decode) its replicas.
    speculation : Speculation or None
        Draft and verify.
    graph_sizes : tuple of int
        Decode batches are padded up to the next of these.
    start_up_s : float
        From the decision to serve until the first step of a new replica. [s]
    """

    table: StepTable
    scheduler: Scheduler
    stage: Stage = Stage.BOTH
    replicas: int = 1
    num_blocks: int = 1
    block_tokens: int = 16
    blocks_per_sequence: int = 0
    block_bytes: float = 0.0
    prefix_caching: bool = False
    tiers: tuple[CacheTier, ...] = ()
    link: Link | None = None
    speculation: Speculation | None = None
    graph_sizes: tuple[int, ...] = ()
    start_up_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A replica fails and comes back, or is slow for a while.

    Attributes
    ----------
    at_s, for_s : float
        When it begins, how long it lasts (infinite: for good). [s]
    pool, replicas : int, tuple of int
        Which pool, which of its replicas (all on a node fail together).
    slowdown : float
        Its steps take so many times as long; infinite: it is down and what it held is lost.
    """

    at_s: float
    for_s: float
    pool: int = 0
    replicas: tuple[int, ...] = (0,)
    slowdown: float = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """Adds and removes replicas of a pool by what is measured at every interval.

    Attributes
    ----------
    signal : str
        "rate" (requests per second and replica), "queue" (waiting requests per replica) or "kv" (fraction
        of blocks in use).
    target : float
        What one replica should see.
    least, most : int
        Bounds of the number of replicas.
    interval_s : float
        Between decisions. [s]
    down_after_s : float
        A lower need must last so long before a replica is drained. [s]
    pool : int
        Which pool.
    """

    signal: str
    target: float
    least: int = 1
    most: int = 8
    interval_s: float = 15.0
    down_after_s: float = 300.0
    pool: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What changes during a run.

    Attributes
    ----------
    incidents : tuple of Incident
        Failures and stragglers.
    spares : tuple of int
        Standby replicas by pool: loaded, idle, paid for; they take the place of a failed one.
    takeover_s : float
        From a failure until the spare serves. [s]
    autoscalers : tuple of Autoscaler
        At most one per pool.
    max_retries : int
        How often a request that lost its replica is sent to another; it keeps the tokens it has.
    """

    incidents: tuple[Incident, ...] = ()
    spares: tuple[int, ...] = ()
    takeover_s: float = 5.0
    autoscalers: tuple[Autoscaler, ...] = ()
    max_retries: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything a run needs beside the requests.

    Attributes
    ----------
    pools : tuple of PoolSetup
        One that does both, or prefill pools and decode pools.
    router : Router
        How requests find a replica.
    fleet : Fleet
        What changes.
    seed : int
        Of what is drawn inside the run (accepted drafts, random routing).
    crawl : bool
        Step by step instead of event by event; for tests.
    record_segments : int
        Keep the first so many stretches of work of the replicas, for a trace.
    """

    pools: tuple[PoolSetup, ...]
    router: Router
    fleet: Fleet = field(default_factory=Fleet)
    seed: int = 0
    crawl: bool = False
    record_segments: int = 0
