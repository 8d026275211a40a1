"""Charts of predicted against measured servings: one panel per metric."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import altair as alt

from tokenroof.calibrate.validation.core import Outcome
from tokenroof.calibrate.validation.results import Validation
from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, panelled, rows_chart
from tokenroof.report.human import human
from tokenroof.report.validation import LABELS, NOT_SAID, amount, percent

PANELS = (
    "total_tput_per_gpu",
    "output_tput_per_gpu",
    "mean_tpot_s",
    "median_tpot_s",
    "median_ttft_s",
    "mean_e2e_s",
)
"""Metrics that are drawn, where there are rows."""

BANDS = (0.25, 0.10)
"""Errors whose bands are shaded, the wide one first."""

_SIDE = 300
_OTHERS = "others"
_ALONE = len(theme.SERIES) - 1
_WIDEST = 1.0
_BIN = 0.05


def panels(found: Validation) -> tuple[str, ...]:
    """Metrics that have rows to draw."""
    return tuple(name for name in PANELS if found.scores[name].n)


def scatter(found: Validation) -> alt.ConcatChart:
    """Predicted over measured, logarithmic both, a dot per row, coloured by hardware.

    On the line both are equal; the bands are errors of 10 and 25 %.
    """
    names = _hardware(found)
    colour = alt.Color(
        "hardware:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names, range=[*theme.SERIES[: len(names) - 1], _last(names)]),
        legend=alt.Legend(orient="right", labelLimit=180, symbolOpacity=1.0),
    )
    return panelled(
        [_scatter_of(found, metric, names, colour) for metric in panels(found)],
        columns=3,
        spacing=28,
        title=alt.TitleParams(
            text="Predicted against measured", subtitle=["bands: 10 % and 25 %; a dot is one row"]
        ),
    )


def histograms(found: Validation) -> alt.ConcatChart:
    """How many rows have which error, a panel per metric; the rest beyond 100 % stands at the ends."""
    return panelled(
        [_histogram_of(found, metric) for metric in panels(found)],
        columns=3,
        spacing=28,
        title=alt.TitleParams(
            text="Errors", subtitle=["(predicted - measured) / measured; above 0 is predicted too high"]
        ),
    )


# --- predicted over measured ---------------------------------------------------------------------


def _hardware(found: Validation) -> list[str]:
    """What rows are coloured by: the most frequent hardware, and the rest as one."""
    counts = Counter(outcome.row.text("hardware") or NOT_SAID for outcome in found.predicted)
    names = [name for name, _ in counts.most_common()]
    return names if len(names) <= len(theme.SERIES) else [*names[:_ALONE], _OTHERS]


def _last(names: Sequence[str]) -> str:
    return theme.GHOST if names[-1] == _OTHERS else theme.SERIES[len(names) - 1]


def scatter_rows(found: Validation, metric: str) -> list[dict[str, Any]]:
    """What is drawn of a metric: a value per row that has it, both sides above 0."""
    names = set(_hardware(found))
    rows = []
    for outcome in found.predicted:
        measured, predicted = outcome.measured.get(metric), outcome.predicted.get(metric)
        if measured is None or predicted is None or not (math.isfinite(predicted) and predicted > 0.0):
            continue
        hardware = outcome.row.text("hardware") or NOT_SAID
        rows.append(
            {
                "measured": measured,
                "predicted": predicted,
                "hardware": hardware if hardware in names else _OTHERS,
                "row": _title(outcome, metric, measured, predicted),
            }
        )
    return rows


def _title(outcome: Outcome, metric: str, measured: float, predicted: float) -> str:
    row = outcome.row
    where = ", ".join(filter(None, map(row.text, ("hardware", "model", "framework", "load"))))
    off = percent(predicted / measured - 1.0, signed=True)
    values = f"measured {amount(metric, measured)}, predicted {amount(metric, predicted)}"
    return f"{row.id}: {where}; {values}, {off}"


def _scatter_of(found: Validation, metric: str, names: list[str], colour: alt.Color) -> alt.LayerChart:
    rows = scatter_rows(found, metric)
    ends = [value for row in rows for value in (row["measured"], row["predicted"])]
    low, high = min(ends) / 1.25, max(ends) * 1.25
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    unit = "s" if metric.endswith("_s") else "tokens/s per chip"
    axis = alt.Axis(values=_decades(low, high), labelExpr=_label(metric), grid=True)
    x = alt.X("measured:Q", title=f"measured [{unit}]", scale=scale, axis=axis)
    y = alt.Y("predicted:Q", title="predicted", scale=scale, axis=axis)
    layers: list[alt.Chart] = []
    for band in BANDS:
        edges = [
            {"measured": at, "low": max(at / (1.0 + band), low), "high": min(at * (1.0 + band), high)}
            for at in _points(low, high)
        ]
        layers.append(
            rows_chart(edges)
            .mark_area(color=theme.GHOST, opacity=0.28, clip=True)
            .encode(x=x, y=alt.Y("low:Q", scale=scale, axis=axis, title="predicted"), y2="high:Q")
        )
    ideal = rows_chart([{"measured": at, "predicted": at} for at in (low, high)])
    layers.append(ideal.mark_line(color=theme.FAINT_INK, strokeWidth=1.0).encode(x=x, y=y))
    layers.append(
        rows_chart(rows)
        .mark_circle(size=26, opacity=0.75, clip=True)
        .encode(x=x, y=y, color=colour, description="row:N", tooltip=["row:N"])
    )
    score = found.scores[metric]
    said = f"{score.n} rows, median error {percent(score.median_fraction)}"
    return layered(
        layers,
        width=_SIDE,
        height=_SIDE,
        title=alt.TitleParams(text=LABELS[metric], subtitle=[said], fontSize=13, subtitleFontSize=11),
    )


def _points(low: float, high: float) -> list[float]:
    count = 24
    return [low * (high / low) ** (place / count) for place in range(count + 1)]


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 of every decade between the ends; over many decades 1 alone."""
    steps = (1.0, 2.0, 5.0) if high / low < 50.0 else (1.0, 3.0) if high / low < 1000.0 else (1.0,)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [
        step * 10.0**power
        for power in range(first, last + 1)
        for step in steps
        if low <= step * 10.0**power <= high
    ]


def _label(metric: str) -> str:
    if metric.endswith("_s"):
        short = "format(datum.value * 1e3, '~g') + ' ms'"
        return f"datum.value < 0.0999 ? {short} : format(datum.value, '~g') + ' s'"
    return "format(datum.value, '~s')"


# --- histograms ----------------------------------------------------------------------------------


def histogram_rows(found: Validation, metric: str) -> list[dict[str, Any]]:
    """Bins of 5 % from -100 to 100 %: where each begins, how many rows it has; the outer take the rest."""
    counts: Counter[int] = Counter()
    last = round(_WIDEST / _BIN) - 1
    for row in scatter_rows(found, metric):
        off = row["predicted"] / row["measured"] - 1.0
        counts[min(max(math.floor(off / _BIN + 1e-9), -last - 1), last)] += 1
    return [
        {"from": bin * _BIN, "to": (bin + 1) * _BIN, "rows": counts[bin], "row": _bin_title(bin, counts[bin])}
        for bin in range(-last - 1, last + 1)
        if counts[bin]
    ]


def _bin_title(bin: int, count: int) -> str:
    low, high = (percent(edge * _BIN, signed=True) for edge in (bin, bin + 1))
    return f"{low} to {high}: {human(count)} rows"


def _histogram_of(found: Validation, metric: str) -> alt.LayerChart:
    rows = histogram_rows(found, metric)
    reach = max(0.25, *(abs(row[end]) for row in rows for end in ("from", "to")))
    x_scale = alt.Scale(domain=[-reach, reach], nice=False)
    label = "datum.value == 0 ? '0' : format(datum.value * 100, '+~g') + ' %'"
    axis = alt.Axis(labelExpr=label, tickCount=6, grid=False)
    x = alt.X("from:Q", title="error", scale=x_scale, axis=axis)
    bars = (
        rows_chart(rows)
        .mark_bar(color=theme.SERIES[0], opacity=0.9)
        .encode(
            x=x,
            x2="to:Q",
            y=alt.Y("rows:Q", title="rows", axis=alt.Axis(tickCount=5, tickMinStep=1, format="d")),
            y2=alt.Y2Datum(0),
            description="row:N",
            tooltip=["row:N"],
        )
    )
    zero = rows_chart([{"from": 0.0}]).mark_rule(color=theme.INK, strokeWidth=1.0).encode(x=x)
    score = found.scores[metric]
    said = f"median {percent(score.median_fraction)}, bias {percent(score.bias_fraction, signed=True)}"
    return layered(
        [bars, zero],
        width=_SIDE,
        height=140,
        title=alt.TitleParams(text=LABELS[metric], subtitle=[said], fontSize=13, subtitleFontSize=11),
    )
