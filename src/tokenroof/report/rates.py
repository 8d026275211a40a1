"""The highest rates of deployments: tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tokenroof.deploy.core import HighestRate, Probe
from tokenroof.report.human import human, human_range, share
from tokenroof.report.json import estimate_document, plain
from tokenroof.report.labels import column_name, limits_line
from tokenroof.report.run_labels import latency_id, run_range, run_text
from tokenroof.report.tables import assumptions, grid, lines, ranged

SCHEMA = "tokenroof-capacity/1"
_DASH = "-"
_TRIED = (("ttft", "p99"), ("tpot", "p99"), ("e2e", "p99"))


def rate_tables(names: Sequence[str], rows: Sequence[HighestRate]) -> RenderableType:
    """The highest rate of each deployment, every rate that was tried, what was assumed."""
    table = grid(_title(rows))
    table.add_column("")
    for column in ("chips", "requests/s", "per chip", "good requests/s", "output tokens/s", "cost of output"):
        table.add_column(column, justify="right")
    for name, row in zip(names, rows, strict=True):
        table.add_row(name, *_cells(row))
    parts: list[RenderableType] = [table]
    for name, row in zip(names, rows, strict=True):
        if row.infeasible is not None:
            parts.append(Text(f"{name}: {row.infeasible.reason}", style="red"))
        if not row.bounded and row.rate_per_s is not None:
            parts.append(
                Text(
                    f"{name}: these requests are over before any rate misses the limits; the true rate is at "
                    "least this one. Send more requests.",
                    style="red",
                )
            )
        if row.probes:
            parts.append(_tried(name, row.probes))
    assumed = assumptions([row.estimate for row in rows if row.estimate is not None])
    if assumed:
        parts.append(lines("Assumptions", assumed))
    return Group(*parts)


def _title(rows: Sequence[HighestRate]) -> str:
    limits = dict.fromkeys(limits_line(row.estimate) for row in rows if row.estimate is not None)
    asked = dict.fromkeys(row.criterion for row in rows)
    return "\n".join(["Highest rate within the limits", *filter(None, limits), *asked])


def _cells(row: HighestRate) -> list[Text]:
    if row.rate_per_s is None or row.estimate is None:
        return [Text("none" if place == 1 else _DASH, style="red") for place in range(6)]
    metrics = row.estimate.metrics
    chips = metrics["chips"].value
    return [
        Text(column_name(row.estimate) if row.estimate.label == "" else f"{chips:,.0f}"),
        ranged(human(row.rate_per_s), _ends(row, 1.0), "bold", alone=False),
        ranged(human(row.rate_per_s / chips), _ends(row, chips), "", alone=False),
        *(
            ranged(run_text(key, metrics[key]), run_range(key, metrics[key]), "", alone=False)
            if key in metrics
            else Text(_DASH)
            for key in ("goodput_requests_per_s", "output_tokens_per_s", "usd_per_mtok_output")
        ),
    ]


def _ends(row: HighestRate, chips: float) -> str:
    if row.low_rate_per_s is None or row.high_rate_per_s is None:
        return ""
    return human_range(row.low_rate_per_s / chips, row.high_rate_per_s / chips)


def _tried(name: str, probes: Sequence[Probe]) -> RenderableType:
    table = grid(f"{name}: rates that were tried")
    for column in ("requests/s", "good", "first token p99", "per token p99", "end to end p99"):
        table.add_column(column, justify="right")
    table.add_column("limits", overflow="fold")
    for probe in probes:
        metrics = probe.estimate.metrics
        good = metrics.get("good_fraction")
        times = (metrics.get(latency_id(*each)) for each in _TRIED)
        table.add_row(
            human(probe.rate_per_s),
            share(good.value) if good is not None else _DASH,
            *(human(each.value, "s") if each is not None else _DASH for each in times),
            Text("met" if probe.met else probe.missed, style="green" if probe.met else ""),
        )
    return table


def document(names: Sequence[str], rows: Sequence[HighestRate]) -> str:
    """Everything as JSON text, in base units; a number that is not finite reads null."""
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "deployments": [_row(name, row) for name, row in zip(names, rows, strict=True)],
    }
    return json.dumps(plain(found), indent=2, ensure_ascii=False, allow_nan=False)


def _row(name: str, row: HighestRate) -> dict[str, Any]:
    problem = row.infeasible
    return {
        "label": name,
        "rate_per_s": row.rate_per_s,
        "low_rate_per_s": row.low_rate_per_s,
        "high_rate_per_s": row.high_rate_per_s,
        "bounded": row.bounded,
        "tolerance_fraction": row.tolerance_fraction,
        "criterion": row.criterion,
        "infeasible": None
        if problem is None
        else {"reason": problem.reason, "need": problem.need, "have": problem.have, "unit": problem.unit},
        "probes": [
            {
                "rate_per_s": probe.rate_per_s,
                "met": probe.met,
                "missed": probe.missed,
                "metrics": {key: metric.value for key, metric in probe.estimate.metrics.items()},
            }
            for probe in row.probes
        ],
        "estimate": None if row.estimate is None else estimate_document(name, row.estimate),
    }
