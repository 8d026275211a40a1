"""The nouns of the answers: rows of tables that a report can show, and what was assumed for all of them."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.search.core import Candidate

TOGETHER, APART, NEITHER = "together", "apart", "neither"
"""Who wins a cell of the break-even map."""

INTERFERENCE = "interference of prefill with decode"
OWN_LAYOUTS = "layouts and limits of their own"
HANDOFF = "hand-off time"
IDLE_POOL = "idle pool"
WHOLE_REPLICAS = "whole replicas"
MEMORY = "memory"
SHARED_STEPS = "prompts ride along with decode"
TARGETS = "targets"
NO_FABRIC = "no fabric"
LIMITS = "limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best deployment of one kind at one place of a map.

    Attributes
    ----------
    candidate : Candidate
        What it is.
    replicas : tuple of int
        By pool, spares not included.
    chips : int
        With spares.
    value : float
        Of the objective.
    """

    candidate: Candidate
    replicas: tuple[int, ...]
    chips: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEvenCell:
    """Prefill and decode together or apart, for one prompt length, rate and hand-off bandwidth.

    Attributes
    ----------
    isl_tokens : int
        Prompt. [tokens]
    rate_per_s : float
        Requests. [1/s]
    handoff_bytes_per_s : float
        Of the link of every chip by which caches leave and arrive. [bytes/s]
    handoff_s : float
        Of the best apart; nan when there is none. [s]
    together, apart : Best or None
        The best of each; None when there is none.
    winner : str
        :data:`TOGETHER`, :data:`APART` or :data:`NEITHER`; of equal ones together, which has less to run.
    gain_fraction : float
        Difference of the two values over that of the loser; infinite when the loser cannot be, nan when
        neither can.
    reason : str
        :data:`INTERFERENCE`, :data:`HANDOFF`, :data:`IDLE_POOL`, :data:`MEMORY`, ...: what, taken away, would
        change the winner.
    why : str
        The same in one line with numbers.
    """

    isl_tokens: int
    rate_per_s: float
    handoff_bytes_per_s: float
    handoff_s: float
    together: Best | None
    apart: Best | None
    winner: str
    gain_fraction: float
    reason: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEvenMap:
    """Disaggregate or not: every cell of prompt length x rate x hand-off bandwidth.

    Attributes
    ----------
    chip : str
        Of both pools.
    objective : str
        What is compared.
    osl_tokens : int
        Answer. [tokens]
    isl_tokens, rates_per_s, handoff_bytes_per_s : tuple
        The axes, ascending; cells run through them in this order, the last one fastest.
    own_bytes_per_s : float or None
        Hand-off bandwidth of the chip as it is; None without a fabric. [bytes/s]
    cells : tuple of BreakEvenCell
        One for each combination.
    notes : tuple of str
        What was assumed.
    """

    chip: str
    objective: str
    osl_tokens: int
    isl_tokens: tuple[int, ...]
    rates_per_s: tuple[float, ...]
    handoff_bytes_per_s: tuple[float, ...]
    own_bytes_per_s: float | None
    cells: tuple[BreakEvenCell, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioRow:
    """A deployment with pools in one ratio, as large as the load needs.

    Attributes
    ----------
    prefill_replicas, decode_replicas : int
        Of the whole deployment, spares not included.
    prefill_chips, decode_chips : int
        With spares.
    ratio : float
        Prefill replicas over decode replicas, before spares.
    chips_per_request_per_s : float
        At this ratio when the deployment is so large that whole replicas do not matter, spares left out. [s]
    value : float
        Of the objective.
    short : str
        The pool that limits the rate: "prefill" or "decode".
    idle_fraction : float
        Part of the other pool that has nothing to do at the highest rate.
    """

    prefill_replicas: int
    decode_replicas: int
    prefill_chips: int
    decode_chips: int
    ratio: float
    chips_per_request_per_s: float
    value: float
    short: str
    idle_fraction: float

    @property
    def chips(self) -> int:
        """Of both pools."""
        return self.prefill_chips + self.decode_chips


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioTable:
    """Chips of each pool against the ratio of prefill to decode.

    Attributes
    ----------
    candidate : Candidate
        Whose pools.
    objective : str
        What is compared.
    prefill_per_s, decode_per_s : float
        Requests that one replica of each pool serves. [1/s]
    balanced : float
        Prefill replicas per decode replica at which neither pool idles.
    rows : tuple of RatioRow
        Ascending by ratio.
    best : RatioRow
        Of the rows; of equal ones that nearest to balance.
    flat_low, flat_high : float
        Ratios between which every row is within ``tolerance_fraction`` of the best.
    tolerance_fraction : float
        What still counts as flat.
    notes : tuple of str
        What was assumed.
    """

    candidate: Candidate
    objective: str
    prefill_per_s: float
    decode_per_s: float
    balanced: float
    rows: tuple[RatioRow, ...]
    best: RatioRow
    flat_low: float
    flat_high: float
    tolerance_fraction: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadRow:
    """A prefix that was evicted: loaded from a tier, or computed again.

    Attributes
    ----------
    tier : str
        Name of the place.
    prefix_tokens : int
        Length. [tokens]
    cache_bytes : float
        Of the prefix, all chips that hold it. [bytes]
    load_s, recompute_s : float
        Until the prefix is in place either way. [s]
    recompute_chip_s : float
        Chip time that loading leaves to others. [s]
    break_even_bytes_per_s : float
        Bandwidth of the tier at which both take the same; infinite when its latency alone takes longer than
        to compute. [bytes/s]
    """

    tier: str
    prefix_tokens: int
    cache_bytes: float
    load_s: float
    recompute_s: float
    recompute_chip_s: float
    break_even_bytes_per_s: float

    @property
    def saved_s(self) -> float:
        """What loading saves; negative when it takes longer. [s]"""
        return self.recompute_s - self.load_s

    @property
    def pays(self) -> bool:
        """Whether loading is faster."""
        return self.saved_s > 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TierAnswer:
    """From which prefix on a tier pays.

    Attributes
    ----------
    tier : str
        Name.
    bytes_per_s, latency_s : float
        Of loading into one replica. [bytes/s], [s]
    holds_tokens : int
        Of cache that the tier has room for. [tokens]
    from_tokens : int or None
        Shortest prefix of the table from which on loading is always faster; None when it is not at the
        longest. [tokens]
    """

    tier: str
    bytes_per_s: float
    latency_s: float
    holds_tokens: int
    from_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadTable:
    """When loading an evicted prefix beats computing it again, by tier and length.

    Attributes
    ----------
    where : str
        Chips, layout, formats and engine of the replica.
    rows : tuple of OffloadRow
        By tier, then by length.
    tiers : tuple of TierAnswer
        One line for each.
    loads_at_once : int
        Prefixes that share the bandwidth of a tier.
    notes : tuple of str
        What was assumed.
    """

    where: str
    rows: tuple[OffloadRow, ...]
    tiers: tuple[TierAnswer, ...]
    loads_at_once: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRow:
    """Drafts of one length, verified in a batch of one size, at one acceptance.

    Attributes
    ----------
    draft_tokens, sequences : int
        Drafts per step; sequences that decode on a replica.
    acceptance_fraction : float
        Probability that a draft is right, given that all before it were.
    plain_step_s, drafted_step_s : float
        A step that decodes without drafts, and with. [s]
    tokens_per_step : float
        Mean tokens that a sequence gains in a drafted step.
    break_even_acceptance_fraction : float
        At which both are equally fast; infinite when even drafts that are always right do not pay.
    """

    draft_tokens: int
    sequences: int
    acceptance_fraction: float
    plain_step_s: float
    drafted_step_s: float
    tokens_per_step: float
    break_even_acceptance_fraction: float

    @property
    def speedup(self) -> float:
        """Tokens per second with drafts over those without; above 1 it pays."""
        return self.tokens_per_step * self.plain_step_s / self.drafted_step_s

    @property
    def pays(self) -> bool:
        """Whether drafting is faster."""
        return self.speedup > 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftTable:
    """When speculation pays, by batch, acceptance and number of drafts.

    Attributes
    ----------
    where, drafting : str
        Chips, layout, formats and engine of the replica; what drafts.
    rows : tuple of DraftRow
        By drafts, then batch, then acceptance.
    best : tuple of DraftRow
        By batch, then acceptance: the number of drafts that is fastest, also where none pays.
    most_sequences : int
        That the cache of the replica holds without drafts; larger batches are not in the table.
    notes : tuple of str
        What was assumed.
    """

    where: str
    drafting: str
    rows: tuple[DraftRow, ...]
    best: tuple[DraftRow, ...]
    most_sequences: int
    notes: tuple[str, ...] = ()
