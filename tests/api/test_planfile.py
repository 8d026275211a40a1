"""A plan file: what it means as a question, and one line for what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenroof.api.plan_question import catalog_of, files_of, question_of_plan
from tokenroof.api.plan_run import task_of
from tokenroof.api.planfile import plan_of, read_plan
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.search.asked import Limits, Objective, Question, Target

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("plan-*.yaml"))
SMALL = {"model": "llama-3.1-8b", "chips": "h100", "traffic": {"rate": 5}}


def asked(text: str = "", **given: Any) -> Question:
    plan = plan_of({**SMALL, **yaml.safe_load(text or "{}"), **given})
    return question_of_plan(plan, catalog_of(plan))


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        asked(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_questions(path: Path) -> None:
    question = task_of(path, {}).question
    assert question.targets
    assert len(question.chips) >= 2


def test_the_whole_of_a_file() -> None:
    question = asked(
        """
        model: {name: llama-3.3-70b, weights: [bf16, fp8], kv: all, expert_load_factor: 1.2}
        chips: [h100, H200, h100]
        traffic: {rate: 5, isl: 1000, osl: 100, duration: 2 min}
        classes: [{name: chat, share: 3}, {name: batch, priority: 1, osl: 400}]
        slo: {chat.ttft_p95: 500 ms, e2e_mean: 20}
        limits: {chips: 16, power: 40 kW, usd_per_hour: 80}
        objective: {usd_per_million_tokens: 1, ttft_s: 2}
        headroom: 20 %
        spare_replicas: 1
        engine: [vllm, sglang]
        space: {disaggregated: false, layouts: [{tp: 4}, {tp: 8}], max_num_seqs: 256,
          prefix_caching: [true, false]}
        speculation: {method: ngram, draft_tokens: 3, acceptance: 0.4}
        offload: [{tier: host, capacity: 256 GB}]
        cost: {price: rent_3yr, region: eu}
        seed: 7
        confirm_seeds: 1
        """
    )
    assert [chip.name for chip in question.chips] == ["h100", "h200"]
    assert {each.weights for each in question.space.precisions} == {"bf16", "fp8"}
    assert {each.kv for each in question.space.precisions} == {"bf16", "fp8"}
    assert question.targets == (
        Target(latency="ttft", limit_s=0.5, quantile=0.95, request_class="chat"),
        Target(latency="e2e", limit_s=20.0, quantile=None),
    )
    assert question.limits == Limits(chips=16, facility_w=40e3, usd_per_hour=80.0)
    assert question.objectives == (
        Objective(name="usd_per_million_tokens", weight=1.0),
        Objective(name="ttft_s", weight=2.0),
    )
    space = question.space
    assert (question.headroom_fraction, question.spare_replicas) == (0.2, 1)
    assert [engine.name for engine in space.engines] == ["vllm", "sglang"]
    assert (space.colocated, space.disaggregated) == (True, False)
    assert space.parallels == (Parallel(tp=4), Parallel(tp=8))
    assert (space.max_num_seqs, space.prefix_caching) == ((256,), (True, False))
    assert [each is None for each in space.drafting] == [True, False]
    assert [len(each) for each in space.offload] == [0, 1]
    assert (question.spending.price, question.spending.region) == ("rent_3yr", "eu")
    assert (question.seed, question.confirm_seeds, question.expert_load_factor) == (7, 1, 1.2)
    requests = question.workload.requests(0)
    assert [each.name for each in requests.classes] == ["chat", "batch"]
    assert 100.0 < requests.arrival_s.max() <= 120.0


def test_all_chips_are_those_with_a_price() -> None:
    every = asked(chips="all").chips
    assert len(every) >= 15
    assert asked(chips=["all", "h100"]).chips == every
    assert asked(chips=[]).chips == ()


def test_prices_of_ones_own() -> None:
    question = asked("chips: [h100, h200]\nprices: {h100: 2 USD/h, h200: 3.5}")
    plan = plan_of(SMALL)
    economics = catalog_of(plan).economics()
    paid = [question.spending.basis(economics, chip).usd_per_chip_hour for chip in question.chips]
    assert paid == [2.0, 3.5]
    assert "none is given for h200" in refusal("chips: [h100, h200]\nprices: {h100: 2}")
    assert "unknown chip of this plan 'b200'" in refusal("prices: {h100: 2, b200: 3}")
    assert "one of the two" in refusal("prices: {h100: 2}\ncost: {price: rent_3yr}")
    assert "expected USD/h" in refusal("prices: {h100: 2 kW}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle: x", "modle: unknown. Nearest: model."),
        ("space: {layuts: []}", "space.layuts: unknown. Nearest: layouts"),
        ("space: {layouts: [{tp: 0}]}", "space.layouts.0.tp: must be a whole number of at least 1, got 0"),
        ("space: {layouts: [{tp: 1000000}]}", "tp must be at most 100,000"),
        ("model: llama-9", "unknown model 'llama-9'. Nearest:"),
        ("chips: [h1000]", "unknown chip 'h1000'. Nearest: h100"),
        ("engine: vlm", "unknown engine 'vlm'. Nearest: vllm"),
        ("traffic: {}", "traffic: no load"),
        ("traffic: {rate: 0}", "traffic.rate: must be above 0, got 0"),
        ("traffic: {rate: [1, 2]}", "a plan is for one rate, got 2"),
        ("traffic: {concurrency: 8}", "traffic.concurrency: a plan is for a rate"),
        ("traffic: {day: {mean: 2, swing: 0.5}}", "traffic: how long is it sent?"),
        ("traffic: {trace: none.csv}", "no such file: none.csv"),
        ("slo: 3", "slo: must be names with values, got 3"),
        ("slo: {tfft_p99: 1}", "unknown target 'tfft_p99'. Known: ttft_p99"),
        ("slo: {ttft_p99: fast}", "slo.ttft_p99: expected s, got 'fast'"),
        ("slo: {ttft_p99: 0}", "slo.ttft_p99: must be above 0, got 0"),
        ("limits: {chip: 3}", "unknown limit 'chip'. Nearest: chips"),
        ("limits: {chips: 2.5}", "limits.chips must be a whole number, got 2.5"),
        ("limits: {power: 3 km}", "limits.power: expected W, got '3 km'"),
        ("objective: money", "unknown objective 'money'"),
        ("objective: []", "objective: must be a name, a list of names, or names with weights"),
        ("objective: {chips: 0}", "objective: must be above 0, got 0"),
        ("headroom: -1", "headroom: must be at least 0, got -1"),
        ("spare_replicas: 1.5", "spare_replicas: must be a whole number of at least 0, got 1.5"),
        ("cost: {price: gold}", "price"),
        ("seed: x", "seed: must be a whole number of at least 0, got 'x'"),
        ("answers: [fever]", "answers: unknown answer 'fever'. Nearest: fewer"),
        ("api: {input: 1}", "api.output: missing"),
        ("api: {input: -1, output: 2}", "api.input: must be at least 0, got -1"),
        ("api: {input: 0, output: 0}", "both prices of the API are 0"),
        ("speculation: {method: mtp}", "speculation.draft_tokens: missing"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **yaml.safe_load(text)}))
    with pytest.raises(InputError) as caught:
        task_of(path, {})
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    assert not message.endswith("..")


def test_a_target_of_no_class_is_refused_before_anything_is_written() -> None:
    with pytest.raises(InputError, match="no class 'chat' in the workload"):
        task_of(None, {**SMALL, "slo": {"chat.ttft_p99": 1}})


@pytest.mark.parametrize("text", ["[1, 2]", "model: [", "a: 1\na: 2", ""])
def test_what_is_no_file_of_a_plan(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        task_of(path, {})
    assert "\n" not in str(caught.value)


def test_options_are_laid_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "model: llama-3.1-8b\nchips: [h100]\ntraffic: {trace: azure-2023-conv}\nslo: {ttft_p99: 1}"
    )
    found = read_plan(path, {"model": {"weights": ["fp8"]}, "slo": {"tpot_p95": "40 ms"}, "seed": 2})
    assert found == {
        "model": {"name": "llama-3.1-8b", "weights": ["fp8"]},
        "chips": ["h100"],
        "traffic": {"trace": "azure-2023-conv"},
        "slo": {"ttft_p99": 1, "tpot_p95": "40 ms"},
        "seed": 2,
    }
    with pytest.raises(InputError, match="nothing is asked"):
        read_plan(None, {})


def test_files_of_the_users_own_are_known(tmp_path: Path) -> None:
    trace, chip = tmp_path / "trace.csv", tmp_path / "mine.yaml"
    trace.write_text("arrival_s,isl_tokens,osl_tokens\n0,100,10\n1,100,10\n2,100,10\n")
    chip.write_text("extends: h100\nprices: {cloud_low: 1 USD/h}\n")
    own = tmp_path / "catalog"
    own.mkdir()
    plan = plan_of(
        {**SMALL, "chips": [str(chip), "h200"], "traffic": {"trace": str(trace)}, "catalog": str(own)}
    )
    catalog = catalog_of(plan)
    assert set(files_of(plan, catalog)) == {own, trace, chip}
    question = question_of_plan(plan, catalog)
    assert [each.name for each in question.chips] == ["mine", "h200"]
    assert len(question.workload.requests(0)) == 3
