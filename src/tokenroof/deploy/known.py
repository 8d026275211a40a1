"""How much is known of a prediction, and how far measured servings lie from it then.

``docs/model/intervals.md`` says where the factors come from and how they widen for what nobody measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from tokenroof.catalog.accuracy import (
    BORROWED,
    CHIP,
    CLOSED_FORM,
    ENGINE,
    FACETS,
    MODEL,
    SEEN,
    SIMULATED,
    Accuracy,
)
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Chip, Quantity
from tokenroof.catalog.model import (
    CompressedAttention,
    LinearAttention,
    Mamba,
    MlaAttention,
    ModelSpec,
    Moe,
    Precision,
)
from tokenroof.deploy.core import Deployment, Pool

CLOSED, OPEN, OFFLINE, HIGHEST = "closed", "open", "offline", "highest"
"""Loads: so many in progress, sent at given times, all sent at once (or a queue that grows), and the highest
rate within limits."""

Range = tuple[float, float]
"""Logarithms of a low and a high factor."""


THROUGHPUT = "total_tokens_per_s"

NEAREST: Mapping[str, str] = {
    "tpot_p50_s": "tpot_s",
    "tpot_p99_s": "tpot_s",
    "ttft_p50_s": "ttft_s",
    "ttft_p99_s": "ttft_s",
    "e2e_p50_s": "e2e_s",
    "e2e_p99_s": "e2e_s",
    "e2e_s": "tpot_s",
}
"""Whose errors stand in for those of a metric without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What decides how much is known of a prediction.

    Attributes
    ----------
    chip, family, engine, model, kind, format : str
        Of a pool: names of the catalog, kind of model (:func:`kind_of`), format of most weights.
    load, pools : str
        :data:`CLOSED` and so on; "together" or "apart" (prefill and decode).
    grounded : bool
        Whether operators were measured on the chip.
    bandwidth, peak : Range
        Logarithms of the stated ranges of the chip's bandwidth and peaks over their values; 0 where none
        is stated, and for chips that exist.
    """

    chip: str
    family: str
    engine: str
    model: str
    kind: str
    format: str
    load: str = CLOSED
    pools: str = "together"
    grounded: bool = True
    bandwidth: Range = (0.0, 0.0)
    peak: Range = (0.0, 0.0)


def asked_of(deployment: Deployment, *, load: str, grounded: bool) -> tuple[Asked, ...]:
    """One per pool with a chip or an engine of its own."""
    model, precision = deployment.model, deployment.precision
    apart = "apart" if len(deployment.pools) > 1 else "together"
    found = (_asked(pool, model, precision, load, apart, grounded) for pool in deployment.pools)
    return tuple(dict.fromkeys(found))


def _asked(
    pool: Pool, model: ModelSpec, precision: Precision, load: str, pools: str, grounded: bool
) -> Asked:
    kind = kind_of(model)
    return Asked(
        chip=pool.chip.name,
        family=pool.chip.family,
        engine=pool.engine.name,
        model=model.name,
        kind=kind,
        format=precision.experts if "experts" in kind else precision.weights,
        load=load,
        pools=pools,
        grounded=grounded,
        bandwidth=_bandwidth_range(pool.chip),
        peak=_peak_range(pool.chip),
    )


def _bandwidth_range(chip: Chip) -> Range:
    found = [_range(tier.bandwidth_bytes_per_s) for tier in chip.memory if tier.holds]
    return _widest(found) if chip.projection else (0.0, 0.0)


def _peak_range(chip: Chip) -> Range:
    return _widest(map(_range, chip.peak_flop_per_s.values())) if chip.projection else (0.0, 0.0)


def _range(figure: Quantity) -> Range:
    value = float(figure.value)
    low = value if figure.low is None else min(float(figure.low), value)
    high = value if figure.high is None else max(float(figure.high), value)
    return (math.log(low / value), math.log(high / value)) if low > 0.0 else (0.0, 0.0)


def _widest(ranges: Iterable[Range]) -> Range:
    found = [(0.0, 0.0), *ranges]
    return min(low for low, _ in found), max(high for _, high in found)


def kind_of(model: ModelSpec) -> str:
    """What sort of layers a model has: "dense", "experts", "latent experts", "recurrent", ..."""
    mixers = [mixer for group in model.layers for mixer in group.mixers]
    words = []
    if model.generation is not None:
        words.append("diffusion")
    if any(isinstance(mixer, Mamba | LinearAttention) for mixer in mixers):
        words.append("recurrent")
    if any(isinstance(mixer, MlaAttention | CompressedAttention) for mixer in mixers):
        words.append("latent")
    if any(isinstance(group.ffn, Moe) for group in model.layers):
        words.append("experts")
    return " ".join(words) or "dense"


def under_known_name(asked: tuple[Asked, ...], model: ModelSpec, catalog: Catalog) -> tuple[Asked, ...]:
    """The same, with the model called as it was measured: one architecture has many checkpoints and files."""
    name = _measured_name(model, catalog)
    return tuple(replace(each, model=name) for each in asked)


@lru_cache(maxsize=256)
def _measured_name(model: ModelSpec, catalog: Catalog) -> str:
    names = sorted({each.model for each in catalog.accuracy.served})
    if model.name in names:
        return model.name
    known = frozenset(catalog.models())
    built = (model.hidden, model.vocab, model.layers)
    for name in names:
        if name in known:
            other = catalog.model(name)
            if (other.hidden, other.vocab, other.layers) == built:
                return name
    return model.name


# --- how much is known ---------------------------------------------------------------------------


def scopes(asked: Asked, accuracy: Accuracy) -> tuple[str, ...]:
    """What nobody measured of a combination; empty when all of it was seen."""
    known = accuracy.has_served
    found = []
    if not known(chip=asked.chip):
        found.append(CHIP if asked.grounded else BORROWED)
    family = known(family=asked.family)
    engine = known(family=asked.family, engine=asked.engine) if family else known(engine=asked.engine)
    if not engine:
        found.append(ENGINE)
    format_ = known(family=asked.family, format=asked.format) if family else known(format=asked.format)
    if not (format_ and known(model=asked.model) and known(kind=asked.kind)):
        found.append(MODEL)
    return tuple(found)


def width(asked: Asked, metric: str, accuracy: Accuracy, missing: tuple[str, ...]) -> float:
    """How much wider than on average errors are for a family of chips, an engine, a format, ...

    What was not measured is not narrower than average.
    """
    kind = metric.partition("_")[0]
    found = 1.0
    unseen = {CHIP: "family", BORROWED: "family", ENGINE: "engine", MODEL: "kind"}
    doubtful = {unseen[scope] for scope in missing} | ({"format"} if MODEL in missing else set())
    for facet in FACETS:
        each = accuracy.relative(kind, facet, getattr(asked, facet))
        found *= max(each, 1.0) if facet in doubtful else each
    return found


@lru_cache(maxsize=4096)
def log_factors(asked: Asked, metric: str, prediction: str, accuracy: Accuracy) -> Range | None:
    """Logarithms of measured over predicted, 5 % and 95 %; None when nothing was measured.

    Parameters
    ----------
    asked : Asked
        The combination.
    metric : str
        What the factors are of: "total_tokens_per_s", "tpot_s", ...
    prediction : str
        :data:`~tokenroof.catalog.accuracy.SIMULATED` or
        :data:`~tokenroof.catalog.accuracy.CLOSED_FORM`.
    accuracy : Accuracy
        What is known.

    Notes
    -----
    Each way in which a combination is new (chip, engine, model) widens the half-widths of what was seen to
    those measured when it was left out; several ways add the squares of what each adds. Then comes the
    width of the group, and at last the stated ranges of a projected chip's figures, also by squares.
    """
    parts = log_parts(asked, metric, prediction, accuracy)
    if parts is None:
        return None
    more_below = more_above = 0.0
    for added in parts.added.values():
        more_below, more_above = math.hypot(more_below, added[0]), math.hypot(more_above, added[1])
    below = math.hypot(parts.factor * math.hypot(parts.seen[0], more_below), parts.claims[0])
    above = math.hypot(parts.factor * math.hypot(parts.seen[1], more_above), parts.claims[1])
    return parts.middle - below, parts.middle + above


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an interval is made of; half-widths below and above are positive.

    Attributes
    ----------
    middle : float
        Logarithm of the factor in its middle.
    seen : Range
        Half-widths where everything was measured.
    added : mapping of str to Range
        What each way adds in which a combination is new, by its scope.
    factor : float
        Width of the group, on ``seen`` and ``added``.
    claims : Range
        Half-widths by the stated ranges of a projected chip's figures.
    """

    middle: float
    seen: Range
    added: Mapping[str, Range]
    factor: float
    claims: Range


def log_parts(asked: Asked, metric: str, prediction: str, accuracy: Accuracy) -> Parts | None:
    """What :func:`log_factors` adds up; None when nothing was measured."""
    base = accuracy.spread(metric, prediction, SEEN)
    if base is None:
        near = NEAREST.get(metric)
        return log_parts(asked, near, prediction, accuracy) if near else None
    missing = scopes(asked, accuracy)
    middle = math.log(base.middle_factor)
    return Parts(
        middle=middle,
        seen=(middle - math.log(base.low_factor), math.log(base.high_factor) - middle),
        added={scope: _added(metric, prediction, scope, accuracy) for scope in missing},
        factor=width(asked, metric, accuracy, missing),
        claims=_claims(asked, metric),
    )


def _added(metric: str, prediction: str, scope: str, accuracy: Accuracy) -> Range:
    """What a scope adds below and above to what was seen, as the root of a difference of squares."""
    base = accuracy.spread(metric, prediction, SEEN)
    found = accuracy.spread(metric, prediction, scope)
    if base is not None and found is None and prediction == CLOSED_FORM:
        return _added(metric, SIMULATED, scope, accuracy)  # what is not known of a chip is the same for both
    if base is None or found is None:
        return _added(metric, prediction, CHIP, accuracy) if scope == BORROWED else (0.0, 0.0)
    middle = math.log(base.middle_factor)
    below, above = middle - math.log(base.low_factor), math.log(base.high_factor) - middle
    wider_below = max(below, middle - math.log(found.low_factor))
    wider_above = max(above, math.log(found.high_factor) - middle)
    added = math.sqrt(wider_below**2 - below**2), math.sqrt(wider_above**2 - above**2)
    if scope == BORROWED:
        least = _added(metric, prediction, CHIP, accuracy)
        added = max(added[0], least[0]), max(added[1], least[1])
    return added


def _claims(asked: Asked, metric: str) -> Range:
    """What the stated ranges of a projected chip add below and above, as if all of the time hung on them."""
    figures = [asked.bandwidth] if metric.startswith("tpot") else [asked.peak]
    if not metric.startswith(("tpot", "ttft")):
        figures.append(asked.bandwidth)
    low, high = _widest(figures)
    return (-low, high) if metric == THROUGHPUT else (high, -low)  # times move against the figures
