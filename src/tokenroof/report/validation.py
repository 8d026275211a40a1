"""Predicted against measured servings as stable JSON, and the words that its tables share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenroof.calibrate.validation.core import METRICS, Outcome
from tokenroof.calibrate.validation.results import Group, Reference, Score, Validation
from tokenroof.report.human import human
from tokenroof.report.json import plain

LABELS: Mapping[str, str] = {
    "total_tput_per_gpu": "total throughput",
    "output_tput_per_gpu": "output throughput",
    "input_tput_per_gpu": "input throughput",
    "mean_tpot_s": "time per token (TPOT), mean",
    "median_tpot_s": "time per token (TPOT), median",
    "median_ttft_s": "first token (TTFT), median",
    "mean_ttft_s": "first token (TTFT), mean",
    "p99_ttft_s": "first token (TTFT), p99",
    "mean_e2e_s": "end to end (E2E), mean",
}
"""What metrics are called in tables."""

SHORT: Mapping[str, str] = {
    "total_tput_per_gpu": "total tok/s",
    "output_tput_per_gpu": "output tok/s",
    "mean_tpot_s": "TPOT mean",
    "median_tpot_s": "TPOT median",
    "median_ttft_s": "TTFT median",
}
"""What metrics are called where there is little room."""

SHOWN = ("total_tput_per_gpu", "output_tput_per_gpu", "mean_tpot_s", "median_tpot_s", "median_ttft_s")
"""Metrics of tables that have no room for all."""

DASH = "-"
NOT_SAID = "(not said)"


def document(found: Validation) -> dict[str, Any]:
    """The whole comparison as plain values; errors in percent.

    Returns
    -------
    dict
        ``coverage``, ``metrics``, ``groups`` and ``rows`` (docs/reference/json.md). The form is a contract:
        no name changes.
    """
    return {
        "coverage": {
            "rows": len(found.outcomes),
            "predicted": len(found.predicted),
            "reasons": dict(found.reasons),
        },
        "metrics": _scores(found.scores),
        "groups": [
            {"by": ",".join(group.by), "key": ",".join(group.key), "metrics": _scores(group.scores)}
            for group in found.groups
        ],
        "rows": [_row(outcome) for outcome in found.outcomes],
    }


def dumps(found: Validation) -> str:
    """``document`` as text, in a fixed order; a number that is not finite reads null."""
    return json.dumps(plain(document(found)), indent=2, ensure_ascii=False, allow_nan=False)


def _scores(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {
        name: {
            "n": score.n,
            "median_ape": _percent(score.median_fraction),
            "mean_ape": _percent(score.mean_fraction),
            "p90_ape": _percent(score.p90_fraction),
            "bias": _percent(score.bias_fraction),
            "interval_coverage": _percent(score.interval_fraction),
        }
        for name, score in scores.items()
    }


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100.0 * fraction


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "id": outcome.row.id,
        "predicted": {name: outcome.predicted[name] for name in METRICS if name in outcome.predicted},
        "measured": {name: outcome.measured[name] for name in METRICS if name in outcome.measured},
        "reason": outcome.reason,
    }


# --- words ---------------------------------------------------------------------------------------


def percent(fraction: float | None, *, signed: bool = False) -> str:
    """An error as people read it.

    Examples
    --------
    >>> percent(0.0512), percent(0.241), percent(-0.03, signed=True), percent(None)
    ('5.1 %', '24 %', '-3.0 %', '-')
    """
    if fraction is None:
        return DASH
    value = 100.0 * fraction
    places = 1 if abs(value) < 9.95 else 0
    return f"{value:+,.{places}f} %" if signed else f"{value:,.{places}f} %"


def amount(metric: str, value: float | None) -> str:
    """A predicted or measured value with its unit."""
    if value is None:
        return DASH
    return human(value, "s") if metric.endswith("_s") else f"{human(value)} tok/s"


def share_text(part: int, whole: int) -> str:
    """A count, and which part of the whole it is.

    Examples
    --------
    >>> share_text(581, 584), share_text(0, 0)
    ('581 of 584 (99.5 %)', '0 of 0')
    """
    return f"{part:,} of {whole:,}" + (f" ({100.0 * part / whole:.1f} %)" if whole else "")


def headline(found: Validation) -> str:
    """The comparison in a sentence."""
    said = [f"{share_text(len(found.predicted), len(found.outcomes))} rows predicted"]
    said += [
        f"{SHORT[name]} off by {percent(found.scores[name].median_fraction)}"
        for name in SHOWN
        if found.scores[name].n
    ]
    return ", ".join(said) + (" in the median" if len(said) > 1 else "")


def noise(references: Iterable[Reference], metric: str) -> Reference | None:
    """The noise floor of a metric, where it is known."""
    return next((each for each in references if each.kind == "noise" and each.metric == metric), None)


def about(outcome: Outcome) -> tuple[str, ...]:
    """What may explain the error of a row: what it says of itself, and what had to be assumed."""
    row = outcome.row
    said = [f"quality {row.text('quality')}"] if row.text("quality") else []
    if row.text("cold_start").lower() == "true":
        said.append("cold start")
    if row.text("run_spread"):
        try:
            said.append(f"runs differ by {percent(float(row.text('run_spread')))}")
        except ValueError:
            said.append(f"run_spread {row.text('run_spread')}")
    if row.text("notes"):
        said.append(f"notes: {row.text('notes')}")
    return (*said, *(f"assumed: {note}" for note in outcome.notes))


def cuts(found: Validation) -> dict[tuple[str, ...], Sequence[Group]]:
    """Groups by the columns that make them."""
    out: dict[tuple[str, ...], list[Group]] = {}
    for group in found.groups:
        out.setdefault(group.by, []).append(group)
    return dict(out)
