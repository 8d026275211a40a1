"""Mean, quantiles and maximum of many values, exact or from counts by length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.serve.results import ITL_BINS_PER_OCTAVE, ITL_LEAST_S

FloatArray = npt.NDArray[np.float64]

QUANTILE_RULE = (
    "linear: of n sorted values the quantile q lies at position q * (n - 1), linear between neighbours "
    "(numpy's default)"
)
"""The rule of every quantile of this room."""

_ASKED = (0.50, 0.90, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Values of one metric over many requests.

    Attributes
    ----------
    count : int
        How many there are; with none all others are nan.
    mean, p50, p90, p95, p99, max : float
        In the unit of the metric. Quantiles by ``QUANTILE_RULE``.
    """

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


NOTHING = Distribution(
    count=0, mean=math.nan, p50=math.nan, p90=math.nan, p95=math.nan, p99=math.nan, max=math.nan
)
"""Of no values."""


def distribution(values: FloatArray) -> Distribution:
    """Mean, quantiles and maximum of values without nan; **reorders them in place**.

    Parameters
    ----------
    values : FloatArray
        Shape (count,). A buffer of the caller's own: it is partitioned, not copied.

    Returns
    -------
    Distribution

    Notes
    -----
    Each quantile is selected in what lies above the one before, so that 1,000,000 values take some 5 ms
    where a full sort takes 12.
    """
    count = values.size
    if count == 0:
        return NOTHING
    mean, most = float(values.mean()), float(values.max())
    found = []
    placed = 0  # values[:placed] are settled: nothing behind is smaller, and values[placed - 1] is in place
    for share in _ASKED:
        position = share * (count - 1)
        at = int(position)
        if at >= placed:
            rest = values[placed:]
            rest.partition(at - placed)
            placed = at + 1
        left = float(values[at])
        right = float(values[at + 1 :].min()) if at + 1 < count else left
        found.append(left + (position - at) * (right - left))
    # what is summed may round past the largest value that went in
    return Distribution(
        count=count, mean=min(mean, most), p50=found[0], p90=found[1], p95=found[2], p99=found[3], max=most
    )


def gap_distribution(counts: FloatArray) -> Distribution:
    """The same of gaps between tokens, from ``Run.itl_counts``. [s]

    Parameters
    ----------
    counts : FloatArray
        Gaps by length, shape (num_bins,) or (num_pools, num_bins), which are added up.

    Returns
    -------
    Distribution
        Accurate to the width of a bin, 2 ** (1 / 64) - 1 = 1.1 %: the gaps of a bin are taken as evenly
        spread over it; the maximum is the upper edge of the last bin with a gap in it. Gaps shorter than
        1 us are in the first bin.
    """
    pooled = counts.sum(axis=0) if counts.ndim == 2 else counts
    total = float(pooled.sum())
    if total <= 0.0:
        return NOTHING
    edges = ITL_LEAST_S * 2.0 ** (np.arange(pooled.size + 1) / ITL_BINS_PER_OCTAVE)
    upto = np.cumsum(pooled)
    found = []
    for share in _ASKED:
        position = share * (total - 1.0)
        bin_ = int(np.searchsorted(upto, position, side="right"))
        before = float(upto[bin_] - pooled[bin_])
        inside = min((position - before + 0.5) / float(pooled[bin_]), 1.0)
        found.append(float(edges[bin_] + inside * (edges[bin_ + 1] - edges[bin_])))
    middle = 0.5 * (edges[:-1] + edges[1:])
    return Distribution(
        count=round(total),
        mean=float(pooled @ middle) / total,
        p50=found[0],
        p90=found[1],
        p95=found[2],
        p99=found[3],
        max=float(edges[int(np.flatnonzero(pooled)[-1]) + 1]),
    )
