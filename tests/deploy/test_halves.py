"""Attention and feed-forwards on chips of their own: what each holds, and how long a step takes."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_helpers import deployment, equal_requests, pool, spread_requests, value

from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.core import Chip, Fabric
from tokenroof.catalog.model import ModelSpec
from tokenroof.deploy.core import Deployment, Role
from tokenroof.deploy.estimate import estimate
from tokenroof.deploy.halves import steps as steps_module
from tokenroof.deploy.halves.core import FeedForward
from tokenroof.deploy.halves.models import attention_half, feed_forward_half
from tokenroof.deploy.halves.steps import HalvedSteps, halved_steps
from tokenroof.deploy.halves.sums import attention_sums, cut_visits, feed_forward_sums
from tokenroof.deploy.provenance import machine_of
from tokenroof.deploy.simulated.drafting.known import KnownDraft
from tokenroof.deploy.simulated.pools import PoolOptions
from tokenroof.deploy.simulated.question import Serving
from tokenroof.deploy.simulated.simulate import simulate
from tokenroof.errors import InputError
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Parallel, decode_batch
from tokenroof.graph.memory import kv_bytes_per_token_per_chip, weight_bytes_per_chip
from tokenroof.perf.core import Machine
from tokenroof.perf.lowprec import formats_on
from tokenroof.perf.step import step_time
from tokenroof.serve.invariants import check
from tokenroof.workload.core import RequestShape

CONTEXT = 1023  # a knot of every step table
SEQS = np.array([1, 2, 3, 7, 8, 64, 257])


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def halves(
    catalog: Catalog,
    model: str,
    attention: dict[str, int] | None = None,
    feed_forward: dict[str, int] | None = None,
    *,
    chips: tuple[str, str] = ("h100", "h100"),
    micro_batches: int = 1,
    replicas: int = 1,
    prefill: dict[str, int] | None = None,
) -> Deployment:
    other = FeedForward(
        chip=catalog.chip(chips[1]),
        engine=catalog.engine("vllm"),
        parallel=Parallel(**(feed_forward or {})),
        replicas=replicas,
        micro_batches=micro_batches,
    )
    decode = pool(catalog, chips[0], role=Role.DECODE, replicas=replicas, **(attention or {}))
    return deployment(catalog, model, pool(catalog, role=Role.PREFILL, **(prefill or {})), decode, other)


def steps_of(asked: Deployment) -> HalvedSteps:
    found = halved_steps(asked)
    assert found is not None
    return found


def step_s(asked: Deployment, seqs: np.ndarray = SEQS, context: int = CONTEXT) -> np.ndarray:
    """Whole steps, the host's share apart."""
    steps = steps_of(asked)
    column = int(np.searchsorted(steps.table.contexts, context))
    assert steps.table.contexts[column] == context
    return steps.step_s(seqs, column + 1)[:, column]


def free(machine: Machine) -> Machine:
    """A chip that takes no time for anything."""
    rows = {
        key: replace(
            row, parameters={name: 0.0 if name.endswith("_s") else it for name, it in row.parameters.items()}
        )
        for key, row in machine.efficiency.rows.items()
        if not key[1].startswith("n")
    }
    return replace(
        machine,
        peak_flop_per_s=dict.fromkeys(machine.peak_flop_per_s, 1e30),
        tiers=tuple(replace(tier, bandwidth_bytes_per_s=1e30) for tier in machine.tiers),
        scale_up=None,
        scale_out=None if machine.scale_out is None else replace(machine.scale_out, **_FREE_WIRES),
        efficiency=replace(machine.efficiency, rows=rows),
    )


_FREE_WIRES = {"bandwidth_bytes_per_s": 1e30, "hop_latency_s": 0.0, "software_latency_s": 0.0}


def machines(monkeypatch: pytest.MonkeyPatch, *, free_wires: bool, free_feed_forward: bool = False) -> None:
    """From here on steps are timed so; single chips only, whose own operators need no wires."""

    def found(asked: object) -> Machine:
        machine = machine_of(asked)  # type: ignore[arg-type]
        if free_feed_forward and isinstance(asked, FeedForward):
            return free(machine)
        if free_wires:
            assert machine.scale_out is not None
            return replace(machine, scale_out=replace(machine.scale_out, **_FREE_WIRES), scale_up=None)
        return machine

    monkeypatch.setattr(steps_module, "machine_of", found)


def with_wires(chip: Chip, factor: float) -> Chip:
    fabric = chip.scale_out
    assert isinstance(fabric, Fabric)
    width = fabric.bandwidth_bytes_per_s
    return replace(
        chip, scale_out=replace(fabric, bandwidth_bytes_per_s=replace(width, value=width.value * factor))
    )


def test_the_halves_are_the_whole(catalog: Catalog) -> None:
    """Every weight is on one side, once; every cache on the attention chips."""
    for name in catalog.models():
        model = catalog.model(name)
        one, other = attention_half(model), feed_forward_half(model)
        for parallel in (Parallel(), Parallel(dp=2)):
            whole, left, right = (
                weight_bytes_per_chip(each, model.precision, parallel) for each in (model, one, other)
            )
            for role in ("attention", "dense", "experts", "embedding", "vision", "other"):
                assert left[role] + right[role] == whole[role], (name, role)
                assert min(left[role], right[role]) == 0, (name, role)
            assert left["mtp"] == right["mtp"] == 0
        cached = [kv_bytes_per_token_per_chip(each, model.precision, Parallel()) for each in (model, one)]
        assert cached[0] == cached[1], name
        assert kv_bytes_per_token_per_chip(other, model.precision, Parallel()) == 0, name


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-27b", "nemotron-3-nano-30b-a3b"])
def test_one_micro_batch_over_free_wires_is_the_sum_of_all_operators(
    catalog: Catalog, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two equal chips: as long as the plain step on one of them."""
    asked = halves(catalog, model)
    found, chip = asked.model, machine_of(asked.pools[1])
    formats = formats_on(asked.precision, chip.peak_flop_per_s)
    plain = [
        step_time(step_ops(found, formats, Parallel(), decode_batch(int(seqs), CONTEXT)), chip)
        for seqs in SEQS
    ]
    machines(monkeypatch, free_wires=True)
    wanted = [float(each.time_s) - float(each.overhead_s) for each in plain]
    assert step_s(asked).tolist() == pytest.approx(wanted, rel=1e-6)


def test_wires_add_two_ways_to_every_layer(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = halves(catalog, "llama-3.1-8b", chips=("h100", "h200"))
    steps = steps_of(asked)
    with_s = step_s(asked)
    way_s = steps.way_s(SEQS, SEQS)
    fabric = asked.pools[1].chip.scale_out
    assert fabric is not None
    message = SEQS * 4096 * 2
    wire_s = message / (0.8 * fabric.bandwidth_bytes_per_s.value)
    assert (way_s >= wire_s + fabric.software_latency_s.value).all()
    assert way_s.tolist() == pytest.approx(
        (wire_s + fabric.software_latency_s.value).tolist(), abs=4 * fabric.hop_latency_s.value
    )
    machines(monkeypatch, free_wires=True)
    assert (with_s - step_s(asked)).tolist() == pytest.approx((2 * 32 * way_s).tolist(), rel=1e-6)


@pytest.mark.parametrize("micro_batches", [1, 2, 3])
def test_feed_forwards_that_take_no_time_leave_attention_alone(
    catalog: Catalog, micro_batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a step is its micro-batches through attention, one by one, and the head once."""
    asked = halves(catalog, "llama-3.1-8b", micro_batches=micro_batches)
    machines(monkeypatch, free_wires=True, free_feed_forward=True)
    half = attention_half(asked.model)
    chip = machine_of(asked.pools[1])
    formats = formats_on(asked.precision, chip.peak_flop_per_s)

    def alone_s(seqs: int, *, head: bool) -> float:
        found = step_ops(half, formats, Parallel(), decode_batch(seqs, CONTEXT))
        kept = [op for op in found if (op.name in ("head.logits", "head.sample")) is head]
        return float(step_time(kept, chip).time_s) - chip.step_overhead_s

    for seqs, found_s in zip(SEQS.tolist(), step_s(asked).tolist(), strict=True):
        parts = min(micro_batches, seqs)
        sizes = [seqs // parts + (one < seqs % parts) for one in range(parts)]
        wanted = sum(alone_s(size, head=False) for size in sizes) + alone_s(seqs, head=True)
        assert found_s == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("micro_batches", [1, 2, 3, 4])
def test_wider_wires_never_hurt(catalog: Catalog, micro_batches: int) -> None:
    asked = halves(
        catalog,
        "deepseek-v3",
        {"dp": 8},
        {"dp": 8, "ep": 8},
        chips=("h100", "b200"),
        micro_batches=micro_batches,
    )
    before = None
    for factor in (0.1, 0.3, 1.0, 3.0, 10.0, 1e6):
        pools = tuple(replace(each, chip=with_wires(each.chip, factor)) for each in asked.pools)
        now = step_s(replace(asked, pools=pools), np.array([8, 64, 512, 2048]))
        assert before is None or (now <= before * (1 + 1e-12)).all()
        before = now


@pytest.mark.parametrize("micro_batches", [1, 2, 3, 4])
def test_a_step_lies_between_its_bounds(catalog: Catalog, micro_batches: int) -> None:
    """No shorter than either side's own work, no longer than all of it in a row."""
    asked = halves(
        catalog,
        "deepseek-v3",
        {"dp": 8},
        {"dp": 8, "ep": 8},
        chips=("h20", "b200"),
        micro_batches=micro_batches,
    )
    steps = steps_of(asked)
    column = int(np.searchsorted(steps.table.contexts, CONTEXT))
    for seqs, took_s in zip(SEQS, step_s(asked), strict=True):
        rows = np.zeros((1, steps.table.contexts.size))
        rows[0, column] = 1.0
        seen = cut_visits(steps, np.array([seqs]), rows)
        one, other = (
            sum(value for name, value in sums.items() if name.startswith("limit_s:"))
            for sums in (attention_sums(steps, seen), feed_forward_sums(steps, seen))
        )
        ways = 2 * steps.num_rounds * float(steps.way_s(-(-seen.sizes // 8), seen.sizes) @ seen.often)
        assert max(one, other) <= took_s * (1 + 1e-9)
        # What the formula adds for unlike kinds and sizes is at most a round of each kind.
        assert took_s <= (one + other + ways) * (1 + 3 / 58)
        if micro_batches == 1:
            assert took_s == pytest.approx(one + other + ways, rel=1e-9)


def test_micro_batches_are_even_and_never_empty(catalog: Catalog) -> None:
    steps = steps_of(halves(catalog, "llama-3.1-8b", {"dp": 4}, {}, micro_batches=3))
    seqs = np.arange(1, 200)
    parts = steps.cut(seqs)
    assert (parts.large * parts.num_large + parts.small * parts.num_small == seqs).all()
    assert (parts.large - parts.small <= 1).all()
    assert (parts.small >= 1).all()
    assert (parts.num_large + parts.num_small == np.minimum(3, -(-seqs // 4))).all()


def test_the_whole_table_is_its_steps(catalog: Catalog) -> None:
    asked = halves(catalog, "qwen3-30b-a3b", {"dp": 2}, {"dp": 2, "ep": 2}, micro_batches=2)
    steps = steps_of(asked)
    table = steps.whole_table(64, 4096)
    for seqs in (1, 2, 3, 33, 64):
        found = float(table.evaluate(decode_batch(seqs, CONTEXT)).time_s) - table.overhead_s
        assert found == pytest.approx(float(step_s(asked, np.array([seqs]))[0]), rel=1e-12)


TWO_ROADS = {
    "experts": ("deepseek-v3", {"dp": 8}, {"dp": 8, "ep": 8}, ("h100", "b200"), {"tp": 16}, 2),
    "dense": ("llama-3.3-70b", {"tp": 4}, {"tp": 4}, ("h200", "h100"), {"tp": 4}, 3),
}


@pytest.mark.parametrize("case", TWO_ROADS)
def test_one_request_at_a_time_is_the_closed_form(catalog: Catalog, case: str) -> None:
    model, attention, feed_forward, chips, prefill, micro_batches = TWO_ROADS[case]
    asked = halves(
        catalog, model, attention, feed_forward, chips=chips, prefill=prefill, micro_batches=micro_batches
    )
    simulated = simulate(asked, equal_requests(3, 2000, 300, 1), catalog=catalog)
    closed = estimate(asked, RequestShape(isl_tokens=2000, osl_tokens=300), catalog=catalog, concurrency=1)
    assert simulated.run is not None
    assert check(simulated.run) == ()
    for name in ("ttft_s", "tpot_s", "e2e_s", "requests_per_s", "output_tokens_per_s_per_chip"):
        assert value(simulated, name) == pytest.approx(value(closed, name), rel=1e-3), name
    for name in ("energy_j_per_output_token", "power_w_per_chip", "usd_per_mtok_output", "mfu_fraction"):
        assert value(simulated, name) == pytest.approx(value(closed, name), rel=5e-3), name
    assert value(simulated, "chips") == sum(each.parallel.chips for each in asked.pools)
    assert simulated.phases["decode"].time_s == pytest.approx(value(closed, "tpot_s"), rel=1e-3)
    assert simulated.phases["feed_forward"].time_s == pytest.approx(value(closed, "tpot_s"), rel=1e-3)


def test_a_full_pool_is_the_closed_form_too(catalog: Catalog) -> None:
    asked = halves(
        catalog,
        "qwen3-30b-a3b",
        {"dp": 2},
        {"dp": 2, "ep": 2},
        chips=("h20", "h100"),
        micro_batches=2,
        prefill={"tp": 4},
    )
    simulated = simulate(asked, spread_requests(600, 400, 400, 128), catalog=catalog)
    shape = RequestShape(isl_tokens=simulated.shape.isl_tokens, osl_tokens=simulated.shape.osl_tokens)
    closed = estimate(asked, shape, catalog=catalog, concurrency=128)
    assert simulated.run is not None
    assert check(simulated.run) == ()
    assert value(simulated, "tpot_s") == pytest.approx(value(closed, "tpot_s"), rel=0.02)
    working = [value(simulated, f"working_fraction:{role}") for role in ("decode", "feed_forward")]
    assert all(0.05 < each < 1.0 for each in working)
    shares = [
        sum(
            metric.value
            for name, metric in simulated.metrics.items()
            if name.startswith("limit_fraction:") and name.endswith(role)
        )
        for role in ("decode", "feed_forward")
    ]
    assert shares == pytest.approx([1.0, 1.0])


def test_what_does_not_go(catalog: Catalog) -> None:
    shape = RequestShape(isl_tokens=1000, osl_tokens=100)

    def why(asked: Deployment) -> str:
        found = estimate(asked, shape, catalog=catalog, concurrency=1)
        ran = simulate(asked, equal_requests(1, 1000, 100, 1), catalog=catalog)
        assert found.infeasible is not None
        assert ran.infeasible is not None
        assert ran.infeasible.reason.split("'s cache")[0] == found.infeasible.reason.split("'s cache")[0]
        return found.infeasible.reason

    eight = {"tp": 16}
    good = halves(catalog, "deepseek-v3", {"dp": 2}, {"dp": 16, "ep": 16}, prefill=eight)
    prefill, attention, other = good.pools
    assert estimate(good, shape, catalog=catalog, concurrency=1).feasible
    small = replace(other, parallel=Parallel(dp=4, ep=4))
    assert "does not fit: weights" in why(replace(good, pools=(prefill, attention, small)))
    crowded = halves(catalog, "llama-3.1-405b", {}, {"tp": 16}, prefill=eight)
    assert "does not fit: weights 1" in why(crowded)
    twice = replace(attention, replicas=2)
    assert "2 replicas of attention with 1" in why(replace(good, pools=(prefill, twice, other)))
    experts = replace(attention, parallel=Parallel(dp=2, ep=2))
    assert "ep" in why(replace(good, pools=(prefill, experts, other)))
    staged = replace(other, parallel=Parallel(dp=16, ep=16, pp=2))
    assert "pp=2 of the feed_forward pool" in why(replace(good, pools=(prefill, attention, staged)))
    lonely = replace(
        other, chip=replace(other.chip, name="lonely", scale_out=None), parallel=Parallel(dp=8, ep=8)
    )
    assert "not connected: lonely" in why(replace(good, pools=(prefill, attention, lonely)))


def test_what_is_refused(catalog: Catalog) -> None:
    good = halves(catalog, "llama-3.1-8b")
    prefill, attention, other = good.pools
    shape = RequestShape(isl_tokens=100, osl_tokens=10)
    for pools in ((attention, other), (prefill, other), (other,)):
        with pytest.raises(InputError, match=r"feed.forward"):
            estimate(replace(good, pools=pools), shape, catalog=catalog)
        with pytest.raises(InputError, match="prefill and decode"):
            simulate(replace(good, pools=pools), equal_requests(1, 100, 10, 1), catalog=catalog)
    for pools in ((prefill, attention, other, other), (prefill, other, attention)):
        with pytest.raises(InputError, match="feed-forward pool"):
            simulate(replace(good, pools=pools), equal_requests(1, 100, 10, 1), catalog=catalog)
    draft = KnownDraft(draft_tokens=2, acceptance_fraction=0.5, draft_step_s=1e-3)
    serving = Serving(pools=(PoolOptions(), PoolOptions(drafting=draft), PoolOptions()))
    with pytest.raises(InputError, match="speculation"):
        simulate(good, equal_requests(1, 100, 10, 1), catalog=catalog, serving=serving)
    for count in (0, -1, True, 1.5):
        with pytest.raises(InputError, match="micro_batches"):
            replace(other, micro_batches=count)  # type: ignore[type-var]


def test_prompts_that_are_computed_again_are_paid_on_both_sides(catalog: Catalog) -> None:
    """Too little cache for all: sequences lose their blocks, and the run still adds up."""
    asked = halves(
        catalog, "qwen3-30b-a3b", {"tp": 1}, {"dp": 2, "ep": 2}, micro_batches=2, prefill={"tp": 2}
    )
    from tokenroof.deploy.simulated.engines.choose import engine_options

    engine = catalog.engine("vllm")
    tight = PoolOptions(settings=engine_options(engine, {"num_gpu_blocks_override": 400}))
    serving = Serving(pools=(PoolOptions(), tight, PoolOptions()))
    found = simulate(asked, spread_requests(60, 300, 400, 30), catalog=catalog, serving=serving)
    assert found.run is not None
    assert check(found.run) == ()
    assert value(found, "recomputed_tokens") > 0
    for role in ("decode", "feed_forward"):
        assert 0.0 < value(found, f"working_fraction:{role}") < 1.0


def test_no_layer_without_a_feed_forward_is_a_round(catalog: Catalog) -> None:
    model: ModelSpec = catalog.model("nemotron-h-56b")
    steps = steps_of(halves(catalog, "nemotron-h-56b"))
    assert steps.num_rounds == sum(group.count for group in model.layers if group.ffn is not None)
    assert steps.num_rounds < model.num_layers
