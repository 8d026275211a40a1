"""The asked traffic in numbers, and the same traffic at another rate."""

from __future__ import annotations

import numpy as np

from tokenroof.deploy.simulated.capacity import at_rate, rate_of
from tokenroof.deploy.simulated.question import mean_shape
from tokenroof.errors import InputError
from tokenroof.search.asked import Load
from tokenroof.workload.core import NOBODY, Requests, RequestShape


def load_of(requests: Requests) -> Load:
    """What the requests ask for.

    Raises
    ------
    InputError
        A closed loop, or requests that are all sent at once: there is no rate to plan for.
    """
    if requests.concurrency is not None:
        raise InputError(
            "a plan needs a rate of requests, a closed loop has none. Give a rate, or a trace with times."
        )
    if not float(requests.arrival_s[requests.follows == NOBODY].max()) > 0.0:
        raise InputError("all requests are sent at once: there is no rate to plan for. Give times or a rate.")
    return Load(
        requests_per_s=rate_of(requests),
        isl_tokens=float(requests.isl_tokens.mean()),
        osl_tokens=float(requests.osl_tokens.mean()),
        longest_tokens=int((requests.isl_tokens + requests.osl_tokens).max()),
        shared_fraction=shared_fraction(requests),
        num_requests=len(requests),
    )


def shared_fraction(requests: Requests) -> float:
    """Part of the prompt tokens whose blocks an earlier request had already: what no cache can exceed."""
    prefixes = requests.prefixes
    if prefixes is None or prefixes.ids.size == 0:
        return 0.0
    counts = np.diff(prefixes.start)
    row = np.repeat(np.arange(counts.size), counts)
    place = np.arange(prefixes.ids.size) - prefixes.start[row]
    in_prompt = (place + 1) * prefixes.block_tokens <= requests.isl_tokens[row]
    first = np.zeros(prefixes.ids.size, dtype=bool)
    first[np.unique(prefixes.ids, return_index=True)[1]] = True
    again = np.count_nonzero(in_prompt & ~first) * prefixes.block_tokens
    return float(again) / float(requests.isl_tokens.sum())


def shape_of(requests: Requests) -> RequestShape:
    """The request of mean lengths."""
    return mean_shape(requests)


def faster(requests: Requests, factor: float) -> Requests:
    """The same requests in the same pattern, sent at a rate higher by a factor."""
    return requests if factor == 1.0 else at_rate(requests, factor * rate_of(requests))
