"""The call that plans: names as people write them, and the question that they mean."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from tokenroof.api.deployments import drafting_of, offload_of, spending_of
from tokenroof.api.inputs import (
    ChipLike,
    EngineLike,
    ModelLike,
    precision,
    resolve_chips,
    resolve_engine,
    resolve_model,
)
from tokenroof.api.lookup import Catalog, CatalogLike, load_catalog
from tokenroof.api.spec.common import sections
from tokenroof.api.spec.core import Spec
from tokenroof.api.spec.kinds import number
from tokenroof.api.spec.reading import spec_of
from tokenroof.api.workloads import workload_of
from tokenroof.catalog.core import Chip
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.errors import InputError, UnknownNameError
from tokenroof.search.asked import LATENCIES, Limits, Objective, Question, Space, Target
from tokenroof.search.core import PlanResult, Store, Watch
from tokenroof.search.plan import plan as make_plan

USUAL_QUANTILE = 0.99
"""Quantile of a target that says none."""

LEAST_REQUESTS, MOST_REQUESTS, SENT_FOR_S = 2000, 20_000, 120.0
"""Requests that are drawn when neither a number nor a duration is given: those of two minutes, within
these."""

EVERY = "all"
"""Formats: the checkpoint's own and all others that a chip computes."""

_NARROWER = {"weights": ("fp8", "nvfp4", "mxfp4"), "kv": ("fp8",)}
_LIMITS = {
    "chips": ("chips", ""),
    "usd_per_hour": ("usd_per_hour", ""),
    "power": ("facility_w", "W"),
    "racks": ("racks", ""),
    "rack_power": ("rack_w", "W"),
    "good_fraction": ("good_fraction", ""),
}
_NAMED = "|".join(LATENCIES)
_TARGET = re.compile(rf"(?:(?P<of>.+)\.)?(?P<latency>{_NAMED})(?:_(?P<tail>mean|p\d+(?:\.\d+)?))?")


class Traffic(TypedDict, total=False):
    """Keyword arguments of :func:`plan` that are those of :func:`tokenroof.simulate`."""

    isl: Any
    osl: Any
    rate: Any
    burstiness: float | None
    num_requests: int | None
    duration: float | str | None
    trace: Any
    trace_format: str | None
    shared: Mapping[str, object] | None
    sessions: Mapping[str, object] | None
    classes: Sequence[Mapping[str, object]] | None
    speculation: Mapping[str, object] | None
    host_gb: float | None
    ssd_gb: float | None
    remote_gb: float | None
    expert_load_factor: float | None
    price: str | float | None
    region: str | None
    utilisation: float | None
    pue: str | None
    capex_usd: float | None
    seed: int | None


def plan(
    model: ModelLike,
    chips: ChipLike | Sequence[ChipLike] | None = None,
    *,
    slo: Mapping[str, object] | None = None,
    objective: str | Sequence[str] | Mapping[str, float] = "usd_per_million_tokens",
    limits: Mapping[str, object] | None = None,
    headroom: float = 0.0,
    spare_replicas: int = 0,
    weights: str | Sequence[str] | None = None,
    kv: str | Sequence[str] | None = None,
    engine: EngineLike | Sequence[EngineLike] = "vllm",
    colocated: bool = True,
    disaggregated: bool = True,
    mixed_chips: bool = True,
    prefix_caching: bool | Sequence[bool] | None = None,
    most_chips_per_replica: int = 64,
    most_simulated: int = 48,
    workers: int | None = None,
    store: Store | None = None,
    progress: Watch | None = None,
    catalog: CatalogLike = (),
    **traffic: Unpack[Traffic],
) -> PlanResult:
    """Which deployments are best for a load: chips, layouts, formats, replicas, together or apart.

    Parameters
    ----------
    model : as for :func:`tokenroof.estimate`
        What is served.
    chips : name, path, Chip, or several, optional
        What may be bought or rented; default: every chip of the catalog that exists and has a price.
    slo : mapping, optional
        Targets by latency and quantile: ``{"ttft_p99": "1 s", "tpot_p95": 0.04, "e2e_mean": 20}``; of one
        class of requests as ``"chat.ttft_p99"``; a latency alone is its p99.
    objective : str, sequence or mapping
        One of ``search.asked.OBJECTIVES``; several make a Pareto front, a mapping gives weights.
    limits : mapping, optional
        Most ``chips``, ``usd_per_hour``, ``power`` at the meter, ``racks`` (of ``rack_power``); least
        ``good_fraction`` of requests within the limits of their class.
    headroom : float
        The targets are kept at a rate higher by this part.
    spare_replicas : int
        More replicas of every pool; 1 is N+1.
    weights, kv : str or sequence of str, optional
        Formats to try; "all" is every one that a chip computes. Default: as the model's config says.
    engine : name, Engine, or several
        Serving engines to try.
    colocated, disaggregated, mixed_chips : bool
        Whether prefill and decode may be together, apart, and apart on different chips of a vendor.
    prefix_caching : bool or several, optional
        Default: as the engine does.
    most_chips_per_replica, most_simulated : int
        Largest replica; candidates that are simulated at most.
    workers : int, optional
        Processes; default: one per core. The result does not depend on it.
    store : Store, optional
        Where finished simulations are kept, so that a plan that was killed goes on.
    progress : callable, optional
        Told how far the plan is.
    catalog : path, sequence of paths, or Catalog
        As for :func:`tokenroof.estimate`.
    **traffic
        *Load*: ``rate`` or ``trace``, ``isl, osl, burstiness, num_requests, duration, shared, sessions,
        classes`` as for :func:`tokenroof.simulate`. *Also tried*: ``speculation``; ``host_gb, ssd_gb,
        remote_gb`` for evicted cache. *Money*: ``price, region, utilisation, pue, capex_usd``. ``seed``.

    Returns
    -------
    PlanResult
        ``best`` and ``second``, the front, what was rejected and why; ``infeasible`` with the nearest ask.

    Raises
    ------
    InputError
        Bad input, in one line.

    Examples
    --------
    >>> import tokenroof as tr
    >>> found = tr.plan("llama-3.1-8b", "h100", rate=20, slo={"ttft_p99": "1 s", "tpot": 0.03}, workers=1,
    ...                 disaggregated=False, most_chips_per_replica=2, most_simulated=4)
    >>> found.best.chips
    1
    """
    found = load_catalog(catalog)
    question = question_of(
        found,
        model,
        chips,
        slo=slo,
        objective=objective,
        limits=limits,
        formats=(weights, kv),
        engine=engine,
        space={
            "colocated": colocated,
            "disaggregated": disaggregated,
            "mixed_chips": mixed_chips,
            "prefix_caching": _several(prefix_caching),
            "most_chips_per_replica": most_chips_per_replica,
        },
        asked={
            "headroom_fraction": headroom,
            "spare_replicas": spare_replicas,
            "most_simulated": most_simulated,
        },
        traffic=dict(traffic),
    )
    return make_plan(question, catalog=found, store=store, workers=workers, progress=progress)


def question_of(
    catalog: Catalog,
    model: ModelLike,
    chips: ChipLike | Sequence[ChipLike] | None,
    *,
    slo: Mapping[str, object] | None = None,
    objective: str | Sequence[str] | Mapping[str, float] = "usd_per_million_tokens",
    limits: Mapping[str, object] | None = None,
    formats: tuple[str | Sequence[str] | None, str | Sequence[str] | None] = (None, None),
    engine: EngineLike | Sequence[EngineLike] = "vllm",
    space: Mapping[str, Any] | None = None,
    asked: Mapping[str, Any] | None = None,
    traffic: Mapping[str, Any] | None = None,
) -> Question:
    """The question that arguments of :func:`plan` mean; ``space`` and ``asked`` are fields as they stand."""
    spec_ = resolve_model(catalog, model)
    said = _spec(spec_, dict(traffic or {}))
    return question_from(
        said,
        catalog,
        spec_,
        _chips(catalog, chips),
        slo=slo,
        objective=objective,
        limits=limits,
        formats=formats,
        engine=engine,
        space=space,
        asked=asked,
    )


def question_from(
    said: Spec,
    catalog: Catalog,
    model: ModelSpec,
    chips: tuple[Chip, ...],
    *,
    slo: Mapping[str, object] | None = None,
    objective: str | Sequence[str] | Mapping[str, float] = "usd_per_million_tokens",
    limits: Mapping[str, object] | None = None,
    formats: tuple[str | Sequence[str] | None, str | Sequence[str] | None] = (None, None),
    engine: EngineLike | Sequence[EngineLike] = "vllm",
    space: Mapping[str, Any] | None = None,
    asked: Mapping[str, Any] | None = None,
) -> Question:
    """As :func:`question_of`, with traffic, drafts, offload and money from a spec; its chip is not used."""
    rates = said.traffic.rate or (None,)
    if len(rates) > 1:
        raise InputError(f"a plan is for one rate, got {len(rates)}. Plan them one after the other.")
    drafting = None if said.speculation is None else drafting_of(said.speculation, catalog)
    places = tuple(map(offload_of, said.cache.offload))
    engines = (engine,) if not isinstance(engine, list | tuple) else tuple(engine)
    return Question(
        model=model,
        workload=workload_of(said, rates[0]),
        chips=chips,
        space=Space(
            precisions=precisions_of(model, *formats),
            engines=tuple(resolve_engine(catalog, each) for each in engines),
            drafting=(None,) if drafting is None else (None, drafting),
            offload=((), places) if places else ((),),
            **(space or {}),
        ),
        targets=targets_of(slo or {}),
        limits=limits_of(limits or {}),
        objectives=objectives_of(objective),
        spending=spending_of(said),
        seed=said.seed,
        expert_load_factor=said.model.expert_load_factor,
        **(asked or {}),
    )


def _spec(model: ModelSpec, traffic: dict[str, Any]) -> Spec:
    """Traffic, money and drafts as a spec has them; the chip there is not used."""
    given = {name: value for name, value in traffic.items() if value is not None}
    for name in given:
        if name not in Traffic.__annotations__:
            raise UnknownNameError("argument", name, Traffic.__annotations__)
    if not {"rate", "trace"} & given.keys():
        raise InputError("no load is given. Give rate (requests per second), or trace.")
    if "trace" not in given and not {"num_requests", "duration"} & given.keys():
        try:
            rate = number(given["rate"], "1/s", least=0.0, above=True)
        except ValueError as error:
            raise InputError(f"rate: {str(error).rstrip('.')}.") from None
        given["num_requests"] = usual_requests(rate)
    found, where = sections(None, model, "any", given)
    return spec_of(found, where=where)


def usual_requests(rate_per_s: float) -> int:
    """Requests that are drawn at a rate when nobody says how many."""
    return round(min(max(LEAST_REQUESTS, SENT_FOR_S * rate_per_s), MOST_REQUESTS))


def _chips(catalog: Catalog, given: ChipLike | Sequence[ChipLike] | None) -> tuple[Chip, ...]:
    if given is not None and not (isinstance(given, list | tuple) and not given):
        return resolve_chips(catalog, given)
    if given is not None:
        return ()
    return priced_chips(catalog)


def priced_chips(catalog: Catalog) -> tuple[Chip, ...]:
    """Every chip of the catalog that exists and has a price."""
    every = (catalog.chip(name) for name in catalog.chips())
    return tuple(chip for chip in every if chip.prices_usd_per_hour and not chip.projection)


def precisions_of(
    model: ModelSpec, weights: str | Sequence[str] | None, kv: str | Sequence[str] | None
) -> tuple[Precision, ...]:
    """Every pair of formats that is to be tried, each once."""
    return tuple(
        dict.fromkeys(
            precision(model, first, second)
            for first in _formats("weights", weights)
            for second in _formats("kv", kv)
        )
    )


def _formats(name: str, given: str | Sequence[str] | None) -> tuple[str | None, ...]:
    """Formats by name; None is the checkpoint's own."""
    if given is None:
        return (None,)
    several = (given,) if isinstance(given, str) else tuple(given)
    if EVERY in several:
        return (None, *_NARROWER[name])
    if not several:
        raise InputError(f"{name} is an empty list. Leave it out for the checkpoint's own format.")
    return several


def targets_of(slo: Mapping[str, object]) -> tuple[Target, ...]:
    """Targets by their written names: "ttft_p99", "chat.tpot_p95", "e2e_mean".

    Raises
    ------
    InputError
        An unknown latency, quantile or time.
    """
    found = []
    for name, value in slo.items():
        match = _TARGET.fullmatch(name.strip().lower())
        if match is None:
            known = ", ".join(f"{each}_p99" for each in LATENCIES)
            raise InputError(f"unknown target {name!r}. Known: {known}, any quantile, or _mean for p99.")
        of = name.strip()[: len(match["of"])] if match["of"] else ""
        try:
            limit_s = number(value, "s", least=0.0, above=True)
        except ValueError as error:
            raise InputError(f"slo.{name}: {str(error).rstrip('.')}.") from None
        tail = match["tail"]
        quantile = USUAL_QUANTILE if tail is None else None if tail == "mean" else float(tail[1:]) / 100.0
        found.append(Target(latency=match["latency"], limit_s=limit_s, quantile=quantile, request_class=of))
    return tuple(found)


def limits_of(given: Mapping[str, object]) -> Limits:
    """Limits by their written names.

    Raises
    ------
    InputError
        An unknown name, or a value that is no number.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _LIMITS:
            raise UnknownNameError("limit", name, _LIMITS)
        field, unit = _LIMITS[name]
        try:
            limit = number(value, unit or "1", least=0.0, above=True)
        except ValueError as error:
            raise InputError(f"limits.{name}: {str(error).rstrip('.')}.") from None
        whole = name in ("chips", "racks")
        if whole and limit != math.floor(limit):
            raise InputError(f"limits.{name} must be a whole number, got {value!r}.")
        found[field] = int(limit) if whole else limit
    return Limits(**found)


def objectives_of(given: str | Sequence[str] | Mapping[str, float]) -> tuple[Objective, ...]:
    """Objectives by name; with weights when a mapping is given."""
    if isinstance(given, str):
        return (Objective(name=given),)
    if isinstance(given, Mapping):
        return tuple(Objective(name=name, weight=weight) for name, weight in given.items())
    return tuple(Objective(name=name) for name in given)


def _several(given: bool | Sequence[bool] | None) -> tuple[bool | None, ...]:
    return (given,) if given is None or isinstance(given, bool) else tuple(given)
