"""Unit and definition of every metric of a simulated run.

A name may carry what it is of after a colon: ``memory_fraction:hbm``, ``ttft_p99_s:chat``,
``busy_fraction:prefill``; its definition is that of the part before.
"""

from __future__ import annotations

from tokenroof.deploy.core import Metric
from tokenroof.deploy.metrics import GLOSSARY, Term
from tokenroof.serve.metrics import DEFINITIONS

QUANTILES = ("p50", "p90", "p95", "p99")
"""Beside the mean, which goes by the plain name."""

LATENCIES = ("ttft", "tpot", "e2e", "queue", "itl", "transfer")

_WHOLE = "; over the whole run"

TERMS: dict[str, Term] = {
    **{name: Term(*term) for name, term in DEFINITIONS.items()},
    "request_rate_per_s": Term("1/s", "requests sent in the span over its length"),
    "output_tokens_per_s_per_chip": Term(
        "tokens/s", "output tokens over the span, per chip of the deployment"
    ),
    "total_tokens_per_s_per_chip": Term(
        "tokens/s", "prompt and output tokens over the span, per chip of the deployment"
    ),
    "prefill_tokens_per_s_per_chip": Term(
        "tokens/s", "prompt tokens computed in the span, recomputation included, per chip of the pool"
    ),
    "decode_tokens_per_s_per_chip": Term(
        "tokens/s", "tokens of decode steps in the span, per chip of the pool"
    ),
    "output_tokens_per_s_per_user": Term("tokens/s", "1 / mean time per output token: interactivity"),
    "chips": Term("chips", "chips of the deployment at the start, spares included"),
    "mean_chips": Term("chips", "chips that are paid for, mean over the run: replicas that come and go"),
    "requests": Term("requests", "all requests of the workload"),
    "completed_requests": Term("requests", "requests whose last token came out"),
    "rejected_requests": Term("requests", "requests that were not taken; the log says why"),
    "failed_requests": Term("requests", "requests that were lost; the log says why"),
    "in_flight_requests": Term("requests", "requests in progress when the run was interrupted"),
    "queue_growth_requests_per_s": Term(
        "1/s", "growth of the requests in the system while requests are sent: above 0 only when unstable"
    ),
    "running_seqs": Term(
        "sequences", "sequences in prefill or decode, per replica that is up, mean over the span"
    ),
    "waiting_seqs": Term("sequences", "requests in line, all replicas, mean over the span"),
    "decode_batch_seqs": Term(
        "sequences", "sequences of a step that decodes, mean over the steps (of the busiest rank times ranks)"
    ),
    "kv_used_fraction": Term("1", "blocks of cache in use over blocks, mean over the span"),
    "kv_peak_fraction": Term("1", "most blocks in use on a replica over its blocks"),
    "preemptions": Term("1", "how often a sequence lost its blocks and was computed again"),
    "retries": Term("1", "how often a request was sent to another replica"),
    "replicas_up": Term("replicas", "replicas that serve, mean over the span"),
    "mfu_fraction": Term(
        "1", "arithmetic over what the peaks of all chips allow, idle time included" + _WHOLE
    ),
    "compute_fraction": Term("1", "arithmetic at the peaks over the time that replicas are up" + _WHOLE),
    "memory_fraction": Term(
        "1", "bytes over what a memory tier of a chip could move while replicas are up" + _WHOLE
    ),
    "network_fraction": Term(
        "1", "bytes over what a chip's links of a fabric could move while replicas are up" + _WHOLE
    ),
    "working_fraction": Term(
        "1", "time in which a pool's own operators run over the time up: the rest is waiting" + _WHOLE
    ),
    "limit_fraction": Term("1", "part of the steps' time that a resource limits" + _WHOLE),
    "link_fraction": Term("1", "time that the hand-off link is in use over the time up" + _WHOLE),
    "slowed_fraction": Term("1", "time in slowed steps over the time up" + _WHOLE),
    "tier_fraction": Term("1", "time that an offload tier is being read over the run, all replicas"),
    "tier_loaded_bytes": Term("bytes", "cache loaded from an offload tier"),
    "tier_stored_bytes": Term("bytes", "cache written to an offload tier"),
    "run_s": Term("s", "simulated time from the first request to the last token"),
    "run_energy_j": Term("J", "energy of the chips, idle time included" + _WHOLE),
    "run_facility_energy_j": Term("J", "energy at the meter: servers and cooling included" + _WHOLE),
    "run_usd": Term("USD", "price of the chips" + _WHOLE),
    "run_gco2e_operational": Term("gCO2e", "carbon of the electricity" + _WHOLE),
    "run_gco2e_embodied": Term("gCO2e", "share of the chips' making" + _WHOLE),
    "usd_per_hour": Term("USD/h", "all chips that are paid for, spares included, at the stated price"),
    "usd_per_mtok_output": Term(
        "USD/Mtok", "a million output tokens: the chip time that decoding takes, with its share of idle time"
    ),
    "usd_per_mtok_input": Term(
        "USD/Mtok", "a million input tokens: the chip time that prefill takes, with its share of idle time"
    ),
}


def _quantile_terms() -> dict[str, Term]:
    out = {}
    for base in LATENCIES:
        unit, text = TERMS[f"{base}_s"]
        for quantile in QUANTILES:
            out[f"{base}_{quantile}_s"] = Term(unit, f"{quantile[1:]}th percentile: {text}")
        TERMS[f"{base}_s"] = Term(unit, f"mean: {text}")
    return out


TERMS |= _quantile_terms()


def run_metric(name: str, value: float) -> Metric:
    """A metric of a run with the unit and definition of its name."""
    base = name.partition(":")[0]
    term = TERMS[base] if base in TERMS else GLOSSARY[base]
    return Metric(value=float(value), unit=term.unit, definition=term.definition)
