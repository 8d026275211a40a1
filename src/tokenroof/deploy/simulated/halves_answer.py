"""The part of an answer that attention chips and feed-forward chips have each for themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tokenroof.deploy.answer import Question
from tokenroof.deploy.core import Deployment, Phase, Role
from tokenroof.deploy.halves.phases import explain_halves
from tokenroof.deploy.simulated.halves import ServedHalves
from tokenroof.deploy.simulated.halves_spent import halves_work, working_s
from tokenroof.deploy.simulated.pools import Served
from tokenroof.deploy.simulated.spent import PoolWork, pool_work, used
from tokenroof.serve.results import Run


def works_of(
    run: Run, served: Sequence[Served], deployment: Deployment, span_s: float
) -> tuple[tuple[PoolWork, ...], tuple[PoolWork, ...]]:
    """Sums of the pools that take requests, and of the feed-forward pools beside them."""
    works, others = [], []
    for index, each in enumerate(served):
        if isinstance(each, ServedHalves):
            own, other = halves_work(run, index, each, span_s)
            others.append(other)
        else:
            own = pool_work(run, index, each, deployment, span_s)
        works.append(own)
    return tuple(works), tuple(others)


def of_halves(
    served: Sequence[Served], works: Sequence[PoolWork], others: Sequence[PoolWork]
) -> Iterator[tuple[str, float]]:
    """Metrics that a pool has when its layers are in halves."""
    halves = [work for work, each in zip(works, served, strict=True) if isinstance(each, ServedHalves)]
    for work in (*halves, *others):
        tag = f":{work.served.pool.role}"
        if work.up_s > 0.0:
            yield f"working_fraction{tag}", working_s(work.sums) / work.up_s
        if work.served.pool.role is Role.FEED_FORWARD:
            yield from ((f"{name}{tag}", value) for name, value in used(work))


def phases_of_halves(question: Question, served: Served, seqs: int) -> dict[str, Callable[[], Phase]]:
    """The decode step on either kind of chips; nothing where layers are whole.

    Parameters
    ----------
    question : Question
        What was asked.
    served : Served
        The pool that decodes.
    seqs : int
        Sequences of the step.
    """
    if not isinstance(served, ServedHalves) or not question.plan.steps:
        return {}
    return explain_halves(served.steps, served.setup.table, seqs, question.plan.context_tokens)
