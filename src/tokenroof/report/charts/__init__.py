"""Charts: one definition each, written as SVG, PNG, PDF or interactive HTML without a browser or network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenroof.deploy.core import Estimate
from tokenroof.errors import InputError
from tokenroof.report import theme

if TYPE_CHECKING:
    from tokenroof.report.charts.altair_types import AnyChart

KINDS = ("roofline", "breakdown", "memory", "sweep")
"""Charts of any estimate."""

SIMULATED_KINDS = ("latency", "timeline", "goodput")
"""Charts of what was simulated."""

FORMATS = (".svg", ".png", ".pdf", ".html")


def chart(estimates: Sequence[Estimate], kind: str = "roofline", *, titled: bool = True) -> AnyChart:
    """The chart of a kind.

    Parameters
    ----------
    estimates : sequence of Estimate
        Infeasible ones have nothing to draw and are left out.
    kind : str
        One of ``KINDS`` or ``SIMULATED_KINDS``.
    titled : bool
        With a title; a page that has its own headings leaves it out.

    Raises
    ------
    InputError
        The kind is unknown, or no estimate can be drawn.
    """
    check_kind(kind)
    if not any(estimate.feasible for estimate in estimates):
        raise InputError("nothing to draw: every estimate is infeasible. See the table for the reasons.")
    if not drawable(estimates, kind):
        raise InputError(f"nothing to draw: a {kind} chart needs {_NEEDS[kind]}.")
    from altair import Undefined

    from tokenroof.report.charts.breakdown import breakdown
    from tokenroof.report.charts.goodput import goodput
    from tokenroof.report.charts.latency import latency
    from tokenroof.report.charts.roofline import roofline
    from tokenroof.report.charts.sweep import sweep
    from tokenroof.report.charts.timeline import timeline
    from tokenroof.report.charts.waterfall import memory

    draw: dict[str, Callable[[Sequence[Estimate]], AnyChart]]
    draw = {"roofline": roofline, "breakdown": breakdown, "memory": memory, "sweep": sweep}
    draw |= {"latency": latency, "timeline": timeline, "goodput": goodput}
    drawn = draw[kind](estimates)
    drawn.config = theme.config()
    if not titled:
        drawn.title = Undefined
    return drawn


_GOODPUT = ("request_rate_per_s", "goodput_requests_per_s", "good_fraction")
_INTERACTIVITY = "output_tokens_per_s_per_user"  # undefined for a single output token
_NEEDS = {
    "roofline": "an estimate in closed form",
    "breakdown": "an estimate in closed form",
    "memory": "a capacity",
    "sweep": "several batches of estimates in closed form",
    "latency": "a simulated run; use simulate",
    "timeline": "a simulated run; use simulate",
    "goodput": "simulated runs with limits (an SLO) and a rate",
}


def drawable(estimates: Sequence[Estimate], kind: str) -> bool:
    """Whether any of the estimates has what a kind of chart shows."""
    return any(_has(estimate, kind) for estimate in estimates)


def _has(estimate: Estimate, kind: str) -> bool:
    if kind in ("latency", "timeline"):
        return estimate.run is not None
    if kind == "goodput":
        return all(name in estimate.metrics for name in _GOODPUT)
    if kind == "memory":
        return estimate.capacity is not None
    if kind == "sweep":
        return _INTERACTIVITY in estimate.metrics
    return bool(estimate.phases)


def check_kind(kind: str) -> None:
    """Refuse a kind of chart that does not exist.

    Raises
    ------
    InputError
        It does not.
    """
    known = (*KINDS, *SIMULATED_KINDS)
    if kind not in known:
        raise InputError(f"unknown chart {kind!r}. Known: {', '.join(known)}.")


def check_format(path: Path) -> None:
    """Refuse a path whose extension is no chart format.

    Raises
    ------
    InputError
        The extension is unknown.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"unknown chart format {str(path)!r}. Extensions: {', '.join(FORMATS)}.")


def svg(drawn: AnyChart) -> str:
    """A chart as SVG text."""
    import vl_convert

    text: str = vl_convert.vegalite_to_svg(drawn.to_dict(), vl_version=_vegalite_version())
    return text


def save_chart(drawn: AnyChart, path: Path) -> None:
    """Write a chart; the extension chooses the format. HTML carries its scripts inside.

    Raises
    ------
    InputError
        The extension is unknown.
    """
    import vl_convert

    check_format(path)
    spec, version = drawn.to_dict(), _vegalite_version()
    suffix = path.suffix.lower()
    if suffix == ".svg":
        path.write_text(svg(drawn), encoding="utf-8")
    elif suffix == ".png":
        path.write_bytes(vl_convert.vegalite_to_png(spec, vl_version=version, scale=2))
    elif suffix == ".pdf":
        path.write_bytes(vl_convert.vegalite_to_pdf(spec, vl_version=version))
    else:
        path.write_text(vl_convert.vegalite_to_html(spec, vl_version=version, bundle=True), encoding="utf-8")


def _vegalite_version() -> str:
    """The Vega-Lite version that altair writes, in vl-convert's form ("6.1")."""
    import altair

    return ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
