"""How many verified steps an answer takes when drafts are accepted by chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tokenroof.serve.core import Speculation
from tokenroof.serve.jit import jit

IntArray = npt.NDArray[np.int64]
_AT_ONCE = 1 << 16


@jit
def _count_steps(tokens: IntArray, chances: npt.NDArray[np.float64], draft: int, steps: IntArray) -> int:
    """Fill ``steps``; each reads numbers from ``chances`` in turn. Returns how many were answered."""
    used = 0
    for row in range(tokens.size):
        left, taken = tokens[row], 0
        while left > 0:
            if used >= chances.size:
                return row
            accepted = int(chances[used])
            used += 1
            taken += 1
            left -= 1 + min(accepted, draft)
        steps[row] = taken
    return int(tokens.size)


def steps_of(osl_tokens: IntArray, speculation: Speculation | None, rng: np.random.Generator) -> IntArray:
    """Decode steps of each answer after its first token.

    Parameters
    ----------
    osl_tokens : IntArray
        Answers, shape (num_requests,). [tokens]
    speculation : Speculation or None
        Draft length and acceptance; None: a token per step.
    rng : numpy Generator
        What decides which drafts are accepted.

    Returns
    -------
    IntArray
        Shape (num_requests,). A step yields one token and as many drafted ones as are accepted before
        the first that is not: truncated geometric.
    """
    rest = np.asarray(osl_tokens - 1, dtype=np.int64)
    if speculation is None:
        return rest
    steps = np.zeros(rest.size, np.int64)
    at = 0
    while at < rest.size:
        some = rest[at : at + _AT_ONCE]
        size = int(some.sum()) + 1
        part = np.zeros(some.size, np.int64)
        refused = 1.0 - speculation.acceptance_fraction
        accepted = (
            np.full(size, speculation.draft_tokens, np.float64)
            if refused <= 0.0
            else rng.geometric(refused, size).astype(np.float64) - 1.0
        )
        _count_steps(some, accepted, speculation.draft_tokens, part)
        steps[at : at + _AT_ONCE] = part
        at += _AT_ONCE
    return steps
