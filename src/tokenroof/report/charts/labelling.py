"""Where to write names beside dots on log-log axes so that they do not run into each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_CHAR_PX, _LINE_PX = 5.6, 13.0

Box = tuple[float, float, float, float]


def place_labels(
    rows: Sequence[Mapping[str, Any]],
    x_domain: tuple[float, float],
    y_domain: tuple[float, float],
    size: tuple[int, int],
    *,
    smallest_share: float = 0.03,
) -> list[dict[str, Any]]:
    """Give every sizeable dot a name right, left, above or below; a name without room is left out.

    Parameters
    ----------
    rows : sequence of mapping
        Dots with ``intensity``, ``achieved``, ``share``, ``operator`` and ``phase``.
    x_domain, y_domain : tuple of float
        Axis limits, data units.
    size : tuple of int
        Width and height of the plot. [pixels]
    smallest_share : float
        Dots below this part of their phase stay without a name.

    Returns
    -------
    list of dict
        ``operator``, ``x_at``, ``y_at`` (data units) and ``align`` per written name.
    """
    centres = [
        (_px(row["intensity"], x_domain, size[0]), _px(row["achieved"], y_domain, size[1])) for row in rows
    ]
    taken: list[Box] = []
    for row, (cx, cy) in zip(rows, centres, strict=True):
        r = _radius(row["share"])
        taken.append((cx - r, cy - r, cx + r, cy + r))
    out: list[dict[str, Any]] = []
    order = sorted(range(len(rows)), key=lambda i: -rows[i]["share"])
    for i in order:
        if rows[i]["share"] < smallest_share:
            continue
        name, (cx, cy), r = str(rows[i]["operator"]), centres[i], _radius(rows[i]["share"])
        width = _CHAR_PX * len(name)
        others = [box for j, box in enumerate(taken) if j != i]
        for align, dx, dy in (
            ("left", r + 4, 0.0),
            ("right", -r - 4, 0.0),
            ("center", 0.0, r + 9),
            ("center", 0.0, -r - 9),
            ("left", r + 2, r + 6),
            ("left", r + 2, -r - 6),
            ("right", -r - 2, r + 6),
            ("right", -r - 2, -r - 6),
        ):
            x, y = cx + dx, cy + dy
            left = {"left": x, "right": x - width, "center": x - width / 2}[align]
            box = (left, y - _LINE_PX / 2, left + width, y + _LINE_PX / 2)
            inside = box[0] > 2 and box[2] < size[0] - 2 and box[1] > 2 and box[3] < size[1] - 2
            if inside and not any(_overlap(box, other) for other in others):
                taken.append(box)
                out.append(
                    {
                        "operator": name,
                        "phase": rows[i]["phase"],
                        "x_at": _data(x, x_domain, size[0]),
                        "y_at": _data(y, y_domain, size[1]),
                        "align": align,
                    }
                )
                break
    return out


def _radius(share: float) -> float:
    """Radius of a dot whose area follows the size scale of the roofline chart. [pixels]"""
    return math.sqrt((12 + (420 - 12) * min(share, 0.5) / 0.5) / math.pi)


def _px(value: float, domain: tuple[float, float], extent: int) -> float:
    return extent * math.log(value / domain[0]) / math.log(domain[1] / domain[0])


def _data(px: float, domain: tuple[float, float], extent: int) -> float:
    return float(domain[0] * math.exp(px / extent * math.log(domain[1] / domain[0])))


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
