"""The nouns of a deployment and of an answer.

A colocated engine is one pool with both roles; prefill and decode apart are two pools of one
deployment. ``Estimate`` is the one result type: the closed form fills it now, the simulator later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tokenroof.catalog.core import Chip, Engine
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

if TYPE_CHECKING:
    from tokenroof.serve.results import Run


class Role(StrEnum):
    """What a pool does."""

    BOTH = "both"
    PREFILL = "prefill"
    DECODE = "decode"
    FEED_FORWARD = "feed_forward"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Replicas of one role on one chip with one sharding and one engine."""

    chip: Chip
    engine: Engine
    parallel: Parallel
    role: Role = Role.BOTH
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model, its formats, and the pools that serve it.

    Attributes
    ----------
    model, precision : ModelSpec, Precision
        What is served, in which formats.
    pools : tuple of Pool
        One with both roles, or one for prefill and one for decode; with a ``halves.core.FeedForward`` the
        decode pool keeps attention alone.
    expert_load_factor : float
        Routed tokens of the busiest expert parallel rank over the mean; 1 is perfect balance.

    Raises
    ------
    InputError
        A load factor that is below 1 or not finite.
    """

    model: ModelSpec
    precision: Precision
    pools: tuple[Pool, ...]
    expert_load_factor: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.expert_load_factor) or self.expert_load_factor < 1.0:
            raise InputError(
                "expert_load_factor must be a finite number of at least 1 (busiest rank over the mean), "
                f"got {self.expert_load_factor!r}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible:
    """Why something cannot be, as a value.

    Attributes
    ----------
    reason : str
        One line in the project's error form, ending with the nearest change that helps.
    need, have : float or None
        The two numbers that clash; None where it is not numbers that do.
    unit : str
        Their unit.
    """

    reason: str
    need: float | None = None
    have: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityItem:
    """One slab of the memory waterfall of one chip. ``tier`` says where it lives."""

    name: str
    bytes: float
    tier: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Where the memory of one chip goes.

    Attributes
    ----------
    items : tuple of CapacityItem
        Weights, activations, graphs, context, reserve, KV, state; they sum to the usable capacity.
    kv_blocks : int
        Blocks of ``block_tokens`` that one replica can hold.
    block_tokens : int
        Tokens of a block.
    kv_bytes_per_token : float
        Per chip, growing layers only. [bytes]
    state_bytes_per_sequence : float
        Fixed cost of a sequence on one chip: recurrent state, windowed layers. [bytes]
    max_batch : int
        Sequences of the asked lengths that fit in one replica.
    """

    items: tuple[CapacityItem, ...]
    kv_blocks: int
    block_tokens: int
    kv_bytes_per_token: float
    state_bytes_per_sequence: float
    max_batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number that goes out: value, unit, definition; an interval when accuracy is known."""

    value: float
    unit: str
    definition: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpRow:
    """One operator of a phase in the breakdown; times are per step, all layers.

    ``intensity_flop_per_byte`` and ``achieved_flop_per_s`` place it on the roofline. ``energy_j`` is
    dynamic energy on one chip of every stage; None when no power figure of the chip is known.
    ``error_fraction`` is the mean absolute error of such operators on this chip, of measurements that the
    fit did not see; None where none were made.
    """

    name: str
    kind: str
    count: int
    time_s: float
    share_fraction: float
    limit: str
    flop: float
    bytes: float
    message_bytes: float
    intensity_flop_per_byte: float
    achieved_flop_per_s: float
    peak_flop_per_s: float
    energy_j: float | None
    error_fraction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Prefill or decode, explained.

    Attributes
    ----------
    name : str
        "prefill" or "decode".
    time_s : float
        One prompt's prefill, or one decode step. [s]
    limit : str
        Resource that bounds most of the time.
    by_limit_s : mapping of str to float
        Time by limiting resource; sums to ``time_s``. [s]
    ops : tuple of OpRow
        Every operator.
    mfu_fraction, mbu_fraction : float
        Model flop and bytes of a chip at work over what its peaks would allow in that time. Chips of the
        replica with nothing to do (other data parallel ranks during one prompt, other stages) do not
        count; they do in the metric ``mfu_fraction``.
    energy_j : float or None
        Of one replica for that work, static power included (with pipeline stages, a decode step bears
        its share of it); None when no power figure of the chip is known. [J]
    """

    name: str
    time_s: float
    limit: str
    by_limit_s: Mapping[str, float]
    ops: tuple[OpRow, ...]
    mfu_fraction: float
    mbu_fraction: float
    energy_j: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The answer for one deployment and one workload.

    Attributes
    ----------
    deployment, shape : Deployment, RequestShape
        What was asked.
    concurrency : int
        Sequences served at once by the deployment.
    metrics : mapping of str to Metric
        By identifier: prefill_s, ttft_s, tpot_s, e2e_s, output_tokens_per_s_per_chip,
        total_tokens_per_s_per_chip, output_tokens_per_s_per_user, requests_per_s, max_batch,
        usd_per_hour, usd_per_mtok_output, usd_per_mtok_input, usd_per_mtok_total,
        energy_j_per_output_token, gco2e_per_mtok_operational, gco2e_per_mtok_embodied, ...
    phases : mapping of str to Phase
        "prefill" and "decode".
    capacity : Capacity or None
        Memory waterfall (None when the layout itself is not legal).
    infeasible : Infeasible or None
        Why there are no metrics.
    assumptions : tuple of str
        What mattered and was not measured; projections say so first.
    sources : tuple of str
        "id: citation" lines of everything used.
    evidence : str
        What the operator times rest on, the weakest of those in use: "measured" (on these chips with this
        framework), "same chip, other format", "same chip, other framework", "borrowed from h200" or
        "sketch"; "" when infeasible.
    grounded : bool
        Whether every matrix, attention and expert operator was measured on the very chip.
    run : Run or None
        What was simulated, request by request; None in closed form.
    """

    deployment: Deployment
    shape: RequestShape
    concurrency: int
    metrics: Mapping[str, Metric]
    phases: Mapping[str, Phase]
    capacity: Capacity | None
    infeasible: Infeasible | None
    assumptions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    label: str = ""
    evidence: str = ""
    grounded: bool = False
    run: Run | None = None

    @property
    def feasible(self) -> bool:
        """Whether there is an answer at all."""
        return self.infeasible is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One rate that was tried in the search for the highest that still meets the limits.

    Attributes
    ----------
    rate_per_s : float
        Requests sent per second. [1/s]
    met : bool
        Whether the limits were met.
    missed : str
        In one line, what was not; "" when met.
    estimate : Estimate
        What came of it; without its run, but for the highest rate.
    """

    rate_per_s: float
    met: bool
    missed: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class HighestRate:
    """The highest rate at which a deployment still meets the limits of its requests.

    Attributes
    ----------
    rate_per_s : float or None
        Requests per second; None when no rate meets the limits. [1/s]
    tolerance_fraction : float
        The next higher rate that was tried and missed is at most so much above, as a fraction.
    bounded : bool
        Whether a rate that misses the limits was found; False: these requests end before they do.
    probes : tuple of Probe
        Every rate that was tried, ascending.
    estimate : Estimate or None
        At the highest rate, with its run.
    infeasible : Infeasible or None
        Why there is none.
    criterion : str
        In one line, what counted as meeting the limits.
    low_rate_per_s, high_rate_per_s : float or None
        Between them lies the highest rate that would be measured, nine of ten; None when no error of such
        a search is known. [1/s]
    """

    rate_per_s: float | None
    tolerance_fraction: float
    bounded: bool
    probes: tuple[Probe, ...]
    estimate: Estimate | None
    infeasible: Infeasible | None
    criterion: str
    low_rate_per_s: float | None = None
    high_rate_per_s: float | None = None
