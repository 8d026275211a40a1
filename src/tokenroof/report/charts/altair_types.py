"""Thin typed doors to altair, whose own helpers are only partly typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

AnyChart = alt.LayerChart | alt.ConcatChart | alt.VConcatChart | alt.HConcatChart
Align = Literal["left", "center", "right"]


def rows_chart(rows: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """A chart over rows that travel inside the specification."""
    return alt.Chart({"values": [dict(row) for row in rows]})


def layered(
    layers: Sequence[alt.Chart], *, width: int, height: int, title: alt.TitleParams
) -> alt.LayerChart:
    """Layers over one another; sizes in pixels."""
    return alt.LayerChart(layer=list(layers), width=width, height=height, title=title)


def stacked(
    charts: Sequence[alt.LayerChart], *, spacing: int, title: alt.TitleParams, shared: bool = True
) -> alt.VConcatChart:
    """Panels one below the other; colours and sizes mean the same in all, unless each is told its own."""
    resolve = _shared() if shared else _apart()
    return alt.VConcatChart(vconcat=list(charts), spacing=spacing, resolve=resolve, title=title)


def side_by_side(
    charts: Sequence[alt.VConcatChart], *, spacing: int, title: alt.TitleParams
) -> alt.HConcatChart:
    """Columns of panels, each with colours and legends of its own."""
    return alt.HConcatChart(hconcat=list(charts), spacing=spacing, resolve=_apart(), title=title)


def panelled(
    charts: Sequence[alt.LayerChart],
    *,
    columns: int,
    spacing: int,
    title: alt.TitleParams,
) -> alt.ConcatChart:
    """Panels in a grid; colours and sizes mean the same in all."""
    return alt.ConcatChart(
        concat=list(charts), columns=columns, spacing=spacing, resolve=_shared(), title=title
    )


def _shared() -> alt.Resolve:
    return alt.Resolve(scale=alt.ScaleResolveMap(color="shared", size="shared"))


def _apart() -> alt.Resolve:
    return alt.Resolve(
        scale=alt.ScaleResolveMap(color="independent", strokeDash="independent"),
        legend=alt.LegendResolveMap(color="independent", strokeDash="independent"),
    )
