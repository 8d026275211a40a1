"""Simulate a deployment under load, and answer as the closed form does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Deployment, Estimate
from tokenroof.deploy.intervals import with_intervals
from tokenroof.deploy.simulated.answer import answer
from tokenroof.deploy.simulated.client import serve_requests
from tokenroof.deploy.simulated.question import Serving, prepare
from tokenroof.workload.core import Requests, Workload

if TYPE_CHECKING:
    from tokenroof.serve.run import Progress


def simulate(
    deployment: Deployment,
    workload: Requests | Workload,
    *,
    catalog: Catalog,
    serving: Serving | None = None,
    seed: int = 0,
    label: str = "",
    progress: Callable[[Progress], None] | None = None,
) -> Estimate:
    """Speed, memory, cost, energy and carbon of a deployment that serves given requests.

    Parameters
    ----------
    deployment : Deployment
        Pools that do both, or prefill pools and decode pools.
    workload : Requests or Workload
        What is sent; a workload draws its requests with the seed.
    catalog : Catalog
        Economics, sources, figures of offload tiers.
    serving : Serving, optional
        Engine options, routing, speculation, offload, failures, what of the run is looked at.
    seed : int
        Of everything that is drawn; the same seed gives the same bytes.
    label : str
        Name of the row in a comparison.
    progress : callable, optional
        Told how far the run is; may raise KeyboardInterrupt, as may the user.

    Returns
    -------
    Estimate
        With the run in it. ``infeasible`` is set when the layout is not legal, the model does not fit,
        or not one request can be served; single requests that cannot be are rows with a reason. A rate
        above saturation is said in the first assumption and in ``queue_growth_requests_per_s``.

    Raises
    ------
    InputError
        Something was asked that no engine, chip or model can do.
    """
    requests = workload if isinstance(workload, Requests) else workload.requests(seed)
    prepared = prepare(deployment, requests, serving or Serving(), catalog=catalog, seed=seed, label=label)
    if isinstance(prepared, Estimate):
        return prepared
    found = answer(prepared, serve_requests(prepared, requests, progress=progress))
    return with_intervals(found, catalog)
