"""Intervals of metrics: which have one, what moves with what, widening for what nobody measured."""

import math
from dataclasses import replace

import pytest
from simulated_helpers import deployment, pool, requests_of

from tokenroof.api.calls import estimate
from tokenroof.catalog.accuracy import NOTHING, SIMULATED, Accuracy, Spread
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.deploy.core import Estimate, Metric
from tokenroof.deploy.intervals import RULES, Rule, between, load_of, log_range, with_intervals
from tokenroof.deploy.known import CLOSED, OFFLINE, OPEN, THROUGHPUT, Asked, kind_of
from tokenroof.deploy.simulated.capacity import highest_rate
from tokenroof.deploy.simulated.simulate import simulate
from tokenroof.perf.energy import power_interval
from tokenroof.workload.core import Slo

CATALOG = load()
SERVER = deployment(CATALOG, "llama-3.1-8b", pool(CATALOG))
WITHOUT = {"chips", "max_batch", "usd_per_hour", "kv_transfer_s"}
"""Asked for, or measured by nobody."""


def closed(chip: str, model: str = "llama-3.1-8b", **options: object) -> Estimate:
    return estimate(model, chip, concurrency=16, **options)[0]  # type: ignore[arg-type]


def open_loop(rate: float, slo: Slo | None = None, count: int = 60) -> Estimate:
    requests = requests_of(
        [500] * count, [40] * count, arrival_s=[index / rate for index in range(count)], slo=slo
    )
    return simulate(SERVER, requests, catalog=CATALOG)


def log_width(metric: Metric) -> float:
    assert metric.low is not None
    assert metric.high is not None
    return math.log(metric.high / metric.low)


# --- every metric --------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", ["h100", "mi300x", "b200"])
def test_every_predicted_metric_has_an_interval_around_its_value(chip: str) -> None:
    for name, metric in closed(chip).metrics.items():
        if name in WITHOUT:
            assert metric.low is None, name
            continue
        assert metric.low is not None, name
        assert metric.high is not None, name
        assert metric.low <= metric.value <= metric.high, name


def test_latencies_throughput_and_cost_of_a_run_have_intervals() -> None:
    metrics = open_loop(4.0).metrics
    for name in (
        "ttft_s",
        "ttft_p50_s",
        "ttft_p99_s",
        "tpot_s",
        "tpot_p99_s",
        "e2e_s",
        "itl_p99_s",
        "queue_s",
    ):
        assert metrics[name].low is not None, name
    for name in ("output_tokens_per_s", "usd_per_mtok_output", "energy_j_per_output_token", "run_s"):
        assert metrics[name].low is not None, name
    for name in ("requests", "completed_requests", "kv_used_fraction", "chips", "request_rate_per_s"):
        assert metrics[name].low is None, name


def test_values_are_those_without_intervals() -> None:
    found = open_loop(4.0)
    bare = replace(found, metrics={n: replace(m, low=None, high=None) for n, m in found.metrics.items()})
    again = with_intervals(bare, CATALOG)
    assert {n: m.value for n, m in again.metrics.items()} == {n: m.value for n, m in found.metrics.items()}


def test_what_cannot_be_has_no_interval() -> None:
    found = closed("rtx4090", "llama-3.3-70b")
    assert found.infeasible is not None
    assert not any("intervals:" in line for line in found.assumptions)


# --- what moves with what ------------------------------------------------------------------------


def test_cost_moves_against_throughput() -> None:
    metrics = closed("h100").metrics
    rate, cost = metrics["total_tokens_per_s_per_chip"], metrics["usd_per_mtok_total"]
    assert cost.low == pytest.approx(cost.value * rate.value / rate.high)  # type: ignore[operator]
    assert cost.high == pytest.approx(cost.value * rate.value / rate.low)  # type: ignore[operator]


def test_speed_per_user_moves_against_the_time_per_token() -> None:
    metrics = closed("h100").metrics
    assert metrics["output_tokens_per_s_per_user"].low == pytest.approx(1.0 / metrics["tpot_s"].high)  # type: ignore[operator]
    assert metrics["output_tokens_per_s_per_user"].high == pytest.approx(1.0 / metrics["tpot_s"].low)  # type: ignore[operator]


def test_energy_adds_the_error_of_the_power_by_squares() -> None:
    spread = Spread(
        metric=THROUGHPUT, prediction=SIMULATED, scope="seen", low_factor=0.8, middle_factor=1.0,
        high_factor=1.25, rows=99, groups=9,
    )  # fmt: skip
    asked = (Asked(chip="b200", family="", engine="", model="", kind="", format=""),)
    accuracy = Accuracy(spreads=(spread,))
    found = log_range(Rule(THROUGHPUT, -1, power=True), asked, SIMULATED, accuracy)
    drawn = power_interval("b200")
    assert found is not None
    assert found[1] == pytest.approx(math.hypot(math.log(1.25), math.log(drawn.high_factor)))
    assert found[0] == pytest.approx(-math.hypot(math.log(0.8), math.log(drawn.low_factor)))


def test_power_has_the_interval_of_power_alone() -> None:
    metric, drawn = closed("b200").metrics["power_w_per_chip"], power_interval("b200")
    assert metric.low == pytest.approx(metric.value * drawn.low_factor)
    assert metric.high == pytest.approx(metric.value * drawn.high_factor)


def test_fractions_do_not_exceed_one() -> None:
    metric = Metric(value=0.9, unit="1", definition="")
    assert between(metric, (-0.1, 0.5), most=RULES["mfu_fraction"].most).high == 1.0


def test_errors_on_one_side_reach_from_the_value() -> None:
    metric = Metric(value=10.0, unit="s", definition="")
    assert between(metric, (0.1, 0.5)).low == 10.0
    assert between(metric, (-0.5, -0.1)).high == 10.0


def test_nothing_is_served_that_is_not_sent() -> None:
    metrics = open_loop(2.0).metrics
    served, sent = metrics["requests_per_s"], metrics["request_rate_per_s"]
    assert served.high is not None
    assert served.high <= max(sent.value, served.value) * (1.0 + 1e-9)
    queued = open_loop(1e9).metrics["requests_per_s"]
    assert queued.high is not None
    assert queued.high > queued.value


# --- what nobody measured ------------------------------------------------------------------------


def test_a_chip_that_nobody_measured_is_wider_and_says_so() -> None:
    seen, unseen = closed("h100"), closed("gaudi3")
    assert log_width(unseen.metrics["tpot_s"]) > log_width(seen.metrics["tpot_s"])
    assert any(
        "wider, neither servings nor operators were measured on gaudi3" in e for e in unseen.assumptions
    )
    assert not any("wider" in line for line in seen.assumptions)


def test_a_projected_chip_has_the_ranges_of_its_figures_on_top() -> None:
    found = closed("vr200-nvl72")
    assert any("by the stated ranges of the figures of vr200-nvl72" in line for line in found.assumptions)
    assert log_width(found.metrics["tpot_s"]) > log_width(closed("h100").metrics["tpot_s"])


def test_without_any_measured_serving_there_is_no_interval() -> None:
    bare = Catalog(CATALOG.directories)
    bare.__dict__["accuracy"] = NOTHING
    metrics = {"tpot_s": Metric(value=1.0, unit="s", definition="")}
    found = with_intervals(replace(closed("h100"), assumptions=(), metrics=metrics), bare)
    assert found.metrics["tpot_s"].low is None
    assert found.assumptions == ()


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("llama-3.1-8b", "dense"),
        ("gpt-oss-120b", "experts"),
        ("deepseek-r1", "latent experts"),
        ("llada-8b", "diffusion"),
        ("jamba-v0.1", "recurrent experts"),
    ],
)
def test_kinds_of_models(model: str, kind: str) -> None:
    assert kind_of(CATALOG.model(model)).startswith(kind)


# --- limits --------------------------------------------------------------------------------------


def test_good_requests_follow_the_ends_of_the_latencies() -> None:
    half = open_loop(4.0).metrics["tpot_s"].value
    good = open_loop(4.0, Slo(tpot_s=half * 1.0001)).metrics["good_fraction"]
    assert good.low is not None
    assert good.high is not None
    assert 0.0 <= good.low <= good.value <= good.high <= 1.0
    assert good.low < good.high
    easy = open_loop(4.0, Slo(tpot_s=half * 100.0)).metrics
    assert easy["good_fraction"].low == easy["good_fraction"].high == 1.0
    hopeless = open_loop(4.0, Slo(tpot_s=half / 100.0)).metrics
    assert hopeless["good_fraction"].high == 0.0
    assert hopeless["goodput_requests_per_s"].high == 0.0


def test_the_highest_rate_lies_between_two_rates() -> None:
    count = 60
    requests = requests_of(
        [500] * count, [40] * count, arrival_s=[index / 4.0 for index in range(count)], slo=Slo(tpot_s=0.02)
    )
    found = highest_rate(SERVER, requests, catalog=CATALOG)
    assert found.rate_per_s is not None
    assert found.low_rate_per_s is not None
    assert found.high_rate_per_s is not None
    assert found.low_rate_per_s <= found.rate_per_s <= found.high_rate_per_s
    assert found.low_rate_per_s < found.high_rate_per_s


def test_loads_are_told_apart() -> None:
    assert load_of(open_loop(2.0)) == OPEN
    at_once = simulate(SERVER, requests_of([500] * 8, [40] * 8), catalog=CATALOG)
    assert load_of(at_once) == OFFLINE
    in_turn = simulate(SERVER, requests_of([500] * 8, [40] * 8, concurrency=2), catalog=CATALOG)
    assert load_of(in_turn) == CLOSED
    assert load_of(closed("h100")) == CLOSED


def test_operators_carry_the_held_out_error_of_their_class_on_that_chip() -> None:
    measured = {op.name: op.error_fraction for op in closed("h100").phases["decode"].ops}
    assert 0.0 < (measured["attn.qkv"] or 0.0) < 0.5
    assert 0.0 < (measured["attn.decode"] or 0.0) < 0.5
    borrowed = closed("gaudi3").phases["decode"].ops
    assert all(op.error_fraction is None for op in borrowed if op.name == "attn.qkv")


def test_checkpoints_of_a_measured_architecture_count_as_measured() -> None:
    served = {each.model for each in CATALOG.accuracy.served}
    assert "llama-3-70b" not in served
    assert "llama-3.3-70b" in served
    one, other = (closed("h100", name, tp=8).metrics["tpot_s"] for name in ("llama-3-70b", "llama-3.3-70b"))
    assert (one.low, one.high) == (other.low, other.high)
    new = closed("h100", "phi-4").assumptions
    assert any("phi-4 in bf16 was not measured" in line for line in new)
