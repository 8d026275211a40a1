"""One replica that prefills and decodes: what its requests see in steady state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tokenroof.deploy.core import Deployment, Pool
from tokenroof.deploy.generation import Plan, chunk_batch, chunk_sizes, decoding, even_chunks
from tokenroof.deploy.halves.models import part_of
from tokenroof.deploy.provenance import machine_of
from tokenroof.deploy.schedule import (
    FloatArray,
    IntArray,
    Pace,
    mixed_pace,
    mixed_schedule,
    prompts_together,
    separate_pace,
)
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch
from tokenroof.perf.compile import Samples, no_samples
from tokenroof.perf.lowprec import formats_on
from tokenroof.perf.peaks import peak_name
from tokenroof.perf.step import step_time
from tokenroof.perf.table import StepTable, compile_table
from tokenroof.workload.core import RequestShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What a request sees, and how many leave.

    Attributes
    ----------
    prefill_s : float
        One prompt alone. [s]
    prompt, step : Samples
        The steps of that prompt, and one generation step at the mean context.
    decode_step_s : float
        One generation step without prompts, mean over the answer. [s]
    ttft_s, waiting_s, tpot_s, e2e_s : float
        ``e2e`` includes the wait. [s]
    requests_per_s : float
        Of what the times were asked for: a replica, or a whole deployment. [1/s]
    """

    prefill_s: float
    prompt: Samples
    step: Samples
    decode_step_s: float
    ttft_s: float
    waiting_s: float
    tpot_s: float
    e2e_s: float
    requests_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Served(Times):
    """Times of one replica that does both.

    Attributes
    ----------
    micro_batch : int
        Sequences that advance together: all of them, or a share with pipeline stages.
    in_flight : int
        Micro-batches that fill the pipeline.
    """

    micro_batch: int
    in_flight: int


def table_of(pool: Pool, deployment: Deployment, plan: Plan) -> StepTable:
    """The compiled step model of a pool: of what it computes of the model."""
    machine = machine_of(pool)
    return compile_table(
        part_of(deployment, pool),
        formats_on(deployment.precision, machine.peak_flop_per_s),
        pool.parallel,
        machine,
        dense_tokens=pool.engine.max_num_batched_tokens,
        decode_tokens=plan.query_tokens,
        hot_factor=deployment.expert_load_factor,
    )


def micro_batches(sequences: int, stages: int) -> tuple[int, int]:
    """Sequences of one micro-batch, and micro-batches in flight, that keep ``stages`` stages busy."""
    in_flight = min(sequences, stages)
    return -(-sequences // in_flight), in_flight


def mean_step_s(
    table: StepTable, shape: RequestShape, plan: Plan, seqs: int, *, mean_context_s: float
) -> float:
    """Mean time of a generation step over the growing answer, from the step at the mean context. [s]"""
    if not plan.grows or plan.steps == 0:
        return mean_context_s
    summed = table.decode_attention_sum_s(seqs, shape.isl_tokens, plan.steps) / plan.steps
    return mean_context_s - table.decode_attention_s(seqs, plan.context_tokens) + summed


def prefill_steps(pool: Pool, table: StepTable, shape: RequestShape, prompts: int = 1) -> Samples:
    """Prefill of ``prompts`` prompts alone, chunk after chunk: one entry per step."""
    room = pool.engine.max_num_batched_tokens // max(1, -(-prompts // pool.parallel.dp))
    sizes = chunk_sizes(shape.isl_tokens, room)
    return table.evaluate(
        chunk_batch(shape, sizes, prompts=prompts, query_tokens=table.subject.decode_tokens)
    )


def _whole_step(pool: Pool, deployment: Deployment, batch: Batch) -> Samples:
    """A step that runs whole sequences, operator by operator; a table is coarse beyond the token budget."""
    machine = machine_of(pool)
    formats = formats_on(deployment.precision, machine.peak_flop_per_s)
    ops = step_ops(deployment.model, formats, pool.parallel, batch, hot_factor=deployment.expert_load_factor)
    timed = step_time(ops, machine)
    compute_s = sum(
        float(op.work.flop) * op.count / float(machine.peak_flop_per_s[peak_name(op, machine)]) for op in ops
    )
    energy_j = math.nan if timed.energy_j is None else timed.energy_j
    return Samples(np.asarray(timed.time_s), np.asarray(energy_j), np.asarray(compute_s))


def serve(pool: Pool, deployment: Deployment, shape: RequestShape, plan: Plan, sequences: int) -> Served:
    """Steady state of one replica that always holds ``sequences`` requests.

    Parameters
    ----------
    pool : Pool
        Chip, engine and sharding.
    deployment : Deployment
        What is served.
    shape, plan : RequestShape, Plan
        What is asked, and the steps that takes.
    sequences : int
        Requests in the replica at any time.

    Notes
    -----
    With pipeline stages, micro-batches of ``sequences / pp`` go round; each behaves like an engine of
    its own, and there are ``pp`` of them.
    """
    table = table_of(pool, deployment, plan)
    seqs, in_flight = micro_batches(sequences, pool.parallel.pp)
    batch = decoding(deployment.model, seqs, plan.context_tokens)
    step = table.evaluate(batch) if plan.prompt_tokens else _whole_step(pool, deployment, batch)
    pure_s = mean_step_s(table, shape, plan, seqs, mean_context_s=float(step.time_s))
    alone = prefill_steps(pool, table, shape) if plan.prompt_tokens else no_samples((1,))
    if not plan.prompt_tokens:
        pace = separate_pace(
            sequences=seqs, decode_steps=plan.steps, prompts=1.0, prefill_s=0.0, step_s=pure_s
        )
    elif pool.engine.chunked_prefill:
        pace, prefill_j = _mixed(pool, table, shape, plan, seqs, pure_s, float(step.energy_j))
        alone_j = float(alone.energy_j.sum())
        # Of several ranks, ``answer.prefill_work`` shares out the prompts.
        if pool.parallel.dp == 1 and alone_j > 0.0:
            alone = alone._replace(energy_j=alone.energy_j * (prefill_j / alone_j))
    else:
        pace = _separate(pool, table, shape, plan, seqs, pure_s)
    step_s = float(pace.decode_step_s)
    ttft_s = float(pace.prefill_s) + plan.first_steps * step_s
    rest_s = (plan.steps - plan.first_steps) * step_s
    after_first = shape.osl_tokens - 1
    return Served(
        prefill_s=float(alone.time_s.sum()),
        prompt=alone,
        step=step,
        decode_step_s=pure_s,
        ttft_s=ttft_s,
        waiting_s=float(pace.waiting_s),
        tpot_s=rest_s / after_first if after_first and rest_s else step_s / _tokens_per_step(plan, shape),
        e2e_s=float(pace.waiting_s) + ttft_s + rest_s,
        requests_per_s=float(pace.requests_per_s) * sequences / seqs,
        micro_batch=seqs,
        in_flight=in_flight,
    )


def _tokens_per_step(plan: Plan, shape: RequestShape) -> float:
    return shape.osl_tokens / plan.steps if plan.first_steps else 1.0


def _mixed(
    pool: Pool, table: StepTable, shape: RequestShape, plan: Plan, seqs: int, pure_s: float, pure_j: float
) -> tuple[Pace, float]:
    """The pace, and the energy that a prompt adds to the steps of decoding that it rides in. [J]"""
    budget, ranks = pool.engine.max_num_batched_tokens, pool.parallel.dp
    schedule = mixed_schedule(
        sequences=seqs,
        prompt_tokens=plan.prompt_tokens,
        decode_steps=plan.steps,
        budget_tokens=budget,
        ranks=ranks,
    )
    used = schedule.kind_fraction > 0.0
    prompts = schedule.kinds[used][:, None]
    batch = chunk_batch(
        shape,
        even_chunks(plan.prompt_tokens, int(schedule.chunks)),
        prompts=prompts,
        pieces=_pieces(prompts, ranks),
        decoding_seqs=np.rint(schedule.kind_decoding[used][:, None]).astype(np.int64),
        context_tokens=plan.context_tokens,
        query_tokens=table.subject.decode_tokens,
    )
    samples, share = table.evaluate(batch), schedule.kind_fraction[used]
    mixed_s = float(np.mean(samples.time_s, axis=1) @ share)
    mixed_j = float(np.mean(samples.energy_j, axis=1) @ share)
    mean_j = pure_j + float(schedule.mixed_fraction) * (mixed_j - pure_j)
    pace = mixed_pace(
        schedule, sequences=seqs, decode_steps=plan.steps, mixed_step_s=mixed_s, pure_step_s=pure_s
    )
    return pace, mean_j / float(schedule.requests_per_step) - plan.steps * pure_j / seqs


def _pieces(prompts: FloatArray, ranks: int) -> IntArray:
    """Chunks of a step with so many prompts; every rank cuts its own share of a fraction."""
    unit = np.where(prompts < ranks, 1, ranks)
    out: IntArray = (np.ceil(np.round(prompts / unit, 9)) * unit).astype(np.int64)
    return out


def _separate(
    pool: Pool, table: StepTable, shape: RequestShape, plan: Plan, seqs: int, pure_s: float
) -> Pace:
    prompts = int(
        prompts_together(
            sequences=seqs,
            prompt_tokens=plan.prompt_tokens,
            decode_steps=plan.steps,
            budget_tokens=pool.engine.max_num_batched_tokens,
            ranks=pool.parallel.dp,
        )
    )
    return separate_pace(
        sequences=seqs,
        decode_steps=plan.steps,
        prompts=float(prompts),
        prefill_s=float(prefill_steps(pool, table, shape, prompts).time_s.sum()),
        step_s=pure_s,
    )
