"""What is asked of a simulation, and everything that can be said before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.accounts import Spending
from tokenroof.deploy.answer import Question, fit_problem, infeasible
from tokenroof.deploy.capacity import capacity
from tokenroof.deploy.core import Deployment, Estimate, Infeasible, Role
from tokenroof.deploy.generation import plan_of
from tokenroof.deploy.halves.legality import halves_problem
from tokenroof.deploy.halves.models import part_of
from tokenroof.deploy.handoff import handoff_problem
from tokenroof.deploy.legality import layout_problem
from tokenroof.deploy.simulated.halves import serve_deployment, served_pools
from tokenroof.deploy.simulated.notes import notes_of
from tokenroof.deploy.simulated.pools import Lengths, PoolOptions, Served
from tokenroof.errors import InputError
from tokenroof.serve.core import Fleet, Router, Setup
from tokenroof.serve.spans import WHOLE, Window
from tokenroof.workload.core import Requests, RequestShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How a deployment is served, beside its pools.

    Attributes
    ----------
    pools : tuple of PoolOptions
        One per pool of the deployment; empty: the catalog's values.
    router : Router or None
        How requests find a replica; None: the least loaded one.
    fleet : Fleet
        Failures, spares, autoscaling.
    window : Window
        What of the run is looked at.
    spending : Spending
        What money and carbon are counted with.
    record_segments : int
        Keep the first so many stretches of work, for a trace.
    crawl : bool
        Step by step; for tests.
    """

    pools: tuple[PoolOptions, ...] = ()
    router: Router | None = None
    fleet: Fleet = field(default_factory=Fleet)
    window: Window = WHOLE
    spending: Spending = field(default_factory=Spending)
    record_segments: int = 0
    crawl: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A simulation that can run.

    Attributes
    ----------
    question : Question
        As the closed form knows it, with the pools as they are served and the mean request.
    serving : Serving
        As given.
    served : tuple of Served
        Pools.
    setup : Setup
        For the event kernel.
    notes : tuple of str
        What is assumed.
    """

    question: Question
    serving: Serving
    served: tuple[Served, ...]
    setup: Setup
    notes: tuple[str, ...]


def prepare(
    deployment: Deployment,
    requests: Requests,
    serving: Serving,
    *,
    catalog: Catalog,
    seed: int,
    label: str = "",
) -> Prepared | Estimate:
    """Check what is asked, and lay it out for the event kernel.

    Parameters
    ----------
    deployment : Deployment
        Pools that do both, or prefill pools and decode pools; with one decode pool also a feed-forward pool.
    requests : Requests
        Their lengths decide how memory is cut.
    serving : Serving
        How.
    catalog : Catalog
        Economics, sources, figures of offload tiers.
    seed : int
        Of what is drawn inside the run.
    label : str
        Name of the row in a comparison.

    Returns
    -------
    Prepared or Estimate
        The latter says why it cannot be.

    Raises
    ------
    InputError
        Pools of roles that do not go together, no replicas, or options of another number of pools.
    """
    shape = mean_shape(requests)
    question = Question(
        deployment=deployment,
        shape=shape,
        plan=plan_of(deployment.model, shape),
        catalog=catalog,
        spending=serving.spending,
        label=label or ", ".join(dict.fromkeys(pool.chip.name for pool in deployment.pools)),
    )
    concurrency = requests.concurrency or 0
    _check(deployment, serving)
    problem = _illegal(question, requests)
    if problem is not None:
        return infeasible(question, problem, concurrency)
    lengths = lengths_of(requests)
    options = serving.pools or (PoolOptions(),) * len(deployment.pools)
    served = serve_deployment(deployment, options, lengths, catalog)
    if isinstance(served, Infeasible):
        return infeasible(question, served, concurrency)
    resolved = replace(deployment, pools=served_pools(served))
    question = replace(question, deployment=resolved)
    problem = _too_large(requests, served)
    if problem is not None:
        decoder = decoding_pool(served).pool
        memory = capacity(decoder, part_of(deployment, decoder), deployment.precision, shape)
        return infeasible(question, problem, concurrency, memory)
    changes = bool(serving.fleet.incidents or serving.fleet.autoscalers)
    setup = Setup(
        pools=tuple(each.setup for each in served),
        router=serving.router or _default_router(),
        fleet=serving.fleet,
        seed=seed,
        crawl=serving.crawl,
        record_segments=serving.record_segments,
    )
    return Prepared(
        question=question,
        serving=serving,
        served=served,
        setup=setup,
        notes=notes_of(served, changes=changes),
    )


def mean_shape(requests: Requests) -> RequestShape:
    """The request of mean lengths, in whole tokens."""
    return RequestShape(
        isl_tokens=max(1, round(float(requests.isl_tokens.mean()))),
        osl_tokens=max(1, round(float(requests.osl_tokens.mean()))),
    )


def lengths_of(requests: Requests) -> Lengths:
    """What of the requests decides how memory is cut."""
    return Lengths(
        mean_isl_tokens=float(requests.isl_tokens.mean()),
        mean_osl_tokens=float(requests.osl_tokens.mean()),
        longest_tokens=int((requests.isl_tokens + requests.osl_tokens).max()),
    )


def decoding_pool(served: Sequence[Served]) -> Served:
    """The first pool that decodes."""
    return next(each for each in served if each.pool.role is not Role.PREFILL)


def _default_router() -> Router:
    from tokenroof.serve.routers.least_loaded import LeastLoaded

    return LeastLoaded()


def _check(deployment: Deployment, serving: Serving) -> None:
    kinds = [pool.role for pool in deployment.pools]
    halves = Role.FEED_FORWARD in kinds
    roles = set(kinds) - {Role.FEED_FORWARD}
    if roles not in (
        ({Role.PREFILL, Role.DECODE},) if halves else ({Role.BOTH}, {Role.PREFILL, Role.DECODE})
    ):
        found = ", ".join(sorted(set(kinds))) or "none"
        raise InputError(f"pools do both, or prefill and decode apart; got {found}. Add what is missing.")
    if halves and (kinds.count(Role.FEED_FORWARD), kinds.count(Role.DECODE)) != (1, 1):
        raise InputError("a feed-forward pool works with one decode pool. Leave the others out.")
    if halves and kinds[-1] is not Role.FEED_FORWARD:
        raise InputError("the feed-forward pool comes last, after prefill and decode. Change the order.")
    for pool in deployment.pools:
        if pool.replicas < 1:
            raise InputError(f"replicas must be at least 1, got {pool.replicas}.")
    if serving.pools and len(serving.pools) != len(deployment.pools):
        raise InputError(
            f"options are given for {len(serving.pools)} pools, the deployment has {len(deployment.pools)}."
        )


def _illegal(question: Question, requests: Requests) -> Infeasible | None:
    """Why the layout, the model or the requests cannot be served at all, or None."""
    deployment = question.deployment
    model = deployment.model
    if model.generation is not None:
        return Infeasible(
            reason=f"{model.name} denoises blocks, which is not simulated. Ask for the closed form."
        )
    for pool in deployment.pools:
        problem = layout_problem(pool, part_of(deployment, pool), deployment.precision)
        if problem is not None:
            return problem
    problem = halves_problem(deployment)
    if problem is not None:
        return problem
    prefills = [pool for pool in deployment.pools if pool.role is Role.PREFILL]
    decodes = [pool for pool in deployment.pools if pool.role is Role.DECODE]
    for prefill in prefills:
        for decode in decodes:
            problem = handoff_problem(prefill, decode)
            if problem is not None:
                return problem
    length = requests.isl_tokens + requests.osl_tokens
    over = int(np.count_nonzero(length > model.max_context_tokens))
    if over:
        longest = int(length.max())
        reason = (
            f"too long: {over} of {len(requests)} requests have more than the {model.max_context_tokens} "
            f"tokens that {model.name} allows (the longest: {longest}). Shorten or drop them."
        )
        return Infeasible(reason=reason, need=longest, have=model.max_context_tokens, unit="tokens")
    asked = replace(question, shape=RequestShape(isl_tokens=1, osl_tokens=1))
    problems = (fit_problem(asked, pool) for pool in deployment.pools)
    return next((problem for problem in problems if problem is not None), None)


def _too_large(requests: Requests, served: Sequence[Served]) -> Infeasible | None:
    """That not a single request fits the cache of a rank, or None; those that do not are rejected by row."""
    for each in served:
        size = each.size
        answer = 1 if each.pool.role is Role.PREFILL else requests.osl_tokens
        smallest = int((requests.isl_tokens + answer).min())
        need = size.blocks_of(smallest)
        if need > size.rank_blocks:
            chips = each.pool.parallel.chips
            reason = (
                f"every request is larger than the cache: the smallest needs {need} blocks of "
                f"{size.block_tokens} tokens > {size.rank_blocks} that a rank has on {chips} x "
                f"{each.pool.chip.name}. Use more chips, or shorter requests."
            )
            return Infeasible(reason=reason, need=need, have=size.rank_blocks, unit="blocks")
    return None
