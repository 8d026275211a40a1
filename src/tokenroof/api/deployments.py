"""From the pools of a spec to a deployment, with the options that its pools are served with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenroof.api.inputs import (
    check_cache,
    precision,
    resolve_chip,
    resolve_engine,
    resolve_model,
    sharding,
    spending,
)
from tokenroof.api.lookup import Catalog
from tokenroof.api.spec.core import Spec
from tokenroof.api.spec.sections import (
    EngineSection,
    FeedForwardSection,
    FleetSection,
    PoolSection,
    SpeculationSection,
    TierSection,
)
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.accounts import Spending
from tokenroof.deploy.core import Deployment, Pool, Role
from tokenroof.deploy.halves.core import FeedForward
from tokenroof.deploy.halves.models import attention_half
from tokenroof.deploy.simulated.drafting.core import Drafting
from tokenroof.deploy.simulated.drafting.eagle import Eagle
from tokenroof.deploy.simulated.drafting.known import KnownDraft
from tokenroof.deploy.simulated.drafting.model import DraftModel
from tokenroof.deploy.simulated.drafting.mtp import Mtp
from tokenroof.deploy.simulated.drafting.ngram import NGram
from tokenroof.deploy.simulated.engines.choose import engine_options
from tokenroof.deploy.simulated.offload import Host, Offload, Remote, Ssd
from tokenroof.deploy.simulated.pools import PoolOptions
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.serve.core import Autoscaler, Fleet, Incident, Router
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.serve.routers.power_of_two import PowerOfTwo
from tokenroof.serve.routers.prefix_affinity import PrefixAffinity
from tokenroof.serve.routers.round_robin import RoundRobin
from tokenroof.serve.routers.session_affinity import SessionAffinity
from tokenroof.workload.core import Requests, RequestShape

_TIERS: dict[str, Callable[..., Offload]] = {"host": Host, "ssd": Ssd, "remote": Remote}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One deployment of a spec, ready to be simulated.

    Attributes
    ----------
    deployment : Deployment
        What serves.
    options : tuple of PoolOptions
        How, by pool.
    notes : tuple of str
        What was chosen because it was not given.
    """

    deployment: Deployment
    options: tuple[PoolOptions, ...]
    notes: tuple[str, ...]


def asked(spec: Spec, layout: Sequence[PoolSection], requests: Requests, catalog: Catalog) -> Asked:
    """A deployment from the pools of a spec.

    Parameters
    ----------
    spec : Spec
        Model, engine, cache, speculation.
    layout : sequence of PoolSection
        Its pools.
    requests : Requests
        Whose mean lengths decide a sharding that is not given.
    catalog : Catalog
        Where names are looked up.

    Raises
    ------
    InputError
        Unknown names; a cache format that a chip does not have.
    """
    model = resolve_model(catalog, spec.model.name)
    formats = precision(model, spec.model.weights, spec.model.kv)
    shape = RequestShape(
        isl_tokens=max(1, round(float(requests.isl_tokens.mean()))),
        osl_tokens=max(1, round(float(requests.osl_tokens.mean()))),
    )
    pools: list[Pool] = []
    options, notes = [], []
    for section in layout:
        pool, given = _pool(spec, section, model, formats, shape, catalog)
        pools.append(pool)
        options.append(given)
        if not any(getattr(section, name) for name in ("tp", "pp", "ep", "dp", "cp")):
            parallel = pool.parallel
            notes.append(
                f"layout: {parallel.chips} x {pool.chip.name} (tp={parallel.tp}, pp={parallel.pp}), "
                "the fewest chips that hold the model and a working set of sequences of mean length"
            )
    check_cache(formats, [pool.chip for pool in pools])
    for section in layout:
        if section.feed_forward is not None:
            pool, given = _feed_forward(spec, section.feed_forward, section.replicas, catalog)
            pools.append(pool)
            options.append(given)
    deployment = Deployment(
        model=model,
        precision=formats,
        pools=tuple(pools),
        expert_load_factor=spec.model.expert_load_factor,
    )
    return Asked(deployment=deployment, options=tuple(options), notes=tuple(notes))


def _pool(
    spec: Spec,
    section: PoolSection,
    model: ModelSpec,
    formats: Precision,
    shape: RequestShape,
    catalog: Catalog,
) -> tuple[Pool, PoolOptions]:
    chip = resolve_chip(catalog, section.chip)
    said: EngineSection = section.engine or spec.engine
    engine = resolve_engine(catalog, said.name)
    settings = engine_options(engine, said.options, scheduler=said.scheduler)
    ways = {name: getattr(section, name) for name in ("tp", "pp", "ep", "dp", "cp")}
    pool = Pool(
        chip=chip,
        engine=engine,
        parallel=sharding(
            chip,
            engine,
            model if section.feed_forward is None else attention_half(model),
            formats,
            shape,
            ways,
        ),
        role=Role(section.role),
        replicas=section.replicas,
    )
    drafts = section.role != "prefill" and spec.speculation is not None
    return pool, PoolOptions(
        settings=settings,
        drafting=drafting_of(spec.speculation, catalog) if drafts and spec.speculation else None,
        offload=tuple(map(offload_of, spec.cache.offload)) if section.role != "decode" else (),
        overlap_fraction=spec.fleet.overlap,
        start_up_s=section.start_up,
        prefix_caching=spec.cache.prefix_caching if section.role != "decode" else False,
    )


def _feed_forward(
    spec: Spec, section: FeedForwardSection, replicas: int, catalog: Catalog
) -> tuple[FeedForward, PoolOptions]:
    said: EngineSection = section.engine or spec.engine
    engine = resolve_engine(catalog, said.name)
    ways = {name: getattr(section, name) for name in ("tp", "ep", "dp")}
    pool = FeedForward(
        chip=resolve_chip(catalog, section.chip),
        engine=engine,
        parallel=Parallel(**{name: count for name, count in ways.items() if count is not None}),
        replicas=replicas,
        micro_batches=section.micro_batches,
    )
    return pool, PoolOptions(settings=engine_options(engine, said.options, scheduler=said.scheduler))


def offload_of(tier: TierSection) -> Offload:
    """Where evicted cache goes, from how it is written."""
    make = _TIERS[tier.tier]
    return make(size_bytes=tier.capacity, bytes_per_s=tier.bandwidth, latency_s=tier.latency)


def drafting_of(said: SpeculationSection, catalog: Catalog) -> Drafting:
    """What drafts, from how it is written."""
    tokens, accepted = said.draft_tokens, said.acceptance
    match said.method:
        case "draft":
            assert said.draft_model is not None, "checked by the section"
            model = resolve_model(catalog, said.draft_model)
            return DraftModel(
                model=model, precision=model.precision, draft_tokens=tokens, acceptance_fraction=accepted
            )
        case "eagle":
            return Eagle(draft_tokens=tokens, acceptance_fraction=accepted)
        case "mtp":
            return Mtp(draft_tokens=tokens, acceptance_fraction=accepted)
        case "ngram":
            return NGram(draft_tokens=tokens, acceptance_fraction=accepted)
        case "known":
            assert said.draft_step is not None, "checked by the section"
            return KnownDraft(draft_tokens=tokens, acceptance_fraction=accepted, draft_step_s=said.draft_step)


_ROUTERS: dict[str, Callable[[], Router]] = {
    "round-robin": RoundRobin,
    "least-loaded": LeastLoaded,
    "power-of-two": PowerOfTwo,
    "prefix-affinity": PrefixAffinity,
    "session-affinity": SessionAffinity,
}


def router_of(name: str) -> Router:
    """A routing rule by name."""
    return _ROUTERS[name]()


def fleet_of(said: FleetSection, pools: Sequence[Pool]) -> Fleet:
    """What changes during the run.

    Raises
    ------
    InputError
        A pool or replica that is not there; more than one autoscaler for a pool.
    """
    pools = [pool for pool in pools if pool.role is not Role.FEED_FORWARD]
    for index, failure in enumerate(said.failures):
        place = f"fleet.failures.{index}"
        _check_pool(place, failure.pool, pools)
        most = pools[failure.pool].replicas
        for replica in failure.replicas:
            if replica >= most:
                raise InputError(
                    f"{place}.replicas: pool {failure.pool} has {most}, counted from 0, got {replica}."
                )
    for index, scaler in enumerate(said.autoscale):
        place = f"fleet.autoscale.{index}"
        _check_pool(place, scaler.pool, pools)
        if not scaler.least <= pools[scaler.pool].replicas <= scaler.most:
            start = pools[scaler.pool].replicas
            raise InputError(
                f"{place}: the pool starts with {start} replicas, outside {scaler.least}..{scaler.most}."
            )
        if scaler.pool in [other.pool for other in said.autoscale[:index]]:
            raise InputError(f"{place}: pool {scaler.pool} has an autoscaler already. Leave one out.")
    return Fleet(
        incidents=tuple(
            Incident(
                at_s=each.at,
                for_s=math.inf if each.lasts is None else each.lasts,
                pool=each.pool,
                replicas=each.replicas,
                slowdown=math.inf if each.slowdown is None else each.slowdown,
            )
            for each in said.failures
        ),
        spares=said.spares,
        takeover_s=said.takeover,
        autoscalers=tuple(
            Autoscaler(
                signal=each.signal,
                target=each.target,
                least=each.least,
                most=each.most,
                interval_s=each.interval,
                down_after_s=each.down_after,
                pool=each.pool,
            )
            for each in said.autoscale
        ),
        max_retries=said.max_retries,
    )


def _check_pool(place: str, pool: int, pools: Sequence[Pool]) -> None:
    if pool >= len(pools):
        raise InputError(f"{place}.pool: there are {len(pools)} pools, counted from 0, got {pool}.")


def spending_of(spec: Spec) -> Spending:
    """What money and carbon are counted with."""
    cost = spec.cost
    return spending(
        price=cost.price,
        region=cost.region,
        utilisation=cost.utilisation,
        pue=cost.pue,
        capex_usd=cost.capex_usd,
    )
