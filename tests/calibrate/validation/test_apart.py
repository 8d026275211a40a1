"""Rows whose prompts and answers are served by chips of their own, and what a hand-off takes."""

from collections.abc import Mapping

import pytest

from tokenroof.calibrate.validation.case import case_of
from tokenroof.calibrate.validation.core import Row, UnmappedError
from tokenroof.calibrate.validation.predict import predict_row
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.tuning import NEUTRAL, Parameter, Tuning
from tokenroof.deploy.core import Role
from tokenroof.deploy.handoff import handoff_s
from tokenroof.deploy.simulated.engines.trtllm import TrtllmOptions
from tokenroof.graph.core import Parallel

APART: Mapping[str, str] = {
    "hardware": "GB200-NVL72",
    "model": "DeepSeek-R1-0528",
    "framework": "dynamo-trt",
    "weight_precision": "nvfp4",
    "kv_precision": "fp8",
    "num_gpus": "36",
    "disagg": "True",
    "prefill_gpus": "4",
    "prefill_workers": "1",
    "prefill_tp": "4",
    "prefill_ep": "4",
    "prefill_dp_attention": "false",
    "decode_gpus": "32",
    "decode_workers": "4",
    "decode_tp": "8",
    "decode_ep": "8",
    "decode_dp_attention": "false",
    "isl": "1024",
    "osl": "1024",
    "length_distribution": "uniform int [0.8*L, L]",
    "load": "closed:conc=4",
}
"""Of the shape of InferenceMAX's rows."""
SMALL = {
    **APART,
    "model": "gpt-oss-120b",
    "weight_precision": "mxfp4",
    "num_gpus": "3",
    "prefill_gpus": "1",
    "prefill_tp": "1",
    "prefill_ep": "1",
    "decode_gpus": "2",
    "decode_workers": "1",
    "decode_tp": "2",
    "decode_ep": "1",
    "isl_mean": "922",
    "osl": "64",
    "osl_mean": "58",
    "load": "closed:conc=1",
}
TOGETHER = {
    "hardware": "H100-SXM-80GB",
    "model": "MiniMax-M2.5",
    "framework": "vllm",
    "weight_precision": "fp8",
    "num_gpus": "8",
    "tp": "8",
    "isl": "8192",
    "osl": "1024",
    "load": "closed:conc=4",
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def row(base: Mapping[str, str] = APART, **texts: str) -> Row:
    return Row(line=2, texts={**base, **texts})


def test_each_pool_has_its_own_sharding_and_copies(catalog: Catalog) -> None:
    case = case_of(row(), catalog)
    prefill, decode = case.deployment.pools
    assert (prefill.role, prefill.parallel, prefill.replicas) == (Role.PREFILL, Parallel(tp=4, ep=4), 1)
    assert (decode.role, decode.parallel, decode.replicas) == (Role.DECODE, Parallel(tp=8, ep=8), 4)
    assert case.counts_chips == 36


def test_attention_data_parallel_makes_ranks_of_tp(catalog: Catalog) -> None:
    case = case_of(
        row(decode_workers="1", decode_tp="32", decode_ep="32", decode_dp_attention="true"), catalog
    )
    assert case.deployment.pools[1].parallel == Parallel(tp=1, dp=32, ep=32)
    settings = case.serving.pools[1].settings
    assert isinstance(settings, TrtllmOptions)
    assert settings.attention_dp_enable_balance


def test_what_a_row_does_not_say_is_noted(catalog: Catalog) -> None:
    case = case_of(row(decode_dp_attention=""), catalog)
    assert case.deployment.pools[1].parallel == Parallel(tp=1, dp=8, ep=8)
    assert any(note.startswith("decode: attention data parallel") for note in case.notes)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"num_gpus": "40"}, "do not sum to num_gpus=40"),
        ({"decode_workers": "5"}, "5 decode workers do not divide 32 chips"),
        ({"prefill_gpus": ""}, "prefill_gpus is not said"),
        ({"prefill_tp": "3"}, "prefill_tp=3 does not divide the 4 chips"),
    ],
)
def test_counts_that_contradict_each_other_are_refused(
    catalog: Catalog, texts: dict[str, str], reason: str
) -> None:
    with pytest.raises(UnmappedError, match=reason):
        case_of(row(**texts), catalog)


def test_where_engines_refuse_to_split_experts_they_stay_whole(catalog: Catalog) -> None:
    """1536 neurons over 8 ranks are 192, no multiple of the 128 of a scale."""
    eight = case_of(row(TOGETHER), catalog)
    assert eight.deployment.pools[0].parallel == Parallel(tp=8, ep=8)
    assert any("refuse to split these experts" in note for note in eight.notes)
    four = case_of(row(TOGETHER, tp="4", num_gpus="4"), catalog)
    assert four.deployment.pools[0].parallel == Parallel(tp=4)
    wide = case_of(row(TOGETHER, weight_precision="bf16"), catalog)
    assert wide.deployment.pools[0].parallel == Parallel(tp=8)


def test_heads_that_cannot_be_split_stay_a_reason(catalog: Catalog) -> None:
    outcome = predict_row(row(TOGETHER, tp="7", num_gpus="7"), catalog)
    assert "tp=7" in outcome.reason
    assert outcome.predicted == {}


def test_a_measured_hand_off_is_waited_for(catalog: Catalog) -> None:
    """To the closed form and to every request's first token, once per hand-off."""
    slow = catalog.tuned(Tuning(parameters=(Parameter(name="handoff_s", scope="trtllm", value=0.05),)))
    plain = catalog.tuned(NEUTRAL)
    took = []
    for each in (plain, slow):
        found = case_of(row(SMALL), each).deployment
        took.append(handoff_s(*found.pools, found.model, found.precision, 922))
    assert took[1] - took[0] == pytest.approx(0.05)
    first = [predict_row(row(SMALL), each).predicted for each in (plain, slow)]
    assert first[1]["mean_e2e_s"] - first[0]["mean_e2e_s"] == pytest.approx(0.05, rel=1e-6)


def test_throughput_is_per_chip_of_both_pools(catalog: Catalog) -> None:
    found = predict_row(row(SMALL), catalog.tuned(NEUTRAL)).predicted
    # One request at a time: Little's law with the chips of both pools.
    tokens = found["total_tput_per_gpu"] * 3 * found["mean_e2e_s"]
    assert tokens == pytest.approx(922 + 58, rel=0.02)
    rest_s = found["mean_e2e_s"] - found["mean_ttft_s"]
    assert rest_s == pytest.approx(57 * found["mean_tpot_s"], rel=0.02)
