"""The kernel's step times are those of the step table: step by step, and summed in closed form."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_setups import DRAFTS, WAYS, Case, requests

from tokenroof.catalog.catalog import load
from tokenroof.graph.core import Batch, Parallel, causal_pairs
from tokenroof.perf.flat import flat_layout, flat_times
from tokenroof.perf.machine import build_machine
from tokenroof.perf.table import StepTable, compile_table
from tokenroof.serve.arrays import World
from tokenroof.serve.core import PoolSetup, Setup
from tokenroof.serve.policies.vllm import Vllm
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.serve.steptime import decode_steps, mixed_step_s, visit_decode
from tokenroof.serve.world import make_world

SEATS = 96
MODELS = {
    "dense": ("llama-3.1-8b", "h100", Parallel()),
    "experts": ("gpt-oss-20b", "h100", Parallel()),
    "window": ("gemma-3-27b", "h200", Parallel(tp=2)),
    "latent": ("deepseek-v3", "h200", Parallel(tp=8)),
    "state": ("nemotron-h-56b", "h100", Parallel(tp=4)),
    "context parallel": ("llama-3.1-8b", "h100", WAYS["context parallel"]),
    "data parallel": ("deepseek-v3", "b200", Parallel(dp=4, ep=4)),
}
ALONE = [name for name in MODELS if name != "data parallel"]


@lru_cache
def table(name: str, *, stages: int = 1, decode_tokens: int = 1) -> StepTable:
    model_name, chip, ways = MODELS[name]
    catalog = load()
    model = catalog.model(model_name)
    machine = build_machine(catalog.chip(chip), catalog.engine("vllm"))
    parallel = Parallel(tp=ways.tp, pp=stages, dp=ways.dp, ep=ways.ep, cp=ways.cp)
    return compile_table(
        model, model.precision, parallel, machine, dense_tokens=1024, decode_tokens=decode_tokens
    )


@lru_cache
def world(name: str, *, stages: int = 1, decode_tokens: int = 1, graph_sizes: tuple[int, ...] = ()) -> World:
    """A replica of up to ``SEATS`` sequences on every rank."""
    pool = PoolSetup(
        table=table(name, stages=stages, decode_tokens=decode_tokens),
        scheduler=Vllm(max_num_seqs=SEATS, max_num_batched_tokens=1024),
        num_blocks=1000,
        graph_sizes=graph_sizes,
        speculation=DRAFTS if decode_tokens > 1 else None,
    )
    return make_world(Setup(pools=(pool,), router=LeastLoaded()), requests(Case(), 1))[0]


def both(
    name: str, seqs: int, context: int, chunks: list[tuple[int, int]], ends: int = 0, stages: int = 1
) -> tuple[float, float]:
    """A step of ``seqs`` sequences with ``context`` cached tokens in all, and chunks of (new, past) tokens.

    By the kernel and by the table. [s]
    """
    new, past = sum(chunk[0] for chunk in chunks), sum(chunk[1] for chunk in chunks)
    pairs = sum(int(causal_pairs(*chunk)) for chunk in chunks)
    batch = Batch(
        decode_seqs=seqs,
        decode_context_tokens=context,
        prefill_seqs=len(chunks),
        prefill_tokens=new,
        prefill_past_tokens=past,
        prefill_pairs=pairs,
        prefill_logits=ends,
    )
    kernel = mixed_step_s(
        world(name, stages=stages),
        0,
        seqs,
        float(context),
        len(chunks),
        float(new),
        float(past),
        float(pairs),
        ends,
    )
    return kernel[0], float(table(name, stages=stages).step_s(batch))


@pytest.mark.parametrize("name", ALONE)
@given(
    seqs=st.integers(0, SEATS),
    context=st.integers(1, 40_000),
    chunks=st.integers(1, 12),
    new=st.integers(1, 3000),
    past=st.integers(0, 30_000),
    data=st.data(),
)
def test_a_step_with_equal_chunks(
    name: str, seqs: int, context: int, chunks: int, new: int, past: int, data: st.DataObject
) -> None:
    ends = data.draw(st.integers(0, chunks))
    kernel_s, table_s = both(name, seqs, seqs * context, [(new, past)] * chunks, ends)
    assert kernel_s == pytest.approx(table_s, rel=1e-9)


@given(
    seqs=st.integers(0, SEATS),
    context=st.integers(1, 20_000),
    chunks=st.integers(1, 5),
    new=st.integers(1, 1000),
    past=st.integers(0, 8000),
)
def test_ranks_that_share_evenly(seqs: int, context: int, chunks: int, new: int, past: int) -> None:
    ranks = MODELS["data parallel"][2].dp
    whole = [(new, past)] * (chunks * ranks)
    kernel_s, table_s = both("data parallel", ranks * seqs, ranks * seqs * context, whole)
    assert kernel_s == pytest.approx(table_s, rel=1e-9)


@given(
    seqs=st.integers(0, 4 * SEATS),
    context=st.integers(1, 20_000),
    chunks=st.integers(1, 20),
    new=st.integers(1, 1000),
    past=st.integers(0, 8000),
)
def test_ranks_that_share_unevenly(seqs: int, context: int, chunks: int, new: int, past: int) -> None:
    """The table rounds the context of a rank to whole tokens."""
    kernel_s, table_s = both("data parallel", seqs, seqs * context, [(new, past)] * chunks)
    assert kernel_s == pytest.approx(table_s, rel=1e-6)


def unlike_errors(name: str, count: int = 300) -> npt.NDArray[np.float64]:
    """Relative errors of steps with prompts as they come: several new ones and the rest of a long one."""
    rng = np.random.default_rng(11)
    errors = []
    for _ in range(count):
        chunks: list[tuple[int, int]] = []
        budget = 2048
        if rng.random() < 0.5:
            chunks.append((int(rng.integers(1, budget)), int(rng.integers(1, 16)) * 2048))
        budget -= sum(new for new, _ in chunks)
        while budget > 0 and len(chunks) < 16:
            new = int(min(budget, np.exp(rng.normal(5.5, 1.2)) + 1.0))
            chunks.append((new, 0))
            budget -= new
        seqs = int(rng.integers(0, SEATS + 1))
        kernel_s, table_s = both(name, seqs, seqs * int(rng.integers(1, 8000)), chunks, len(chunks))
        errors.append(kernel_s / table_s - 1.0)
    return np.array(errors)


UNLIKE = {
    "dense": (0.05, 0.007),
    "experts": (0.04, 0.006),
    "window": (0.06, 0.004),
    "latent": (0.07, 0.011),
    "state": (0.12, 0.006),
    "context parallel": (0.09, 0.012),
}
"""Worst and mean error of a step's time: what it may be."""


@pytest.mark.parametrize("name", UNLIKE)
def test_a_step_with_unlike_chunks(name: str) -> None:
    """As many equal chunks as have the same sums stand for the unlike ones, whose formula the table asks."""
    errors = np.abs(unlike_errors(name))
    worst, mean = UNLIKE[name]
    assert errors.max() < worst
    assert errors.mean() < mean


@pytest.mark.parametrize(("name", "decode_tokens"), [*((name, 1) for name in MODELS), ("dense", 4)])
@given(
    seqs=st.integers(1, SEATS),
    context=st.integers(0, 30_000),
    steps=st.integers(1, 400),
    data=st.data(),
)
def test_many_decode_steps_at_once(
    name: str, decode_tokens: int, seqs: int, context: int, steps: int, data: st.DataObject
) -> None:
    """Their sum, and the step in which a time is reached; a sequence gains a token a step."""
    w, times = world(name, decode_tokens=decode_tokens), table(name, decode_tokens=decode_tokens)
    seqs *= MODELS[name][2].dp
    batch = Batch(
        decode_seqs=np.full(steps, seqs),
        decode_context_tokens=seqs * (context + np.arange(steps)),
        decode_tokens=decode_tokens,
    )
    drafted_s = 1e-3 if decode_tokens > 1 else 0.0
    summed = np.cumsum(np.asarray(times.step_s(batch)) + drafted_s)
    found, taken_s = decode_steps(w, 0, seqs, float(context), 1.0, steps, np.inf)
    assert found == steps
    assert taken_s == pytest.approx(summed[-1], rel=1e-9)
    room_s = data.draw(st.floats(0.0, 1.1)) * float(summed[-1])
    found, taken_s = decode_steps(w, 0, seqs, float(context), 1.0, steps, room_s)
    assert taken_s == pytest.approx(summed[found - 1], rel=1e-9)
    assert found == steps or taken_s >= room_s * (1.0 - 1e-12)
    assert found == 1 or summed[found - 2] < room_s * (1.0 + 1e-9)


@given(seqs=st.integers(1, SEATS), context=st.integers(0, 8000))
def test_padded_graphs_compute_places_without_sequences(seqs: int, context: int) -> None:
    """Projections and experts see the padded batch; attention, head and cache see the sequences there are."""
    sizes = (1, 2, 4, 8, 16, 24, 32, 64)
    for name in ("dense", "experts"):
        w, times = world(name, graph_sizes=sizes), table(name)
        run = min((size for size in sizes if size >= seqs), default=seqs)
        expected_s = times.overhead_s + times.decode_attention_s(seqs, context)
        for lane in times.lanes:
            count = run if lane.feature in ("tokens", "whole_tokens") else seqs
            if not lane.feature.startswith(("prefill", "image")):
                expected_s += float(lane.at(np.array([count]))[0][0])
        _, taken_s = decode_steps(w, 0, seqs, float(context), 1.0, 1, np.inf)
        assert taken_s == pytest.approx(expected_s, rel=1e-9)


@pytest.mark.parametrize("stages", [2, 4])
@given(seqs=st.integers(1, SEATS), context=st.integers(0, 8000), chunks=st.integers(1, 6))
def test_pipeline_rounds(stages: int, seqs: int, context: int, chunks: int) -> None:
    """A round is the mean of the steps of its micro-batches, and no less than one without prompts takes."""
    times = table("dense", stages=stages)
    decoding, own = min(stages, seqs), min(stages, chunks)
    some, part = -(-seqs // decoding), -(-chunks // own)
    plain = Batch(decode_seqs=some, decode_context_tokens=some * context)
    pairs = part * int(causal_pairs(200))
    loaded = Batch(
        decode_seqs=some,
        decode_context_tokens=some * context,
        prefill_seqs=part,
        prefill_tokens=200 * part,
        prefill_pairs=pairs,
    )
    plain_s, loaded_s = float(times.step_s(plain)), float(times.step_s(loaded))
    mean_s = (own * loaded_s + max(0, decoding - own) * plain_s) / stages
    kernel_s, _ = both("dense", seqs, seqs * context, [(200, 0)] * chunks, stages=stages)
    assert kernel_s == pytest.approx(max(plain_s, mean_s), rel=1e-9)
    _, taken_s = decode_steps(world("dense", stages=stages), 0, seqs, float(context), 1.0, 1, np.inf)
    assert taken_s == pytest.approx(plain_s, rel=1e-9)


@given(
    seqs=st.integers(0, SEATS),
    context=st.integers(1, 20_000),
    chunks=st.lists(st.tuples(st.integers(1, 500), st.integers(0, 5000)), min_size=1, max_size=6),
    steps=st.integers(1, 300),
)
def test_visits_of_a_step_add_up_to_its_time(
    seqs: int, context: int, chunks: list[tuple[int, int]], steps: int
) -> None:
    w, times = world("experts", stages=1), table("experts", stages=1)
    flat_s = flat_times(times, flat_layout(times, SEATS))
    w.visit[:] = 0.0
    kernel_s, _ = both("experts", seqs, seqs * context, chunks)
    assert float(w.visit @ flat_s) + times.overhead_s == pytest.approx(kernel_s, rel=1e-9)
    if seqs:
        w.visit[:] = 0.0
        _, taken_s = decode_steps(w, 0, seqs, float(context), 1.0, steps, np.inf)
        visit_decode(w, 0, seqs, float(context), 1.0, steps)
        assert float(w.visit @ flat_s) + steps * w.base[0, seqs] == pytest.approx(taken_s, rel=1e-9)
