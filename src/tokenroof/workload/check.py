"""Whether a table of requests can be served, said in one line with the row that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError


def check_requests(requests: Any) -> None:
    """Refuse columns that contradict themselves.

    Parameters
    ----------
    requests : tokenroof.workload.core.Requests
        While it is being made.

    Raises
    ------
    InputError
        As said there.
    """
    count = requests.arrival_s.size
    if count == 0:
        raise InputError("no requests. Give a trace with rows, or a number of requests of at least 1.")
    for name in ("isl_tokens", "osl_tokens", "follows", "session", "class_index"):
        if getattr(requests, name).shape != (count,):
            raise InputError(f"{name} has {getattr(requests, name).size} rows, arrival_s has {count}.")
    _refuse(~np.isfinite(requests.arrival_s), requests.arrival_s, "arrival_s must be a finite number")
    _refuse(requests.arrival_s < 0.0, requests.arrival_s, "arrival_s must be at least 0")
    for name in ("isl_tokens", "osl_tokens"):
        column = getattr(requests, name)
        _refuse(column < 1, column, f"{name} must be at least 1")
        _refuse(column > 2**30, column, f"{name} must be at most 2**30")
    rows = np.arange(count)
    _refuse(requests.follows >= rows, requests.follows, "follows must point to an earlier row")
    later = requests.follows[requests.follows >= 0]
    if np.bincount(later).max(initial=0) > 1:
        raise InputError("follows: two requests follow the same one. A conversation is a chain.")
    free = requests.arrival_s[requests.follows < 0]
    if requests.concurrency is None and np.any(np.diff(free) < 0.0):
        row = int(np.flatnonzero(requests.follows < 0)[int(np.argmax(np.diff(free) < 0.0)) + 1])
        raise InputError(f"arrival_s of request {row} is earlier than that of the one before. Sort by time.")
    if requests.concurrency is not None and requests.concurrency < 1:
        raise InputError(f"concurrency must be at least 1, got {requests.concurrency}.")
    outside = (requests.class_index < 0) | (requests.class_index >= len(requests.classes))
    _refuse(outside, requests.class_index, f"class_index must lie in 0..{len(requests.classes) - 1}")
    if requests.prefixes is not None:
        _check_prefixes(requests.prefixes, count)


def _check_prefixes(prefixes: Any, count: int) -> None:
    start = prefixes.start
    if start.shape != (count + 1,) or start[0] != 0 or start[-1] != prefixes.ids.size:
        raise InputError("prefixes: start must have one entry per request and one more, from 0 to the end.")
    if np.any(np.diff(start) < 0) or prefixes.block_tokens < 1 or prefixes.ids.min(initial=0) < 0:
        raise InputError("prefixes: start must ascend, block_tokens be at least 1, ids at least 0.")


def _refuse(wrong: npt.NDArray[np.bool_], column: npt.NDArray[Any], rule: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"{rule}, got {column[row]} in request {row}.")
