"""When speculation pays: by batch, acceptance and number of drafts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.capacity import capacity
from tokenroof.deploy.simulated.drafting.core import Drafting
from tokenroof.errors import InputError
from tokenroof.search.answers.closed import ask_of, demand, replica_of, where
from tokenroof.search.answers.core import DraftRow, DraftTable
from tokenroof.search.asked import Question
from tokenroof.search.core import Candidate
from tokenroof.search.options import sequence_grid
from tokenroof.search.space import Subject
from tokenroof.search.steady import Ask, decoding_alone, settle, tokens_per_step

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

DRAFTS = (1, 2, 3, 5, 7)
"""Numbers of drafts that are looked at."""

ACCEPTANCES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Acceptances that are looked at."""

NOTES = (
    "closed form: steps that only decode, all sequences at the mean context, no prompts in between",
    "every draft is right with the same probability, given that all before it were",
    "what a drafter's weights and cache take from the batch is not counted",
)


class Drafts(Protocol):
    """What makes a way of drafting: the classes ``Eagle``, ``Mtp``, ``NGram``, or a partial of one."""

    def __call__(self, *, draft_tokens: int, acceptance_fraction: float) -> Drafting:
        """A way to draft so many tokens, of which so many are right."""
        ...


def speculate(
    question: Question,
    candidate: Candidate,
    drafts: Drafts,
    *,
    draft_tokens: Sequence[int] = DRAFTS,
    sequences: Sequence[int] = (),
    acceptances: Sequence[float] = ACCEPTANCES,
) -> DraftTable:
    """Tokens per second with drafts over those without, in closed form.

    Parameters
    ----------
    question : Question
        Model, and the lengths of its workload.
    candidate : Candidate
        Whose decode: its last pool; drafts of its own are left out.
    drafts : Drafts
        How to draft.
    draft_tokens, sequences, acceptances : sequence
        The axes; default batches: powers of two up to what the cache holds.

    Returns
    -------
    DraftTable
        Also with the number of drafts that is best in every batch at every acceptance.

    Raises
    ------
    InputError
        An empty axis, an acceptance that is none, or a way of drafting that the model has not.

    Notes
    -----
    A drafted step takes the time of a batch with one more query token per draft, and of the drafter; it
    yields ``1 + a + a^2 + ...`` tokens. While decode waits for memory the drafts ride along for little; the
    larger the batch, the dearer they are. It says nothing of the spread of acceptance over requests, nor of
    latency under load: give ``Space.drafting`` to a plan for that.
    """
    _, shape = demand(question)
    ask, plain = ask_of(question, shape), replica_of(question, candidate, len(candidate.pools) - 1)
    pool = plain.pool()
    held = capacity(pool, question.model, plain.precision, shape).max_batch
    most = min(held, pool.engine.max_num_seqs * plain.parallel.dp)
    counts = np.array(sorted(set(sequences)), dtype=np.int64)
    if not counts.size:
        counts = sequence_grid(most, ())[::2]
    if not (draft_tokens and acceptances) or (counts < 1).any():
        raise InputError("speculation needs drafts, acceptances and sequences of at least 1. Leave them out.")
    counts = counts[counts <= most]
    plain_s = _step_s(plain, ask, counts)
    rows: list[DraftRow] = []
    for drafted in sorted(set(draft_tokens)):
        made = [drafts(draft_tokens=drafted, acceptance_fraction=each) for each in sorted(set(acceptances))]
        drafting = Subject(
            chip=plain.chip,
            engine=plain.engine,
            parallel=plain.parallel,
            precision=plain.precision,
            drafting=made[0],
        )
        drafted_s = _step_s(drafting, ask, counts)
        for at, count in enumerate(counts.tolist()):
            even = break_even_acceptance(drafted, float(drafted_s[at] / plain_s[at]))
            rows += (
                DraftRow(
                    draft_tokens=drafted,
                    sequences=count,
                    acceptance_fraction=each.acceptance_fraction,
                    plain_step_s=float(plain_s[at]),
                    drafted_step_s=float(drafted_s[at]),
                    tokens_per_step=tokens_per_step(drafted, each.acceptance_fraction),
                    break_even_acceptance_fraction=even,
                )
                for each in made
            )
    return DraftTable(
        where=where(plain),
        drafting=type(made[0]).__name__,
        rows=tuple(rows),
        best=_best(rows),
        most_sequences=most,
        notes=(*NOTES, made[0].note()),
    )


def break_even_acceptance(draft_tokens: int, step_ratio: float) -> float:
    """Acceptance at which a drafted step, so many times as long as a plain one, yields as much per second.

    Infinite when even drafts that are always right do not make up for it.

    Examples
    --------
    >>> break_even_acceptance(1, 1.25), break_even_acceptance(2, 3.5)
    (0.25, inf)
    """
    if step_ratio > draft_tokens + 1:
        return math.inf
    if step_ratio <= 1.0:
        return 0.0
    # a + a^2 + ... = ratio - 1 has one root above 0, since its coefficients change sign once
    roots = np.roots([*[1.0] * draft_tokens, 1.0 - step_ratio])
    return float(min(roots[(roots.real > 0.0) & (abs(roots.imag) < 1e-9)].real.max(), 1.0))


def _step_s(subject: Subject, ask: Ask, counts: IntArray) -> FloatArray:
    """A step that only decodes. [s]"""
    if not counts.size:
        return np.zeros(0)
    (steady,) = settle(subject, ask, [decoding_alone(subject, ask, counts)])
    return steady.step_s


def _best(rows: Sequence[DraftRow]) -> tuple[DraftRow, ...]:
    """The fastest number of drafts in every batch at every acceptance; of equal ones the fewest drafts."""
    found: dict[tuple[int, float], DraftRow] = {}
    for row in rows:
        key = (row.sequences, row.acceptance_fraction)
        if key not in found or row.speedup > found[key].speedup:
            found[key] = row
    return tuple(found[key] for key in sorted(found))
