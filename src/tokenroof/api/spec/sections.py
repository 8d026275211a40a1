"""What a serving is described by: one section per concept, checked when it is made.

A spec file has these sections in YAML or TOML; ``tr.simulate`` and the command line fill the same ones.
Numbers are in base units, or text with a unit: ``40 ms``, ``256 GB``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tokenroof.api.spec.draws import LengthsLike
from tokenroof.api.spec.kinds import (
    AtLeastOne,
    ByteRate,
    Bytes,
    Count,
    Delay,
    Fraction,
    Named,
    Positive,
    Seconds,
    Whole,
)

RouterName = Literal["round-robin", "least-loaded", "power-of-two", "prefix-affinity", "session-affinity"]


class Section(BaseModel):
    """Strict and frozen: an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_default=True
    )


class ModelSection(Section):
    """What is served, in which formats.

    Attributes
    ----------
    name : str, Path, mapping or ModelSpec
        As ``tr.estimate`` takes it.
    weights, kv : str or None
        Formats of weights and cache; None: as the model's config.
    expert_load_factor : float
        Routed tokens of the busiest expert rank over the mean.
    """

    name: Named
    weights: str | None = None
    kv: str | None = None
    expert_load_factor: AtLeastOne = 1.0


class EngineSection(Section):
    """The serving engine.

    Attributes
    ----------
    name : str or Engine
        "vllm", "sglang", "trtllm" or "generic".
    options : mapping
        By the engine's own names (``max_num_seqs``, ``mem_fraction_static``, ...).
    scheduler : str or None
        Another engine's batching rule on the same kernels; "static" is the baseline.
    """

    name: Named = "vllm"
    options: dict[str, Any] = Field(default_factory=dict)
    scheduler: str | None = None


class FeedForwardSection(Section):
    """Chips that compute the feed-forwards of what a decode pool decodes; as many replicas as that has.

    Attributes
    ----------
    chip : str, Path or Chip
        Catalog name or chip file.
    tp, ep, dp : int or None
        Ways of parallelism, one of them at least: ``dp * tp`` chips, ``ep`` ways for the experts.
    micro_batches : int
        Parts of a batch that go to and fro.
    engine : EngineSection or None
        Whose kernels run, where it differs from the spec's engine.
    """

    chip: Named
    tp: Count | None = None
    ep: Count | None = None
    dp: Count | None = None
    micro_batches: Count = 3
    engine: EngineSection | None = None

    @field_validator("engine", mode="before")
    @classmethod
    def _short_engine(cls, given: object) -> object:
        return named(given)

    @model_validator(mode="after")
    def _sized(self) -> FeedForwardSection:
        if self.tp is None and self.dp is None:
            raise ValueError("say how many chips: dp and ep for experts, tp for dense layers")
        return self


class PoolSection(Section):
    """Replicas of one role.

    Attributes
    ----------
    chip : str, Path or Chip
        Catalog name or chip file.
    role : str
        "both", "prefill" or "decode".
    tp, pp, ep, dp, cp : int or None
        Ways of parallelism; none given: the fewest chips that do.
    replicas : int
        Copies of the model.
    engine : EngineSection or None
        Where it differs from the spec's engine.
    start_up : float or None
        From the decision to serve until the first step of a new replica; None: from the weights. [s]
    feed_forward : FeedForwardSection or None
        Of a decode pool: it keeps attention alone, these chips have the feed-forwards.
    """

    chip: Named
    role: Literal["both", "prefill", "decode"] = "both"
    tp: Count | None = None
    pp: Count | None = None
    ep: Count | None = None
    dp: Count | None = None
    cp: Count | None = None
    replicas: Count = 1
    engine: EngineSection | None = None
    start_up: Delay | None = None
    feed_forward: FeedForwardSection | None = None

    @field_validator("engine", mode="before")
    @classmethod
    def _short_engine(cls, given: object) -> object:
        return named(given)

    @model_validator(mode="after")
    def _halves(self) -> PoolSection:
        if self.feed_forward is not None and self.role != "decode":
            raise ValueError(f"feed_forward belongs to a pool with role decode, this one has {self.role}")
        return self


class TierSection(Section):
    """A place for evicted cache, nearest first.

    Attributes
    ----------
    tier : str
        "host", "ssd" or "remote".
    capacity : float
        Of one replica; of the whole pool for a remote store. [bytes]
    bandwidth : float or None
        Of loading into one replica; None: of the chip's link to its host, its drive, its network. [bytes/s]
    latency : float or None
        Of one load; None: likewise. [s]
    """

    tier: Literal["host", "ssd", "remote"]
    capacity: Bytes
    bandwidth: ByteRate | None = None
    latency: Seconds | None = None


class CacheSection(Section):
    """What becomes of the cache.

    Attributes
    ----------
    prefix_caching : bool or None
        Keep prompts' blocks for others with the same prefix; None: as the engine does by itself.
    offload : tuple of TierSection
        Where evicted blocks go.
    """

    prefix_caching: bool | None = None
    offload: tuple[TierSection, ...] = ()


class SpeculationSection(Section):
    """Drafted tokens.

    Attributes
    ----------
    method : str
        "draft" (a smaller model), "eagle", "mtp", "ngram", or "known" (whatever takes ``draft_step``).
    draft_tokens : int
        Drafted per step.
    acceptance : float
        Probability that a draft token is accepted, given that all before it were.
    draft_model : str or None
        Of method "draft".
    draft_step : float or None
        Of method "known": time of drafting in a decode step. [s]
    """

    method: Literal["draft", "eagle", "mtp", "ngram", "known"]
    draft_tokens: Count
    acceptance: Fraction
    draft_model: Named | None = None
    draft_step: Delay | None = None

    @model_validator(mode="after")
    def _complete(self) -> SpeculationSection:
        for name, method in (("draft_model", "draft"), ("draft_step", "known")):
            if (getattr(self, name) is None) == (self.method == method):
                raise ValueError(f"method {method} needs {name}, and no other has one")
        return self


class SloSection(Section):
    """Limits that a request has to meet. [s]"""

    ttft: Seconds | None = None
    tpot: Seconds | None = None
    e2e: Seconds | None = None


class ClassSection(Section):
    """A kind of requests.

    Attributes
    ----------
    name : str
        For tables.
    share : float
        Part of the requests, relative to the other classes.
    priority : int
        0 is served first, up to 7.
    slo : SloSection or None
        Limits; None: those of the spec.
    isl, osl : lengths or None
        None: those of the traffic.
    """

    name: str
    share: Positive = 1.0
    priority: Whole = 0
    slo: SloSection | None = None
    isl: LengthsLike | None = None
    osl: LengthsLike | None = None

    @field_validator("isl", "osl", mode="wrap")
    @classmethod
    def _none_stays(cls, given: object, handler: Any) -> Any:
        return None if given is None else handler(given)


class IncidentSection(Section):
    """A failure, or a straggler.

    Attributes
    ----------
    at, lasts : float
        When it begins, how long; ``lasts`` None: for good. [s]
    pool : int
        Which pool, from 0.
    replicas : tuple of int
        Which of its replicas.
    slowdown : float or None
        Steps take so many times as long; None: it is down and what it held is lost.
    """

    at: Delay
    lasts: Seconds | None = None
    pool: Whole = 0
    replicas: tuple[Whole, ...] = (0,)
    slowdown: AtLeastOne | None = None


class AutoscaleSection(Section):
    """Adds and removes replicas of a pool.

    Attributes
    ----------
    signal : str
        "rate" (requests/s per replica), "queue" (waiting requests per replica) or "kv" (part of the
        cache in use).
    target : float
        What one replica should see.
    least, most : int
        Bounds of the number of replicas.
    interval, down_after : float
        Between decisions; how long a lower need must last. [s]
    pool : int
        Which pool, from 0.
    """

    signal: Literal["rate", "queue", "kv"] = "queue"
    target: Positive
    least: Count = 1
    most: Count = 8
    interval: Seconds = 15.0
    down_after: Delay = 300.0
    pool: Whole = 0


class FleetSection(Section):
    """How requests find replicas, and what changes during the run.

    Attributes
    ----------
    router : str
        Rule.
    failures : tuple of IncidentSection
        Failures and stragglers.
    spares : tuple of int
        Standby replicas by pool: loaded, idle, paid for.
    takeover : float
        From a failure until the spare serves. [s]
    autoscale : tuple of AutoscaleSection
        At most one per pool.
    max_retries : int
        How often a request that lost its replica is sent to another.
    overlap : float
        Prefill and decode apart: part of the cache that has left when the prefill ends.
    """

    router: RouterName = "least-loaded"
    failures: tuple[IncidentSection, ...] = ()
    spares: tuple[Whole, ...] = ()
    takeover: Delay = 5.0
    autoscale: tuple[AutoscaleSection, ...] = ()
    max_retries: Whole = 3
    overlap: Fraction = 0.0

    @field_validator("failures", "autoscale", mode="before")
    @classmethod
    def _one_or_several(cls, given: object) -> object:
        return (given,) if isinstance(given, dict) else given

    @field_validator("spares", mode="before")
    @classmethod
    def _one_number(cls, given: object) -> object:
        return (given,) if isinstance(given, int) else given


class CostSection(Section):
    """What money and carbon are counted with; as the arguments of ``tr.estimate``."""

    price: str | float = "cloud"
    region: str = "us"
    utilisation: Fraction = 1.0
    pue: str = "industry_latest"
    capex_usd: Positive | None = None


class OutputSection(Section):
    """What is measured, checked and written.

    Attributes
    ----------
    warm_up : float
        Requests sent before this time do not count. [s]
    warm_up_requests : int
        The first so many requests do not count.
    check : bool
        Verify every invariant of the run.
    directory : str or None
        Where the run is written while it goes on: parts of the log, the spec, at the end the metrics.
    """

    warm_up: Delay = 0.0
    warm_up_requests: Whole = 0
    check: bool = False
    directory: str | None = None


def named(given: object) -> object:
    """A name alone stands for the section with that name."""
    return given if given is None or isinstance(given, dict | Section) else {"name": given}
