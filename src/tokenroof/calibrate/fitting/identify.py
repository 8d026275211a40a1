"""What rows cannot tell is not fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokenroof.calibrate.fitting.core import Candidate, FitSettings, Refusal
from tokenroof.calibrate.fitting.linear import FloatArray, Linear, posterior, solve

_WEAK_PRIOR = 0.01
"""Two parameters that only their priors tell apart are not told apart."""


def identified(
    problem: Linear, candidates: Sequence[Candidate], active: Sequence[int], settings: FitSettings
) -> tuple[list[int], tuple[Refusal, ...]]:
    """Parameters that the rows can tell, and why not the others; the worst goes first.

    Parameters
    ----------
    problem : Linear
        Residuals around a point.
    candidates : sequence of Candidate
        Of its columns.
    active : sequence of int
        Those that are to be fitted.
    settings : FitSettings
        How much of a prior may be left, how alike two may be.
    """
    kept = list(active)
    refused: list[Refusal] = []
    while kept:
        place = solve(problem, kept)
        found = _unknown(posterior(problem, place, kept), candidates, kept, settings) or _alike(
            posterior(problem, place, kept, prior=_WEAK_PRIOR), candidates, kept, settings
        )
        if found is None:
            break
        index, reason = found
        refused.append(Refusal(what=candidates[index].label, reason=reason))
        kept.remove(index)
    return kept, tuple(refused)


def _unknown(
    covariance: FloatArray, candidates: Sequence[Candidate], kept: Sequence[int], settings: FitSettings
) -> tuple[int, str] | None:
    left = np.sqrt(np.diag(covariance))
    worst = int(np.argmax(left))
    if left[worst] <= settings.known:
        return None
    each = candidates[kept[worst]]
    return kept[worst], (
        f"the rows say too little: {left[worst]:.0%} of the spread that was expected before is left "
        f"(at most {settings.known:.0%} may be)."
    ) + (" Give rows of engines on it." if "/" in each.scope else "")


def _alike(
    covariance: FloatArray, candidates: Sequence[Candidate], kept: Sequence[int], settings: FitSettings
) -> tuple[int, str] | None:
    for one, other, alike in correlations(covariance):
        if abs(alike) < settings.alike:
            break
        # Of two that do the same the one with the narrower scope, which stands later, goes.
        first, last = sorted((kept[one], kept[other]))
        return last, (
            f"the rows cannot tell it from {candidates[first].label} (correlation {alike:.3f}). "
            "Give rows that differ in what they depend on, or fit one of the two."
        )
    return None


def correlations(covariance: FloatArray) -> list[tuple[int, int, float]]:
    """Pairs of parameters by how alike the rows find them, the most alike first."""
    spread = np.sqrt(np.diag(covariance))
    found = [
        (one, other, float(covariance[one, other] / (spread[one] * spread[other])))
        for one in range(spread.size)
        for other in range(one + 1, spread.size)
    ]
    return sorted(found, key=lambda pair: -abs(pair[2]))
