"""The steady state of one replica for arrays of sequences and token budgets.

The same closed forms as ``deploy.colocated`` and ``deploy.disaggregated`` (``deploy.schedule`` has them),
asked for many points at once. Steps are timed operator by operator: for the few hundred steps of a screen
that is many times faster than to compile a step table, which is equal by law.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.model import ModelSpec
from tokenroof.deploy.colocated import _pieces as pieces_of
from tokenroof.deploy.core import Role
from tokenroof.deploy.generation import Plan, chunk_batch, chunk_sizes, even_chunks, plan_of
from tokenroof.deploy.provenance import machine_of
from tokenroof.deploy.schedule import mixed_pace, mixed_schedule, prompts_together, separate_pace
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, decode_batch
from tokenroof.perf.compile import STEP
from tokenroof.perf.lowprec import formats_on
from tokenroof.perf.step import step_time
from tokenroof.search.space import Subject
from tokenroof.workload.core import RequestShape

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What every request of a screen is.

    Attributes
    ----------
    model : ModelSpec
        What is served.
    shape : RequestShape
        Mean lengths.
    computed_fraction : float
        Part of a prompt that no prefix cache can save.
    expert_load_factor : float
        As in ``Deployment``.
    """

    model: ModelSpec
    shape: RequestShape
    computed_fraction: float
    expert_load_factor: float

    def plan(self, subject: Subject) -> Plan:
        """The steps of a request: fewer with drafts, a shorter prompt with cached prefixes."""
        plan = plan_of(self.model, self.shape)
        drafting = subject.drafting
        steps = plan.steps
        if drafting is not None:
            steps = max(
                1, round(plan.steps / tokens_per_step(drafting.draft_tokens, drafting.acceptance_fraction))
            )
        prompt = max(1, round(plan.prompt_tokens * self.computed_fraction))
        return replace(plan, steps=steps if plan.steps else 0, prompt_tokens=prompt)


def tokens_per_step(draft_tokens: int, acceptance_fraction: float) -> float:
    """Mean tokens of a verified step: one, and as many drafts as are right before the first that is not."""
    return float(sum(acceptance_fraction**accepted for accepted in range(draft_tokens + 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """One replica that always holds so many sequences; all of shape (num_points,).

    Attributes
    ----------
    requests_per_s : FloatArray
        [1/s]
    ttft_s, tpot_s, e2e_s : FloatArray
        Means, no queue but the wait for prompts in front. [s]
    step_s : FloatArray
        A step without prompts: the shortest gap between tokens (of a step, not of a draft). [s]
    dynamic_j : FloatArray
        Energy of a request beside static power, all chips; nan without a power figure. [J]
    """

    requests_per_s: FloatArray
    ttft_s: FloatArray
    tpot_s: FloatArray
    e2e_s: FloatArray
    step_s: FloatArray
    dynamic_j: FloatArray


@dataclass(frozen=True, slots=True)
class Timed:
    """Time and dynamic energy on one chip of steps, in the shape in which they were asked."""

    time_s: FloatArray
    energy_j: FloatArray


@dataclass(frozen=True, slots=True)
class Pending:
    """Steps to be timed, and what comes of their times; several are timed together by :func:`timed`."""

    batches: Sequence[Batch]
    finish: Callable[[Sequence[Timed]], Steady]


def timed(subject: Subject, ask: Ask, batches: Sequence[Batch]) -> list[Timed]:
    """Steps of many batches of one number of query tokens, laid end to end and timed at once."""
    sizes = [
        np.broadcast_shapes(*(np.shape(value) for value in _numbers(batch).values())) for batch in batches
    ]
    joined = {
        name: np.concatenate(
            [
                np.broadcast_to(_numbers(batch)[name], shape).ravel().astype(np.int64)
                for batch, shape in zip(batches, sizes, strict=True)
            ]
        )
        for name in _numbers(batches[0])
    }
    query = batches[0].decode_tokens
    whole = Batch(**joined, decode_tokens=query)
    pool = subject.pool()
    machine = machine_of(pool)
    formats = formats_on(subject.precision, machine.peak_flop_per_s)
    ops = step_ops(ask.model, formats, subject.parallel, whole, hot_factor=ask.expert_load_factor)
    found = step_time(ops, machine)
    points = next(iter(joined.values())).size
    time_s = np.broadcast_to(np.asarray(found.time_s, dtype=np.float64), (points,)).copy()
    energy_j = np.zeros(points)
    for item in found.ops:
        energy_j += np.nan if item.energy_j is None else item.energy_j
    if subject.drafting is not None:
        _add_drafts(subject, ask, joined["decode_seqs"], time_s, energy_j)
    out, at = [], 0
    for shape in sizes:
        count = int(np.prod(shape))
        out.append(Timed(time_s[at : at + count].reshape(shape), energy_j[at : at + count].reshape(shape)))
        at += count
    return out


def _numbers(batch: Batch) -> dict[str, IntArray]:
    return {
        field.name: np.asarray(getattr(batch, field.name))
        for field in fields(batch)
        if field.name != "decode_tokens"
    }


def _add_drafts(subject: Subject, ask: Ask, seqs: IntArray, time_s: FloatArray, energy_j: FloatArray) -> None:
    """What drafting adds to the steps that decode, in place."""
    assert subject.drafting is not None
    per_rank = -(-seqs // subject.parallel.dp)
    counts, where = np.unique(per_rank, return_inverse=True)
    some = counts > 0
    if not some.any():
        return
    deployment = subject.deployment(ask.model, expert_load_factor=ask.expert_load_factor)
    context = plan_of(ask.model, ask.shape).context_tokens
    added = subject.drafting.sample(deployment.pools[0], deployment, STEP, counts[some], context)
    if added is None:
        return
    rows = dict(zip(STEP.names, added, strict=True))
    for name, into in (("time_s", time_s), ("energy_j", energy_j)):
        each = np.zeros(counts.size)
        each[some] = rows[name]
        into += each[where]


def query_tokens(subject: Subject) -> int:
    """Query tokens of a sequence in a step."""
    return 1 if subject.drafting is None else 1 + subject.drafting.draft_tokens


def together(subject: Subject, ask: Ask, sequences: IntArray, budget: IntArray) -> Pending:
    """One replica that prefills and decodes, see ``deploy.colocated.serve``; shape (num_points,)."""
    pool, plan = subject.pool(Role.BOTH), ask.plan(subject)
    stages, ranks, query = subject.parallel.pp, subject.parallel.dp, query_tokens(subject)
    in_flight = np.minimum(sequences, stages)
    seqs = -(-sequences // in_flight)
    pure_batch = decode_batch(seqs, plan.context_tokens, tokens=query)
    short = replace(ask.shape, isl_tokens=plan.prompt_tokens, image_tokens=0)
    if not pool.engine.chunked_prefill:
        return _apart_in_time(subject, ask, plan, short, seqs, in_flight, sequences, budget, pure_batch)
    schedule = mixed_schedule(
        sequences=seqs,
        prompt_tokens=plan.prompt_tokens,
        decode_steps=plan.steps,
        budget_tokens=budget,
        ranks=ranks,
    )
    batches, places, shares = [pure_batch], [], []
    for count in np.unique(schedule.chunks).tolist():
        kind, point = np.nonzero((schedule.kind_fraction > 0.0) & (schedule.chunks == count))
        prompts = schedule.kinds[kind, point][:, None]
        batches.append(
            chunk_batch(
                short,
                even_chunks(plan.prompt_tokens, count),
                prompts=prompts,
                pieces=pieces_of(prompts, ranks),
                decoding_seqs=np.rint(schedule.kind_decoding[kind, point][:, None]).astype(np.int64),
                context_tokens=plan.context_tokens,
                query_tokens=query,
            )
        )
        places.append(point)
        shares.append(schedule.kind_fraction[kind, point])

    def finish(found: Sequence[Timed]) -> Steady:
        pure, mixed = found[0], found[1:]
        mixed_s, mixed_j = np.zeros(seqs.size), np.zeros(seqs.size)
        for each, point, share in zip(mixed, places, shares, strict=True):
            np.add.at(mixed_s, point, each.time_s.mean(axis=1) * share)
            np.add.at(mixed_j, point, each.energy_j.mean(axis=1) * share)
        pace = mixed_pace(
            schedule, sequences=seqs, decode_steps=plan.steps, mixed_step_s=mixed_s, pure_step_s=pure.time_s
        )
        mean_j = pure.energy_j + schedule.mixed_fraction * (mixed_j - pure.energy_j)
        return _steady(
            ask,
            plan,
            prefill_s=np.asarray(pace.prefill_s),
            waiting_s=np.asarray(pace.waiting_s),
            between_s=np.asarray(pace.decode_step_s),
            requests_per_s=np.asarray(pace.requests_per_s) * sequences / seqs,
            step_s=pure.time_s,
            dynamic_j=mean_j / schedule.requests_per_step * subject.parallel.stage_chips,
        )

    return Pending(batches, finish)


def _apart_in_time(
    subject: Subject,
    ask: Ask,
    plan: Plan,
    short: RequestShape,
    seqs: IntArray,
    in_flight: IntArray,
    sequences: IntArray,
    budget: IntArray,
    pure_batch: Batch,
) -> Pending:
    """An engine that runs prompts in steps of their own."""
    prompts = prompts_together(
        sequences=seqs,
        prompt_tokens=plan.prompt_tokens,
        decode_steps=plan.steps,
        budget_tokens=budget,
        ranks=subject.parallel.dp,
    )
    pairs, where = np.unique(np.stack([prompts, budget]), axis=1, return_inverse=True)
    batches = [prompt_batch(subject, short, int(count), int(room)) for count, room in pairs.T.tolist()]

    def finish(found: Sequence[Timed]) -> Steady:
        pure, prefills = found[0], found[1:]
        prefill_s = np.array([each.time_s.sum() for each in prefills])[where.ravel()]
        prefill_j = np.array([each.energy_j.sum() for each in prefills])[where.ravel()]
        pace = separate_pace(
            sequences=seqs, decode_steps=plan.steps, prompts=prompts, prefill_s=prefill_s, step_s=pure.time_s
        )
        per_request_j = plan.steps * pure.energy_j / seqs + prefill_j / prompts
        return _steady(
            ask,
            plan,
            prefill_s=prefill_s,
            waiting_s=np.asarray(pace.waiting_s),
            between_s=np.asarray(pace.decode_step_s),
            requests_per_s=np.asarray(pace.requests_per_s) * sequences / seqs,
            step_s=pure.time_s,
            dynamic_j=per_request_j * subject.parallel.stage_chips,
        )

    return Pending([pure_batch, *batches], finish)


def prompt_batch(subject: Subject, short: RequestShape, prompts: int, budget: int) -> Batch:
    """The steps of so many prompts alone, chunk after chunk, see ``deploy.colocated.prefill_steps``."""
    room = budget // max(1, -(-prompts // subject.parallel.dp))
    sizes = chunk_sizes(short.isl_tokens, room)
    return chunk_batch(short, sizes, prompts=prompts, query_tokens=query_tokens(subject))


def _steady(
    ask: Ask,
    plan: Plan,
    *,
    prefill_s: FloatArray,
    waiting_s: FloatArray,
    between_s: FloatArray,
    requests_per_s: FloatArray,
    step_s: FloatArray,
    dynamic_j: FloatArray,
) -> Steady:
    rest_s = plan.steps * between_s
    after_first = ask.shape.osl_tokens - 1
    return Steady(
        requests_per_s=requests_per_s,
        ttft_s=prefill_s + waiting_s,
        tpot_s=rest_s / after_first if after_first else between_s,
        e2e_s=waiting_s + prefill_s + rest_s,
        step_s=step_s,
        dynamic_j=dynamic_j,
    )


def prefilling(subject: Subject, ask: Ask, budgets: IntArray) -> Pending:
    """See ``deploy.disaggregated.serve_apart``: prompts one by one on every rank and stage."""
    plan = ask.plan(subject)
    short = replace(ask.shape, isl_tokens=plan.prompt_tokens, image_tokens=0)
    ranks = subject.parallel.dp
    counts = [1] if ranks == 1 else [1, ranks]
    batches = [prompt_batch(subject, short, count, budget) for budget in budgets.tolist() for count in counts]

    def finish(found: Sequence[Timed]) -> Steady:
        alone, full = found[:: len(counts)], found[len(counts) - 1 :: len(counts)]
        full_s = np.array([each.time_s.sum() for each in full])
        full_j = np.array([each.energy_j.sum() for each in full])
        return Steady(
            requests_per_s=ranks * subject.parallel.pp / full_s,
            ttft_s=np.array([each.time_s.sum() for each in alone]),
            tpot_s=np.zeros(full_s.size),
            e2e_s=np.array([each.time_s.sum() for each in alone]),
            step_s=np.zeros(full_s.size),
            dynamic_j=full_j * subject.parallel.stage_chips / ranks,
        )

    return Pending(batches, finish)


def decoding_alone(subject: Subject, ask: Ask, sequences: IntArray) -> Pending:
    """One replica that only decodes, see ``deploy.disaggregated.serve_apart``; shape (num_points,)."""
    plan = ask.plan(subject)
    in_flight = np.minimum(sequences, subject.parallel.pp)
    seqs = -(-sequences // in_flight)
    batch = decode_batch(seqs, plan.context_tokens, tokens=query_tokens(subject))

    def finish(found: Sequence[Timed]) -> Steady:
        (step,) = found
        steps = max(plan.steps, 1)
        nothing = np.zeros(sequences.size)
        return _steady(
            ask,
            plan,
            prefill_s=nothing,
            waiting_s=nothing,
            between_s=step.time_s,
            requests_per_s=sequences / (steps * step.time_s),
            step_s=step.time_s,
            dynamic_j=steps * step.energy_j * subject.parallel.stage_chips / seqs,
        )

    return Pending([batch], finish)


def settle(subject: Subject, ask: Ask, pending: Sequence[Pending]) -> list[Steady]:
    """What comes of several, all their steps timed together."""
    found = timed(subject, ask, [batch for each in pending for batch in each.batches])
    out, at = [], 0
    for each in pending:
        out.append(each.finish(found[at : at + len(each.batches)]))
        at += len(each.batches)
    return out
