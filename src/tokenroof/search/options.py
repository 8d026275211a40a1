"""Every way to serve one pool, as columns: what a replica yields within the targets, closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.capacity import cache_bytes, sequence_bytes
from tokenroof.deploy.client import client_s
from tokenroof.deploy.core import Pool, Role
from tokenroof.deploy.handoff import end_s, handoff_fabric
from tokenroof.search.asked import Question, Target
from tokenroof.search.space import Engines, Subject, batch_limits, token_budgets
from tokenroof.search.steady import Ask, Pending, Steady, decoding_alone, prefilling, settle, together
from tokenroof.workload.core import RequestShape

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MARGIN = 0.1
"""How much better than its closed form a simulation may come out: latencies shorter, rates higher. The
screen takes nothing away that is out by less."""

_POINTS_PER_DOUBLING = 2
_MEMORY, _FITS = "memory", ""
_WHOLE = ("subject", "max_num_seqs", "max_num_batched_tokens", "chips")
_JUDGED = ("requests_per_s", "ttft_s", "tpot_s", "least_ttft_s", "least_tpot_s", "dynamic_j", "need", "have")
_NUMBERS = (*_JUDGED, "handoff_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Rows of one role, each a subject with limits of a step; all of shape (num_rows,).

    Attributes
    ----------
    subject : IntArray
        Place in the list of subjects.
    max_num_seqs, max_num_batched_tokens : IntArray
        Limits of a step.
    chips : IntArray
        Of one replica.
    requests_per_s : FloatArray
        Most that one replica serves within the targets; 0 where there is a reason. [1/s]
    ttft_s, tpot_s : FloatArray
        There. [s]
    least_ttft_s, least_tpot_s : FloatArray
        The least within the targets, with however little to do: what more replicas come near. [s]
    dynamic_j : FloatArray
        Of one request. [J]
    handoff_s : FloatArray
        Time of this end of a hand-off; 0 for replicas that do both, nan without a fabric. [s]
    reason : npt.NDArray of str
        What is in the way; "" for nothing.
    need, have : FloatArray
        The two numbers that clash.
    """

    subject: IntArray
    max_num_seqs: IntArray
    max_num_batched_tokens: IntArray
    chips: IntArray
    requests_per_s: FloatArray
    ttft_s: FloatArray
    tpot_s: FloatArray
    least_ttft_s: FloatArray
    least_tpot_s: FloatArray
    dynamic_j: FloatArray
    handoff_s: FloatArray
    reason: npt.NDArray[np.str_]
    need: FloatArray
    have: FloatArray

    @property
    def fits(self) -> BoolArray:
        """Rows without a reason."""
        return np.asarray(self.reason == _FITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """What all rows of a screen have in common.

    Attributes
    ----------
    question : Question
        What is asked.
    ask : Ask
        Every request.
    engines : Engines
        With limits.
    quantile_isl : mapping of target to float
        Prompt length over the mean, at most 1, at the quantile of every target: half of the prompts may be
        shorter than the mean.
    """

    question: Question
    ask: Ask
    engines: Engines
    prompt_part: dict[Target, float]


def options_of(
    screening: Screening, subjects: Sequence[Subject], roles: Sequence[Role]
) -> dict[Role, Options]:
    """Rows of every subject in every role; one that drafts has none for prefill."""
    parts: dict[Role, list[dict[str, Any]]] = {role: [] for role in roles}
    for index, subject in enumerate(subjects):
        drafts = subject.drafting is not None
        for role, rows in _rows(
            screening, index, subject, [role for role in roles if not (drafts and role is Role.PREFILL)]
        ):
            parts[role].append(rows)
    return {
        role: Options(**{name: np.concatenate([each[name] for each in found]) for name in found[0]})
        if found
        else no_options()
        for role, found in parts.items()
    }


def no_options() -> Options:
    """No rows."""
    columns: dict[str, Any] = {name: np.zeros(0, dtype=np.int64) for name in _WHOLE}
    columns |= {name: np.zeros(0) for name in _NUMBERS}
    return Options(**columns, reason=np.zeros(0, dtype="<U24"))


def sequence_grid(most: int, also: Sequence[int]) -> IntArray:
    """Sequences at which a replica is looked at: some to every doubling, and the limits themselves."""
    steps = np.arange(0, _POINTS_PER_DOUBLING * math.log2(max(most, 1)) + 1)
    found = np.rint(2.0 ** (steps / _POINTS_PER_DOUBLING)).astype(np.int64)
    grid = np.unique(np.concatenate((found, np.asarray(also, dtype=np.int64), [most])))
    return grid[(grid >= 1) & (grid <= most)]


def _rows(
    screening: Screening, index: int, subject: Subject, roles: Sequence[Role]
) -> Iterator[tuple[Role, dict[str, Any]]]:
    frames = [_frame(screening, subject, role) for role in roles]
    pending = [_asked(screening, subject, frame) for frame in frames if (frame.most >= 1).any()]
    settled = iter(settle(subject, screening.ask, pending) if pending else ())
    for frame in frames:
        steady = next(settled) if (frame.most >= 1).any() else None
        size = frame.budget.size
        yield (
            frame.role,
            {
                "subject": np.full(size, index),
                "max_num_seqs": frame.limit,
                "max_num_batched_tokens": frame.budget,
                "chips": np.full(size, subject.parallel.chips),
                "handoff_s": np.full(size, _handoff(screening, subject, frame.role)),
                **_judged(screening, subject, frame, steady),
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Rows of a subject in a role: limits of a step, the most sequences of each, and where to look."""

    role: Role
    budget: IntArray
    limit: IntArray
    most: IntArray
    points: IntArray
    point_budget: IntArray


def _frame(screening: Screening, subject: Subject, role: Role) -> _Frame:
    space = screening.question.space
    limits = np.array(batch_limits(space, subject.engine), dtype=np.int64)
    budgets = np.array(token_budgets(space, subject.engine), dtype=np.int64)
    if role is Role.PREFILL:
        limits = limits[-1:] if space.max_num_seqs else np.array([subject.engine.max_num_seqs])
    elif role is Role.DECODE:
        budgets = budgets[-1:] if space.max_num_batched_tokens else budgets[budgets == _own_budget(subject)]
    budget, limit = (axis.ravel() for axis in np.meshgrid(budgets, limits, indexing="ij"))
    held = _held(screening, subject, role, budget, limit)
    ranks, stages = subject.parallel.dp, subject.parallel.pp
    most = np.minimum(np.minimum(held, limit * ranks), stages * (budget - 1) * ranks)
    points, point_budget = np.ones(budget.size, dtype=np.int64), budget
    if role is not Role.PREFILL and (most >= 1).any():
        grid = sequence_grid(int(most.max()), np.minimum(limit * ranks, most.max()).tolist())
        roomy = [(each, grid[grid <= stages * (each - 1) * ranks]) for each in budgets.tolist()]
        points = np.concatenate([some for _, some in roomy])
        point_budget = np.concatenate([np.full(some.size, each) for each, some in roomy])
    return _Frame(role=role, budget=budget, limit=limit, most=most, points=points, point_budget=point_budget)


def _own_budget(subject: Subject) -> int:
    return subject.engine.max_num_batched_tokens


def _asked(screening: Screening, subject: Subject, frame: _Frame) -> Pending:
    """What is to be timed of a role."""
    match frame.role:
        case Role.PREFILL:
            return prefilling(subject, screening.ask, frame.budget)
        case Role.DECODE:
            return decoding_alone(subject, screening.ask, frame.points)
        case _:
            return together(subject, screening.ask, frame.points, frame.point_budget)


def _held(screening: Screening, subject: Subject, role: Role, budget: IntArray, limit: IntArray) -> IntArray:
    """Sequences of mean lengths that the cache of a replica holds under each pair of limits."""
    ask, ranks = screening.ask, subject.parallel.dp
    shape = ask.shape
    if role is Role.PREFILL:
        shape = RequestShape(isl_tokens=shape.isl_tokens, osl_tokens=1)
    per_sequence = sum(sequence_bytes(subject.pool(), ask.model, subject.precision, shape))
    out = []
    for tokens, seqs in zip(budget.tolist(), limit.tolist(), strict=True):
        engine = screening.engines.limited(subject.engine.name, seqs, tokens)
        pool = Pool(chip=subject.chip, engine=engine, parallel=subject.parallel)
        left = cache_bytes(pool, ask.model, subject.precision)
        out.append(int(left // per_sequence) * ranks if per_sequence else (1 << 20) * (left > 0.0))
    return np.array(out, dtype=np.int64)


def _judged(
    screening: Screening, subject: Subject, frame: _Frame, steady: Steady | None
) -> dict[str, npt.NDArray[Any]]:
    """Where each row works best within the targets, or what is in the way."""
    size, role, most = frame.budget.size, frame.role, frame.most
    out = {name: np.zeros(size) for name in _JUDGED}
    reason = np.full(size, _MEMORY, dtype="<U24")
    out["need"][:], out["have"][:] = 1.0, 0.0
    if steady is None:
        return {**out, "reason": reason}
    outside_s = float(client_s(subject.pool(), float(screening.ask.shape.isl_tokens)))
    points, point_budget = frame.points, frame.point_budget
    broken = _broken(screening, role, steady, outside_s)
    for row in range(size):
        if most[row] < 1:
            continue
        mine = np.flatnonzero((point_budget == frame.budget[row]) & (points <= most[row]))
        good = mine[broken[0][mine] == _FITS]
        if good.size:
            at = good[np.argmax(steady.requests_per_s[good])]
            reason[row] = _FITS
            out["requests_per_s"][row] = steady.requests_per_s[at] * (1.0 + MARGIN)
            out["need"][row] = out["have"][row] = math.nan
        else:
            at = mine[np.argmin(broken[1][mine] / broken[2][mine])]
            reason[row], out["need"][row], out["have"][row] = (each[at] for each in broken)
        out["ttft_s"][row] = steady.ttft_s[at] + outside_s
        out["tpot_s"][row] = steady.tpot_s[at]
        some = good if good.size else np.array([at])
        out["least_ttft_s"][row] = steady.ttft_s[some].min() + outside_s
        out["least_tpot_s"][row] = steady.tpot_s[some].min()
        out["dynamic_j"][row] = steady.dynamic_j[at]
    return {**out, "reason": reason}


def _broken(
    screening: Screening, role: Role, steady: Steady, outside_s: float
) -> tuple[npt.NDArray[np.str_], FloatArray, FloatArray]:
    """The target that every point misses by most ("" for none), the value there, and the limit."""
    size = steady.ttft_s.size
    name = np.full(size, _FITS, dtype="<U24")
    worst, need, have = np.ones(size), np.ones(size), np.ones(size)
    for target in screening.question.targets:
        value = _least(screening, role, target, steady, outside_s)
        if value is None:
            continue
        over = value / target.limit_s
        more = over > worst
        name[more] = target.name
        worst, need = np.where(more, over, worst), np.where(more, value, need)
        have = np.where(more, target.limit_s, have)
    return name, need, have


def _least(
    screening: Screening, role: Role, target: Target, steady: Steady, outside_s: float
) -> FloatArray | None:
    """The least that a target's metric can be, or None where the closed form says nothing of it."""
    quantile = target.quantile
    if quantile is not None and quantile < 0.5:
        return None
    fast = 1.0 - MARGIN
    match target.latency, role:
        case "ttft", Role.BOTH | Role.PREFILL:
            return (steady.ttft_s + outside_s) * screening.prompt_part[target] * fast
        case "tpot", Role.BOTH | Role.DECODE:
            return steady.tpot_s * fast
        case "itl", Role.BOTH | Role.DECODE:
            return steady.step_s * fast
        case "e2e", _ if quantile is None or quantile >= 0.9:
            return (steady.e2e_s + (0.0 if role is Role.DECODE else outside_s)) * fast
    return None


def _handoff(screening: Screening, subject: Subject, role: Role) -> float:
    """One end of ``deploy.handoff.handoff_s``. [s]"""
    if role is Role.BOTH:
        return 0.0
    if handoff_fabric(subject.chip) is None:
        return math.nan
    pool, ask = subject.pool(role), screening.ask
    return float(end_s(pool, ask.model, subject.precision, ask.shape.isl_tokens))
