"""What each client says in its own way: loads, lengths, deployments, speculation, TPOT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import result_clients as clients
from result_clients import Read

from tokenroof.calibrate.readers.wording import acceptance_fraction

RUN = clients.served()


def first(read: Read, content: Any, **given: str) -> dict[str, str]:
    return dict(read(content, **{"num_gpus": "2", **given})[0].values)


@pytest.mark.parametrize(
    ("said", "load"),
    [
        ({}, "closed:conc=4"),
        ({"max_concurrency": None}, "offline:max (all requests at t=0)"),
        ({"request_rate": 4.0, "max_concurrency": None}, "open:rps=4 Poisson 3s"),
        ({"request_rate": 4, "burstiness": 0.5}, "open:rps=4 gamma, shape 0.5 3s, at most 4 in flight"),
        (
            {"ramp_up_strategy": "linear", "ramp_up_start_rps": 1, "ramp_up_end_rps": 9},
            "open:ramp 1 to 9 requests/s, linear",
        ),
    ],
)
def test_loads_of_vllm(read: Read, said: dict[str, Any], load: str) -> None:
    assert first(read, clients.vllm(RUN, **said))["load"] == load


def test_metadata_of_vllm_are_columns(read: Read) -> None:
    written = clients.vllm(RUN, hardware="h200", tensor_parallel_size="4", kv_precision="fp8", gate="open")
    row = dict(read(written)[0].values)
    assert (row["hardware"], row["tp"], row["kv_precision"]) == ("h200", "4", "fp8")
    assert row["num_gpus"] == "4"
    assert "tp x pp = 4" in row["notes"]
    assert "gate" not in row


def test_what_is_given_replaces_what_the_file_says(read: Read) -> None:
    row = first(read, clients.sglang(RUN, server_info=clients.SERVER_INFO), model=" mine ", num_gpus="1")
    assert (row["model"], row["num_gpus"], row["tp"]) == ("mine", "1", "2")


def test_texts_are_one_line_that_can_be_written(read: Read) -> None:
    assert first(read, clients.vllm(RUN, model_id="a\n b\ud800"))["model"] == "a b?"


def test_vllm_names_no_engine_by_openai(read: Read) -> None:
    assert "framework" not in first(read, clients.vllm(RUN))
    row = first(read, clients.vllm(RUN, backend="vllm"))
    assert row["framework"] == "vllm"
    assert "backend 'vllm'" in row["notes"]


def test_details_fill_what_the_summary_lacks(read: Read) -> None:
    written = clients.vllm(RUN, detailed=True)
    bare = {key: value for key, value in written.items() if not key.endswith("_ms")}
    row = first(read, {**bare, "mean_ttft_ms": None})
    assert float(row["median_tpot_s"]) == pytest.approx(np.median(RUN.tpot_s), rel=1e-6)
    assert float(row["p99_e2e_s"]) == pytest.approx(np.percentile(RUN.e2e_s, 99), rel=1e-6)
    assert row["stream_chunk"] == "1"


def test_requests_that_failed_are_not_counted(read: Read) -> None:
    written = clients.vllm(RUN, detailed=True, completed=11, failed=1)
    for name, value in (("output_lens", 0), ("ttfts", 0.0), ("itls", [])):
        written[name][3] = value
    row = first(
        read, {key: value for key, value in written.items() if not key.endswith("_ms") or "ttft" in key}
    )
    kept = np.delete(RUN.e2e_s, 3)
    assert float(row["mean_e2e_s"]) == pytest.approx(kept.mean(), rel=1e-6)
    assert row["n_requests"] == "11"
    assert "1 requests failed" in row["notes"]


def test_chunks_of_two_tokens_change_itl_and_not_tpot(read: Read) -> None:
    run = clients.served(chunk=2)
    row = first(read, clients.vllm(run, detailed=True))
    assert row["stream_chunk"] == "2"
    assert float(row["mean_itl_s"]) == pytest.approx(2 * float(row["mean_tpot_s"]), rel=0.03)


def test_speculation_of_vllm(read: Read) -> None:
    said = {"spec_decode_acceptance_rate": 50.0, "spec_decode_acceptance_length": 1.75}
    row = first(read, clients.vllm(RUN, **said, spec_decode_num_drafts=100, spec_decode_draft_tokens=200))
    assert row["spec_decoding"] == "speculative k=2 acceptance=0.5"
    assert row["spec_acceptance_length"] == "1.75"


@pytest.mark.parametrize(("fraction", "tokens"), [(0.0, 1), (0.3, 3), (0.9, 7), (1.0, 2)])
def test_acceptance_is_the_inverse_of_the_accepted_length(fraction: float, tokens: int) -> None:
    length = 1 + sum(fraction**i for i in range(1, tokens + 1))
    assert acceptance_fraction(length, tokens) == pytest.approx(fraction, abs=1e-9)


def test_servers_arguments_of_sglang(read: Read) -> None:
    info = {
        **clients.SERVER_INFO,
        "dp_size": 2,
        "speculative_algorithm": "EAGLE3",
        "speculative_num_steps": 3,
    }
    row = dict(read(clients.sglang(RUN, server_info=info, accept_length=2.0))[0].values)
    assert (row["num_gpus"], row["tp"], row["framework"], row["prefix_caching"]) == (
        "4",
        "2",
        "sglang",
        "off",
    )
    assert row["spec_decoding"].startswith("eagle3 k=3 acceptance=0.54")
    inside = dict(read(clients.sglang(RUN, server_info={**info, "enable_dp_attention": True}))[0].values)
    assert (inside["num_gpus"], inside["dp_attention"]) == ("2", "true")


def test_prefill_and_decode_servers_of_sglang(read: Read) -> None:
    side = clients.SERVER_INFO
    info = {"prefill": [side, side], "decode": [{**side, "tp_size": 4}]}
    row = dict(read(clients.sglang(RUN, server_info=info))[0].values)
    assert (row["disagg"], row["num_gpus"], row["prefill_gpus"], row["decode_gpus"]) == (
        "True",
        "8",
        "4",
        "4",
    )
    assert (row["prefill_workers"], row["prefill_tp"], row["decode_tp"]) == ("2", "2", "4")
    assert "tp" not in row


def test_data_sets_of_sglang(read: Read) -> None:
    row = first(read, clients.sglang(RUN, random_range_ratio=1.0))
    assert (row["isl"], row["osl"], row["length_distribution"]) == ("100", "20", "fixed")
    row = first(read, clients.sglang(RUN, dataset_name="sharegpt", request_rate="trace"))
    assert (row["isl"], row["length_distribution"], row["load"]) == ("92", "dataset sharegpt", "open:trace")


def test_guidellm_takes_no_tpot_that_counts_the_first_token(read: Read) -> None:
    written = clients.guidellm(RUN)
    theirs = written["benchmarks"][0]["metrics"]["time_per_output_token_ms"]["successful"]["mean"] / 1e3
    assert float(first(read, written)["mean_tpot_s"]) < 0.9 * theirs


def test_guidellm_weighted_by_tokens_says_so(read: Read) -> None:
    row = first(read, clients.guidellm(RUN, requests=False))
    weighted = np.average(RUN.tpot_s, weights=RUN.osl - 1)
    assert float(row["mean_tpot_s"]) == pytest.approx(weighted, rel=1e-6)
    assert "weighted by tokens" in row["notes"]


@pytest.mark.parametrize(
    ("strategy", "load"),
    [
        ({"type_": "synchronous"}, "closed:conc=1"),
        ({"type_": "throughput", "max_concurrency": None}, "offline:max (all requests at t=0)"),
        ({"type_": "throughput", "max_concurrency": 8}, "closed:conc=8"),
        ({"type_": "constant", "rate": 2.5}, "open:rps=2.5 constant 4.8s"),
        ({"type_": "poisson", "rate": 6.0, "max_concurrency": 512}, "open:rps=6 Poisson 2s"),
    ],
)
def test_strategies_of_guidellm(read: Read, strategy: dict[str, Any], load: str) -> None:
    written = clients.guidellm(RUN)
    benchmark = written["benchmarks"][0]
    benchmark["config"]["strategy"] = strategy
    assert first(read, written)["load"] == load
    old = {key: value for key, value in benchmark.items() if key != "config"}
    assert first(read, {"benchmarks": [{**old, "args": {"strategy": strategy}}]})["load"] == load


def test_guidellm_counts_the_work_of_requests_cut_off(read: Read) -> None:
    written = clients.guidellm(RUN)
    metrics = written["benchmarks"][0]["metrics"]
    metrics["request_totals"]["incomplete"] = 4
    metrics["tokens_per_second"]["total"] = {"mean": 2000.0}
    row = first(read, written)
    assert row["total_tput_per_gpu"] == "1000"
    assert "4 requests were cut off" in row["notes"]


@pytest.mark.parametrize(
    ("config", "load"),
    [
        ({"loadgen": {"concurrency": 9}, "endpoint": {"model_names": ["m"]}}, "closed:conc=9"),
        ({"loadgen": {"request_rate": 6.0, "arrival_pattern": "constant"}}, "open:rps=6 constant 2s"),
        ({"perf_analyzer": {"stimulus": {"concurrency": 3}}, "model_names": ["m"]}, "closed:conc=3"),
        (
            {"phases": [{"name": "profiling", "type": "poisson", "rate": 3, "concurrency": 7}]},
            "open:rps=3 Poisson 4s, at most 7 in flight",
        ),
        ({"phases": [{"name": "profiling", "type": "fixed_schedule"}]}, "open:fixed_schedule"),
    ],
)
def test_configurations_of_aiperf(read: Read, config: dict[str, Any], load: str) -> None:
    assert first(read, {**clients.aiperf(RUN), "input_config": config})["load"] == load


def test_units_of_aiperf_are_read(read: Read) -> None:
    written = clients.aiperf(RUN)
    written["time_to_first_token"] = {"unit": "us", "avg": 2000.0, "p50": 1500.0}
    assert first(read, written)["mean_ttft_s"] == "0.002"


def test_inference_perf_that_counts_events_is_not_believed(read: Read) -> None:
    row = first(read, clients.inference_perf(RUN, tpot_fraction=0.5))
    of_means = (RUN.e2e_s.mean() - RUN.ttft_s.mean()) / (RUN.osl.mean() - 1)
    assert float(row["mean_tpot_s"]) == pytest.approx(of_means, rel=1e-6)
    assert "median_tpot_s" not in row
    assert "ratio of means" in row["notes"]
    assert "0.5" in row["notes"]


def test_loads_of_inference_perf(read: Read) -> None:
    assert first(read, clients.inference_perf(RUN))["load"] == "open:rps=10 1.2s"
    summary = clients.inference_perf(RUN)
    summary["load_summary"] = {"count": 12, "schedule_delay": None}
    assert "load" not in first(read, summary)


def test_disaggregated_inferencex_is_per_role_and_over_all(read: Read) -> None:
    apart = {"disagg": True, "is_multinode": True, "num_prefill_gpu": 4, "num_decode_gpu": 12}
    apart |= {"prefill_tp": 4, "prefill_num_workers": 1, "decode_tp": 4, "decode_num_workers": 3}
    rates = {"tput_per_gpu": 100.0, "output_tput_per_gpu": 40.0, "input_tput_per_gpu": 280.0}
    row = dict(read(clients.inferencex(RUN, **apart, **rates))[0].values)
    assert (row["num_gpus"], row["prefill_gpus"], row["decode_workers"]) == ("16", "4", "3")
    assert (row["output_tput_per_decode_gpu"], row["output_tput_per_gpu"]) == ("40", "30")
    assert (row["input_tput_per_prefill_gpu"], row["input_tput_per_gpu"]) == ("280", "70")
    assert float(row["output_tput_per_gpu"]) + float(row["input_tput_per_gpu"]) == 100


def test_interactivity_is_one_over_tpot(read: Read) -> None:
    written = clients.inferencex(RUN)
    speeds = {key: value for key, value in written.items() if "tpot" not in key}
    assert first(read, speeds)["median_tpot_s"] == first(read, written)["median_tpot_s"]


def test_the_first_aggregates_of_inferencemax(read: Read) -> None:
    new = {
        "image",
        "infmax_model_prefix",
        "isl",
        "osl",
        "disagg",
        "spec_decoding",
        "is_multinode",
        "input_tput_per_gpu",
    }
    old = {key: value for key, value in clients.inferencex(RUN, mtp="on").items() if key not in new}
    row = dict(read(old)[0].values)
    assert (row["spec_decoding"], row["num_gpus"], row["hardware"]) == ("mtp", "2", "h100")
    assert float(row["input_tput_per_gpu"]) == pytest.approx(RUN.rate[0] / 2, rel=1e-6)
    assert "length_distribution" not in row


def test_a_file_with_gaps_alone_leaves_tpot_blank(read: Read) -> None:
    written = {
        key: value for key, value in clients.vllm(RUN).items() if "tpot" not in key and "e2el" not in key
    }
    row = first(read, written)
    assert "mean_tpot_s" not in row
    assert "TPOT left blank" in row["notes"]


def test_zero_is_not_a_latency(read: Read) -> None:
    row = first(read, clients.vllm(RUN, mean_ttft_ms=0.0, median_ttft_ms=0.0))
    assert "mean_ttft_s" not in row


def test_lengths_tell_their_distribution(read: Read) -> None:
    def spread(isl: np.ndarray, osl: np.ndarray) -> str:
        written = clients.aiperf(RUN)
        written["input_sequence_length"] = clients._block(isl, "tokens")
        written["output_sequence_length"] = clients._block(osl, "tokens")
        return first(read, written)["length_distribution"]

    even = np.arange(800, 1201)
    assert spread(np.full(9, 1000), np.full(9, 200)) == "fixed"
    assert spread(np.array([1000, 1001, 999]), np.full(3, 200)) == "fixed"
    assert spread(even, even * 2).startswith("uniform int [0.8*L, 1.2*L]")
    assert spread(np.array([1, 1, 1, 4000]), even) == "observed: ISL 1..4000, OSL 800..1200"
