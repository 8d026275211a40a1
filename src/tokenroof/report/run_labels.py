"""How the metrics of simulated runs are called, grouped and ordered."""

from __future__ import annotations

from collections.abc import Iterable

from tokenroof.deploy.core import Estimate, Metric, Role
from tokenroof.report.human import human, limit_name, share
from tokenroof.report.labels import METRICS, Shown, range_text

LATENCIES = {
    "ttft": "time to first token",
    "tpot": "time per output token",
    "itl": "gap between tokens",
    "e2e": "end to end",
    "queue": "wait for the first step",
    "transfer": "hand-off of the cache",
}
"""Latencies by the beginning of their metrics."""

QUANTILES = ("mean", "p50", "p90", "p95", "p99")


def _high(label: str) -> Shown:
    return Shown(label=label, better="high", unit_in_label=True)


def _low(label: str) -> Shown:
    return Shown(label=label, better="low")


def _plain(label: str) -> Shown:
    return Shown(label=label, unit_in_label=True)


def _part(label: str) -> Shown:
    return Shown(label=label, percent=True)


GROUPS: dict[str, dict[str, Shown]] = {
    "Requests": {
        "requests": _plain("requests"),
        "completed_requests": _plain("completed"),
        "rejected_requests": _plain("rejected"),
        "failed_requests": _plain("failed"),
        "in_flight_requests": _plain("in progress"),
        "request_rate_per_s": _plain("sent per second"),
        "requests_per_s": _high("completed per second"),
        "goodput_requests_per_s": _high("good per second (goodput)"),
        "good_fraction": Shown(label="good, of those sent", better="high", percent=True),
        "queue_growth_requests_per_s": _plain("queue grows by, per second"),
        "mean_concurrency": _plain("in the system, mean"),
        "run_s": Shown(label="simulated time"),
    },
    "Throughput": {
        "input_tokens_per_s": _high("prompt tokens/s"),
        "output_tokens_per_s": _high("output tokens/s"),
        "total_tokens_per_s": _high("all tokens/s"),
        "output_tokens_per_s_per_chip": _high("output tokens/s per chip"),
        "total_tokens_per_s_per_chip": _high("all tokens/s per chip"),
        "prefill_tokens_per_s_per_chip": _high("prefill tokens/s per chip"),
        "decode_tokens_per_s_per_chip": _high("decode tokens/s per chip"),
        "output_tokens_per_s_per_user": _high("output tokens/s per user"),
    },
    "Replicas": {
        "chips": _plain("chips"),
        "mean_chips": _plain("chips paid for, mean"),
        "replicas_up": _plain("replicas up, mean"),
        "busy_fraction": _part("time in steps"),
        "running_seqs": _plain("sequences running, per replica"),
        "waiting_seqs": _plain("sequences waiting"),
        "decode_batch_seqs": _plain("sequences of a decode step"),
        "working_fraction": _part("time at work on its half of the layers"),
        "compute_fraction": _part("arithmetic at peak"),
        "memory_fraction": _part("bandwidth in use"),
        "network_fraction": _part("bandwidth in use"),
        "link_fraction": _part("hand-off link in use"),
        "limit_fraction": _part("time limited by"),
        "slowed_fraction": _part("time in slowed steps"),
        "mfu_fraction": _part("arithmetic used, of peak"),
    },
    "Cache": {
        "kv_used_fraction": _part("cache in use, mean"),
        "kv_peak_fraction": _part("cache in use, peak"),
        "prefix_hit_fraction": _part("prompt tokens found in a cache"),
        "preemptions": _plain("preemptions"),
        "recomputed_tokens": _plain("prompt tokens computed again"),
        "retries": _plain("sent to another replica"),
        "tier_fraction": _part("reading from"),
        "tier_loaded_bytes": Shown(label="loaded from"),
        "tier_stored_bytes": Shown(label="stored to"),
    },
    "Cost, energy, carbon": {
        "usd_per_hour": Shown(label="price of the deployment"),
        "usd_per_mtok_input": _low("cost of input"),
        "usd_per_mtok_output": _low("cost of output"),
        "usd_per_mtok_total": _low("cost, all tokens"),
        "run_usd": Shown(label="cost of the run"),
        "power_w_per_chip": Shown(label="power of a chip"),
        "energy_j_per_output_token": _low("energy per output token"),
        "facility_energy_j_per_output_token": _low("the same at the meter"),
        "energy_j_per_token": _low("energy per token, in and out"),
        "run_energy_j": Shown(label="energy of the run"),
        "run_facility_energy_j": Shown(label="the same at the meter"),
        "gco2e_per_mtok_operational": _low("carbon, operation"),
        "gco2e_per_mtok_embodied": _low("carbon, embodied"),
        "run_gco2e_operational": Shown(label="carbon of the run, operation"),
        "run_gco2e_embodied": Shown(label="carbon of the run, embodied"),
    },
}
"""Metrics of a run by what they speak of, in reading order; latencies have a table of their own."""

_BASES = {key: shown for group in GROUPS.values() for key, shown in group.items()}
_LIMITED = frozenset({"limit_fraction"})
_OF_RESOURCES = _LIMITED | {"memory_fraction", "network_fraction"}
_ZERO_SAYS_NOTHING = frozenset(
    {
        "rejected_requests",
        "failed_requests",
        "in_flight_requests",
        "queue_growth_requests_per_s",
        "preemptions",
        "recomputed_tokens",
        "retries",
        "slowed_fraction",
    }
)


def base_of(identifier: str) -> str:
    """The metric without what it is of: "memory_fraction" of "memory_fraction:hbm"."""
    return identifier.partition(":")[0]


def run_label(identifier: str) -> str:
    """Label of a metric of a run, with what it is of."""
    base, _, of = identifier.partition(":")
    found = latency_of(base)
    if found is not None:
        name, quantile = found
        label = f"{LATENCIES[name]}, {quantile}"
    else:
        label = _shown(base).label
    if not of:
        return label
    if base not in _OF_RESOURCES:
        return f"{label}: {of}"
    resource, pool = _resource_and_pool(of)
    text = f"{label} {limit_name(resource)}" if base in _LIMITED else f"{resource} {label}"
    return f"{text}: {pool}" if pool else text


def _resource_and_pool(of: str) -> tuple[str, str]:
    """What a metric is of, and of which pool where there are several: "memory:hbm", "decode2"."""
    resource, _, pool = of.rpartition(":")
    if resource and pool.rstrip("0123456789") in frozenset(Role):
        return resource, pool
    return of, ""


def _shown(base: str) -> Shown:
    return _BASES.get(base) or METRICS.get(base) or Shown(label=base)


def run_text(identifier: str, metric: Metric) -> str:
    """Value of a metric of a run as people read it."""
    shown = _shown(base_of(identifier))
    if shown.percent:
        return share(metric.value)
    return human(metric.value, "" if shown.unit_in_label else metric.unit)


def run_range(identifier: str, metric: Metric) -> str:
    """The interval of a metric of a run as people read it; "" when there is none."""
    return range_text(_shown(base_of(identifier)), metric)


def better(identifier: str) -> str:
    """Which way is better: "low", "high", "" for neither."""
    return "low" if latency_of(base_of(identifier)) else _shown(base_of(identifier)).better


def latency_of(base: str) -> tuple[str, str] | None:
    """Latency and quantile of an identifier: ("ttft", "p99") of "ttft_p99_s"; None: no latency."""
    name, _, rest = base.partition("_")
    if name not in LATENCIES:
        return None
    quantile = rest.removesuffix("_s") if rest != "s" else "mean"
    return (name, quantile) if quantile in QUANTILES else None


def latency_id(name: str, quantile: str, of: str = "") -> str:
    """Identifier of a latency."""
    base = f"{name}_s" if quantile == "mean" else f"{name}_{quantile}_s"
    return f"{base}:{of}" if of else base


def run_groups(estimates: Iterable[Estimate]) -> dict[str, list[str]]:
    """Identifiers that any estimate has, by group, in reading order; what says nothing is left out."""
    rows = list(estimates)
    present = list(dict.fromkeys(key for estimate in rows for key in estimate.metrics))
    speaking = [
        key
        for key in present
        if base_of(key) not in _ZERO_SAYS_NOTHING
        or any(estimate.metrics[key].value for estimate in rows if key in estimate.metrics)
    ]
    found = {
        title: [key for base in group for key in speaking if base_of(key) == base]
        for title, group in GROUPS.items()
    }
    rest = [key for key in speaking if base_of(key) not in _BASES and latency_of(base_of(key)) is None]
    return {title: keys for title, keys in (*found.items(), ("More", rest)) if keys}
