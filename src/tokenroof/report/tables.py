"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenroof.deploy.core import Estimate, Phase
from tokenroof.report.human import human, limit_name, share
from tokenroof.report.labels import (
    GROUPS,
    METRICS,
    column_names,
    formats_line,
    group_of,
    headline,
    layouts_line,
    metric_ids,
    metric_label,
    metric_range,
    metric_text,
)

_DASH = "-"
_REST = "more"
TITLE_WIDTH = 100
_SECTIONS = {"prefill": "Prefill", "decode": "Decode", "both": "Both together", "more": "More"}
_FIRST = "First token"  # of a model that has no prefill: every step runs the whole sequence
_NEED_TWO_TOKENS = frozenset({"tpot_s", "usd_per_mtok_output"})
_OFTEN_ZERO = frozenset({"waiting_s", "kv_transfer_s"})


def grid(title: str) -> Table:
    """An empty table in the house style."""
    return Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD
    )


def comparison(estimates: Sequence[Estimate]) -> Table:
    """Estimates side by side, one column each; the best measured one of each line is bold.

    Parameters
    ----------
    estimates : sequence of Estimate
        One per chip or layout.
    """
    title = headline(estimates)
    table = grid(title)
    table.min_width = min(len(title), TITLE_WIDTH)  # or rich breaks the title to the width of one column
    table.add_column("")
    for name in column_names(estimates):
        table.add_column(name, justify="right", overflow="fold")
    table.add_row("layout", *(_layouts(estimate) for estimate in estimates))
    table.add_row("engine", *(_engines(estimate) for estimate in estimates))
    table.add_row("formats", *(Text(formats_line(e).replace(", ", "\n")) for e in estimates))
    table.add_row("operators", *(Text(e.evidence or _DASH) for e in estimates))
    table.add_row("sequences at once", *(_load_cell(estimate) for estimate in estimates))
    present = [key for key in _rows(estimates) if _says_something(estimates, key)]
    for title in (*GROUPS, _REST):
        keys = [key for key in present if group_of(key, _REST) == title]
        phased = any(title in estimate.phases for estimate in estimates)
        if not keys and not phased:
            continue
        table.add_section()
        heading = _FIRST if title == "prefill" and not phased else _SECTIONS.get(title, title)
        table.add_row(Text(heading, style="bold"))
        for key in keys:
            best = best_value(estimates, key)
            cells = (_metric_cell(estimate, key, best, len(estimates) == 1) for estimate in estimates)
            table.add_row(metric_label(key), *cells)
        if phased:
            table.add_row("limited by", *(_limit_cell(estimate, title) for estimate in estimates))
            table.add_row("MFU / MBU", *(_utilisation(estimate, title) for estimate in estimates))
    return table


def _load_cell(estimate: Estimate) -> Text:
    if estimate.infeasible is not None:
        return Text("infeasible", style="red")
    return Text(f"{estimate.concurrency:,}")


def _rows(estimates: Sequence[Estimate]) -> tuple[str, ...]:
    """Metrics in reading order; those that a single output token does not define keep their line."""
    found = metric_ids(estimates)
    single = any(estimate.metrics and estimate.shape.osl_tokens == 1 for estimate in estimates)
    wanted = {*found, *(_NEED_TWO_TOKENS if single else ())}
    return (*(key for key in METRICS if key in wanted), *(key for key in found if key not in METRICS))


def _says_something(estimates: Sequence[Estimate], key: str) -> bool:
    """Waiting and hand-off are zero for most deployments; such a line is left out."""
    return key not in _OFTEN_ZERO or any(e.metrics[key].value for e in estimates if key in e.metrics)


def best_value(estimates: Sequence[Estimate], key: str) -> float | None:
    """The best value of a metric when there is something to compare, else None.

    Only estimates whose operators were measured on the very chip are compared; a sketch wins nothing.
    """
    better = METRICS[key].better if key in METRICS else ""
    values = [e.metrics[key].value for e in estimates if e.grounded and key in e.metrics]
    if not better or len(values) < 2 or len(set(values)) < 2:
        return None
    return min(values) if better == "low" else max(values)


def _layouts(estimate: Estimate) -> Text:
    text = layouts_line(estimate).replace(", ", "\n")
    return Text(text + (" (projection)" if is_projection(estimate) else ""))


def _engines(estimate: Estimate) -> Text:
    return Text(", ".join(dict.fromkeys(pool.engine.name for pool in estimate.deployment.pools)))


def is_projection(estimate: Estimate) -> bool:
    """Whether any chip of the deployment does not exist (yet)."""
    return any(pool.chip.projection for pool in estimate.deployment.pools)


def _metric_cell(estimate: Estimate, key: str, best: float | None, alone: bool) -> Text:
    if estimate.infeasible is not None:
        return Text(_DASH, style="red")
    if key not in estimate.metrics:
        return Text(_DASH)
    metric = estimate.metrics[key]
    wins = estimate.grounded and metric.value == best
    return ranged(metric_text(key, metric), metric_range(key, metric), "bold green" if wins else "", alone)


def ranged(text: str, ends: str, style: str, alone: bool) -> Text:
    """A value with its interval: beside it in a table of one column, else on a line below."""
    cell = Text(text, style=style)
    if ends:
        cell.append(f" ({ends})" if alone else f"\n{ends}", style="not bold dim")
    return cell


def limit_share(phase: Phase) -> float:
    """Part of a phase's time that its limiting resource bounds."""
    return phase.by_limit_s[phase.limit] / phase.time_s


def _limit_cell(estimate: Estimate, name: str) -> Text:
    if name not in estimate.phases:
        return Text(_DASH)
    phase = estimate.phases[name]
    return Text(f"{limit_name(phase.limit)}\n{share(limit_share(phase))}")


def _utilisation(estimate: Estimate, name: str) -> Text:
    if name not in estimate.phases:
        return Text(_DASH)
    phase = estimate.phases[name]
    return Text(f"{share(phase.mfu_fraction)} / {share(phase.mbu_fraction)}")


def infeasible(estimates: Sequence[Estimate]) -> Table | None:
    """What cannot be, with the two numbers that clash; None when everything can."""
    rows = [(n, e) for n, e in zip(column_names(estimates), estimates, strict=True) if e.infeasible]
    if not rows:
        return None
    table = grid("Infeasible")
    for column in ("", "need", "have", "reason"):
        table.add_column(column, overflow="fold")
    for name, estimate in rows:
        problem = estimate.infeasible
        assert problem is not None
        numbers = (
            _DASH if number is None or not problem.unit else human(number, problem.unit)
            for number in (problem.need, problem.have)
        )
        table.add_row(name, *numbers, Text(problem.reason))
    return table


def operators(phase: Phase, *, title: str) -> Table:
    """Every operator of a phase: time, share, limit, work, how near to the peak, error of such operators."""
    table = grid(title)
    table.add_column("operator")
    for column in ("runs", "time", "share"):
        table.add_column(column, justify="right")
    table.add_column("limited by")
    for column in ("arithmetic", "traffic", "flop/byte", "of peak", "error"):
        table.add_column(column, justify="right")
    for op in sorted(phase.ops, key=lambda row: -row.time_s):
        moved = op.bytes if op.bytes else op.message_bytes
        table.add_row(
            op.name,
            f"{op.count:,}",
            human(op.time_s, "s"),
            share(op.share_fraction),
            limit_name(op.limit),
            human(op.flop, "flop") if op.flop else _DASH,
            human(moved, "bytes") if moved else _DASH,
            human(op.intensity_flop_per_byte) if op.flop else _DASH,
            share(op.achieved_flop_per_s / op.peak_flop_per_s) if op.flop else _DASH,
            share(op.error_fraction) if op.error_fraction is not None else _DASH,
        )
    host = phase.time_s - sum(op.time_s for op in phase.ops)
    if host > 1e-3 * phase.time_s:
        table.add_row(
            "host and gaps",
            _DASH,
            human(host, "s"),
            share(host / phase.time_s),
            "host overhead",
            *[_DASH] * 5,
        )
    return table


def limits(estimates: Sequence[Estimate]) -> Table:
    """Time of each phase by limiting resource, one line per estimate and phase."""
    names = list(dict.fromkeys(k for e in estimates for p in e.phases.values() for k in p.by_limit_s))
    table = grid("Where the time goes")
    table.add_column("")
    table.add_column("phase")
    table.add_column("time", justify="right")
    for name in names:
        table.add_column(limit_name(name), justify="right")
    for label, estimate in zip(column_names(estimates), estimates, strict=True):
        for phase in estimate.phases.values():
            cells = (human(phase.by_limit_s[n], "s") if phase.by_limit_s.get(n) else _DASH for n in names)
            table.add_row(label, phase.name, human(phase.time_s, "s"), *cells)
    return table


def memory(estimate: Estimate, *, title: str = "Memory of one chip") -> Table | None:
    """The capacity waterfall: each slab, and the running sum in its tier."""
    capacity = estimate.capacity
    if capacity is None:
        return None
    table = grid(title)
    table.add_column("tier")
    table.add_column("what")
    table.add_column("size", justify="right")
    table.add_column("sum", justify="right")
    table.add_column("note", overflow="fold")
    total: dict[str, float] = {}
    for item in capacity.items:
        total[item.tier] = total.get(item.tier, 0.0) + item.bytes
        table.add_row(
            item.tier,
            item.name,
            human(item.bytes, "bytes"),
            human(total[item.tier], "bytes"),
            Text(item.note),
        )
    return table


def lines(title: str, texts: Sequence[str]) -> Text:
    """A heading and one bullet per text."""
    text = Text(title, style="bold")
    for line in texts:
        text.append(f"\n  - {line}", style="not bold")
    return text


def assumptions(estimates: Sequence[Estimate]) -> tuple[str, ...]:
    """Distinct assumptions of all estimates, projections first."""
    found = dict.fromkeys(line for estimate in estimates for line in estimate.assumptions)
    return tuple(sorted(found, key=lambda line: not line.startswith("projection")))


def sources(estimates: Sequence[Estimate]) -> tuple[str, ...]:
    """Distinct sources of all estimates, sorted."""
    return tuple(sorted({line for estimate in estimates for line in estimate.sources}))


def answer(estimates: Sequence[Estimate]) -> RenderableType:
    """What ``tokenroof estimate`` prints: the comparison, what cannot be, what was assumed."""
    parts: list[RenderableType] = [comparison(estimates)]
    problems = infeasible(estimates)
    if problems is not None:
        parts.append(problems)
    assumed = assumptions(estimates)
    if assumed:
        parts.append(lines("Assumptions", assumed))
    return Group(*parts)
