"""A decode pool whose feed-forwards are on other chips, as the event kernel sees it: one engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Deployment, Infeasible, Pool, Role
from tokenroof.deploy.halves.core import FeedForward
from tokenroof.deploy.halves.models import feed_forward_half, feed_forward_of
from tokenroof.deploy.halves.steps import HalvedSteps
from tokenroof.deploy.simulated.engines.choose import engine_options, engine_with
from tokenroof.deploy.simulated.pools import Lengths, PoolOptions, Served, serve_pool
from tokenroof.deploy.simulated.startup import start_up_s
from tokenroof.errors import InputError
from tokenroof.serve.core import Scheduler

_OF_RANK = ("max_seqs", "budget", "prefill_budget")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllRanks:
    """A batching rule of one data parallel rank, with the limits of all of them.

    Attributes
    ----------
    scheduler : Scheduler
        Of one rank.
    ranks : int
        How many there are.
    """

    scheduler: Scheduler
    ranks: int

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Scheduler``."""
        own = self.scheduler.settings()
        return own | {name: own[name] * self.ranks for name in _OF_RANK if name in own}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedHalves(Served):
    """Attention chips and feed-forward chips as they are served.

    Attributes
    ----------
    feed_forward : FeedForward
        The other chips, engine as its options have made it; ``pool`` are the attention chips.
    steps : HalvedSteps
        Their steps together; ``table`` has those of attention alone.
    """

    feed_forward: FeedForward
    steps: HalvedSteps


def serve_deployment(
    deployment: Deployment, options: Sequence[PoolOptions], lengths: Lengths, catalog: Catalog
) -> tuple[Served, ...] | Infeasible:
    """Every pool that takes requests, as the event kernel sees it; see :func:`serve_pool`.

    Parameters
    ----------
    deployment : Deployment
        What is served; legality is checked by the caller.
    options : sequence of PoolOptions
        One per pool of the deployment. Of a feed-forward pool the engine's count alone.
    lengths : Lengths
        Of the requests.
    catalog : Catalog
        Where the figures of offload tiers come from.

    Raises
    ------
    InputError
        Something was asked that the chip, the model or the engine cannot do.
    """
    feed_forward = feed_forward_of(deployment)
    served: list[Served] = []
    for pool, chosen in zip(deployment.pools, options, strict=True):
        if pool is feed_forward:
            continue
        halved = feed_forward is not None and pool.role is Role.DECODE
        if halved and chosen.drafting is not None:
            raise InputError(
                "speculation with attention and feed-forward apart is not simulated. Leave one of them out."
            )
        found = serve_pool(pool, deployment, chosen, lengths, catalog)
        if isinstance(found, Infeasible):
            return found
        if halved and feed_forward is not None:
            other = options[deployment.pools.index(feed_forward)]
            found = _with_feed_forward(found, deployment, _engine_of(feed_forward, other), lengths)
        served.append(found)
    return tuple(served)


def served_pools(served: Sequence[Served]) -> tuple[Pool, ...]:
    """Pools of a deployment as they are served, feed-forward pools last."""
    others = (each.feed_forward for each in served if isinstance(each, ServedHalves))
    return (*(each.pool for each in served), *others)


def replica_chips(served: Served) -> int:
    """Chips of one replica, both halves together."""
    others = served.feed_forward.parallel.chips if isinstance(served, ServedHalves) else 0
    return served.pool.parallel.chips + others


def _engine_of(pool: FeedForward, options: PoolOptions) -> FeedForward:
    settings = options.settings or engine_options(pool.engine, {})
    return replace(pool, engine=engine_with(pool.engine, settings))


def _with_feed_forward(
    served: Served, deployment: Deployment, feed_forward: FeedForward, lengths: Lengths
) -> ServedHalves:
    steps = HalvedSteps(
        deployment=deployment,
        attention=served.pool,
        feed_forward=feed_forward,
        graph_sizes=served.setup.graph_sizes,
    )
    scheduler = AllRanks(scheduler=served.setup.scheduler, ranks=served.pool.parallel.dp)
    half = feed_forward_half(deployment.model)
    start_s = served.setup.start_up_s
    if served.options.start_up_s is None:
        start_s = max(start_s, start_up_s(feed_forward, half, deployment.precision))
    setup = replace(
        served.setup,
        table=steps.whole_table(int(scheduler.settings()["max_seqs"]), lengths.longest_tokens),
        scheduler=scheduler,
        graph_sizes=(),
        start_up_s=start_s,
    )
    return ServedHalves(
        pool=served.pool,
        options=served.options,
        size=served.size,
        table=steps.table,
        setup=setup,
        context_tokens=served.context_tokens,
        feed_forward=feed_forward,
        steps=steps,
    )
