"""How estimates and metrics are called and ordered on every face."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tokenroof.deploy.core import Estimate, Metric, Pool, Role
from tokenroof.graph.core import Parallel
from tokenroof.report.human import human, human_range, share
from tokenroof.workload.core import Slo

if TYPE_CHECKING:
    from tokenroof.serve.results import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a metric is shown: its label, which way is better ("" = neither), who names the unit."""

    label: str
    better: Literal["low", "high", ""] = ""
    unit_in_label: bool = False
    percent: bool = False


def _low(label: str) -> Shown:
    return Shown(label=label, better="low")


def _high(label: str) -> Shown:
    return Shown(label=label, better="high", unit_in_label=True)


GROUPS: dict[str, dict[str, Shown]] = {
    "prefill": {
        "prefill_s": _low("prefill of one prompt"),
        "waiting_s": _low("wait for prompts in front"),
        "ttft_s": _low("time to first token"),
        "kv_transfer_s": _low("hand-off of the cache"),
        "usd_per_mtok_input": _low("cost of input"),
    },
    "decode": {
        "decode_step_s": _low("one decode step"),
        "tpot_s": _low("time per output token"),
        "output_tokens_per_s_per_user": _high("output tokens/s per user"),
        "max_batch": _high("sequences that fit"),
        "usd_per_mtok_output": _low("cost of output"),
    },
    "both": {
        "e2e_s": _low("end to end"),
        "chips": Shown(label="chips", unit_in_label=True),
        "output_tokens_per_s_per_chip": _high("output tokens/s per chip"),
        "total_tokens_per_s_per_chip": _high("all tokens/s per chip"),
        "output_tokens_per_s": Shown(label="output tokens/s, all chips", unit_in_label=True),
        "requests_per_s": Shown(label="requests per second", unit_in_label=True),
        "mfu_fraction": Shown(label="arithmetic used, of peak", better="high", percent=True),
        "usd_per_hour": Shown(label="price of the deployment"),
        "usd_per_mtok_total": _low("cost, all tokens"),
        "power_w_per_chip": Shown(label="power of a chip"),
        "energy_j_per_output_token": _low("energy per output token"),
        "facility_energy_j_per_output_token": _low("the same at the meter"),
        "energy_j_per_token": _low("energy per token, in and out"),
        "gco2e_per_mtok_operational": _low("carbon, operation"),
        "gco2e_per_mtok_embodied": _low("carbon, embodied"),
    },
}
"""Every metric that has a label, by the phase it describes, in reading order."""

METRICS = {key: shown for group in GROUPS.values() for key, shown in group.items()}


def group_of(identifier: str, rest: str) -> str:
    """The phase that a metric describes, or ``rest`` for one that this page does not know."""
    return next((name for name, group in GROUPS.items() if identifier in group), rest)


def metric_label(identifier: str) -> str:
    """Label of a metric; one that this page does not know goes by its identifier."""
    return METRICS[identifier].label if identifier in METRICS else identifier


def metric_text(identifier: str, metric: Metric) -> str:
    """A metric's value as people read it; its unit is left to the label where the label has it."""
    shown = METRICS.get(identifier, Shown(label=identifier))
    if shown.percent:
        return share(metric.value)
    return human(metric.value, "" if shown.unit_in_label else metric.unit)


def metric_range(identifier: str, metric: Metric) -> str:
    """The interval of a metric as people read it, "350 - 480 ms"; "" when there is none.

    Ends in the unit of the value leave it out.
    """
    return range_text(METRICS.get(identifier, Shown(label=identifier)), metric)


def range_text(shown: Shown, metric: Metric) -> str:
    """As :func:`metric_range`, of a metric that is shown so."""
    low, high = metric.low, metric.high
    if low is None or high is None or low == high:
        return ""
    if shown.percent:
        ends = f"{share(low)} - {share(high)}"
        return ends.replace(" %", "", 1) if ends.count(" %") == 2 and "<" not in ends else ends
    unit = "" if shown.unit_in_label else metric.unit
    ends, value = human_range(low, high, unit), human(metric.value, unit)
    if unit.startswith("USD"):
        return ends.removesuffix(unit.removeprefix("USD"))
    own = value.partition(" ")[2]
    return ends.removesuffix(f" {own}") if own and ends.count(own) == 1 else ends


def with_range(text: str, ends: str) -> str:
    """A value with its interval behind it: "412 (350 - 480)"."""
    return f"{text} ({ends})" if ends else text


def metric_ids(estimates: Iterable[Estimate]) -> tuple[str, ...]:
    """Every metric that any estimate has, known ones first and in reading order."""
    present = list(dict.fromkeys(key for estimate in estimates for key in estimate.metrics))
    known = [key for key in METRICS if key in present]
    return (*known, *(key for key in present if key not in METRICS))


def layout(parallel: Parallel) -> str:
    """A sharding in short, ways of one left out: "tp4 pp2"; a single chip is "1 chip"."""
    ways = [
        f"{name}{count}"
        for name, count in (
            ("tp", parallel.tp),
            ("pp", parallel.pp),
            ("dp", parallel.dp),
            ("ep", parallel.ep),
            ("cp", parallel.cp),
        )
        if count > 1
    ]
    return " ".join(ways) or "tp1"


def pool_chips(pool: Pool) -> int:
    """Chips of a pool, all replicas together."""
    return pool.parallel.chips * pool.replicas


def num_chips(estimate: Estimate) -> int:
    """Chips of the whole deployment."""
    return sum(pool_chips(pool) for pool in estimate.deployment.pools)


def pool_line(pool: Pool) -> str:
    """A pool in one line: "4 x h100, tp4, vllm"."""
    role = "" if pool.role is Role.BOTH else f"{pool.role}: "
    return f"{role}{pool_chips(pool)} x {pool.chip.name}, {layout(pool.parallel)}, {pool.engine.name}"


def deployment_line(estimate: Estimate) -> str:
    """All pools of an estimate in one line."""
    return " + ".join(pool_line(pool) for pool in estimate.deployment.pools)


def short_name(estimate: Estimate) -> str:
    """The label the caller gave, or the chips and layout."""
    if estimate.label:
        return estimate.label
    return " + ".join(f"{pool_chips(pool)} x {pool.chip.name}" for pool in estimate.deployment.pools)


def short_names(estimates: Sequence[Estimate]) -> tuple[str, ...]:
    """One distinct name per estimate; twins get their layout, then a number."""
    return _distinct([short_name(estimate) for estimate in estimates], estimates)


def column_name(estimate: Estimate) -> str:
    """The label the caller gave, or all chips: "4 x h100", "prefill 1 x b200, decode 2 x h200"."""
    pools = estimate.deployment.pools
    if estimate.label and estimate.label != ", ".join(dict.fromkeys(pool.chip.name for pool in pools)):
        return estimate.label
    return ", ".join(f"{_role(pool)}{pool_chips(pool)} x {pool.chip.name}" for pool in pools)


def column_names(estimates: Sequence[Estimate]) -> tuple[str, ...]:
    """One distinct heading per estimate, as :func:`short_names`, with the number of chips."""
    return _distinct([column_name(estimate) for estimate in estimates], estimates)


def layouts_line(estimate: Estimate) -> str:
    """The sharding of every pool: "tp4", "prefill tp1, decode tp2"."""
    pools = estimate.deployment.pools
    return ", ".join(f"{_role(pool)}{layout(pool.parallel)}" for pool in pools)


def _role(pool: Pool) -> str:
    return "" if pool.role is Role.BOTH else f"{pool.role} "


def _distinct(names: list[str], estimates: Sequence[Estimate]) -> tuple[str, ...]:
    layouts = [layout(estimate.deployment.pools[0].parallel) for estimate in estimates]
    concurrencies = [f"c{estimate.concurrency}" for estimate in estimates]
    numbers = [f"#{i + 1}" for i in range(len(estimates))]
    for additions in (layouts, concurrencies, numbers):
        twins = {name for name in names if names.count(name) > 1}
        names = [
            f"{name} {addition}" if name in twins else name
            for name, addition in zip(names, additions, strict=True)
        ]
    return tuple(names)


def formats_line(estimate: Estimate) -> str:
    """Number formats in one line; those equal to the weights' are left out."""
    p = estimate.deployment.precision
    parts = [f"weights {p.weights}"]
    if p.experts != p.weights:
        read = f" x {p.expert_activations}" if p.expert_activations else ""
        parts.append(f"experts {p.experts}{read}")
    if p.activations != p.weights:
        parts.append(f"activations {p.activations}")
    parts.append(f"kv {p.kv}")
    return ", ".join(parts)


def workload_line(estimate: Estimate) -> str:
    """The load in one line."""
    if estimate.run is not None:
        requests = estimate.run.requests
        load = f"{requests.label}, " if requests.label else ""
        return f"{lengths_line(estimate)}, {load}{len(requests):,} requests"
    if not estimate.concurrency:  # infeasible before any was chosen
        return lengths_line(estimate)
    seqs = f"{estimate.concurrency} sequence{'s' if estimate.concurrency != 1 else ''} at once"
    return f"{lengths_line(estimate)}, {seqs}"


def lengths_line(estimate: Estimate) -> str:
    """Lengths of a request in one line; those of a run are means."""
    if estimate.run is not None and not _same_lengths(estimate.run):
        return f"mean {estimate.shape.isl_tokens:,} tokens in, {estimate.shape.osl_tokens:,} out"
    return f"{estimate.shape.isl_tokens:,} tokens in, {estimate.shape.osl_tokens:,} out"


def _same_lengths(run: Run) -> bool:
    requests = run.requests
    return all(bool((column == column[0]).all()) for column in (requests.isl_tokens, requests.osl_tokens))


def limits_line(estimate: Estimate) -> str:
    """What requests of a run had to meet, in one line; "" when nothing was asked."""
    if estimate.run is None:
        return ""
    classes = [each for each in estimate.run.requests.classes if each.slo.asked]
    several = len(estimate.run.requests.classes) > 1
    return "; ".join(
        f"{each.name} {limits_text(each.slo)}" if several else limits_text(each.slo) for each in classes
    )


def limits_text(slo: Slo) -> str:
    """Limits in one line: "first token within 1 s, 40 ms per token"."""
    parts = []
    if slo.ttft_s is not None:
        parts.append(f"first token within {human(slo.ttft_s, 's')}")
    if slo.tpot_s is not None:
        parts.append(f"{human(slo.tpot_s, 's')} per token")
    if slo.e2e_s is not None:
        parts.append(f"end to end within {human(slo.e2e_s, 's')}")
    return ", ".join(parts)


def common(lines: Iterable[str]) -> str:
    """The one line that all share, or all distinct ones joined."""
    return "; ".join(dict.fromkeys(lines))


def headline(estimates: Sequence[Estimate]) -> str:
    """Model and load of an answer in one line; a concurrency that differs is left to the table."""
    models = common(estimate.deployment.model.name for estimate in estimates)
    lines = {workload_line(estimate) for estimate in estimates}
    if len(lines) > 1:
        return f"{models}: {common(lengths_line(estimate) for estimate in estimates)}"
    return f"{models}: {lines.pop()}"
