"""``tr.simulate`` and ``tr.capacity``: arguments and specs mean the same, answers show themselves."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tokenroof as tr
from tokenroof.api.workloads import Classed, Drawn
from tokenroof.errors import InputError
from tokenroof.workload.core import RequestClass

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "simulate").iterdir())
SMALL = {"isl": 400, "osl": 40, "num_requests": 120}
LIMITS = {"ttft": "500 ms", "tpot": 0.02}


@pytest.fixture(scope="module")
def answer():
    return tr.simulate("llama-3.1-8b", "h100", rate=6, slo=LIMITS, check=True, segments=True, **SMALL)


def test_every_request_is_answered(answer):
    assert answer.metric("completed_requests") == 120
    assert answer.metric("good_fraction") == 1.0
    assert answer[0].run.complete
    assert answer[0].run.requests.classes[0].slo.ttft_s == 0.5


def test_the_same_seed_is_the_same_run_and_another_is_not(answer):
    def ends(seed):
        found = tr.simulate("llama-3.1-8b", "h100", rate=6, slo=LIMITS, seed=seed, **SMALL)
        return found[0].run.log.finish_s

    assert ends(0).tobytes() == answer[0].run.log.finish_s.tobytes()
    assert ends(1).tobytes() != answer[0].run.log.finish_s.tobytes()


def test_arguments_and_a_spec_say_the_same(answer):
    spec = {
        "model": "llama-3.1-8b",
        "chip": {"chip": "h100"},
        "traffic": {"rate": 6, **SMALL},
        "slo": LIMITS,
    }
    assert (
        tr.simulate(spec=spec).json()
        == tr.simulate("llama-3.1-8b", "h100", rate=6, slo=LIMITS, **SMALL).json()
    )


def test_an_argument_is_laid_over_a_spec(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "model: llama-3.1-8b\nchip: h100\ntraffic: {rate: 6, num_requests: 50}\n", encoding="utf-8"
    )
    found = tr.simulate(spec=path, concurrency=4, osl=20)
    assert found[0].run.requests.concurrency == 4
    assert set(found[0].run.requests.osl_tokens) == {20}
    assert len(found[0].run.requests) == 50


def test_several_chips_and_rates_make_a_run_each():
    found = tr.simulate("llama-3.1-8b", ["h100", "b200"], rate=[2, 20], slo=LIMITS, **SMALL)
    assert [each.label for each in found] == ["h100 at 2/s", "b200 at 2/s", "h100 at 20/s", "b200 at 20/s"]
    assert found.to_frame().height == 4
    assert "good, of those sent" in str(found)


def test_lengths_are_drawn_from_what_was_said():
    found = tr.simulate(
        "llama-3.1-8b", "h100", rate=20, isl="uniform:low=10,high=20", osl=[5, 9], num_requests=200
    )
    requests = found[0].run.requests
    assert (requests.isl_tokens.min(), requests.isl_tokens.max()) == (10, 20)
    assert set(requests.osl_tokens) == {5, 9}


def test_classes_have_their_own_lengths_limits_and_metrics():
    found = tr.simulate(
        "llama-3.1-8b",
        "h100",
        rate=10,
        slo={"ttft": "1 s"},
        classes=[
            {"name": "chat", "share": 3},
            {"name": "batch", "priority": 2, "osl": 9, "slo": {"e2e": "1 min"}},
        ],
        **SMALL,
    )
    run = found[0].run
    assert [each.slo.ttft_s for each in run.requests.classes] == [1.0, None]
    assert set(run.requests.osl_tokens[run.requests.class_index == 1]) == {9}
    assert found.metric("good_fraction:batch") == 1.0
    assert "batch: end to end" in str(found)


def test_prefill_and_decode_apart():
    found = tr.simulate("llama-3.1-8b", "h100", prefill_chip="b200", rate=5, check=True, overlap=0.5, **SMALL)
    assert [str(pool.role) for pool in found[0].deployment.pools] == ["prefill", "decode"]
    assert found.metric("transfer_s") > 0.0
    assert found[0].run.setup.pools[0].link.overlap_fraction == 0.5


def test_engine_options_go_by_their_own_names():
    found = tr.simulate(
        "llama-3.1-8b", "h100", rate=50, engine_options={"max_num_seqs": 4, "block_size": 32}, **SMALL
    )
    setup = found[0].run.setup.pools[0]
    assert setup.block_tokens == 32
    assert found[0].run.timeline[0, 0].max() <= 4.0 + 1e-9
    with pytest.raises(InputError, match=r"unknown vllm option 'max_num_seq'. Nearest: max_num_seqs"):
        tr.simulate("llama-3.1-8b", "h100", rate=5, engine_options={"max_num_seq": 4}, **SMALL)


def test_a_trace_at_its_own_times_at_a_rate_and_in_a_closed_loop():
    own = tr.simulate("llama-3.1-8b", "h100", trace="azure-2023-conv", num_requests=60)[0].run
    fast = tr.simulate("llama-3.1-8b", "h100", trace="azure-2023-conv", num_requests=60, rate=100)[0].run
    closed = tr.simulate("llama-3.1-8b", "h100", trace="azure-2023-conv", num_requests=60, concurrency=3)[
        0
    ].run
    for other in (fast, closed):
        assert (other.requests.isl_tokens == own.requests.isl_tokens).all()
    assert fast.requests.arrival_s[-1] < own.requests.arrival_s[-1]
    assert closed.requests.concurrency == 3


def test_classes_of_a_trace_are_drawn_by_share():
    table = tr.simulate("llama-3.1-8b", "h100", rate=5, **SMALL)[0].run.requests
    kinds = (RequestClass(name="a"), RequestClass(name="b"))
    workload = Classed(workload=Drawn(table=table), classes=kinds, shares=(3.0, 1.0), named=True)
    drawn = workload.requests(0)
    assert [each.name for each in drawn.classes] == ["a", "b"]
    assert 0.6 < np.mean(drawn.class_index == 0) < 0.9
    assert (workload.requests(0).class_index == drawn.class_index).all()


def test_what_does_not_fit_is_a_row_with_a_reason():
    found = tr.simulate("llama-3.1-70b", ["h100", "b200"], tp=1, rate=1, **SMALL)
    assert not found[0].feasible
    assert "does not fit" in found[0].infeasible.reason
    assert found[1].feasible
    with pytest.raises(InputError, match="no run, the estimate is infeasible: does not fit"):
        found.log(0)


def test_limits_nobody_meets_are_said_first():
    found = tr.simulate("llama-3.1-8b", "h100", rate=5, slo={"ttft": "10 us"}, **SMALL)
    assert found.metric("good_fraction") == 0.0
    assert str(found).startswith("no request met the limits: time to first token is ")


def test_a_rate_above_saturation_is_said_first():
    found = tr.simulate("llama-3.1-8b", "h100", rate=60, isl=4000, osl=100, num_requests=1500)
    assert found.metric("queue_growth_requests_per_s") > 1.0
    assert str(found).startswith("unstable at ")


def test_a_run_saves_its_log_its_trace_and_its_charts(answer, tmp_path):
    for name in ("log.csv", "log.parquet"):
        answer.save_log(tmp_path / name)
    assert pl.read_parquet(tmp_path / "log.parquet").height == 120
    assert answer.save_perfetto(tmp_path / "trace.json") == ""
    assert json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    assert answer.timeline().height > 1
    for kind in ("latency", "timeline", "goodput", "roofline"):
        assert answer.save_chart(tmp_path / f"{kind}.svg", kind=kind).stat().st_size > 5000
    page = answer.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Latency of requests" in page
    assert "Simulated runs" in page


def test_closed_form_answers_have_no_log():
    with pytest.raises(InputError, match=r"no run: the estimate is in closed form. Use simulate"):
        tr.estimate("llama-3.1-8b", "h100").log()


def test_out_holds_spec_log_timeline_and_metrics(tmp_path):
    from tokenroof.serve.log import read_log

    tr.simulate("llama-3.1-8b", "h100", rate=6, out=tmp_path / "run", **SMALL)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "spec.json", "log", "timeline.parquet", "metrics.json",
    }  # fmt: skip
    assert read_log(tmp_path / "run" / "log").height == 120
    spec = json.loads((tmp_path / "run" / "spec.json").read_text(encoding="utf-8"))
    again = tr.simulate(spec={**spec, "output": {}})
    assert again.metric("completed_requests") == 120
    with pytest.raises(InputError, match="holds the parts of another run"):
        tr.simulate("llama-3.1-8b", "h100", rate=6, out=tmp_path / "run", **SMALL)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"rate": 4, "rat": 3}, "unknown argument 'rat'. Nearest: rate"),
        ({"rate": 4, "router": "robin"}, "fleet.router: unknown 'robin'"),
        ({"rate": 4, "replicas": 0}, "chip.0.replicas: must be a whole number of at least 1"),
        ({"rate": 4, "host_gb": -1}, "host_gb must be a number above 0"),
        ({"rate": 4, "prefill_tp": 2}, "prefill_tp and prefill_replicas need prefill_chip"),
        ({"rate": 4, "trace": "azure-2023-con"}, "Nearest: azure-2023-conv"),
        ({"trace": "azure-2023-conv", "trace_format": "nope"}, "unknown trace format 'nope'"),
        ({}, "traffic: no load. Give rate, concurrency or trace"),
        ({"rate": 4, "failures": {"at": 3, "pool": 2}}, "fleet.failures.0.pool: there are 1 pools"),
        ({"rate": 4, "failures": {"at": 3, "replicas": [1]}}, "fleet.failures.0.replicas: pool 0 has 1"),
        ({"rate": 4, "autoscale": {"target": 1, "least": 2}}, "fleet.autoscale.0: the pool starts with 1"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(arguments, text):
    with pytest.raises(InputError) as caught:
        tr.simulate("llama-3.1-8b", "h100", **arguments)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_highest_rate_meets_the_limits_and_the_next_one_does_not():
    found = tr.capacity("llama-3.1-8b", "h100", slo=LIMITS, tolerance=0.2, **SMALL)
    met = [probe.rate_per_s for probe in found[0].probes if probe.met]
    missed = [probe.rate_per_s for probe in found[0].probes if not probe.met]
    assert found.rate() == max(met) < min(missed) <= 1.2 * max(met)
    assert found.answer[0].run is not None
    assert json.loads(found.json())["deployments"][0]["rate_per_s"] == found.rate()
    assert "Highest rate within the limits" in str(found)


def test_no_rate_is_a_row_with_a_reason():
    found = tr.capacity("llama-3.1-8b", "h100", slo={"tpot": "1 us"}, **SMALL)
    assert not found.feasible
    assert "no rate meets the limits" in str(found)
    with pytest.raises(InputError, match="no rate of h100: no rate meets the limits"):
        found.rate()


def test_a_capacity_needs_limits_and_an_open_loop():
    with pytest.raises(InputError, match="no limit is asked for"):
        tr.capacity("llama-3.1-8b", "h100", **SMALL)
    with pytest.raises(InputError, match="the rate of a closed loop"):
        tr.capacity("llama-3.1-8b", "h100", slo=LIMITS, concurrency=4, **SMALL)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_spec_runs(path):
    found = tr.simulate(spec=path, check=True)
    assert found.feasible
    assert found.metric("completed_requests") == found.metric("requests")
