"""What fewer chips would cost in latency: the counts below that of a choice, simulated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tokenroof.catalog.catalog import Catalog
from tokenroof.errors import InputError
from tokenroof.search.answers.closed import costs_of
from tokenroof.search.answers.core_result import FewerRow, FewerTable
from tokenroof.search.campaign import Campaign
from tokenroof.search.core import Check, Choice, PlanResult, Record, Store
from tokenroof.search.fewest import Counts
from tokenroof.search.judge import checks_of, missed, worst_check
from tokenroof.search.runs import Memory, Runner, cores

NOTES = (
    "simulated with every seed of the question at the rate with headroom; values are the worst of the seeds",
    "spare replicas are bought, and not used here",
)


def fewer(
    result: PlanResult,
    choice: Choice | None = None,
    *,
    catalog: Catalog,
    steps: int = 3,
    store: Store | None = None,
    workers: int | None = None,
) -> FewerTable:
    """A choice with fewer and fewer replicas of each pool: chips, money, and what becomes of the targets.

    Parameters
    ----------
    result : PlanResult
        A plan.
    choice : Choice, optional
        One of its choices; default: the best.
    catalog : Catalog
        Economics, accuracy.
    steps : int
        So many replicas are taken away at most, one by one, from one pool at a time.
    store : Store, optional
        Where finished simulations are kept and looked for: that of the plan saves what it has run.
    workers : int, optional
        Processes that simulate; default: one per core. The result does not depend on it.

    Returns
    -------
    FewerTable
        The choice itself first.

    Raises
    ------
    InputError
        A plan without a choice.

    Notes
    -----
    Everything else stays as it is: layout, limits of a step, traffic. A deployment of another layout with
    fewer chips is what the plan has looked for.
    """
    mine = choice or result.best
    if mine is None:
        raise InputError("the plan has no choice: there is nothing to take chips from.")
    if steps < 0:
        raise InputError(f"steps must be at least 0, got {steps}.")
    question = result.question
    runner = Runner(question, catalog, store or Memory(), workers or cores())
    try:
        campaign = Campaign(
            question=question, load=result.load, costs=costs_of(question, catalog), runner=runner
        )
        simulated = _Simulated(campaign=campaign, choice=mine)
        rows = [simulated.row("", mine.needed)]
        for pool, plan in enumerate(mine.candidate.pools):
            for step in range(1, min(steps, mine.needed[pool] - 1) + 1):
                counts = tuple(count - step * (at == pool) for at, count in enumerate(mine.needed))
                rows.append(simulated.row(plan.role.value, counts))
    finally:
        runner.close()
    return FewerTable(candidate=mine.candidate, rows=tuple(rows), notes=NOTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Simulated:
    """One choice, and what simulates it."""

    campaign: Campaign
    choice: Choice

    def row(self, pool: str, counts: Counts) -> FewerRow:
        """So many replicas."""
        campaign, candidate = self.campaign, self.choice.candidate
        records = campaign.run([campaign.task(candidate, counts, seed) for seed in campaign.seeds])
        whole = campaign.spent(candidate, campaign.with_spares(counts))
        worst = max(records, key=lambda record: _over(campaign, record))
        hourly = float(whole.usd_per_hour)
        return FewerRow(
            pool=pool,
            replicas=counts,
            chips=int(whole.chips),
            usd_per_hour=None if math.isnan(hourly) else hourly,
            saved_fraction=1.0 - float(whole.chips) / self.choice.chips,
            checks=_worst(campaign, records),
            missed=missed(campaign.question, worst),
        )


def _over(campaign: Campaign, record: Record) -> tuple[bool, float]:
    """How far a simulation is from what is asked: whether it misses, and by how much the worst target."""
    check = worst_check(campaign.question, record)
    over = 0.0 if check is None else check.value / check.target.limit_s
    return bool(missed(campaign.question, record)), math.inf if math.isnan(over) else over


def _worst(campaign: Campaign, records: Sequence[Record]) -> tuple[Check, ...]:
    """Every target with the largest value of all seeds; one that has none is the worst."""
    by_seed = [checks_of(campaign.question, record) for record in records]
    return tuple(
        max(same, key=lambda check: math.inf if math.isnan(check.value) else check.value)
        for same in zip(*by_seed, strict=True)
    )
