"""One replica and its clients: who is on the way between them is not in the engine."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cache

from tokenroof.deploy.client import client_s
from tokenroof.deploy.colocated import Served, serve
from tokenroof.deploy.core import Deployment, Pool
from tokenroof.deploy.generation import Plan
from tokenroof.perf.compile import Samples
from tokenroof.workload.core import RequestShape

TIMES = ("ttft_s", "waiting_s", "tpot_s", "e2e_s")
"""What a request sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A mean number of requests in the engine, as time spent with the whole numbers around it.

    Attributes
    ----------
    more_time_fraction : float
        Of the time, with one request more than the whole number below the mean.
    more_requests_fraction : float
        Of the requests, those that leave in that time.
    requests_per_s : float
        Of all the time. [1/s]
    """

    more_time_fraction: float
    more_requests_fraction: float
    requests_per_s: float


def mix(clients: int, away_s: float, fewer: int, fewer_per_s: float, more_per_s: float) -> Mix:
    """How long ``fewer`` requests are in the engine, and how long one more.

    Parameters
    ----------
    clients : int
        Requests at any time, those outside the engine included.
    away_s : float
        Time that each spends outside. [s]
    fewer : int
        The largest ``n`` with ``n + rate(n) away_s <= clients``.
    fewer_per_s, more_per_s : float
        What leaves with so many, and with one more. [1/s]

    Returns
    -------
    Mix
        ``fewer + more_time_fraction + requests_per_s * away_s = clients`` (Little's law, outside and inside).
    """
    gain_per_s = more_per_s - fewer_per_s
    time = (clients - fewer - fewer_per_s * away_s) / (1.0 + gain_per_s * away_s)
    rate = fewer_per_s + time * gain_per_s
    return Mix(more_time_fraction=time, more_requests_fraction=time * more_per_s / rate, requests_per_s=rate)


def serve_clients(
    pool: Pool, deployment: Deployment, shape: RequestShape, plan: Plan, clients: int
) -> Served:
    """Steady state of one replica and ``clients`` that each send a request when the last one has ended.

    Parameters
    ----------
    pool : Pool
        Chip, engine and sharding.
    deployment : Deployment
        What is served.
    shape, plan : RequestShape, Plan
        What is asked, and the steps that takes.
    clients : int
        Requests at any time, those on their way to the engine included.

    Returns
    -------
    Served
        Times are those of the engine: they begin when a request has come.
        ``requests_per_s * (client_s + e2e_s) = clients``. ``decode_step_s`` is that of all clients' requests;
        ``step`` is one of as many of which every sequence bears what it does in the mean.

    Notes
    -----
    A request is ``client_s`` on its way to the engine and ``e2e_s(n)`` in it, which holds ``n``. By Little's
    law ``rate client_s`` of the clients are on the way, so ``n`` solves ``n + rate(n) client_s = clients``
    with ``rate(n)`` of :func:`tokenroof.deploy.colocated.serve`. Between whole numbers the engine holds the
    one below for a part of the time and the one above for the rest: rates are means over that time, what a
    request sees is a mean over the requests that leave in either part, so that Little's law holds exactly.
    A single client leaves the engine empty for ``client_s`` between two requests that see it alone.

    That a request which comes during a step waits for its end is left out, as it is without clients.
    """
    at = cache(lambda count: serve(pool, deployment, shape, plan, count))
    away_s = client_s(pool, shape.isl_tokens)
    if away_s == 0.0:
        return at(clients)

    def rate(count: int) -> float:
        return at(count).requests_per_s if count else 0.0

    def too_many(count: int) -> bool:
        return count + rate(count) * away_s > clients

    # No more are on the way than leave a full engine, but where fewer requests leave faster.
    least = max(0, clients - math.ceil(rate(clients) * away_s))
    least = 0 if too_many(least) else least
    fewer = least + bisect_left(range(least, clients), True, key=too_many) - 1
    mixed = mix(clients, away_s, fewer, rate(fewer), rate(fewer + 1))
    return _blended(at(clients), at(max(fewer, 1)), at(fewer + 1), mixed)


def _blended(full: Served, fewer: Served, more: Served, mixed: Mix) -> Served:
    """What requests see and take, in the mean over those that leave in either part of the time."""
    share = mixed.more_requests_fraction
    less, much = full.micro_batch / fewer.micro_batch, full.micro_batch / more.micro_batch
    times = {name: (1.0 - share) * getattr(fewer, name) + share * getattr(more, name) for name in TIMES}
    prompts = zip(fewer.prompt, more.prompt, strict=True)
    steps = zip(fewer.step, more.step, strict=True)
    return replace(
        full,
        requests_per_s=mixed.requests_per_s,
        prompt=Samples(*((1.0 - share) * one + share * other for one, other in prompts)),
        step=Samples(*((1.0 - share) * less * one + share * much * other for one, other in steps)),
        **times,
    )
