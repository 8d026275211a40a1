"""Charts of docs/accuracy.md: predicted against measured, and errors, as SVG."""

from __future__ import annotations

import re

from accuracy_page_tables import Rows

from tokenroof.calibrate.validation.score import validation
from tokenroof.report import theme
from tokenroof.report.charts import svg
from tokenroof.report.charts.altair_types import AnyChart
from tokenroof.report.validation_charts import histograms, scatter

CHARTS = {"scatter": "images/accuracy-scatter.svg", "errors": "images/accuracy-errors.svg"}
"""Where they lie beside the page."""


def pictures(rows: Rows) -> dict[str, str]:
    """SVG of every chart by its path."""
    return {CHARTS[name]: light(svg(drawn)) for name, drawn in charts(rows).items()}


def charts(rows: Rows) -> dict[str, AnyChart]:
    """Predicted against measured, and the errors, of all rows of both files."""
    found = validation([row.outcome for row in rows], ())
    drawn: dict[str, AnyChart] = {"scatter": scatter(found), "errors": histograms(found)}
    for each in drawn.values():
        each.config = theme.config()
    return drawn


def light(drawn: str) -> str:
    """An SVG with its dots as circles and without descriptions: a third of the size, the same picture."""
    return re.sub(r' aria-\w+="[^"]*"| role="[^"]*"', "", _DOT.sub(_circle, drawn))


_DOT = re.compile(
    r'<path [^<>]*aria-roledescription="circle" transform="translate\(([\d.]+),([\d.]+)\)" '
    r'd="M([\d.]+),0A[^"]*" (fill="[^"]*")[^<>]*opacity="([\d.]+)"/>'
)


def _circle(dot: re.Match[str]) -> str:
    x, y, radius = (f"{float(dot[place]):.1f}" for place in (1, 2, 3))
    return f'<circle cx="{x}" cy="{y}" r="{radius}" {dot[4]} opacity="{dot[5]}"/>'
