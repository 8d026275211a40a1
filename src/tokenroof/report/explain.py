"""Where every millisecond and every gigabyte goes, in words; the tables carry the same numbers."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from tokenroof.deploy.core import Capacity, Estimate, Metric, Phase
from tokenroof.report import tables
from tokenroof.report.human import human, limit_name, share
from tokenroof.report.labels import (
    deployment_line,
    formats_line,
    metric_ids,
    metric_label,
    metric_range,
    metric_text,
    short_name,
    with_range,
    workload_line,
)

_SHOWN_OPS = 3


def sentences(estimate: Estimate) -> tuple[str, ...]:
    """The answer in plain sentences, prefill first, then decode, memory and money."""
    if estimate.infeasible is not None:
        return (estimate.infeasible.reason,)
    texts = [phase_sentence(estimate, phase) for phase in estimate.phases.values()]
    if estimate.capacity is not None:
        texts.append(memory_sentence(estimate, estimate.capacity))
    texts.extend(_money(estimate))
    return tuple(texts)


def summary(name: str, estimate: Estimate) -> str:
    """The answer of one deployment in a sentence."""
    if estimate.infeasible is not None:
        return f"{name}: {estimate.infeasible.reason}"
    m = estimate.metrics
    sketch = " (projection)" if tables.is_projection(estimate) else ""
    says = [f"{name}{sketch}: {deployment_line(estimate)} serve {workload_line(estimate)}"]
    if "ttft_s" in m and "tpot_s" in m:
        says.append(
            f"first token after {_ranged('ttft_s', m)} without queueing, "
            f"then one every {_ranged('tpot_s', m)}"
        )
    if "output_tokens_per_s_per_chip" in m:
        says.append(f"{_ranged('output_tokens_per_s_per_chip', m)} output tokens/s per chip")
    if "usd_per_mtok_output" in m:
        says.append(f"{_ranged('usd_per_mtok_output', m)} for output")
    limits = [f"{phase.name} by {limit_name(phase.limit)}" for phase in estimate.phases.values()]
    return "; ".join(says) + (f". Limited in {', in '.join(limits)}." if limits else ".")


def phase_sentence(estimate: Estimate, phase: Phase) -> str:
    """What a phase takes, what bounds it, and which operators take most of it."""
    what = {
        "prefill": f"Prefill of one prompt of {estimate.shape.isl_tokens:,} tokens",
        "decode": f"One decode step of {estimate.concurrency} sequences",
    }.get(phase.name, phase.name.capitalize())
    limits = sorted(phase.by_limit_s.items(), key=lambda pair: -pair[1])
    bounds = ", ".join(
        f"{limit_name(name)} {human(seconds, 's')} ({share(seconds / phase.time_s)})"
        for name, seconds in limits
        if seconds > 1e-9 * phase.time_s
    )
    largest = sorted(phase.ops, key=lambda op: -op.time_s)[:_SHOWN_OPS]
    ops = ", ".join(f"{op.name} {human(op.time_s, 's')} ({share(op.share_fraction)})" for op in largest)
    energy = "unknown energy" if phase.energy_j is None else human(phase.energy_j, "J")
    return (
        f"{what} takes {human(phase.time_s, 's')}. By limiting resource: {bounds}. Largest operators: {ops}. "
        f"A chip at work uses {share(phase.mfu_fraction)} of its peak arithmetic and "
        f"{share(phase.mbu_fraction)} of its peak bandwidth; all of it takes {energy}."
    )


def memory_sentence(estimate: Estimate, capacity: Capacity) -> str:
    """Where the memory of one chip goes and how many sequences that leaves room for."""
    slabs = ", ".join(
        f"{item.name} {human(item.bytes, 'bytes')} ({item.tier})" for item in capacity.items if item.bytes
    )
    tokens = estimate.shape.isl_tokens + estimate.shape.osl_tokens
    state = (
        f" and {human(capacity.state_bytes_per_sequence, 'bytes')} per sequence"
        if capacity.state_bytes_per_sequence
        else ""
    )
    return (
        f"One chip holds {slabs}. A token costs {human(capacity.kv_bytes_per_token, 'bytes')} of cache on "
        f"each chip{state}; {capacity.kv_blocks:,} blocks of {capacity.block_tokens} tokens make room for "
        f"{capacity.max_batch:,} sequences of {tokens:,} tokens."
    )


def _money(estimate: Estimate) -> list[str]:
    shown = [
        f"{metric_label(key)} {_ranged(key, estimate.metrics)}"
        for key in ("usd_per_hour", "usd_per_mtok_output", "energy_j_per_output_token")
        if key in estimate.metrics
    ]
    return [f"Cost: {', '.join(shown)}."] if shown else []


def _ranged(key: str, metrics: Mapping[str, Metric]) -> str:
    """A metric with its interval behind it."""
    return with_range(metric_text(key, metrics[key]), metric_range(key, metrics[key]))


def definitions(estimate: Estimate) -> RenderableType:
    """Every metric with value, interval and definition."""
    table = tables.grid("Metrics and what they mean")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("interval", justify="right")
    table.add_column("definition", overflow="fold")
    for key in metric_ids((estimate,)):
        metric = estimate.metrics[key]
        ends = metric_range(key, metric) or "-"
        table.add_row(metric_label(key), metric_text(key, metric), ends, Text(metric.definition))
    return table


def explanation(estimate: Estimate) -> RenderableType:
    """What ``tokenroof explain`` prints for one estimate."""
    head = Text(f"{estimate.deployment.model.name} on {short_name(estimate)}", style="bold")
    head.append(
        f"\n{deployment_line(estimate)}; {formats_line(estimate)}; {workload_line(estimate)}",
        style="not bold",
    )
    parts: list[RenderableType] = [head]
    for sentence in sentences(estimate):
        parts.extend((Text(), Text(sentence)))
    parts.append(Text())
    for phase in estimate.phases.values():
        title = f"{phase.name}: {human(phase.time_s, 's')} by operator"
        parts.append(tables.operators(phase, title=title))
    if estimate.phases:
        parts.append(tables.limits((estimate,)))
    slabs = tables.memory(estimate)
    if slabs is not None:
        parts.append(slabs)
    if estimate.metrics:
        parts.append(definitions(estimate))
    for title, texts in (("Assumptions", estimate.assumptions), ("Sources", estimate.sources)):
        if texts:
            parts.append(tables.lines(title, texts))
    return Group(*parts)
