"""In which order candidates are simulated, and when that is enough.

First the best of every family, then whatever may be better than the best of its chip, then whatever may
still be better than the best that was found, then other limits of a step for that one, then whatever its
interval of prediction does not tell from it. All rows of the screen are optimistic, so one that is behind the
best found even so is out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tokenroof.deploy.core import Infeasible
from tokenroof.search.campaign import WAVE, Campaign
from tokenroof.search.choose import objectives_of
from tokenroof.search.core import Candidate
from tokenroof.search.fewest import DEARER, Counts, Found, Search, Verdict, fewest
from tokenroof.search.front import dominates, order
from tokenroof.search.judge import shortfall, worst_check
from tokenroof.search.pick import OTHERS, Row, family_of
from tokenroof.search.tally import Tally
from tokenroof.search.variants import neighbours, remedies

COUNTED = ("usd_per_million_tokens", "chips", "tokens_per_s_per_chip")
"""Objectives that follow from the counts alone: a search may end where they exceed the best known."""

BEHIND = "behind the best"
"""Reason of what cannot be better than what was found."""

MONEY = "usd_per_mtok_total"
"""The metric whose interval says how dear the best may come out."""

MORE = (1.25, 1.5, 2.0)
"""Replicas over the fewest that are looked at, too, when a latency is among the objectives."""

FAMILIES = 12
"""Families whose best is simulated whatever the others are."""

NEARLY = 1.3
"""A latency over its limit by up to this factor may be brought down by other limits of a step."""

REMEDIED = 6
"""Candidates for which that is tried, the nearest first."""

REFINEMENTS = 3
"""Rounds of other limits of a step around the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A candidate with the replicas that it needs, and what it costs in every objective."""

    candidate: Candidate
    needed: Counts
    costs: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A candidate that nearly kept the targets at the last counts that were worth it."""

    candidate: Candidate
    verdict: Verdict
    ceiling: float


@dataclass(slots=True)
class Explored:
    """What was simulated.

    Attributes
    ----------
    found : list of Deployed
        Keep the targets.
    near : list of Near
        Nearly do.
    notes : tuple of str
        What was left out.
    """

    found: list[Deployed] = field(default_factory=list)
    near: list[Near] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def explore(campaign: Campaign, rows: Sequence[Row], tally: Tally) -> Explored:
    """Simulate what may be best.

    Parameters
    ----------
    campaign : Campaign
        What simulates.
    rows : sequence of Row
        Of the screen.
    tally : Tally
        Where candidates go that are not taken.
    """
    explored, most = Explored(), campaign.question.most_simulated
    _simulate(campaign, _best_of_families(rows), explored, tally, most, lambda row: None)
    alone = [row for row in rows if len(row.candidate.pools) == 1]

    def of_chip(row: Row) -> list[Deployed]:
        family = _family(row.candidate)
        return [each for each in explored.found if _family(each.candidate) == family]

    def of_found_chip(row: Row) -> list[Deployed]:
        return of_chip(row) or explored.found

    _simulate(campaign, alone, explored, tally, most // 2, of_found_chip)
    _simulate(campaign, rows, explored, tally, most, lambda row: explored.found)
    _remedy(campaign, explored, tally)
    _refine(campaign, explored, tally)
    _near_the_best(campaign, rows, explored, tally)
    left = [row for row in rows if row.candidate not in campaign.searched]
    _count_left(campaign, left, explored, tally)
    return explored


def _best_of_families(rows: Sequence[Row]) -> list[Row]:
    """The first row of every family, the best families first."""
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(_family(row.candidate), row)
    return list(found.values())[:FAMILIES]


def _family(candidate: Candidate) -> str:
    return family_of([pool.chip for pool in candidate.pools])


def _simulate(
    campaign: Campaign,
    rows: Sequence[Row],
    explored: Explored,
    tally: Tally,
    most: int,
    rivals: Callable[[Row], list[Deployed] | None],
) -> None:
    """Search rows in order that may be better than all of their rivals; None: whatever there is."""
    waiting = [row for row in rows if row.candidate not in campaign.searched]
    while waiting:
        room = most - len(campaign.searched)
        wave: list[tuple[Row, float]] = []
        while waiting and len(wave) < min(WAVE, room):
            row = waiting.pop(0)
            known = rivals(row)
            if known is None:
                wave.append((row, math.inf))
            elif not _behind(row.costs, known):
                wave.append((row, _ceiling(campaign, known)))
        if not wave:
            return
        ends = campaign.search([(row.candidate, _search(campaign, row, ceiling)) for row, ceiling in wave])
        for (row, ceiling), end in zip(wave, ends, strict=True):
            _file(campaign, row, end, explored, tally)
            if end.replicas is None and 0.0 < end.verdict.value <= NEARLY:
                explored.near.append(Near(candidate=row.candidate, verdict=end.verdict, ceiling=ceiling))


def _search(campaign: Campaign, row: Row, ceiling: float) -> Search:
    return _again(campaign, row.candidate, row.replicas, ceiling)


def _units(campaign: Campaign, candidate: Candidate) -> tuple[float, ...]:
    """Price of one replica, by pool; its chips where no price is known."""
    found = [pool.parallel.chips * campaign.costs[pool.chip].usd_per_hour for pool in candidate.pools]
    if any(math.isnan(each) for each in found):
        return tuple(float(pool.parallel.chips) for pool in candidate.pools)
    return tuple(found)


def _allowed(campaign: Campaign, candidate: Candidate, ceiling: float) -> Callable[[Counts], bool]:
    def allowed(counts: Counts) -> bool:
        if campaign.beyond_limits(candidate, counts):
            return False
        return ceiling == math.inf or _counted_cost(campaign, candidate, counts) < ceiling * (1.0 - 1e-9)

    return allowed


def _counted_cost(campaign: Campaign, candidate: Candidate, counts: Counts) -> float:
    """The one objective of so many replicas, as a cost."""
    objective = campaign.question.objectives[0]
    whole = campaign.spent(candidate, campaign.with_spares(counts))
    match objective.name:
        case "usd_per_million_tokens":
            return float(whole.usd_per_hour)
        case _:
            return float(whole.chips)


def _ceiling(campaign: Campaign, known: Sequence[Deployed]) -> float:
    """What a count must be below to be better than the best; infinite where counts do not decide."""
    question = campaign.question
    if len(question.objectives) > 1 or question.objectives[0].name not in COUNTED:
        return math.inf
    return min((_counted_cost(campaign, each.candidate, each.needed) for each in known), default=math.inf)


def _behind(costs: Sequence[float], known: Sequence[Deployed]) -> bool:
    """Whether something found is at least as good in everything."""
    return any(dominates(each.costs, costs) or tuple(each.costs) == tuple(costs) for each in known)


def _file(campaign: Campaign, row: Row, end: Found, explored: Explored, tally: Tally) -> None:
    """Where the end of a search belongs."""
    if end.replicas is not None:
        explored.found.append(deployed(campaign, row.candidate, end.replicas))
        explored.found += _with_more(campaign, row.candidate, end.replicas)
        return
    verdict = end.verdict
    if end.reason == DEARER:
        limit = campaign.beyond_limits(row.candidate, end.asked)
        why = verdict.missed or "more replicas than the best has"
        _count(tally, row, "limits" if limit else "bound", limit or BEHIND, why, nearness=verdict.value)
        return
    worst, _ = shortfall(campaign.question, verdict.record)
    need = verdict.record.values.get(worst)
    _count(tally, row, "simulated", worst, end.reason, nearness=verdict.value, need=need)


def deployed(campaign: Campaign, candidate: Candidate, needed: Counts) -> Deployed:
    """With its costs, as it is bought."""
    question = campaign.question
    bought = campaign.with_spares(needed)
    (record,) = campaign.run([campaign.task(candidate, bought, question.seed, 1.0)])
    values = objectives_of(campaign, candidate, bought, record)
    return Deployed(
        candidate=candidate,
        needed=needed,
        costs=tuple(each.cost(values[each.name]) for each in question.objectives),
    )


def _with_more(campaign: Campaign, candidate: Candidate, needed: Counts) -> Iterator[Deployed]:
    """The same with more replicas, where that buys a lower latency."""
    if not any(each.name in ("ttft_s", "tpot_s") for each in campaign.question.objectives):
        return
    seen = {needed}
    for factor in MORE:
        counts = tuple(math.ceil(count * factor) for count in needed)
        if counts not in seen and not campaign.beyond_limits(candidate, counts):
            seen.add(counts)
            yield deployed(campaign, candidate, counts)


def _remedy(campaign: Campaign, explored: Explored, tally: Tally) -> None:
    """Other limits of a step for those that nearly keep the targets, at the counts at which they do not."""
    near = sorted(explored.near, key=lambda each: each.verdict.value)[:REMEDIED]
    tries: dict[Candidate, Near] = {}
    for each in near:
        worst = worst_check(campaign.question, each.verdict.record)
        if worst is None:
            continue
        space, record = campaign.question.space, each.verdict.record
        for other in remedies(space, each.candidate, record, worst.target.latency):
            if other not in campaign.searched:
                tries.setdefault(other, each)
    waiting = list(tries.items())
    while waiting:
        wave, waiting = waiting[:WAVE], waiting[WAVE:]
        searches = [
            (other, _again(campaign, other, each.verdict.record.replicas, each.ceiling))
            for other, each in wave
        ]
        _take(campaign, searches, explored, tally)


def _again(campaign: Campaign, candidate: Candidate, start: Counts, ceiling: float) -> Search:
    return fewest(
        start,
        _units(campaign, candidate),
        _allowed(campaign, candidate, ceiling),
        floor=campaign.floor(candidate),
    )


def _take(
    campaign: Campaign,
    searches: Sequence[tuple[Candidate, Search]],
    explored: Explored,
    tally: Tally,
) -> bool:
    """Search variants; whether some of them serve."""
    ends = campaign.search(searches)
    better = [
        deployed(campaign, other, end.replicas)
        for (other, _), end in zip(searches, ends, strict=True)
        if end.replicas is not None
    ]
    explored.found += better
    for each in better:
        tally.take_back("bound", _family(each.candidate), OTHERS)
    return bool(better)


def _refine(campaign: Campaign, explored: Explored, tally: Tally) -> None:
    """Other limits of a step for the best, with one replica fewer, while that helps."""
    if _ceiling(campaign, explored.found) == math.inf:
        return
    for _ in range(REFINEMENTS):
        best = explored.found[order([each.costs for each in explored.found], None)[0]]
        tries = [
            (other, start)
            for other in neighbours(campaign.question.space, best.candidate)
            if other not in campaign.searched
            for start in _one_fewer(best.needed)
        ][:WAVE]
        if not tries:
            return
        ceiling = _ceiling(campaign, explored.found)
        searches = [(other, _again(campaign, other, start, ceiling)) for other, start in tries]
        if not _take(campaign, searches, explored, tally):
            return


def _near_the_best(campaign: Campaign, rows: Sequence[Row], explored: Explored, tally: Tally) -> None:
    """Rows that may be within the interval of the best: reality may prefer them."""
    ceiling = _ceiling(campaign, explored.found) * uncertainty(campaign, explored)
    if ceiling == math.inf:
        return
    near = [row for row in rows if _counted_cost(campaign, row.candidate, row.replicas) < ceiling]
    waiting = [row for row in near if row.candidate not in campaign.searched]
    while waiting:
        wave = waiting[: min(WAVE, max(0, campaign.question.most_simulated - len(campaign.searched)))]
        if not wave:
            explored.notes += (
                f"{len(waiting)} more candidates are within the interval of the best by the closed form and "
                f"were not simulated (most_simulated is {campaign.question.most_simulated})",
            )
            return
        waiting = waiting[len(wave) :]
        ends = campaign.search([(row.candidate, _search(campaign, row, ceiling)) for row in wave])
        for row, end in zip(wave, ends, strict=True):
            _file(campaign, row, end, explored, tally)


def uncertainty(campaign: Campaign, explored: Explored) -> float:
    """By which factor the best may be dearer than predicted; 1 where no error is known."""
    if not explored.found:
        return 1.0
    best = explored.found[order([each.costs for each in explored.found], None)[0]]
    (record,) = campaign.run([campaign.task(best.candidate, best.needed, campaign.question.seed)])
    value, high = record.values.get(MONEY, 0.0), record.high.get(MONEY)
    return max(1.0, high / value) if high is not None and value > 0.0 else 1.0


def _one_fewer(counts: Counts) -> list[Counts]:
    return [
        tuple(count - (index == pool) for index, count in enumerate(counts))
        for pool, one in enumerate(counts)
        if one > 1
    ]


def _count(
    tally: Tally,
    row: Row,
    stage: str,
    reason: str,
    text: str,
    *,
    nearness: float = 1.0,
    need: float | None = None,
) -> None:
    problem = Infeasible(reason=text, need=need)
    family = _family(row.candidate)
    tally.add(stage, family, reason, 1, problem, nearness=nearness or math.inf, example=row.candidate)


def _count_left(campaign: Campaign, left: Sequence[Row], explored: Explored, tally: Tally) -> None:
    """Rows that were not simulated since so many already were."""
    missing = [row for row in left if not _behind(row.costs, explored.found)]
    for row in left:
        late = row in missing
        text = "the most that are simulated had been" if late else "behind even by the optimistic closed form"
        _count(tally, row, "bound", "not simulated" if late else BEHIND, text)
    if missing:
        explored.notes += (
            f"{len(missing)} more candidates could be better by the closed form and were not simulated "
            f"(most_simulated is {campaign.question.most_simulated})",
        )
