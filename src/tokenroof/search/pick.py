"""Of many combinations of rows the best ones, as candidates; what breaks a limit is counted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.core import Infeasible, Role
from tokenroof.deploy.simulated.offload import Offload
from tokenroof.search.accounting import ChipCost, Spent, objective_values, total
from tokenroof.search.asked import Load, Question
from tokenroof.search.core import Candidate, PoolPlan
from tokenroof.search.options import MARGIN, Options
from tokenroof.search.space import Subject
from tokenroof.search.tally import Tally

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

KEPT = 8
"""Candidates of one family (chips, formats) that are kept for every objective."""


OTHERS = "others of the same chips are as good or better in closed form"
"""Reason of what passes and is not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A candidate that passed, with the fewest replicas that it can need.

    Attributes
    ----------
    candidate : Candidate
        What it is.
    replicas : tuple of int
        By pool, spares not included.
    costs : tuple of float
        Of every objective of the question, less being better, at those replicas and the spares.
    exact : float
        The first of the costs if replicas could be cut: what tells apart rows of equal counts.
    """

    candidate: Candidate
    replicas: tuple[int, ...]
    costs: tuple[float, ...]
    exact: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a screen counts with.

    Attributes
    ----------
    question, load : Question, Load
        What is asked.
    costs : mapping of str to ChipCost
        By chip.
    prefix_caching, offload : bool or None, tuple of Offload
        Of all its candidates.
    margin : float
        By which part a latency that is wanted may be less than in closed form.
    """

    question: Question
    load: Load
    costs: dict[str, ChipCost]
    prefix_caching: bool | None
    offload: tuple[Offload, ...]
    margin: float = MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Rows of one pool that pass: one chip, one set of formats."""

    role: Role
    chip: str
    rows: IntArray
    options: Options
    replicas: FloatArray
    spent: Spent
    exact: FloatArray

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column of the options at these rows."""
        found: npt.NDArray[Any] = getattr(self.options, name)[self.rows]
        return found


def family_of(chips: Sequence[str]) -> str:
    """The chip, or "h100 -> h200" for prefill and decode apart."""
    return " -> ".join(chips)


def best_rows(
    setting: Setting, subjects: Sequence[Subject], sides: tuple[Side, ...], tally: Tally
) -> Iterator[Row]:
    """Of all combinations of rows of one pool, or two, the best in every objective.

    Parameters
    ----------
    setting : Setting
        What counts.
    subjects : sequence of Subject
        What the sides point to.
    sides : tuple of Side
        One that does both, or one for prefill and one for decode.
    tally : Tally
        Where combinations go that break a limit.
    """
    if any(side.rows.size == 0 for side in sides):
        return
    question = setting.question
    count = len(sides)

    def spread(values: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
        """Prefill along the first axis, decode along the second."""
        return values if count == 1 else values[:, None] if index == 0 else values[None, :]

    def summed(columns: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        out = np.zeros((), dtype=np.int64)
        for index, values in enumerate(columns):
            out = out + spread(values, index)
        return out.ravel()

    whole = total(
        [
            Spent(**{name: spread(getattr(side.spent, name), index) for name in Spent.__dataclass_fields__})
            for index, side in enumerate(sides)
        ],
        [setting.costs[side.chip] for side in sides],
        question.limits,
    )
    first, last = sides[0], sides[-1]
    wait_s = np.zeros(())
    if count == 2:
        wait_s = np.maximum(first.column("handoff_s")[:, None], last.column("handoff_s")[None, :])
    ttft_s = np.broadcast_to(spread(first.column("ttft_s"), 0) + wait_s, whole.chips.shape)
    fast, shape = 1.0 - setting.margin, whole.chips.shape
    least_ttft_s = np.broadcast_to(fast * (spread(first.column("least_ttft_s"), 0) + wait_s), shape)
    least_tpot_s = np.broadcast_to(fast * spread(last.column("least_tpot_s"), count - 1), shape)
    values = objective_values(
        chips=whole.chips,
        usd_per_hour=whole.usd_per_hour,
        power_w=whole.power_w,
        gco2e_per_mtok=whole.gco2e_per_mtok,
        ttft_s=least_ttft_s,
        tpot_s=least_tpot_s,
        load=setting.load,
        utilisation_fraction=question.spending.utilisation_fraction,
    )
    allowed = _allowed(setting, sides, whole, ttft_s, tally)
    costs = [
        np.where(allowed & np.isfinite(values[each.name]), each.cost(1.0) * values[each.name], np.inf).ravel()
        for each in question.objectives
    ]
    exact = summed(side.exact * _price(setting.costs[side.chip]) for side in sides)
    subject = summed(side.column("subject") * len(subjects) ** at for at, side in enumerate(sides))
    odd = summed(_oddness(subjects, side) for side in sides)
    kept = _kept(_with_sum(costs), exact, odd, subject)
    passing = int(np.count_nonzero(np.isfinite(costs[0])))
    family = family_of([side.chip for side in sides])
    tally.add("bound", family, OTHERS, passing - len(kept), Infeasible(reason=OTHERS))
    unknown = int(np.count_nonzero(allowed)) - passing
    tally.add("limits", family, "unknown", unknown, Infeasible(reason="an objective is not known"))
    for at in kept:
        where = np.unravel_index(at, whole.chips.shape)
        yield Row(
            candidate=_candidate(setting, subjects, sides, [int(place) for place in where]),
            replicas=tuple(int(side.replicas[place]) for side, place in zip(sides, where, strict=True)),
            costs=tuple(float(cost[at]) for cost in costs),
            exact=float(exact[at]),
        )


def _price(cost: ChipCost) -> float:
    """What rows of equal counts are told apart by; 1 where no price is known."""
    return 1.0 if math.isnan(cost.usd_per_hour) else cost.usd_per_hour


def _with_sum(costs: list[FloatArray]) -> list[FloatArray]:
    """With several objectives also their sum, each over its least."""
    if len(costs) == 1:
        return costs
    least = [float(np.abs(cost[np.isfinite(cost)]).min(initial=np.inf)) for cost in costs]
    middle = np.zeros(costs[0].size)
    for cost, scale in zip(costs, least, strict=True):
        middle = middle + (cost / scale if scale > 0.0 else cost)
    return [*costs, middle]


def _kept(costs: list[FloatArray], exact: FloatArray, odd: FloatArray, subject: IntArray) -> list[int]:
    """Places of the best of every objective, one for each subject (or pair of them)."""
    found: dict[int, None] = {}
    for cost in costs:
        some = np.flatnonzero(np.isfinite(cost))
        if not some.size:
            continue
        order = some[np.lexsort((odd[some], np.round(exact[some], 6), cost[some]))]
        firsts = np.sort(np.unique(subject[order], return_index=True)[1])[:KEPT]
        found |= dict.fromkeys(order[firsts].tolist())
    return list(found)


def _oddness(subjects: Sequence[Subject], side: Side) -> FloatArray:
    """How far the limits of a step are from the engine's own, in doublings."""
    engines = [subjects[index].engine for index in side.column("subject").tolist()]
    seqs = np.array([each.max_num_seqs for each in engines], dtype=np.float64)
    tokens = np.array([each.max_num_batched_tokens for each in engines], dtype=np.float64)
    found: FloatArray = np.abs(np.log2(side.column("max_num_seqs") / seqs)) + np.abs(
        np.log2(side.column("max_num_batched_tokens") / tokens)
    )
    return found


def _allowed(
    setting: Setting, sides: tuple[Side, ...], whole: Spent, ttft_s: FloatArray, tally: Tally
) -> BoolArray:
    """Combinations within every limit, and whose hand-off leaves the time to first token that is asked."""
    question, limits = setting.question, setting.question.limits
    family = family_of([side.chip for side in sides])
    open_ = np.ones(whole.chips.shape, dtype=bool)
    checks = [
        ("chips", "chips", whole.chips, limits.chips),
        ("usd_per_hour", "USD/h", whole.usd_per_hour, limits.usd_per_hour),
        ("facility_w", "W", whole.provided_w, limits.facility_w),
        ("racks", "racks", whole.racks, limits.racks),
    ]
    if len(sides) == 2:
        checks += [
            (target.name, "s", ttft_s * (1.0 - MARGIN), target.limit_s)
            for target in question.targets
            if target.latency == "ttft" and (target.quantile is None or target.quantile >= 0.9)
        ]
        open_ &= _counted(tally, family, "fabric", "", open_ & np.isnan(ttft_s), ttft_s, 0.0)
    for name, unit, values, limit in checks:
        if limit is not None:
            over = open_ & ~(values <= limit)
            open_ &= _counted(tally, family, name, unit, over, values, float(limit))
    if any(each.name == "usd_per_million_tokens" for each in question.objectives):
        unknown = open_ & np.isnan(whole.usd_per_hour)
        open_ &= _counted(tally, family, "price", "USD/h", unknown, whole.usd_per_hour, math.nan)
    return open_


def _counted(
    tally: Tally, family: str, name: str, unit: str, out: BoolArray, values: FloatArray, limit: float
) -> BoolArray:
    """Those that stay; the others are counted."""
    count = int(np.count_nonzero(out))
    if count:
        need = float(np.min(np.broadcast_to(values, out.shape)[out]))
        if name == "price":
            reason = f"no price is known for {family}. Give one (price), or ask for another objective."
        elif name == "fabric":
            reason = f"not connected: {family} has no fabric to hand caches over. Use one pool."
        else:
            reason = f"{name}: at least {need:.4g} {unit} is needed, {limit:.4g} {unit} is the limit."
        near = need / limit if limit and not math.isnan(limit) else 1.0
        problem = Infeasible(reason=reason, need=need, have=limit, unit=unit)
        stage = "screen" if name.startswith("ttft") or name == "fabric" else "limits"
        tally.add(stage, family, name, count, problem, nearness=near)
    return ~out


def _candidate(
    setting: Setting, subjects: Sequence[Subject], sides: tuple[Side, ...], where: Sequence[int]
) -> Candidate:
    pools, drafting = [], None
    for side, place in zip(sides, where, strict=True):
        row = int(side.rows[place])
        subject = subjects[int(side.options.subject[row])]
        drafting = subject.drafting
        pools.append(
            PoolPlan(
                role=side.role,
                chip=side.chip,
                engine=subject.engine.name,
                parallel=subject.parallel,
                max_num_seqs=int(side.options.max_num_seqs[row]),
                max_num_batched_tokens=int(side.options.max_num_batched_tokens[row]),
            )
        )
    return Candidate(
        precision=subject.precision,
        pools=tuple(pools),
        drafting=drafting,
        prefix_caching=setting.prefix_caching,
        offload=setting.offload,
    )
