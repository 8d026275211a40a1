"""Self-hosting against the price of an API."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.catalog import Catalog
from tokenroof.cost.money import SECONDS_PER_HOUR, TOKENS_PER_MTOK, usd_per_mtok
from tokenroof.errors import InputError
from tokenroof.search.answers.closed import costs_of
from tokenroof.search.answers.core_result import ApiPrice, SelfHost, SelfHostRow
from tokenroof.search.asked import Load
from tokenroof.search.core import Choice, PlanResult

FloatArray = npt.NDArray[np.float64]

LOADS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
"""Loads that are looked at, over the asked one."""

NOTES = (
    "the choices of the plan, simulated at the asked load; at others replicas go with the load, rounded "
    "up, which is not simulated: small deployments keep less of their rate within the targets",
    "chips alone: no staff to run the service, no storage, no network out; all paid hours at the stated "
    "utilisation",
    "the API's tokens are as good as one's own, and as fast; no discounts but that for cached prompts",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owned:
    """One choice in money.

    Attributes
    ----------
    choice : Choice
        What it is.
    needed : FloatArray
        Replicas by pool at the asked load, shape (num_pools,).
    spares : FloatArray
        Replicas beyond, by pool.
    usd_per_replica_hour : FloatArray
        By pool, over the part of the hours that serve. [USD/h]
    """

    choice: Choice
    needed: FloatArray
    spares: FloatArray
    usd_per_replica_hour: FloatArray

    def replicas(self, factors: FloatArray) -> FloatArray:
        """At loads over the asked one, shape (num_factors,); shape (num_factors, num_pools)."""
        whole: FloatArray = np.maximum(np.ceil(factors[:, None] * self.needed - 1e-9), 1.0) + self.spares
        return whole

    def usd_per_hour(self, factors: FloatArray) -> FloatArray:
        """At such loads, shape (num_factors,). [USD/h]"""
        found: FloatArray = self.replicas(factors) @ self.usd_per_replica_hour
        return found


def self_host(
    result: PlanResult, price: ApiPrice, *, catalog: Catalog, rates_per_s: Sequence[float] = ()
) -> SelfHost:
    """What the choices of a plan cost against an API, at the asked load and at others.

    Parameters
    ----------
    result : PlanResult
        A plan with at least one choice whose chips have a price.
    price : ApiPrice
        Of the API.
    catalog : Catalog
        Economics.
    rates_per_s : sequence of float, optional
        Loads; default: around the asked one. [1/s]

    Returns
    -------
    SelfHost
        With the break-even load of the deployment as it is, and of one that grows with the load.

    Raises
    ------
    InputError
        No choice has a price, or a rate is not above 0.

    Notes
    -----
    A deployment is paid by the hour whether it is used or not, an API by the token: so there is a least load
    from which on self-hosting is cheaper, if one's own token is ever cheaper. The spending of the question
    says which price of a chip-hour counts and which part of the paid hours serves.
    """
    load, owned = result.load, _owned(result, catalog)
    if any(not (rate > 0.0 and math.isfinite(rate)) for rate in rates_per_s):
        raise InputError(f"rates must be above 0 and finite, got {', '.join(map(str, rates_per_s))}.")
    rates = sorted(set(rates_per_s)) or [load.requests_per_s * factor for factor in LOADS]
    api_usd = usd_per_request(price, load)
    factors = np.array([1.0, *(rate / load.requests_per_s for rate in rates)])
    table = np.array([each.usd_per_hour(factors) for each in owned])
    rows = []
    for at, factor in enumerate(factors.tolist()):
        cheapest = owned[int(np.argmin(table[:, at]))]
        rows.append(_row(cheapest, factor, load, api_usd))
    here, *others = rows
    return SelfHost(
        price=price,
        here=here,
        rows=tuple(others),
        break_even_fixed_per_s=_ratio(here.usd_per_hour, api_usd * SECONDS_PER_HOUR),
        break_even_per_s=_break_even(owned, max(factors.tolist()), load, api_usd),
        break_even_factor=_ratio(here.usd_per_hour, here.api_usd_per_hour),
        notes=NOTES,
    )


def usd_per_request(price: ApiPrice, load: Load) -> float:
    """What the API asks for the mean request. [USD]

    The part of the prompts that repeats earlier ones is charged at the price of cached tokens.
    """
    cached = price.usd_per_mtok_input if price.usd_per_mtok_cached is None else price.usd_per_mtok_cached
    shared = load.shared_fraction
    prompt = (1.0 - shared) * price.usd_per_mtok_input + shared * cached
    return (load.isl_tokens * prompt + load.osl_tokens * price.usd_per_mtok_output) / TOKENS_PER_MTOK


def _owned(result: PlanResult, catalog: Catalog) -> list[_Owned]:
    """Choices whose chips have a price."""
    question = result.question
    costs = costs_of(question, catalog)
    found = []
    for choice in (*result.front, *result.others):
        pools = choice.candidate.pools
        dollars = np.array([pool.parallel.chips * costs[pool.chip].usd_per_hour for pool in pools])
        if not np.isnan(dollars).any():
            needed = np.array(choice.needed, dtype=np.float64)
            found.append(
                _Owned(
                    choice=choice,
                    needed=needed,
                    spares=np.array(choice.replicas, dtype=np.float64) - needed,
                    usd_per_replica_hour=dollars / question.spending.utilisation_fraction,
                )
            )
    if not found:
        raise InputError(
            "no choice of the plan has a price to compare. Give one (price), or plan something that can be."
        )
    return found


def _row(owned: _Owned, factor: float, load: Load, api_usd: float) -> SelfHostRow:
    one = np.array([factor])
    replicas = tuple(int(count) for count in owned.replicas(one)[0])
    rate = load.requests_per_s * factor
    hourly, api_hourly = float(owned.usd_per_hour(one)[0]), api_usd * rate * SECONDS_PER_HOUR
    tokens_per_s = load.tokens_per_s * factor
    pools = owned.choice.candidate.pools
    return SelfHostRow(
        candidate=owned.choice.candidate,
        rate_per_s=rate,
        replicas=replicas,
        chips=sum(pool.parallel.chips * count for pool, count in zip(pools, replicas, strict=True)),
        usd_per_hour=hourly,
        api_usd_per_hour=api_hourly,
        usd_per_mtok=float(usd_per_mtok(usd_per_hour=hourly, tokens_per_s=tokens_per_s)),
        api_usd_per_mtok=float(usd_per_mtok(usd_per_hour=api_hourly, tokens_per_s=tokens_per_s)),
    )


def _break_even(owned: Sequence[_Owned], most: float, load: Load, api_usd: float) -> float | None:
    """Least rate from which on, up to the most, the cheapest deployment costs less than the API. [1/s]

    Between two rates at which some choice needs one replica more the deployment costs the same, and the API
    costs more and more: so it is looked at from the highest of such steps down.
    """
    steps = [np.arange(1, math.floor(most * count) + 1) / count for each in owned for count in each.needed]
    ends = np.unique(np.concatenate([[most], *steps]))
    ends = ends[ends <= most]
    starts = np.concatenate(([0.0], ends[:-1]))
    hourly = np.min([each.usd_per_hour(ends) for each in owned], axis=0)
    api_hourly = api_usd * load.requests_per_s * SECONDS_PER_HOUR
    with np.errstate(divide="ignore"):
        crossing = hourly / api_hourly
    found = None
    for start, end, at in zip(starts[::-1], ends[::-1], crossing[::-1], strict=True):
        if at >= end:
            break
        found = float(max(start, at)) * load.requests_per_s
        if at > start:
            break
    return found


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.inf
