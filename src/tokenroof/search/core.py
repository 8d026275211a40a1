"""The nouns of planning: what is looked at, and what comes of it. ``asked`` has what is asked.

A *candidate* says everything about a deployment but how many replicas it has. A *choice* is a candidate
with the replicas that a load needs, simulated. What was looked at and not taken is counted by its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tokenroof.catalog.model import Precision
from tokenroof.deploy.core import Deployment, Infeasible, Metric, Role
from tokenroof.deploy.simulated.drafting.core import Drafting
from tokenroof.deploy.simulated.offload import Offload
from tokenroof.deploy.simulated.question import Serving
from tokenroof.graph.core import Parallel
from tokenroof.search.asked import Load, Question, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """One pool of a candidate, without its replicas; names stand for the question's chips and engines."""

    role: Role
    chip: str
    engine: str
    parallel: Parallel
    max_num_seqs: int
    max_num_batched_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Everything about a deployment but its replicas; ``build.deployment_of`` makes one of it.

    Attributes
    ----------
    precision : Precision
        Formats.
    pools : tuple of PoolPlan
        One that does both, or one for prefill and one for decode.
    drafting : Drafting or None
        What speculates.
    prefix_caching : bool or None
        Whether prompts share blocks.
    offload : tuple of Offload
        Where evicted cache goes.
    """

    precision: Precision
    pools: tuple[PoolPlan, ...]
    drafting: Drafting | None = None
    prefix_caching: bool | None = None
    offload: tuple[Offload, ...] = ()

    @property
    def label(self) -> str:
        """In one line, such as "prefill h100 TP4 + decode h200 TP8 fp8 (kv fp8), vllm, ..."."""
        parts = [" ".join((*_role_words(pool), pool.chip, _ways(pool.parallel))) for pool in self.pools]
        kept = f"{self.precision.weights} (kv {self.precision.kv})"
        pool = self.pools[-1]
        step = f"{pool.engine}, {pool.max_num_seqs} seqs x {pool.max_num_batched_tokens} tokens a step"
        extra = [step]
        if self.drafting is not None:
            extra.append(f"{type(self.drafting).__name__} drafts {self.drafting.draft_tokens}")
        if self.prefix_caching is not None:
            extra.append("prefix cache" if self.prefix_caching else "no prefix cache")
        extra += [f"offload to {type(place).__name__}" for place in self.offload]
        return f"{' + '.join(parts)} {kept}, {', '.join(extra)}"


def _role_words(pool: PoolPlan) -> tuple[str, ...]:
    return () if pool.role is Role.BOTH else (pool.role.value,)


def _ways(parallel: Parallel) -> str:
    """Such as TP4, or TP8 PP2."""
    ways = {"TP": parallel.tp, "DP": parallel.dp, "EP": parallel.ep, "PP": parallel.pp, "CP": parallel.cp}
    return " ".join(f"{name}{count}" for name, count in ways.items() if count > 1) or "TP1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Candidates that were looked at and not taken, all for one reason.

    Attributes
    ----------
    stage : str
        Where: "layout", "memory", "screen" (closed form), "limits", "bound" (cannot be better than the
        best), "simulated".
    family : str
        What they have in common: the chips.
    reason : str
        The binding constraint: a target, a limit, memory, a rule of the layout.
    count : int
        How many.
    example : Candidate or None
        The one that came nearest.
    problem : Infeasible
        Of that one: what it needs, what there is.
    """

    stage: str
    family: str
    reason: str
    count: int
    example: Candidate | None
    problem: Infeasible


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A target, and what a choice makes of it.

    ``low`` and ``high`` are the interval of ``value``; None where no error is known.
    """

    target: Target
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def met(self) -> bool:
        """Whether the value keeps the limit; no value does not."""
        return self.value <= self.target.limit_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is kept of one finished simulation: plain numbers, so that any store can hold it.

    Attributes
    ----------
    key : str
        Digest of everything that decides the result.
    label : str
        Of the candidate.
    replicas : tuple of int
        By pool.
    seed : int
        Of the run.
    rate_factor : float
        Rate over that of the workload: 1 + headroom.
    values, low, high : mapping of str to float
        Metrics by identifier; ends of the interval where one is known.
    infeasible : str
        Why there are no values; "".
    """

    key: str
    label: str
    replicas: tuple[int, ...]
    seed: int
    rate_factor: float
    values: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    infeasible: str = ""


class Store(Protocol):
    """Where finished simulations are kept, so that a plan that was killed goes on."""

    def get(self, key: str) -> Record | None:
        """What was kept under a key; None when nothing was."""
        ...

    def put(self, key: str, record: Record) -> None:
        """Keep a record; called once per key, from the process that plans."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerBound:
    """The fewest chips of one kind that physics allows for a load: no efficiency, no queue, no latency.

    Attributes
    ----------
    chip : str
        The kind.
    precision : Precision
        Formats at which fewest are needed.
    chips : int
        The largest of the three, rounded up.
    memory_chips, compute_chips, bandwidth_chips : float
        To hold the weights and the cache of what must be in flight; for the arithmetic at the peak; to read
        the weights and the cache of every generated token.
    binding : str
        "memory", "compute" or "bandwidth".
    """

    chip: str
    precision: Precision
    chips: int
    memory_chips: float
    compute_chips: float
    bandwidth_chips: float
    binding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fewer:
    """What one replica fewer would cost: why the count is what it is.

    Attributes
    ----------
    replicas : tuple of int
        By pool.
    checks : tuple of Check
        Targets there.
    missed : str
        What is missed, in one line; "" when everything is met, and then headroom or spares keep it.
    """

    replicas: tuple[int, ...]
    checks: tuple[Check, ...]
    missed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A candidate with the fewest replicas that keep the targets, and what comes of it.

    Attributes
    ----------
    candidate : Candidate
        What it is.
    deployment, serving : Deployment, Serving
        The same, as ``simulate`` takes it; spare replicas included.
    replicas : tuple of int
        By pool, spares included.
    needed : tuple of int
        By pool, those that keep the targets with headroom.
    chips, nodes, racks : int
        Of the deployment.
    facility_w : float or None
        Power to provide at the meter; None when no limit of the chip is known. [W]
    usd_per_hour : float or None
        [USD/h]
    objectives : mapping of str to float
        By name, every one of :data:`OBJECTIVES` that is known; ``nan`` where it is not.
    metrics : mapping of str to Metric
        Simulated at the asked rate with all replicas, with intervals.
    checks : tuple of Check
        Targets with the needed replicas at the rate with headroom.
    fewer : tuple of Fewer
        What one replica fewer of each pool does; empty where there is only one.
    bound_chips : int
        Fewest chips that physics allows on the same kind of chips.
    why : tuple of str
        The arithmetic in lines, the count first.
    notes : tuple of str
        What was assumed.
    """

    candidate: Candidate
    deployment: Deployment
    serving: Serving
    replicas: tuple[int, ...]
    needed: tuple[int, ...]
    chips: int
    nodes: int
    racks: int
    facility_w: float | None
    usd_per_hour: float | None
    objectives: Mapping[str, float]
    metrics: Mapping[str, Metric]
    checks: tuple[Check, ...]
    fewer: tuple[Fewer, ...]
    bound_chips: int
    why: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """The answer.

    Attributes
    ----------
    question, load : Question, Load
        What was asked.
    front : tuple of Choice
        Nothing that was looked at is better in every objective; the best first: by the one objective, by the
        weighted sum, or by the first of several. Empty when infeasible.
    others : tuple of Choice
        Simulated, keeping the targets, and behind the front; best first.
    bounds : tuple of LowerBound
        By chip, fewest first.
    rejected : tuple of Rejected
        Everything that was not taken, by reason; the counts and the choices add up to ``candidates``.
    candidates : int
        Looked at.
    simulated : int
        Of these, simulated at least once.
    infeasible : Infeasible or None
        Why there is none, and the nearest ask that can be met.
    notes : tuple of str
        What to know: chips without a price, candidates that were left out by ``most_simulated``.
    """

    question: Question
    load: Load
    front: tuple[Choice, ...]
    others: tuple[Choice, ...]
    bounds: tuple[LowerBound, ...]
    rejected: tuple[Rejected, ...]
    candidates: int
    simulated: int
    infeasible: Infeasible | None = None
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Choice | None:
        """The first of the front."""
        return self.front[0] if self.front else None

    @property
    def second(self) -> Choice | None:
        """The next best: on the front, else behind it."""
        rest = (*self.front[1:], *self.others)
        return rest[0] if self.front and rest else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a plan is: a stage ("screen", "simulate"), and how much of it."""

    stage: str
    done: int
    total: int
    text: str = ""


Watch = Callable[[Progress], None]
"""Told how far a plan is; may raise KeyboardInterrupt."""
