"""Every candidate of a small space with every count, simulated: what a plan is judged by."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from planning import CATALOG

from tokenroof.deploy.core import Role
from tokenroof.search.asked import Question
from tokenroof.search.core import Candidate, PoolPlan
from tokenroof.search.judge import missed
from tokenroof.search.runs import Simulator, Task
from tokenroof.search.space import batch_limits, format_problem, subjects, token_budgets


def candidates(question: Question) -> Iterator[Candidate]:
    """All of them."""
    space = question.space
    legal, _ = subjects(question)
    plans = [
        (
            subject.precision,
            PoolPlan(
                role=Role.BOTH,
                chip=subject.chip.name,
                engine=subject.engine.name,
                parallel=subject.parallel,
                max_num_seqs=seqs,
                max_num_batched_tokens=tokens,
            ),
        )
        for subject in legal
        for seqs in batch_limits(space, subject.engine)
        for tokens in token_budgets(space, subject.engine)
        if format_problem(subject.chip, subject.precision, question.model) is None
    ]
    if space.colocated:
        for precision, pool in plans:
            yield Candidate(precision=precision, pools=(pool,))
    if space.disaggregated:
        for (first, prefill), (second, decode) in itertools.product(plans, plans):
            same = prefill.chip == decode.chip
            if first == second and (same or space.mixed_chips):
                yield Candidate(
                    precision=first, pools=(as_role(prefill, Role.PREFILL), as_role(decode, Role.DECODE))
                )


def as_role(pool: PoolPlan, role: Role) -> PoolPlan:
    """The same pool in another role."""
    return PoolPlan(
        role=role,
        chip=pool.chip,
        engine=pool.engine,
        parallel=pool.parallel,
        max_num_seqs=pool.max_num_seqs,
        max_num_batched_tokens=pool.max_num_batched_tokens,
    )


def usd_per_hour(question: Question, candidate: Candidate, counts: tuple[int, ...]) -> float:
    """At the price of the question."""
    chips = {chip.name: chip for chip in question.chips}
    total = 0.0
    for pool, count in zip(candidate.pools, counts, strict=True):
        price = question.spending.basis(CATALOG.economics(), chips[pool.chip]).usd_per_chip_hour
        assert price is not None
        total += price * pool.parallel.chips * count
    return total


def keeps(question: Question, simulator: Simulator, candidate: Candidate, counts: tuple[int, ...]) -> bool:
    """Whether the targets are kept with all seeds of the question."""
    for seed in range(question.seed, question.seed + 1 + question.confirm_seeds):
        task = Task(
            candidate=candidate,
            replicas=counts,
            seed=seed,
            rate_factor=1.0 + question.headroom_fraction,
        )
        if missed(question, simulator.run("", task)):
            return False
    return True


def cheapest(question: Question, most: int) -> float:
    """Least price of anything that keeps the targets, with up to ``most`` replicas a pool. [USD/h]"""
    simulator, best = Simulator(question, CATALOG), float("inf")
    for candidate in candidates(question):
        counts = sorted(
            itertools.product(range(1, most + 1), repeat=len(candidate.pools)),
            key=lambda each: usd_per_hour(question, candidate, each),
        )
        for each in counts:
            price = usd_per_hour(question, candidate, each)
            if price >= best:
                break
            if keeps(question, simulator, candidate, each):
                best = price
                break
    return best
