"""When a run counts as meeting the limits of its requests; one type per reading of a service level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from tokenroof.deploy.core import Estimate
from tokenroof.deploy.simulated.terms import QUANTILES
from tokenroof.errors import InputError
from tokenroof.workload.core import RequestClass

_LIMITS = ("ttft", "tpot", "e2e")


class Criterion(Protocol):
    """A reading of the limits."""

    def missed(self, estimate: Estimate) -> str:
        """What a run does not meet, in one line; "" when it meets everything."""
        ...

    def text(self) -> str:
        """What is asked, in one line."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Attainment:
    """So many of the requests of every class meet all their limits.

    Attributes
    ----------
    fraction : float
        Of the requests that were completed, rejected or failed, above 0 up to 1.
    """

    fraction: float = 0.99

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction <= 1.0:
            raise InputError(f"an attainment must be above 0 and at most 1, got {self.fraction!r}.")

    def missed(self, estimate: Estimate) -> str:
        """What a run does not meet."""
        several = len(_classes(estimate)) > 1
        for kind in _classes(estimate):
            if not kind.slo.asked:
                continue
            tag = f":{kind.name}" if several else ""
            good = _value(estimate, f"good_fraction{tag}")
            if not good >= self.fraction:
                worst = _worst(estimate, kind, tag, "p99")
                return (
                    f"{good:.2%} of the requests{_of(kind, tag)} are good, {self.fraction:.2%} asked{worst}"
                )
        return _unstable(estimate)

    def text(self) -> str:
        """What is asked."""
        return f"{self.fraction:.4g} of the requests of every class meet all their limits, and no queue grows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """Every limit holds for a percentile of its own latency, class by class.

    Attributes
    ----------
    quantile : str
        "p50", "p90", "p95", "p99" or "mean".
    """

    quantile: str = "p99"

    def __post_init__(self) -> None:
        known = (*QUANTILES, "mean")
        if self.quantile not in known:
            raise InputError(f"unknown quantile {self.quantile!r}. Known: {', '.join(known)}.")

    def missed(self, estimate: Estimate) -> str:
        """What a run does not meet."""
        several = len(_classes(estimate)) > 1
        for kind in _classes(estimate):
            tag = f":{kind.name}" if several else ""
            found = _broken(estimate, kind, tag, self.quantile)
            if found:
                return f"{found[0]}{_of(kind, tag)}"
        lost = _value(estimate, "rejected_requests") + _value(estimate, "failed_requests")
        return f"{lost:g} requests were rejected or lost" if lost > 0 else _unstable(estimate)

    def text(self) -> str:
        """What is asked."""
        return f"the {self.quantile} of every latency meets its limit, no request is lost, and no queue grows"


def _classes(estimate: Estimate) -> tuple[RequestClass, ...]:
    assert estimate.run is not None, "asked of a run"
    return estimate.run.requests.classes


def _value(estimate: Estimate, name: str) -> float:
    found = estimate.metrics.get(name)
    return math.nan if found is None else found.value


def _of(kind: RequestClass, tag: str) -> str:
    return f" of class {kind.name}" if tag else ""


def _unstable(estimate: Estimate) -> str:
    growth = _value(estimate, "queue_growth_requests_per_s")
    return f"the queue grows by {growth:.3g} requests per second" if growth > 0.0 else ""


def _broken(estimate: Estimate, kind: RequestClass, tag: str, quantile: str) -> list[str]:
    """Limits that a quantile breaks; no value (nothing completed) breaks them too."""
    out = []
    middle = "" if quantile == "mean" else f"_{quantile}"
    for name in _LIMITS:
        limit = getattr(kind.slo, f"{name}_s")
        if limit is None:
            continue
        value = _value(estimate, f"{name}{middle}_s{tag}")
        if name == "tpot" and math.isnan(value) and _value(estimate, f"ttft_s{tag}") > 0.0:
            continue  # answers of one token have no time per token
        if not value <= limit:
            out.append(f"{name.upper()} {quantile} is {value:.4g} s > {limit:.4g} s")
    return out


def _worst(estimate: Estimate, kind: RequestClass, tag: str, quantile: str) -> str:
    broken = _broken(estimate, kind, tag, quantile)
    return f" ({'; '.join(broken)})" if broken else ""
