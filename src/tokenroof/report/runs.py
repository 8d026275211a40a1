"""Tables of simulated runs for a terminal; estimates in closed form go to ``report.tables``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenroof.deploy.core import Estimate, Metric
from tokenroof.report import tables
from tokenroof.report.human import human, share
from tokenroof.report.labels import (
    column_names,
    common,
    deployment_line,
    formats_line,
    headline,
    layouts_line,
    limits_line,
    with_range,
    workload_line,
)
from tokenroof.report.run_labels import (
    LATENCIES,
    QUANTILES,
    better,
    latency_id,
    run_groups,
    run_label,
    run_range,
    run_text,
)
from tokenroof.workload.core import RequestClass, Slo

_DASH = "-"
_BAD = "bold red"
_COMPARED = ("mean", "p50", "p99")


def simulated(estimates: Sequence[Estimate]) -> bool:
    """Whether any of the estimates comes from a run."""
    return any(estimate.run is not None for estimate in estimates)


def answer(estimates: Sequence[Estimate]) -> RenderableType:
    """What is printed: warnings first, latencies, everything else side by side, what was assumed."""
    if not simulated(estimates):
        return tables.answer(estimates)
    parts: list[RenderableType] = [Text(line, style=_BAD) for line in alerts(estimates)]
    if len(estimates) == 1:
        parts.append(latencies(estimates[0], title=_title(estimates)))
    parts.append(comparison(estimates))
    problems = tables.infeasible(estimates)
    if problems is not None:
        parts.append(problems)
    assumed = tables.assumptions(estimates)
    if assumed:
        parts.append(tables.lines("Assumptions", assumed))
    return Group(*parts)


def _title(estimates: Sequence[Estimate]) -> str:
    title = headline(estimates)
    limits = common(limits_line(estimate) for estimate in estimates)
    return f"{title}\nlimits: {limits}" if limits else title


# --- warnings ------------------------------------------------------------------------------------


def alerts(estimates: Sequence[Estimate]) -> tuple[str, ...]:
    """What makes the figures doubtful, or the answer a no: said before anything else."""
    several = len(estimates) > 1
    return tuple(
        f"{name}: {line}" if several else line
        for name, estimate in zip(column_names(estimates), estimates, strict=True)
        for line in _alerts(estimate)
    )


def _alerts(estimate: Estimate) -> list[str]:
    run = estimate.run
    if run is None:
        return []
    found = []
    metrics = estimate.metrics
    if not run.complete:
        over = metrics["completed_requests"].value if "completed_requests" in metrics else 0.0
        found.append(
            f"partial: interrupted after {human(run.end_s, 's')} of simulated time, {over:,.0f} of "
            f"{len(run.requests):,} requests completed"
        )
    if "queue_growth_requests_per_s" in metrics:
        sent = metrics["request_rate_per_s"].value if "request_rate_per_s" in metrics else None
        grows = metrics["queue_growth_requests_per_s"].value
        rate = f" at {human(sent)} requests/s sent" if sent else ""
        found.append(
            f"unstable{rate}: the queue grows by {human(grows)} requests per second for as long as this goes "
            "on; latencies are those of this length of run alone"
        )
    for name in ("rejected_requests", "failed_requests"):
        count = metrics[name].value if name in metrics else 0.0
        if count:
            found.append(f"{count:,.0f} requests {name.partition('_')[0]}: the log says why")
    found += [line for each in run.requests.classes for line in _unmet(estimate, each)]
    return found


def _unmet(estimate: Estimate, kind: RequestClass) -> list[str]:
    """A limit that no request of a class has met, with what half of them got."""
    assert estimate.run is not None
    of = kind.name if len(estimate.run.requests.classes) > 1 else ""
    key = f"good_fraction:{of}" if of else "good_fraction"
    if not kind.slo.asked or key not in estimate.metrics or estimate.metrics[key].value > 0.0:
        return []
    missed = []
    for name, limit in _limits(kind.slo).items():
        half = estimate.metrics.get(latency_id(name, "p50", of))
        if limit is not None and half is not None and half.value > limit:
            missed.append(f"{LATENCIES[name]} is {human(half.value, 's')} at p50, limit {human(limit, 's')}")
    who = f"request of class {of}" if of else "request"
    return [f"no {who} met the limits" + (f": {', '.join(missed)}" if missed else "")]


def _limits(slo: Slo) -> dict[str, float | None]:
    return {"ttft": slo.ttft_s, "tpot": slo.tpot_s, "e2e": slo.e2e_s}


# --- tables --------------------------------------------------------------------------------------


def latencies(estimate: Estimate, *, title: str = "Latency") -> Table:
    """Latencies of one run, a line each: mean and percentiles, with the limit where there is one."""
    table = tables.grid(title)
    table.min_width = min(max(map(len, title.splitlines()), default=0), tables.TITLE_WIDTH)
    table.add_column("")
    for quantile in QUANTILES:
        table.add_column(quantile, justify="right")
    table.add_column("limit", justify="right")
    classes = estimate.run.requests.classes if estimate.run is not None else ()
    limits = _limits(classes[0].slo) if len(classes) == 1 else {}
    for name, label in LATENCIES.items():
        _latency_row(table, estimate, name, label, "", limits.get(name))
    if len(classes) > 1:
        for kind in classes:
            table.add_section()
            for name, limit in _limits(kind.slo).items():
                _latency_row(table, estimate, name, f"{kind.name}: {LATENCIES[name]}", kind.name, limit)
    return table


def _latency_row(
    table: Table, estimate: Estimate, name: str, label: str, of: str, limit: float | None
) -> None:
    keys = [latency_id(name, quantile, of) for quantile in QUANTILES]
    if not any(key in estimate.metrics for key in keys):
        return
    cells = []
    for key in keys:
        metric = estimate.metrics.get(key)
        if metric is None:
            cells.append(Text(_DASH))
            continue
        over = limit is not None and metric.value > limit
        ends = run_range(key, metric)
        cells.append(tables.ranged(human(metric.value, "s"), ends, "red" if over else "", alone=False))
    table.add_row(label, *cells, Text(human(limit, "s") if limit is not None else _DASH))


def comparison(estimates: Sequence[Estimate]) -> Table:
    """Runs side by side, a column each; the best measured one of each line is bold."""
    alone = len(estimates) == 1
    table = tables.grid("" if alone else _title(estimates))
    table.add_column("")
    for name in column_names(estimates):
        table.add_column(name, justify="right", overflow="fold")
    table.add_row("layout", *(Text(layouts_line(e).replace(", ", "\n")) for e in estimates))
    table.add_row("engine", *(Text(_engines(e)) for e in estimates))
    table.add_row("formats", *(Text(formats_line(e).replace(", ", "\n")) for e in estimates))
    table.add_row("operators", *(Text(e.evidence or _DASH) for e in estimates))
    if not alone:
        _compared_latencies(table, estimates)
    for title, keys in run_groups(estimates).items():
        table.add_section()
        table.add_row(Text(title, style="bold"))
        for key in keys:
            table.add_row(run_label(key), *_cells(estimates, key))
    return table


def _compared_latencies(table: Table, estimates: Sequence[Estimate]) -> None:
    table.add_section()
    table.add_row(Text("Latency", style="bold"))
    for name in LATENCIES:
        for quantile in _COMPARED:
            key = latency_id(name, quantile)
            if any(key in estimate.metrics for estimate in estimates):
                table.add_row(run_label(key), *_cells(estimates, key))


def _engines(estimate: Estimate) -> str:
    return ", ".join(dict.fromkeys(pool.engine.name for pool in estimate.deployment.pools))


def _cells(estimates: Sequence[Estimate], key: str) -> list[Text]:
    values = [e.metrics[key].value for e in estimates if e.grounded and key in e.metrics]
    way, best = better(key), None
    if way and len(set(values)) > 1:
        best = min(values) if way == "low" else max(values)
    cells = []
    for estimate in estimates:
        if estimate.infeasible is not None:
            cells.append(Text(_DASH, style="red"))
        elif key not in estimate.metrics:
            cells.append(Text(_DASH))
        else:
            metric = estimate.metrics[key]
            wins = estimate.grounded and metric.value == best
            style = "bold green" if wins else ""
            cells.append(
                tables.ranged(run_text(key, metric), run_range(key, metric), style, len(estimates) == 1)
            )
    return cells


# --- words ---------------------------------------------------------------------------------------


def summary(name: str, estimate: Estimate) -> str:
    """The answer of one run in a sentence."""
    if estimate.infeasible is not None:
        return f"{name}: {estimate.infeasible.reason}"
    metrics = estimate.metrics
    says = [f"{name}: {deployment_line(estimate)} serve {workload_line(estimate)}"]
    for key in ("ttft", "tpot"):
        half, tail = (metrics.get(latency_id(key, quantile)) for quantile in ("p50", "p99"))
        if half is not None and tail is not None:
            ends = run_range(latency_id(key, "p50"), half)
            between = f"{ends}; " if ends else ""
            says.append(f"{LATENCIES[key]} {human(half.value, 's')} ({between}p99 {human(tail.value, 's')})")
    if "good_fraction" in metrics:
        says.append(f"{share(metrics['good_fraction'].value)} of the requests within {limits_line(estimate)}")
    if "output_tokens_per_s_per_chip" in metrics:
        says.append(f"{_ranged('output_tokens_per_s_per_chip', metrics)} output tokens/s per chip")
    if "usd_per_mtok_output" in metrics:
        says.append(f"{_ranged('usd_per_mtok_output', metrics)} for output")
    return "; ".join(says) + "."


def _ranged(key: str, metrics: Mapping[str, Metric]) -> str:
    return with_range(run_text(key, metrics[key]), run_range(key, metrics[key]))
