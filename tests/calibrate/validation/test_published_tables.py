"""Rows of published tables become queues, searches for a rate, shardings and limits of their clients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tokenroof.calibrate.validation.benches import trtllm_bench
from tokenroof.calibrate.validation.capacity import full_rate_per_s, limits_of
from tokenroof.calibrate.validation.case import case_of
from tokenroof.calibrate.validation.core import Row, UnmappedError
from tokenroof.calibrate.validation.predict import predict_row
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.deploy.core import Pool
from tokenroof.deploy.simulated.engines.trtllm import TrtllmOptions
from tokenroof.graph.core import Parallel

MLPERF = {
    "source": "MLPerf Inference v5.1",
    "hardware": "H200-SXM-141GB",
    "num_gpus": "8",
    "model": "Llama-3.1-8B-Instruct",
    "weight_precision": "fp8",
    "framework": "TensorRT",
    "spec_decoding": "none",
    "isl_mean": "778",
    "osl_mean": "73",
    "length_distribution": "CNN/DailyMail, max out 128",
    "load": "offline:max",
    "output_tput_per_gpu": "7288",
    "scenario": "Offline",
}
SERVER = MLPERF | {
    "load": "open:poisson at max qps meeting SLO",
    "scenario": "Server",
    "constraint": "p99 TTFT<=2s, TPOT<=100ms",
    "output_tput_per_gpu": "7246",
}
GPTJ = MLPERF | {
    "source": "MLPerf Inference v4.1",
    "hardware": "H100-SXM-80GB",
    "model": "GPT-J-6B",
    "weight_precision": "fp16",
    "isl_mean": "550",
    "osl_mean": "70",
    "output_tput_per_gpu": "2467.86",
    "notes": "weight_data_types label is the checkpoint's (v4.1 says fp16; runs are FP8 on H100+).",
}
BENCH = {
    "source": "TensorRT-LLM perf-overview v1.0",
    "hardware": "B200-SXM-180GB",
    "num_gpus": "1",
    "model": "Llama-3.3-70B-Instruct",
    "weight_precision": "nvfp4",
    "kv_precision": "fp8",
    "framework": "trt-llm (pytorch backend)",
    "tp": "1",
    "ep": "1",
    "dp_attention": "false",
    "pp": "1",
    "isl": "1000",
    "osl": "1000",
    "length_distribution": "fixed (stdev 0), random tokens",
    "load": "offline:max (all requests at t=0)",
    "n_requests": "1500",
    "total_tput_per_gpu": "14014",
    "notes": "trtllm-bench throughput; batch limits = engine default unless tuned.",
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def _row(texts: dict[str, str], **changed: str) -> Row:
    return Row(line=2, texts=texts | changed)


def test_a_tuned_entry_is_sharded_over_its_chips_with_a_narrow_cache(catalog: Catalog) -> None:
    case = case_of(_row(MLPERF), catalog)
    assert case.deployment.precision.kv == "fp8"
    assert case.deployment.pools[0].replicas == 1
    assert case.counts_chips == case.deployment.pools[0].parallel.chips
    assert case.steady
    assert any("serves most per chip" in note for note in case.notes)


def test_a_cache_format_that_is_said_is_kept(catalog: Catalog) -> None:
    assert case_of(_row(MLPERF, kv_precision="bf16"), catalog).deployment.precision.kv == "bf16"


def test_drawn_answers_end_where_the_data_set_cuts_them_and_keep_their_mean(catalog: Catalog) -> None:
    sent = case_of(_row(MLPERF), catalog).requests
    assert sent.osl_tokens.max() == 128
    assert sent.osl_tokens.mean() == pytest.approx(73.0, rel=0.02)
    assert sent.isl_tokens.mean() == pytest.approx(778.0, rel=0.02)


def test_drawn_lengths_stay_in_the_context(catalog: Catalog) -> None:
    texts = MLPERF | {"model": "Llama-2-70b-chat", "isl_mean": "294.4", "osl_mean": "293.7"}
    sent = case_of(_row(texts, length_distribution="OpenOrca, max out 1024"), catalog).requests
    assert (sent.isl_tokens + sent.osl_tokens).max() <= 4096
    assert sent.osl_tokens.max() <= 1024


def test_answers_as_long_as_the_context_leave_no_room(catalog: Catalog) -> None:
    with pytest.raises(UnmappedError, match="longer than the context"):
        case_of(_row(GPTJ, osl_mean="500", length_distribution="mix, max out 20k"), catalog)


def test_four_beams_are_one_answer_four_times_as_long(catalog: Catalog) -> None:
    case = case_of(_row(GPTJ), catalog)
    assert case.beams == 4
    assert case.requests.osl_tokens.mean() == pytest.approx(280.0, rel=0.02)
    alone = case_of(_row(GPTJ, source="my own run"), catalog)
    assert alone.beams == 1
    assert alone.requests.osl_tokens.mean() == pytest.approx(70.0, rel=0.02)


def test_beams_do_not_count_as_answers(catalog: Catalog) -> None:
    row = _row(GPTJ)
    found = predict_row(row, catalog)
    assert found.reason == ""
    # Without the beams it would be near 6000.
    assert found.predicted["output_tput_per_gpu"] == pytest.approx(2468.0, rel=0.35)
    ratio = found.predicted["input_tput_per_gpu"] / found.predicted["output_tput_per_gpu"]
    assert ratio == pytest.approx(550.0 / 70.0, rel=0.05)


def test_the_highest_rate_never_serves_more_than_a_flood(catalog: Catalog) -> None:
    loose = predict_row(_row(SERVER, constraint="p99 TTFT<=60s, TPOT<=10s"), catalog)
    tight = predict_row(_row(SERVER, constraint="p99 TTFT<=100ms, TPOT<=20ms"), catalog)
    offline = predict_row(_row(MLPERF), catalog)
    best = offline.predicted["output_tput_per_gpu"]
    assert loose.predicted["output_tput_per_gpu"] == pytest.approx(best, rel=0.1)
    assert tight.predicted["output_tput_per_gpu"] < 0.9 * loose.predicted["output_tput_per_gpu"]


def test_limits_that_nothing_meets_are_the_reason(catalog: Catalog) -> None:
    found = predict_row(_row(SERVER, constraint="p99 TTFT<=1ms, TPOT<=1s"), catalog)
    assert not found.predicted
    assert "no rate meets the limits" in found.reason


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        ("p99 TTFT<=2s, TPOT<=200ms", (2.0, 0.2, None)),
        ("p99 TTFT<=450ms, TPOT<=40ms", (0.45, 0.04, None)),
        ("p99 latency 20s", (None, None, 20.0)),
    ],
)
def test_limits_are_read(said: str, limits: tuple[float | None, ...]) -> None:
    found = limits_of(_row(SERVER, constraint=said), "llama-3.1-8b")
    assert (found.ttft_s, found.tpot_s, found.e2e_s) == pytest.approx(limits)


def test_rules_alone_are_enough_only_where_they_are_known() -> None:
    row = _row(SERVER, constraint="see MLPerf v6.0 rules", scenario="Interactive")
    assert limits_of(row, "deepseek-r1").tpot_s == pytest.approx(0.015)
    with pytest.raises(UnmappedError, match="states no latency limit"):
        limits_of(row, "llama-3.1-8b")
    with pytest.raises(UnmappedError, match="states no latency limit"):
        limits_of(_row(SERVER, constraint=""), "deepseek-r1")


def test_the_full_half_of_a_queue_leaves_out_its_ends() -> None:
    finish_s = np.concatenate((np.full(25, 100.0), 100.0 + np.arange(1, 51) / 10.0, np.full(25, 900.0)))
    assert full_rate_per_s(finish_s) < 10.0 / 0.99
    steady_s = np.arange(1000) / 5.0
    assert full_rate_per_s(steady_s) == pytest.approx(5.0)


def test_lengths_and_averages_that_are_not_said_are_reasons(catalog: Catalog) -> None:
    found = predict_row(_row(MLPERF, isl_mean="", osl_mean=""), catalog)
    assert "neither isl nor isl_mean is said" in found.reason
    found = predict_row(_row(MLPERF, load="production 24h average"), catalog)
    assert "an average over real traffic" in found.reason


def test_a_board_of_two_chips_counts_once(catalog: Catalog) -> None:
    texts = MLPERF | {"hardware": "Arc-Pro-B60", "num_gpus": "4", "weight_precision": "int8"}
    case = case_of(_row(texts), catalog)
    assert case.counts_chips == case.deployment.pools[0].parallel.chips / 2
    case = case_of(_row(texts, source="my own run"), catalog)
    assert case.counts_chips == case.deployment.pools[0].parallel.chips


def test_prompts_alone_fill_the_context(catalog: Catalog) -> None:
    texts = {
        "hardware": "TPU-v4",
        "num_gpus": "64",
        "model": "PaLM-540B",
        "weight_precision": "bf16",
        "kv_precision": "bf16",
        "framework": "jax-internal",
        "isl": "2048",
        "isl_mean": "2048",
        "load": "large static batch",
        "scenario": "prefill only (76% MFU)",
        "input_tput_per_gpu": "193.393",
    }
    found = predict_row(_row(texts), catalog)
    assert found.reason == ""
    assert found.predicted["input_tput_per_gpu"] == pytest.approx(193.0, rel=0.4)


def _bench(catalog: Catalog, *, pp: int = 1, lengths: tuple[int, int] = (1000, 1000)) -> TrtllmOptions:
    model = catalog.model("Llama-3.1-8B-Instruct")
    pool = Pool(chip=catalog.chip("H100-SXM-80GB"), engine=catalog.engine("trtllm"), parallel=Parallel(pp=pp))
    precision = replace(model.precision, weights="fp8", experts="fp8", kv="fp8")
    found = trtllm_bench(pool, model, precision, *lengths)
    assert found is not None
    return found


def test_the_client_sets_limits_from_an_estimate_of_the_cache(catalog: Catalog) -> None:
    # 85 GB - 8 GB = 77 GB, 0.9 of it over 64 KiB x 2000 tokens: about 530 sequences, in steps of 128.
    found = _bench(catalog)
    assert found.max_batch_size == 640
    assert found.max_num_tokens == 2048
    assert found.enable_chunked_context is False
    assert found.cuda_graph_batch_sizes is not None
    assert found.cuda_graph_batch_sizes[-1] == 640


def test_a_step_takes_a_whole_prompt(catalog: Catalog) -> None:
    found = _bench(catalog, lengths=(8192, 1024))
    assert found.max_batch_size is not None
    assert found.max_num_tokens == 8192 + found.max_batch_size


def test_the_limit_of_a_pipeline_is_that_of_all_its_micro_batches(catalog: Catalog) -> None:
    # Twice the cache and half the layers' share of it each: 4096 at most, over two stages.
    found = _bench(catalog, pp=2, lengths=(128, 128))
    assert found.max_batch_size == 2 * 2048


def test_latent_attention_and_limits_that_are_said_are_left_alone(catalog: Catalog) -> None:
    model = catalog.model("DeepSeek-R1")
    pool = Pool(chip=catalog.chip("B200"), engine=catalog.engine("trtllm"), parallel=Parallel(tp=8))
    assert trtllm_bench(pool, model, model.precision, 1000, 1000) is None
    settings = case_of(_row(BENCH, max_num_seqs="77"), catalog).serving.pools[0].settings
    assert isinstance(settings, TrtllmOptions)
    assert settings.max_batch_size == 77


def test_a_published_table_is_met(catalog: Catalog) -> None:
    found = predict_row(_row(BENCH), catalog)
    assert found.reason == ""
    assert found.predicted["total_tput_per_gpu"] == pytest.approx(14014.0, rel=0.15)
