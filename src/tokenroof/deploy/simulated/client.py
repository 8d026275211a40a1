"""What lies between a client and an engine: HTTP, tokenising, streaming.

The engine sees a request later than it was sent; everything the client reports is counted from when it
sent. Throughput follows by itself: a closed loop sends its next request after that time, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tokenroof.deploy.client import client_s
from tokenroof.deploy.core import Role
from tokenroof.deploy.simulated.question import Prepared
from tokenroof.serve.results import Run
from tokenroof.serve.run import simulate as run_kernel
from tokenroof.workload.core import NOBODY, FloatArray, Requests

if TYPE_CHECKING:
    from tokenroof.serve.run import Progress


def serve_requests(
    prepared: Prepared, requests: Requests, *, progress: Callable[[Progress], None] | None = None
) -> Run:
    """Serve requests, and report as their client sees it.

    Parameters
    ----------
    prepared : Prepared
        What serves.
    requests : Requests
        As they are sent.
    progress : callable, optional
        As :func:`tokenroof.serve.run.simulate`.

    Returns
    -------
    Run
        Of the requests as given; ``log.arrival_s`` is when they were sent.
    """
    pool = next(each.pool for each in prepared.served if each.pool.role is not Role.DECODE)
    delay_s = client_s(pool, requests.isl_tokens.astype(np.float64))
    if not delay_s.any():
        return run_kernel(prepared.setup, requests, progress=progress)
    later_s = _later(requests, delay_s)
    run = run_kernel(prepared.setup, replace(requests, arrival_s=later_s), progress=progress)
    sent_s = run.log.arrival_s - (later_s - requests.arrival_s)
    return replace(run, requests=requests, log=replace(run.log, arrival_s=sent_s))


def _later(requests: Requests, delay_s: FloatArray) -> FloatArray:
    """When the engine sees them, counted as ``Requests.arrival_s`` is. [s]

    Of requests that are sent by the clock none overtakes another: they pass one after the other.
    """
    later: FloatArray = requests.arrival_s + delay_s
    if requests.concurrency is not None:
        return later
    by_the_clock = requests.follows == NOBODY
    later[by_the_clock] = np.maximum.accumulate(later[by_the_clock])
    return later
