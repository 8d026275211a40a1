"""How long a step takes whose micro-batches go to and fro between two groups of chips.

In every round (a layer with a feed-forward) each of ``n`` micro-batches visits four stations, one after
another: the attention chips for ``a``, the wires there for ``t``, the feed-forward chips for ``f``, the wires
back for ``u``. A station has one micro-batch at a time and takes them in turn. Let ``S = a + t + f + u``
be the way round, and ``b`` the longest of the four.

A micro-batch cannot begin its next round before it has come round, nor before the busiest station has
seen all the others: a round takes ``max(S, n b)``. Two micro-batches hide nothing but one another
(``S <= 2 b`` needs ``t + u <= |a - f|``); a third hides the wires when ``t`` and ``u`` are below half of
``a = f``. Over ``R`` equal rounds the last of them leaves the wires back after::

    (R - 1) max(S, n b) + S + (n - 1) b

since the first pass through the last round takes ``S``, and the others follow at the pace of the busiest
station. With ``n = 1`` this is ``R S``, the plain sum; with ``n b >= S`` it is
``S + b (n R - 1)``, equation 5 of MegaScale-Infer (arXiv 2504.02263). Written as a sum over rounds plus
what it takes to fill and drain, it is ``R max(S, n b) + min((n - 1) b, S - b)``.

Rounds of other kinds (the first layers of DeepSeek-V3 are dense) begin here when those of the kind before
have ended; micro-batches of unlike sizes count with the largest in ``S`` and ``b``, and one by one in the
work of a station. Both make the step a little longer than it is, never shorter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """What a station takes for the micro-batches of a round; arrays broadcast.

    Attributes
    ----------
    longest_s : FloatArray
        For the largest micro-batch. [s]
    together_s : FloatArray
        For all of them. [s]
    """

    longest_s: FloatArray
    together_s: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Rounds that are alike.

    Attributes
    ----------
    count : int
        How many.
    stations : tuple of Station
        In the order of a visit.
    """

    count: int
    stations: tuple[Station, ...]


def ping_pong_s(rounds: Iterable[Rounds]) -> FloatArray:
    """Time from the first micro-batch at the first station until the last one has left the last. [s]

    Parameters
    ----------
    rounds : iterable of Rounds
        One kind after the other; see the module for the formula and its bounds.
    """
    total: FloatArray = np.zeros(())
    for each in rounds:
        way: FloatArray = np.zeros(())
        longest: FloatArray = np.zeros(())
        busiest: FloatArray = np.zeros(())
        for station in each.stations:
            way = way + station.longest_s
            longest = np.maximum(longest, station.longest_s)
            busiest = np.maximum(busiest, station.together_s)
        total = total + each.count * np.maximum(way, busiest)
        total = total + np.minimum(busiest - longest, way - longest)
    return total
