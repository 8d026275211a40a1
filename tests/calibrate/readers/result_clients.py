"""One run, written down as each benchmark client would: the formulas and keys of their writers.

``python tests/calibrate/readers/result_clients.py`` rewrites the files in ``data``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenroof.calibrate.readers import ResultRow

Read = Callable[..., tuple[ResultRow, ...]]
Refused = Callable[..., str]
"""Fixtures ``read`` and ``refused``."""

DATA = Path(__file__).parent / "data"
MODEL = "meta-llama/Llama-3.1-8B-Instruct"


@dataclass(frozen=True)
class Served:
    """Requests that a client sent, and when their chunks came back. [s, tokens]"""

    isl: np.ndarray
    osl: np.ndarray
    start_s: np.ndarray
    ttft_s: np.ndarray
    gaps_s: tuple[np.ndarray, ...]
    concurrency: int

    @property
    def e2e_s(self) -> np.ndarray:
        return np.array([t + g.sum() for t, g in zip(self.ttft_s, self.gaps_s, strict=True)])

    @property
    def tpot_s(self) -> np.ndarray:
        return (self.e2e_s - self.ttft_s) / (self.osl - 1)

    @property
    def duration_s(self) -> float:
        return float((self.start_s + self.e2e_s).max())

    @property
    def rate(self) -> tuple[float, float]:
        """Prompt and answer tokens per second."""
        return self.isl.sum() / self.duration_s, self.osl.sum() / self.duration_s


def served(seed: int = 7, count: int = 12, concurrency: int = 4, chunk: int = 1) -> Served:
    """A closed loop with lengths in [0.8 L, L]; answers come in chunks of so many tokens after the first."""
    rng = np.random.default_rng(seed)
    isl, osl = rng.integers(80, 101, count), chunk * rng.integers(16, 21, count) + 1
    ttft = rng.uniform(0.02, 0.09, count).round(4)
    gaps = tuple(rng.uniform(0.008, 0.016, (n - 1) // chunk).round(4) for n in osl)
    free, start = [0.0] * concurrency, []
    for t, g in zip(ttft, gaps, strict=True):
        slot = int(np.argmin(free))
        start.append(free[slot])
        free[slot] += float(t + g.sum())
    return Served(isl, osl, np.array(start), ttft, gaps, concurrency)


def _stats(seconds: Any, name: str, percentiles: tuple[int, ...]) -> dict[str, float]:
    found = {"mean": np.mean(seconds), "median": np.median(seconds), "std": np.std(seconds)}
    found |= {f"p{p}": np.percentile(seconds, p) for p in percentiles}
    return {f"{key}_{name}_ms": float(value) * 1000 for key, value in found.items()}


def _lists(run: Served) -> dict[str, Any]:
    return {
        "input_lens": run.isl.tolist(),
        "output_lens": run.osl.tolist(),
        "ttfts": run.ttft_s.tolist(),
        "itls": [g.tolist() for g in run.gaps_s],
        "start_times": run.start_s.tolist(),
        "errors": [""] * len(run.isl),
    }


def vllm(run: Served, *, detailed: bool = False, **extra: Any) -> dict[str, Any]:
    """vllm bench serve (0.11 to 0.13): --percentile-metrics ttft,tpot,itl by default, E2E on request."""
    result = {
        "date": "20260112-101500",
        "endpoint_type": "openai",
        "backend": "openai",
        "label": None,
        "model_id": MODEL,
        "tokenizer_id": MODEL,
        "num_prompts": len(run.isl),
        "request_rate": "inf",
        "burstiness": 1.0,
        "max_concurrency": run.concurrency,
        "duration": run.duration_s,
        "completed": len(run.isl),
        "failed": 0,
        "total_input_tokens": int(run.isl.sum()),
        "total_output_tokens": int(run.osl.sum()),
        "request_throughput": len(run.isl) / run.duration_s,
        "request_goodput": None,
        "output_throughput": run.rate[1],
        "total_token_throughput": sum(run.rate),
        "max_output_tokens_per_s": 300.0,
        "max_concurrent_requests": run.concurrency,
        **_stats(run.ttft_s, "ttft", (99,)),
        **_stats(run.tpot_s, "tpot", (99,)),
        **_stats(np.concatenate(run.gaps_s), "itl", (99,)),
    }
    lists = _lists(run) if detailed else _stats(run.e2e_s, "e2el", (99,))
    return {**result, **lists, **extra}


def sglang(run: Served, **extra: Any) -> dict[str, Any]:
    """sglang.bench_serving (0.5): one line of the JSONL, without --output-details."""
    return {
        "tag": None,
        "backend": "sglang",
        "dataset_name": "random",
        "request_rate": float("inf"),
        "max_concurrency": run.concurrency,
        "sharegpt_output_len": None,
        "random_input_len": 100,
        "random_output_len": 20,
        "random_range_ratio": 0.8,
        "duration": run.duration_s,
        "completed": len(run.isl),
        "total_input_tokens": int(run.isl.sum()),
        "total_input_text_tokens": int(run.isl.sum()),
        "total_input_vision_tokens": 0,
        "total_output_tokens": int(run.osl.sum()),
        "total_output_tokens_retokenized": int(run.osl.sum()) - 3,
        "request_throughput": len(run.isl) / run.duration_s,
        "input_throughput": run.rate[0],
        "output_throughput": run.rate[1],
        "total_throughput": sum(run.rate),
        **_stats(run.e2e_s, "e2e_latency", (90, 99)),
        **_stats(run.ttft_s, "ttft", (99,)),
        **_stats(run.tpot_s, "tpot", (99,)),
        **_stats(np.concatenate(run.gaps_s), "itl", (95, 99)),
        "concurrency": float(run.e2e_s.sum() / run.duration_s),
        "accept_length": None,
        **extra,
    }


SERVER_INFO = {
    "model_path": MODEL,
    "version": "0.5.6",
    "quantization": "fp8",
    "kv_cache_dtype": "auto",
    "tp_size": 2,
    "pp_size": 1,
    "dp_size": 1,
    "ep_size": 1,
    "enable_dp_attention": False,
    "max_running_requests": 256,
    "chunked_prefill_size": 8192,
    "disable_radix_cache": True,
    "speculative_algorithm": None,
    "speculative_num_steps": None,
    "internal_states": [{"avg_spec_accept_length": None}],
}
"""Some of the arguments that a server of SGLang 0.5 answers with under /server_info."""


def _distribution(values: Any) -> dict[str, Any]:
    nine = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}
    return {
        "mean": float(np.mean(values)),
        "median": float(np.median(values)),
        "std_dev": float(np.std(values)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "count": len(values),
        "total_sum": float(np.sum(values)),
        "percentiles": {key: float(np.percentile(values, p)) for key, p in nine.items()},
    }


def _weighted(values: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    return {**_distribution(values), "mean": float(np.average(values, weights=weights))}


def guidellm(run: Served, *, requests: bool = True) -> dict[str, Any]:
    """guidellm benchmark (0.4 and 0.5) with --rate-type concurrent: a report with one benchmark."""
    metrics = {
        "request_latency": _distribution(run.e2e_s),
        "prompt_token_count": _distribution(run.isl),
        "output_token_count": _distribution(run.osl),
        "time_to_first_token_ms": _distribution(run.ttft_s * 1e3),
        "time_per_output_token_ms": _weighted(run.e2e_s * 1e3 / run.osl, run.osl),
        "inter_token_latency_ms": _weighted(run.tpot_s * 1e3, run.osl - 1),
        "output_tokens_per_second": {"mean": run.rate[1]},
        "tokens_per_second": {"mean": sum(run.rate)},
    }
    each = [
        {
            "type_": "generative_request_stats",
            "output_tokens": int(n),
            "inter_token_latency_ms": 1e3 * float(t),
        }
        for n, t in zip(run.osl, run.tpot_s, strict=True)
    ]
    benchmark = {
        "type_": "generative_benchmark",
        "config": {
            "strategy": {"type_": "concurrent", "streams": run.concurrency, "max_concurrency": 4},
            "backend": {"model": MODEL},
        },
        "metrics": {
            "request_totals": {
                "successful": len(run.isl),
                "incomplete": 0,
                "errored": 0,
                "total": len(run.isl),
            },
            **{name: {"successful": one, "total": one} for name, one in metrics.items()},
        },
        "requests": {"successful": each if requests else each[:2], "incomplete": [], "errored": []},
        "start_time": 1767225600.0,
        "duration": run.duration_s,
        "warmup_duration": 0.0,
    }
    args = {"model": None, "data": ["prompt_tokens=100,prompt_tokens_stdev=8,output_tokens=20"]}
    return {"metadata": {"version": 1, "guidellm_version": "0.5.0"}, "args": args, "benchmarks": [benchmark]}


def _block(values: Any, unit: str) -> dict[str, Any]:
    percentiles = {f"p{p}": float(np.percentile(values, p)) for p in (1, 5, 10, 25, 50, 75, 90, 95, 99)}
    extremes = {"min": float(np.min(values)), "max": float(np.max(values)), "std": float(np.std(values))}
    return {"unit": unit, "avg": float(np.mean(values)), **percentiles, **extremes, "count": len(values)}


def aiperf(run: Served, **config: Any) -> dict[str, Any]:
    """aiperf profile (0.8 and later, schema 1.2): --concurrency, --isl, --osl."""
    phases = [
        {"name": "warmup", "kind": "warmup", "type": "concurrency", "concurrency": 2},
        {"name": "profiling", "kind": "profiling", "type": "concurrency", "concurrency": run.concurrency},
    ]
    dataset = {"name": "default", "type": "synthetic", "prompts": {"isl": {"mean": 100}, "osl": {"mean": 20}}}
    return {
        "schema_version": "1.2",
        "aiperf_version": "0.8.0",
        "input_config": {
            "models": {"items": [{"name": MODEL}]},
            "phases": phases,
            "datasets": [dataset],
            **config,
        },
        "was_cancelled": False,
        "start_time": "2026-01-12T10:15:00",
        "request_count": {"unit": "requests", "avg": float(len(run.isl))},
        "request_throughput": {"unit": "requests/sec", "avg": len(run.isl) / run.duration_s},
        "output_token_throughput": {"unit": "tokens/sec", "avg": run.rate[1]},
        "total_token_throughput": {"unit": "tokens/sec", "avg": sum(run.rate)},
        "time_to_first_token": _block(run.ttft_s * 1e3, "ms"),
        "inter_token_latency": _block(run.tpot_s * 1e3, "ms"),
        "inter_chunk_latency": _block(np.concatenate(run.gaps_s) * 1e3, "ms"),
        "request_latency": _block(run.e2e_s * 1e3, "ms"),
        "input_sequence_length": _block(run.isl, "tokens"),
        "output_sequence_length": _block(run.osl, "tokens"),
    }


def genai_perf(run: Served) -> dict[str, Any]:
    """genai-perf profile (0.0.13): throughput of answers alone, options of the command beside it."""
    written = aiperf(run)
    gone = ("schema_version", "aiperf_version", "start_time", "was_cancelled", "total_token_throughput")
    kept = {key: value for key, value in written.items() if key not in (*gone, "inter_chunk_latency")}
    options = {"model": [MODEL], "concurrency": run.concurrency, "request_rate": None, "streaming": True}
    lengths = {"synthetic_input_tokens_mean": 100, "output_tokens_mean": 20}
    return {**kept, "input_config": {**options, **lengths, "subcommand": "profile"}}


def _summary(values: Any) -> dict[str, float]:
    found = {
        "mean": np.mean(values),
        "min": np.min(values),
        "max": np.max(values),
        "median": np.median(values),
    }
    found |= {f"p{p:g}": np.percentile(values, p) for p in (0.1, 10, 90, 99, 99.9)}
    return {key: float(value) for key, value in found.items()}


def inference_perf(run: Served, *, tpot_fraction: float = 1.0, **load: Any) -> dict[str, Any]:
    """inference-perf (0.3): report of a stage; older ones counted streamed events as tokens."""
    return {
        "load_summary": {
            "count": len(run.isl),
            "schedule_delay": _summary([0.0, 0.001]),
            "send_duration": 1.0,
            "requested_rate": 10.0,
            "achieved_rate": 11.0,
            **load,
        },
        "successes": {
            "count": len(run.isl),
            "latency": {
                "request_latency": _summary(run.e2e_s),
                "normalized_time_per_output_token": _summary(run.e2e_s / run.osl),
                "time_per_output_token": _summary(run.tpot_s * tpot_fraction),
                "time_to_first_token": _summary(run.ttft_s),
                "inter_token_latency": _summary(np.concatenate(run.gaps_s)),
            },
            "throughput": {
                "input_tokens_per_sec": run.rate[0],
                "output_tokens_per_sec": run.rate[1],
                "total_tokens_per_sec": sum(run.rate),
                "requests_per_sec": len(run.isl) / run.duration_s,
            },
            "prompt_len": _summary(run.isl),
            "output_len": _summary(run.osl),
        },
        "failures": {"count": 0, "request_latency": None, "prompt_len": None},
    }


def inferencex(run: Served, *, gpus: int = 2, **extra: Any) -> dict[str, Any]:
    """InferenceMAX utils/process_result.py (2025-12) over a result of its client: agg_<name>.json."""
    result = vllm(run)
    data = {
        "hw": "h100-nb_3",
        "conc": run.concurrency,
        "image": "vllm/vllm-openai:v0.13.0",
        "model": MODEL,
        "infmax_model_prefix": "llama",
        "framework": "vllm",
        "precision": "fp8",
        "spec_decoding": "none",
        "disagg": False,
        "isl": 100,
        "osl": 20,
        "is_multinode": False,
        "tp": gpus,
        "ep": 1,
        "dp_attention": "false",
        "tput_per_gpu": sum(run.rate) / gpus,
        "output_tput_per_gpu": run.rate[1] / gpus,
        "input_tput_per_gpu": run.rate[0] / gpus,
    }
    seconds = {key[:-3]: value / 1000 for key, value in result.items() if key.endswith("_ms")}
    speeds = {key[:-3].replace("tpot", "intvty"): 1000 / result[key] for key in result if "tpot" in key}
    return {**data, **seconds, **speeds, **extra}


def files() -> dict[str, str]:
    """Every file of ``data`` by name."""
    run, other = served(), served(seed=8, concurrency=2)
    lines = [sglang(run, server_info=SERVER_INFO), sglang(other, server_info=SERVER_INFO)]
    return {
        "vllm.json": json.dumps(vllm(run)),
        "vllm-detailed.json": json.dumps(vllm(run, detailed=True)),
        "vllm-append.jsonl": "\n".join(
            json.dumps(vllm(one, tp="2", hardware="h100")) for one in (run, other)
        ),
        "sglang.jsonl": "".join(json.dumps(line) + "\n" for line in lines),
        "guidellm.json": json.dumps(guidellm(run)),
        "aiperf.json": json.dumps(aiperf(run), indent=2),
        "genai-perf.json": json.dumps(genai_perf(run), indent=2),
        "inference-perf-stage.json": json.dumps(inference_perf(run, concurrency=4), indent=2),
        "inferencex.json": json.dumps([inferencex(run), inferencex(other)], indent=2),
    }


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    for name, text in files().items():
        (DATA / name).write_text(text, encoding="utf-8")
