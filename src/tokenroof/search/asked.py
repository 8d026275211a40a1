"""The nouns of a plan that is asked for: targets, limits, objectives, what is left open, the load."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenroof.catalog.core import Chip, Engine
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.accounts import Spending
from tokenroof.deploy.simulated.drafting.core import Drafting
from tokenroof.deploy.simulated.offload import Offload
from tokenroof.errors import InputError, UnknownNameError
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import Workload

LATENCIES = ("ttft", "tpot", "itl", "e2e")
"""What a target may be about."""

OBJECTIVES: Mapping[str, bool] = {
    "usd_per_million_tokens": False,
    "chips": False,
    "tokens_per_s_per_chip": True,
    "power_w": False,
    "gco2e_per_million_tokens": False,
    "ttft_s": False,
    "tpot_s": False,
}
"""What can be wanted, and whether more of it is better. Tokens are prompt and answer together; money, power
(at the meter, mean while serving) and carbon (electricity and making) are those of the whole deployment at
the asked load, spare replicas included; ``ttft_s`` and ``tpot_s`` are means of the simulated requests."""


MOST_HEADROOM = 10.0
"""More is a percentage that was written as a fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A latency that so many of the requests must keep; unlike ``workload.Slo``, which is of one request.

    Attributes
    ----------
    latency : str
        One of :data:`LATENCIES`.
    limit_s : float
        Largest value of the quantile. [s]
    quantile : float or None
        Above 0, below 1: 0.99 is the 99th percentile; None is the mean.
    request_class : str
        Of which class of requests; "" is all of them.

    Raises
    ------
    InputError
        An unknown latency, or a quantile or a limit out of range; ITL of one class (gaps are pooled).
    """

    latency: str
    limit_s: float
    quantile: float | None = 0.99
    request_class: str = ""

    def __post_init__(self) -> None:
        if self.latency not in LATENCIES:
            raise UnknownNameError("latency", self.latency, LATENCIES)
        if not (self.limit_s > 0.0 and math.isfinite(self.limit_s)):
            raise InputError(f"the limit of {self.latency} must be above 0 and finite, got {self.limit_s!r}.")
        if self.quantile is not None and not 0.0 < self.quantile < 1.0:
            raise InputError(
                f"a quantile must lie between 0 and 1, got {self.quantile!r}. Write 0.99 for p99."
            )
        if self.latency == "itl" and self.request_class:
            raise InputError("ITL is kept for all requests together. Leave out the class, or ask for TPOT.")
        if self.latency == "itl" and self.quantile not in (None, 0.5, 0.9, 0.95, 0.99):
            raise InputError(f"ITL has quantiles 0.5, 0.9, 0.95 and 0.99, got {self.quantile!r}.")

    @property
    def name(self) -> str:
        """Identifier of the metric: "ttft_p99_s", "tpot_s", "e2e_p95_s:chat"."""
        middle = "" if self.quantile is None else f"_p{self.quantile * 100:.6g}"
        return f"{self.latency}{middle}_s" + (f":{self.request_class}" if self.request_class else "")

    @property
    def text(self) -> str:
        """As it is read: "TTFT p99 <= 1 s"."""
        tail = " mean" if self.quantile is None else f" p{self.quantile * 100:.6g}"
        of = f" of {self.request_class}" if self.request_class else ""
        return f"{self.latency.upper()}{tail}{of} <= {self.limit_s:.4g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be used at most; None is no limit.

    Attributes
    ----------
    chips : int or None
        Of the whole deployment, all pools and spares.
    usd_per_hour : float or None
        At the stated price. [USD/h]
    facility_w : float or None
        Power that the building must provide at the meter: every chip at its limit. [W]
    racks : int or None
        Racks, filled by power with whole nodes (a node that is a rack is one).
    rack_w : float
        What a rack of boards can be fed with: the common air-cooled class. [W]
    good_fraction : float or None
        Least part of the requests that meet every limit of their class (``RequestClass.slo``): goodput.
    """

    chips: int | None = None
    usd_per_hour: float | None = None
    facility_w: float | None = None
    racks: int | None = None
    rack_w: float = 40e3
    good_fraction: float | None = None

    def __post_init__(self) -> None:
        for name in ("chips", "usd_per_hour", "facility_w", "racks", "rack_w", "good_fraction"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InputError(f"{name} must be above 0 and finite, got {value!r}.")
        if self.good_fraction is not None and self.good_fraction > 1.0:
            raise InputError(f"good_fraction must be at most 1, got {self.good_fraction!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is wanted of the best deployment.

    Attributes
    ----------
    name : str
        One of :data:`OBJECTIVES`.
    weight : float or None
        Its part of a weighted choice; None in all objectives: one is minimised, several make a Pareto front.
    """

    name: str = "usd_per_million_tokens"
    weight: float | None = None

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise UnknownNameError("objective", self.name, OBJECTIVES)
        if self.weight is not None and not (self.weight > 0.0 and math.isfinite(self.weight)):
            raise InputError(f"the weight of {self.name} must be above 0 and finite, got {self.weight!r}.")

    def cost(self, value: float) -> float:
        """The value with less being better."""
        return -value if OBJECTIVES[self.name] else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What is left open. Every axis is tried in every legal combination.

    Attributes
    ----------
    precisions : tuple of Precision
        Formats of weights and cache; those that a chip cannot compute or keep are left out for it. Empty:
        the model's own.
    engines : tuple of Engine
        Serving engines.
    parallels : tuple of Parallel
        Layouts; empty: every legal power of two of TP, attention DP with EP, and PP across nodes.
    max_num_seqs, max_num_batched_tokens : tuple of int
        Batch limits and token budgets (chunk sizes) of a step; empty: powers of two around the engine's.
    colocated, disaggregated : bool
        Whether prefill and decode may be together, and apart.
    mixed_chips : bool
        Apart: whether prefill and decode may be on different chips of one vendor.
    mixed_vendors : bool
        And of different vendors, between which no library hands caches over today.
    drafting : tuple of Drafting or None
        Ways to speculate; None is without.
    prefix_caching : tuple of bool or None
        None is as the engine does by itself.
    offload : tuple of tuples of Offload
        Where evicted cache goes; () is nowhere.
    most_chips_per_replica : int
        Largest replica that is tried.
    """

    precisions: tuple[Precision, ...] = ()
    engines: tuple[Engine, ...] = ()
    parallels: tuple[Parallel, ...] = ()
    max_num_seqs: tuple[int, ...] = ()
    max_num_batched_tokens: tuple[int, ...] = ()
    colocated: bool = True
    disaggregated: bool = True
    mixed_chips: bool = True
    mixed_vendors: bool = False
    drafting: tuple[Drafting | None, ...] = (None,)
    prefix_caching: tuple[bool | None, ...] = (None,)
    offload: tuple[tuple[Offload, ...], ...] = ((),)
    most_chips_per_replica: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a plan is asked for.

    Attributes
    ----------
    model : ModelSpec
        What is served.
    workload : Workload
        What is sent: an open loop at the rate that is to be served.
    chips : tuple of Chip
        What may be bought or rented.
    space : Space
        What is left open.
    targets : tuple of Target
        Latencies to keep.
    limits : Limits
        What may be used.
    objectives : tuple of Objective
        What is wanted.
    headroom_fraction : float
        The targets are kept at a rate higher by so much.
    spare_replicas : int
        Replicas of every pool beyond those that keep the targets: 1 is N+1.
    spending : Spending
        What money and carbon are counted with.
    seed : int
        Of everything that is drawn.
    confirm_seeds : int
        Further seeds with which a choice must keep its targets as well.
    expert_load_factor : float
        As in ``Deployment``.
    most_simulated : int
        Candidates that are simulated at most; the answer says when more would have been.
    """

    model: ModelSpec
    workload: Workload
    chips: tuple[Chip, ...]
    space: Space
    targets: tuple[Target, ...] = ()
    limits: Limits = field(default_factory=Limits)
    objectives: tuple[Objective, ...] = (Objective(),)
    headroom_fraction: float = 0.0
    spare_replicas: int = 0
    spending: Spending = field(default_factory=Spending)
    seed: int = 0
    confirm_seeds: int = 2
    expert_load_factor: float = 1.0
    most_simulated: int = 48

    def __post_init__(self) -> None:
        if not self.objectives:
            raise InputError("no objective is given. Give at least one, such as usd_per_million_tokens.")
        weighted = [each.weight is not None for each in self.objectives]
        if any(weighted) and not all(weighted):
            raise InputError("some objectives have a weight and some have none. Weigh all of them or none.")
        if not 0.0 <= self.headroom_fraction <= MOST_HEADROOM:
            raise InputError(
                f"headroom must lie between 0 and {MOST_HEADROOM:g} times the load, got "
                f"{self.headroom_fraction!r} ({self.headroom_fraction:.0%}). A fifth more is 0.2, or 20 %."
            )
        for name, least in (("spare_replicas", 0), ("confirm_seeds", 0), ("most_simulated", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The asked traffic in numbers.

    Attributes
    ----------
    requests_per_s : float
        Mean rate over the time in which requests are sent, without headroom. [1/s]
    isl_tokens, osl_tokens : float
        Mean prompt and answer. [tokens]
    longest_tokens : int
        Prompt and answer of the longest request. [tokens]
    shared_fraction : float
        Part of the prompt tokens that repeat what was sent before: the most a prefix cache can save.
    num_requests : int
        Requests that are simulated.
    """

    requests_per_s: float
    isl_tokens: float
    osl_tokens: float
    longest_tokens: int
    shared_fraction: float
    num_requests: int

    @property
    def tokens_per_s(self) -> float:
        """Prompt and answer tokens. [1/s]"""
        return self.requests_per_s * (self.isl_tokens + self.osl_tokens)
