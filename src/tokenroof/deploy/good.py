"""Requests within their limits when all latencies are longer or shorter than predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tokenroof.serve.metrics import good_requests
from tokenroof.serve.results import Run, State
from tokenroof.workload.core import RequestClass, Slo

BoolArray = npt.NDArray[np.bool_]

LATENCIES = ("ttft", "tpot", "e2e")


def good_ends(
    run: Run, low: Mapping[str, float], high: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Fewest and most good requests of each class over those of the prediction, as parts of the completed.

    Parameters
    ----------
    run : Run
        What was simulated.
    low, high : mapping of str to float
        Factors on the latencies ("ttft", "tpot", "e2e") at either end.

    Returns
    -------
    dict of str to (float, float)
        By class, "" for all: what the part of good requests loses when latencies are long (at most 0), and
        gains when they are short.
    """
    completed = run.log.state == State.COMPLETED
    now, worst, best = (
        good_requests(run.log, [_scaled(kind, factors) for kind in run.requests.classes], completed)
        for factors in ({}, high, low)
    )
    of = {"": completed} | {
        kind.name: completed & (run.log.class_index == index)
        for index, kind in enumerate(run.requests.classes)
        if len(run.requests.classes) > 1
    }
    return {
        name: (
            _part(worst & mine, mine) - _part(now & mine, mine),
            _part(best & mine, mine) - _part(now & mine, mine),
        )
        for name, mine in of.items()
    }


def _part(good: BoolArray, of: BoolArray) -> float:
    return int(np.count_nonzero(good)) / max(int(np.count_nonzero(of)), 1)


def _scaled(kind: RequestClass, factors: Mapping[str, float]) -> RequestClass:
    """Limits so much shorter, which is the same as latencies so much longer."""
    slo = kind.slo
    limits = {"ttft": slo.ttft_s, "tpot": slo.tpot_s, "e2e": slo.e2e_s}
    scaled = {
        f"{name}_s": None if limit is None else limit / factors.get(name, 1.0)
        for name, limit in limits.items()
    }
    return replace(kind, slo=Slo(**scaled))
