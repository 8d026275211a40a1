"""What lies between a client and an engine: HTTP, tokenising, streaming."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.core import Pool
from tokenroof.perf.machine import tuned_value

Tokens = TypeVar("Tokens", float, npt.NDArray[np.float64])


def client_s(pool: Pool, isl_tokens: Tokens) -> Tokens:
    """Time from sending a prompt to its arrival in the engine of a pool.

    Parameters
    ----------
    pool : Pool
        Where prompts go.
    isl_tokens : float or FloatArray
        Their lengths. [tokens]

    Returns
    -------
    float or FloatArray
        Of the shape of the lengths. [s]
    """
    fixed_s = tuned_value(pool.chip, pool.engine, "client_s")
    return fixed_s + tuned_value(pool.chip, pool.engine, "client_prompt_token_s") * isl_tokens
