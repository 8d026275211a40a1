"""Searches of many candidates side by side, each simulation on whatever core is free.

Candidates are searched in waves of a fixed size: what a wave knows of the best was known when it began, so
that the result does not depend on the number of cores, nor on which was faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tokenroof.search.accounting import ChipCost, Spent, spent, total
from tokenroof.search.asked import Load, Question
from tokenroof.search.core import Candidate, LowerBound, PoolPlan, Progress, Record, Watch
from tokenroof.search.fewest import Counts, Found, Search, Verdict
from tokenroof.search.judge import missed, short_pool, worst_check
from tokenroof.search.runs import Runner, Task

WAVE = 8
"""Candidates that are searched side by side."""


@dataclass(slots=True)
class _Going:
    """One search: what it waits for."""

    candidate: Candidate
    search: Search
    counts: Counts
    at_seed: int = 0
    first: Record | None = None
    end: Found | None = None


@dataclass(slots=True)
class Campaign:
    """Everything that is simulated for one question."""

    question: Question
    load: Load
    costs: dict[str, ChipCost]
    runner: Runner
    bounds: tuple[LowerBound, ...] = ()
    watch: Watch | None = None
    searched: set[Candidate] = field(default_factory=set)

    @property
    def factor(self) -> float:
        """Rate at which the targets are to be kept, over the asked one."""
        return 1.0 + self.question.headroom_fraction

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds with all of which the targets are to be kept; one where nothing is drawn, as in a trace."""
        question = self.question
        if not self.runner.draws:
            return (question.seed,)
        return tuple(question.seed + index for index in range(1 + question.confirm_seeds))

    def floor(self, candidate: Candidate) -> Counts:
        """Replicas below which physics does not serve a load that goes on, however short the simulated one.

        Of pools apart one each: their work is not bounded singly.
        """
        if len(candidate.pools) > 1:
            return (1,) * len(candidate.pools)
        (pool,) = candidate.pools
        chips = next((bound.chips for bound in self.bounds if bound.chip == pool.chip), 1)
        return (max(1, math.ceil(chips / pool.parallel.chips)),)

    def spent(self, candidate: Candidate, counts: Counts) -> Spent:
        """Chips, money, power and room of so many replicas, without their work."""
        limits = self.question.limits
        return total(
            [
                spent(
                    self.costs[pool.chip],
                    np.asarray(float(pool.parallel.chips * count)),
                    np.zeros(()),
                    self.load,
                    limits,
                )
                for pool, count in zip(candidate.pools, counts, strict=True)
            ],
            [self.costs[pool.chip] for pool in candidate.pools],
            limits,
        )

    def with_spares(self, counts: Counts) -> Counts:
        """Replicas that are bought."""
        return tuple(count + self.question.spare_replicas for count in counts)

    def beyond_limits(self, candidate: Candidate, counts: Counts) -> str:
        """The limit that so many replicas (and the spares) break, "" for none."""
        limits, whole = self.question.limits, self.spent(candidate, self.with_spares(counts))
        for name, limit, value in (
            ("chips", limits.chips, whole.chips),
            ("usd_per_hour", limits.usd_per_hour, whole.usd_per_hour),
            ("facility_w", limits.facility_w, whole.provided_w),
            ("racks", limits.racks, whole.racks),
        ):
            if limit is not None and not float(value) <= limit:
                return name
        return ""

    def run(self, tasks: Sequence[Task]) -> list[Record]:
        """Records of tasks, run where they are not yet."""
        for task in tasks:
            if self.runner.kept(task) is None:
                self.runner.start(task)
        while any(self.runner.kept(task) is None for task in tasks):
            self.runner.wait()
        found = [self.runner.kept(task) for task in tasks]
        return [record for record in found if record is not None]

    def task(self, candidate: Candidate, counts: Counts, seed: int, factor: float | None = None) -> Task:
        """One simulation, at the rate at which targets are to be kept unless said otherwise."""
        return Task(
            candidate=candidate,
            replicas=counts,
            seed=seed,
            rate_factor=self.factor if factor is None else factor,
        )

    def search(self, searches: Sequence[tuple[Candidate, Search]], told: str = "") -> list[Found]:
        """The end of every search, in their order; :data:`WAVE` of them side by side is the caller's."""
        going = [_begun(candidate, search) for candidate, search in searches]
        self.searched.update(candidate for candidate, _ in searches)
        while True:
            busy = [each for each in going if each.end is None and not self._advance(each)]
            if not busy:
                break
            for each in busy:
                self.runner.start(self.task(each.candidate, each.counts, self.seeds[each.at_seed]))
            self.runner.wait()
            if self.watch is not None:
                self.watch(Progress(stage="simulate", done=self.runner.ran, total=0, text=told))
        return [each.end for each in going if each.end is not None]

    def _advance(self, each: _Going) -> bool:
        """As far as what is known goes; whether it has ended."""
        while each.end is None:
            record = self.runner.kept(self.task(each.candidate, each.counts, self.seeds[each.at_seed]))
            if record is None:
                return False
            each.first = each.first or record
            bad = missed(self.question, record)
            if not bad and each.at_seed + 1 < len(self.seeds):
                each.at_seed += 1
                continue
            verdict = self._verdict(each, record if bad else each.first, bad)
            each.at_seed, each.first = 0, None
            try:
                each.counts = each.search.send(verdict)
            except StopIteration as stop:
                each.end = stop.value
        return True

    def _verdict(self, each: _Going, record: Record, bad: str) -> Verdict:
        worst = worst_check(self.question, record)
        late = bool(bad) and worst is not None and not worst.met
        return Verdict(
            missed=bad,
            short=short_pool(self.question, each.candidate, record) if bad else 0,
            record=record,
            value=worst.value / worst.target.limit_s if late and worst is not None else 0.0,
        )


def _begun(candidate: Candidate, search: Search) -> _Going:
    try:
        return _Going(candidate=candidate, search=search, counts=next(search))
    except StopIteration as stop:
        return _Going(candidate=candidate, search=search, counts=(), end=stop.value)


def unit_costs(candidate: Candidate, price: Callable[[PoolPlan], float]) -> tuple[float, ...]:
    """What one replica costs, by pool."""
    return tuple(price(pool) for pool in candidate.pools)
