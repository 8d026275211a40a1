"""In which order candidates are simulated, and when that is enough.

First the best of every family, then whatever may be better than the best of its chip, then whatever may
still be better than the best that was found, then other limits of a step for that one. All rows of the
screen are optimistic, so one that is behind the best found even so is out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tokenroof.deploy.core import Infeasible
from tokenroof.search.campaign import WAVE, Campaign
from tokenroof.search.choose import objectives_of
from tokenroof.search.core import Candidate
from tokenroof.search.fewest import DEARER, Counts, Found, Search, fewest
from tokenroof.search.front import dominates, order
from tokenroof.search.pick import OTHERS, Row, family_of
from tokenroof.search.space import batch_limits, token_budgets
from tokenroof.search.tally import Tally

COUNTED = ("usd_per_million_tokens", "chips", "tokens_per_s_per_chip")
"""Objectives that follow from the counts alone: a search may end where they exceed the best known."""

BEHIND = "behind the best"
"""Reason of what cannot be better than what was found."""

MORE = (1.25, 1.5, 2.0)
"""Replicas over the fewest that are looked at, too, when a latency is among the objectives."""

FAMILIES = 12
"""Families whose best is simulated whatever the others are."""

REFINEMENTS = 3
"""Rounds of other limits of a step around the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A candidate with the replicas that it needs, and what it costs in every objective."""

    candidate: Candidate
    needed: Counts
    costs: tuple[float, ...]


@dataclass(slots=True)
class Explored:
    """What was simulated.

    Attributes
    ----------
    found : list of Deployed
        Keep the targets.
    notes : tuple of str
        What was left out.
    """

    found: list[Deployed] = field(default_factory=list)
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
    _refine(campaign, explored, tally)
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
        for (row, _), end in zip(wave, ends, strict=True):
            _file(campaign, row, end, explored, tally)


def _search(campaign: Campaign, row: Row, ceiling: float) -> Search:
    return fewest(row.replicas, _units(campaign, row.candidate), _allowed(campaign, row.candidate, ceiling))


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
    worst = end.reason.partition(" ")[0]
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


def _refine(campaign: Campaign, explored: Explored, tally: Tally) -> None:
    """Other limits of a step for the best, with one replica fewer, while that helps."""
    if _ceiling(campaign, explored.found) == math.inf:
        return
    for _ in range(REFINEMENTS):
        best = explored.found[order([each.costs for each in explored.found], None)[0]]
        tries = [
            (other, start)
            for other in _neighbours(campaign, best.candidate)
            if other not in campaign.searched
            for start in _one_fewer(best.needed)
        ][:WAVE]
        if not tries:
            return
        ceiling = _ceiling(campaign, explored.found)
        ends = campaign.search(
            [
                (other, fewest(start, _units(campaign, other), _allowed(campaign, other, ceiling)))
                for other, start in tries
            ]
        )
        better = [
            deployed(campaign, other, end.replicas)
            for (other, _), end in zip(tries, ends, strict=True)
            if end.replicas is not None
        ]
        explored.found += better
        for each in better:
            tally.take_back("bound", _family(each.candidate), OTHERS)
        if not better:
            return


def _one_fewer(counts: Counts) -> list[Counts]:
    return [
        tuple(count - (index == pool) for index, count in enumerate(counts))
        for pool, one in enumerate(counts)
        if one > 1
    ]


def _neighbours(campaign: Campaign, candidate: Candidate) -> Iterator[Candidate]:
    """The next limits of a step to either side, one pool and one limit at a time."""
    space = campaign.question.space
    engines = {each.name: each for each in space.engines}
    for index, pool in enumerate(candidate.pools):
        engine = engines[pool.engine]
        others = [
            replace(pool, max_num_batched_tokens=tokens)
            for tokens in _beside(pool.max_num_batched_tokens, token_budgets(space, engine))
        ]
        others += [
            replace(pool, max_num_seqs=seqs)
            for seqs in _beside(pool.max_num_seqs, batch_limits(space, engine))
        ]
        for other in others:
            pools = (*candidate.pools[:index], other, *candidate.pools[index + 1 :])
            yield replace(candidate, pools=pools)


def _beside(mine: int, values: tuple[int, ...]) -> tuple[int, ...]:
    """The next smaller and the next larger value."""
    below = [each for each in values if each < mine]
    above = [each for each in values if each > mine]
    return (*below[-1:], *above[:1])


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
        reason = "not simulated" if row in missing else BEHIND
        _count(tally, row, "bound", reason, "the most that are simulated had been")
    if missing:
        explored.notes += (
            f"{len(missing)} more candidates could be better by the closed form and were not simulated "
            f"(most_simulated is {campaign.question.most_simulated})",
        )
