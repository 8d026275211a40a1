"""The closed form end to end: consistency of the answer, and every way to be infeasible."""

from dataclasses import replace

import pytest

from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.core import Engine
from tokenroof.catalog.tuning import NEUTRAL
from tokenroof.deploy.accounts import Spending
from tokenroof.deploy.core import Deployment, Estimate, Pool, Role
from tokenroof.deploy.estimate import estimate
from tokenroof.deploy.metrics import GLOSSARY
from tokenroof.deploy.provenance import machine_of
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

SHAPE = RequestShape(isl_tokens=2000, osl_tokens=500)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def pool(catalog: Catalog, chip: str = "h100", engine: Engine | str = "vllm", **ways: int) -> Pool:
    runs = catalog.engine(engine) if isinstance(engine, str) else engine
    return Pool(chip=catalog.chip(chip), engine=runs, parallel=Parallel(**ways))


def ask(
    catalog: Catalog,
    *pools: Pool,
    model: str = "llama-3.3-70b",
    shape: RequestShape = SHAPE,
    **options: object,
) -> Estimate:
    found = catalog.model(model)
    deployment = Deployment(model=found, precision=found.precision, pools=pools)
    return estimate(deployment, shape, catalog=catalog, **options)


def value(answer: Estimate, name: str) -> float:
    return answer.metrics[name].value


CASES = {
    "dense": ("llama-3.3-70b", "h100", {"tp": 4}, 32),
    "one sequence": ("llama-3.3-70b", "h100", {"tp": 4}, 1),
    "pipeline": ("llama-3.3-70b", "h100", {"tp": 4, "pp": 2}, 64),
    "data parallel": ("deepseek-v3", "b200", {"tp": 1, "dp": 8, "ep": 8}, 256),
    "window": ("gemma-3-27b", "h200", {"tp": 2}, 16),
    "hybrid": ("nemotron-h-56b", "h100", {"tp": 4}, 32),
    "no power figure": ("llama-3.3-70b", "tpu-v6e", {"tp": 8}, 16),
    "projected flash": ("llama-3.3-70b", "h200-hbf", {"tp": 1}, 16),
    "block diffusion": ("llada-8b", "h100", {}, 4),
}


@pytest.mark.parametrize("case", CASES)
def test_an_answer_is_complete_and_consistent(catalog: Catalog, case: str) -> None:
    model, chip, ways, concurrency = CASES[case]
    shape = RequestShape(isl_tokens=2000, osl_tokens=500)
    answer = ask(catalog, pool(catalog, chip, **ways), model=model, shape=shape, concurrency=concurrency)
    assert answer.feasible, answer.infeasible
    assert answer.concurrency == concurrency
    for name, metric in answer.metrics.items():
        assert metric.value >= 0.0, name
        assert (metric.unit, metric.definition) == GLOSSARY[name]
    # Little's law, and the parts of a request.
    assert value(answer, "requests_per_s") * value(answer, "e2e_s") == pytest.approx(concurrency, rel=0.03)
    parts = value(answer, "waiting_s") + value(answer, "ttft_s") + 499 * value(answer, "tpot_s")
    assert parts == pytest.approx(value(answer, "e2e_s"), rel=1e-6)
    chips = Parallel(**ways).chips
    tokens_per_s = value(answer, "requests_per_s") * 500
    assert value(answer, "output_tokens_per_s_per_chip") * chips == pytest.approx(tokens_per_s)
    for phase in answer.phases.values():
        assert sum(phase.by_limit_s.values()) == pytest.approx(phase.time_s, rel=1e-12)
        overhead_s = phase.by_limit_s["host"]
        assert sum(op.time_s for op in phase.ops) + overhead_s == pytest.approx(phase.time_s)
        assert 0.0 < phase.mfu_fraction < 1.0
        assert 0.0 < phase.mbu_fraction <= 1.0
    assert answer.sources
    assert all(":" in line for line in answer.assumptions)


def test_money_of_input_and_output_adds_up(catalog: Catalog) -> None:
    answer = ask(catalog, pool(catalog, tp=4), concurrency=32)
    hourly = value(answer, "usd_per_hour")
    per_request = hourly / 3600 / value(answer, "requests_per_s")
    both = value(answer, "usd_per_mtok_input") * 2000 + value(answer, "usd_per_mtok_output") * 500
    assert both / 1e6 == pytest.approx(per_request)
    assert value(answer, "usd_per_mtok_total") * 2500 / 1e6 == pytest.approx(per_request)


def test_half_the_utilisation_doubles_the_price(catalog: Catalog) -> None:
    full = ask(catalog, pool(catalog, tp=4), concurrency=32)
    half = ask(catalog, pool(catalog, tp=4), concurrency=32, spending=Spending(utilisation_fraction=0.5))
    assert value(half, "usd_per_mtok_total") == pytest.approx(2 * value(full, "usd_per_mtok_total"))


def test_more_sequences_mean_more_throughput_and_slower_users(catalog: Catalog) -> None:
    answers = [ask(catalog, pool(catalog, tp=4), concurrency=count) for count in (1, 8, 32, 128)]
    throughput = [value(answer, "output_tokens_per_s") for answer in answers]
    speed = [value(answer, "output_tokens_per_s_per_user") for answer in answers]
    assert throughput == sorted(throughput)
    assert speed == sorted(speed, reverse=True)


def test_two_replicas_serve_twice_as_much(catalog: Catalog) -> None:
    one = ask(catalog, pool(catalog, tp=4), concurrency=16)
    two = ask(catalog, replace(pool(catalog, tp=4), replicas=2), concurrency=32)
    assert value(two, "requests_per_s") == pytest.approx(2 * value(one, "requests_per_s"))
    assert value(two, "tpot_s") == pytest.approx(value(one, "tpot_s"))
    assert value(two, "max_batch") == 2 * value(one, "max_batch")


def test_the_default_concurrency_is_stated(catalog: Catalog) -> None:
    roomy = ask(catalog, pool(catalog, tp=8))
    assert roomy.concurrency == 64
    assert "concurrency: 64 sequences per replica, the default" in roomy.assumptions
    tight = ask(catalog, pool(catalog, tp=4), shape=RequestShape(isl_tokens=100_000, osl_tokens=500))
    assert tight.capacity is not None
    assert tight.concurrency == tight.capacity.max_batch < 64
    assert any(note.endswith("all that fit") for note in tight.assumptions)


def test_short_answers_on_long_prompts_wait_for_prefill(catalog: Catalog) -> None:
    shape = RequestShape(isl_tokens=6000, osl_tokens=20)
    answer = ask(catalog, pool(catalog, tp=8), shape=shape, concurrency=64)
    assert value(answer, "waiting_s") > 0.0
    assert value(answer, "requests_per_s") * value(answer, "e2e_s") == pytest.approx(64)


def test_prefill_first_engines_stall_decoding(catalog: Catalog) -> None:
    apart = replace(catalog.engine("vllm"), chunked_prefill=False)
    answer = ask(catalog, pool(catalog, engine=apart, tp=4), concurrency=32)
    assert value(answer, "tpot_s") > value(answer, "decode_step_s")
    assert any("steps of their own" in note for note in answer.assumptions)


def test_one_output_token_is_prefill_alone(catalog: Catalog) -> None:
    catalog = catalog.tuned(NEUTRAL)
    answer = ask(
        catalog, pool(catalog, tp=4), shape=RequestShape(isl_tokens=2000, osl_tokens=1), concurrency=1
    )
    assert value(answer, "e2e_s") == pytest.approx(value(answer, "prefill_s"))
    assert value(answer, "requests_per_s") == pytest.approx(1 / value(answer, "prefill_s"))


# --- prefill and decode apart ---


def apart(catalog: Catalog, prefill: str, decode: str, prefill_replicas: int = 1) -> tuple[Pool, Pool]:
    first = replace(pool(catalog, prefill, tp=4), role=Role.PREFILL, replicas=prefill_replicas)
    return first, replace(pool(catalog, decode, tp=4), role=Role.DECODE)


def test_pools_of_two_chips_conserve_requests(catalog: Catalog) -> None:
    catalog = catalog.tuned(NEUTRAL)
    answer = ask(catalog, *apart(catalog, "h100", "h200"), concurrency=16)
    assert answer.feasible, answer.infeasible
    assert value(answer, "chips") == 8
    assert value(answer, "requests_per_s") * value(answer, "e2e_s") == pytest.approx(16)
    assert value(answer, "kv_transfer_s") > 0.0
    assert value(answer, "ttft_s") == pytest.approx(
        value(answer, "prefill_s") + value(answer, "kv_transfer_s")
    )
    assert value(answer, "tpot_s") == pytest.approx(value(answer, "decode_step_s"))


@pytest.mark.parametrize("concurrency", [1, 7, 16, 33, 64])
def test_nothing_waits_exactly_where_no_queue_is(catalog: Catalog, concurrency: int) -> None:
    answer = ask(catalog, *apart(catalog, "b200", "h200"), concurrency=concurrency)
    assert value(answer, "waiting_s") == 0.0


def test_decode_apart_is_not_disturbed_by_prompts(catalog: Catalog) -> None:
    together = ask(catalog, pool(catalog, tp=4), concurrency=16)
    split = ask(catalog, *apart(catalog, "h100", "h100"), concurrency=16)
    assert value(split, "tpot_s") < value(together, "tpot_s")


def test_a_small_prefill_pool_is_the_bottleneck(catalog: Catalog) -> None:
    shape = RequestShape(isl_tokens=8000, osl_tokens=50)
    one = ask(catalog, *apart(catalog, "h100", "h100"), shape=shape, concurrency=64)
    assert value(one, "waiting_s") > 0.0
    two = ask(catalog, *apart(catalog, "h100", "h100", prefill_replicas=2), shape=shape, concurrency=64)
    assert value(two, "requests_per_s") == pytest.approx(2 * value(one, "requests_per_s"))


# --- infeasible, and refused ---


INFEASIBLE = {
    "heads": ({"tp": 7}, SHAPE, None, "not legal: tp=7 does not divide"),
    "too big": ({"tp": 1}, SHAPE, None, "does not fit: weights 141.1 GB"),
    "domain": ({"tp": 8, "pp": 80, "dp": 16}, SHAPE, None, "not legal: 10240 chips"),
    "cache": ({"tp": 4}, SHAPE, 4000, "does not fit: 4000 sequences of 2000 + 500 tokens per replica >"),
    "context": (
        {"tp": 8},
        RequestShape(isl_tokens=200_000, osl_tokens=1),
        None,
        "too long: 200000 + 1 tokens",
    ),
}


@pytest.mark.parametrize("case", INFEASIBLE)
def test_infeasible_is_a_row_with_a_reason(catalog: Catalog, case: str) -> None:
    ways, shape, concurrency, reason = INFEASIBLE[case]
    answer = ask(catalog, pool(catalog, **ways), shape=shape, concurrency=concurrency)
    assert not answer.feasible
    assert answer.infeasible is not None
    assert answer.infeasible.reason.startswith(reason)
    assert answer.infeasible.reason.endswith(".")
    assert not answer.metrics
    numbers = (answer.infeasible.need, answer.infeasible.have)
    assert numbers == (None, None) if case == "heads" else numbers[0] > numbers[1]


def test_a_model_that_does_not_fit_is_told_what_would(catalog: Catalog) -> None:
    answer = ask(catalog, pool(catalog, tp=1))
    assert answer.infeasible is not None
    assert answer.infeasible.reason.endswith("Try --tp 4, or narrower weights.")
    assert answer.capacity is not None
    assert answer.capacity.max_batch == 0


def test_an_engine_has_a_limit_of_its_own(catalog: Catalog) -> None:
    small = replace(catalog.engine("vllm"), max_num_seqs=8)
    answer = ask(catalog, pool(catalog, engine=small, tp=8), concurrency=9)
    assert answer.infeasible is not None
    assert "9 per replica > 8 that vllm runs at once (max_num_seqs)" in answer.infeasible.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 4, "batch": 4}, "concurrency or batch, not both"),
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"batch": -3}, "batch must be at least 1, got -3"),
    ],
)
def test_bad_input_is_refused(catalog: Catalog, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ask(catalog, pool(catalog, tp=8), **options)


def test_two_pools_of_one_role_are_refused(catalog: Catalog) -> None:
    with pytest.raises(InputError, match="one prefill and one decode pool; got both, both"):
        ask(catalog, pool(catalog, tp=8), pool(catalog, tp=4))


# --- energy ---


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_phases_and_metrics_agree_on_energy(catalog: Catalog, stages: int) -> None:
    """Prompts of one token cost next to nothing, so a token's energy is that of the decode step over its
    sequences, however many stages share the work."""
    shape = RequestShape(isl_tokens=1, osl_tokens=2001)
    answer = ask(catalog, pool(catalog, tp=2, pp=stages), model="llama-3.1-8b", shape=shape, concurrency=64)
    step_j = answer.phases["decode"].energy_j
    assert step_j is not None
    per_token = step_j / (64 / stages)
    assert value(answer, "energy_j_per_output_token") == pytest.approx(per_token, rel=0.01)


def test_stages_do_not_multiply_the_work(catalog: Catalog) -> None:
    """Four stages do the arithmetic of one, in prefill too."""
    one, four = (
        ask(catalog, pool(catalog, tp=2, pp=stages), model="llama-3.1-8b", concurrency=16)
        for stages in (1, 4)
    )
    for name in ("prefill", "decode"):
        rows = [sum(op.energy_j or 0.0 for op in answer.phases[name].ops) for answer in (one, four)]
        assert four.phases[name].energy_j is not None
        assert rows[1] <= 1.2 * rows[0]
    machine, prefill = machine_of(pool(catalog)), four.phases["prefill"]
    assert machine.idle_w is not None
    dynamic_j = 2 * sum(op.energy_j or 0.0 for op in prefill.ops)  # two chips a stage
    assert prefill.energy_j == pytest.approx(dynamic_j + 8 * machine.idle_w * prefill.time_s)


def test_one_prompt_keeps_one_data_parallel_rank_busy(catalog: Catalog) -> None:
    phase = ask(catalog, pool(catalog, dp=4), model="llama-3.1-8b", concurrency=4).phases["prefill"]
    alone = ask(catalog, pool(catalog), model="llama-3.1-8b", concurrency=4).phases["prefill"]
    assert phase.energy_j is not None
    assert alone.energy_j is not None
    dynamic_j = sum(op.energy_j or 0.0 for op in phase.ops)
    idle_j = alone.energy_j - sum(op.energy_j or 0.0 for op in alone.ops)
    assert phase.energy_j == pytest.approx(dynamic_j + 4 * idle_j, rel=0.02)


@pytest.mark.parametrize("prefill", [None, "h100"])
def test_no_power_figure_means_no_energy(catalog: Catalog, prefill: str | None) -> None:
    both = pool(catalog, "tpu-v6e", tp=8)
    pools = (
        (both,)
        if prefill is None
        else (replace(pool(catalog, prefill, tp=4), role=Role.PREFILL), replace(both, role=Role.DECODE))
    )
    answer = ask(catalog, *pools, concurrency=8)
    assert "energy_j_per_output_token" not in answer.metrics
    assert "energy: no power figure is known for tpu-v6e; left out" in answer.assumptions
    assert answer.phases["decode"].energy_j is None
    assert all(op.energy_j is None for op in answer.phases["decode"].ops)


def test_paid_hours_that_serve_nobody_draw_static_power(catalog: Catalog) -> None:
    full, half = (
        ask(catalog, pool(catalog, tp=4), concurrency=32, spending=Spending(utilisation_fraction=u))
        for u in (1.0, 0.5)
    )
    machine = machine_of(pool(catalog, tp=4))
    assert machine.idle_w is not None
    idle_j = 4 * machine.idle_w / value(full, "output_tokens_per_s")
    more_j = value(half, "energy_j_per_output_token") - value(full, "energy_j_per_output_token")
    assert more_j == pytest.approx(idle_j)
    assert value(half, "power_w_per_chip") == pytest.approx(value(full, "power_w_per_chip"))
    assert value(half, "gco2e_per_mtok_operational") > value(full, "gco2e_per_mtok_operational")
