"""The arguments of the common case, and the sections of a spec that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from tokenroof.api.spec.reading import merged, read_spec
from tokenroof.errors import InputError, UnknownNameError


class Common(TypedDict, total=False):
    """Keyword arguments of :func:`tokenroof.simulate` and :func:`tokenroof.capacity`; see there."""

    tp: int | None
    pp: int | None
    ep: int | None
    dp: int | None
    cp: int | None
    replicas: int | None
    weights: str | None
    kv: str | None
    expert_load_factor: float | None
    engine: Any
    engine_options: Mapping[str, object] | None
    scheduler: str | None
    isl: Any
    osl: Any
    rate: Any
    burstiness: float | None
    concurrency: int | None
    think: Any
    num_requests: int | None
    duration: float | str | None
    trace: str | Path | None
    trace_format: str | None
    shared: Mapping[str, object] | None
    sessions: Mapping[str, object] | None
    slo: Mapping[str, object] | None
    classes: Sequence[Mapping[str, object]] | None
    prefix_caching: bool | None
    host_gb: float | None
    ssd_gb: float | None
    remote_gb: float | None
    speculation: Mapping[str, object] | None
    router: str | None
    failures: Any
    spares: Any
    autoscale: Any
    prefill_chip: Any
    prefill_tp: int | None
    prefill_replicas: int | None
    overlap: float | None
    price: str | float | None
    region: str | None
    utilisation: float | None
    pue: str | None
    capex_usd: float | None
    warm_up: float | str | None
    warm_up_requests: int | None
    check: bool | None
    over: Mapping[str, Any] | None
    out: str | Path | None
    seed: int | None


_PLACES: dict[str, tuple[str, ...]] = {
    "weights": ("model", "weights"),
    "kv": ("model", "kv"),
    "expert_load_factor": ("model", "expert_load_factor"),
    "engine": ("engine", "name"),
    "engine_options": ("engine", "options"),
    "scheduler": ("engine", "scheduler"),
    **{
        name: ("traffic", name)
        for name in (
            "isl", "osl", "rate", "burstiness", "concurrency", "think", "num_requests", "duration",
            "trace_format", "shared", "sessions",
        )
    },
    "slo": ("slo",),
    "classes": ("classes",),
    "prefix_caching": ("cache", "prefix_caching"),
    "speculation": ("speculation",),
    "router": ("fleet", "router"),
    "failures": ("fleet", "failures"),
    "spares": ("fleet", "spares"),
    "autoscale": ("fleet", "autoscale"),
    "overlap": ("fleet", "overlap"),
    **{name: ("cost", name) for name in ("price", "region", "utilisation", "pue", "capex_usd")},
    "warm_up": ("output", "warm_up"),
    "warm_up_requests": ("output", "warm_up_requests"),
    "check": ("output", "check"),
    "seed": ("seed",),
}  # fmt: skip
_LAYOUT = ("tp", "pp", "ep", "dp", "cp", "replicas")
_TIERS = (("host_gb", "host"), ("ssd_gb", "ssd"), ("remote_gb", "remote"))
_PREFILL = (("prefill_tp", "tp"), ("prefill_replicas", "replicas"))


def sections(
    spec: str | Path | Mapping[str, Any] | None, model: object, chip: object, common: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """The sections of a spec with arguments laid over them, and the file that they are from.

    Parameters
    ----------
    spec : path, mapping or None
        What is laid over.
    model, chip : object
        As :func:`tokenroof.simulate` takes them; None: as in the spec.
    common : mapping
        Of :class:`Common`; None counts as not given.

    Raises
    ------
    InputError
        A file that cannot be read; a layout for pools that are not there.
    """
    given = {name: value for name, value in common.items() if value is not None}
    for name in given:
        if name not in Common.__annotations__:
            raise UnknownNameError("argument", name, Common.__annotations__)
    where = str(spec) if isinstance(spec, str | Path) else ""
    base: Mapping[str, Any] = read_spec(Path(spec)) if isinstance(spec, str | Path) else spec or {}
    over: dict[str, Any] = {} if model is None else {"model": {"name": model}}
    for name, place in _PLACES.items():
        if name in given:
            _put(over, place, given[name])
    for name, place in (("trace", ("traffic", "trace")), ("out", ("output", "directory"))):
        if name in given:
            _put(over, place, str(given[name]))
    tiers = [
        {"tier": tier, "capacity": _gigabytes(name, given[name])} for name, tier in _TIERS if name in given
    ]
    if tiers:
        _put(over, ("cache", "offload"), tiers)
    over |= _pools(base, chip, given)
    return merged(merged(base, over), given.get("over", {})), where


def _put(into: dict[str, Any], place: tuple[str, ...], value: object) -> None:
    for part in place[:-1]:
        into = into.setdefault(part, {})
    into[place[-1]] = value


def _gigabytes(name: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
        raise InputError(f"{name} must be a number above 0, got {given!r}.")
    return given * 1e9


def _pools(base: Mapping[str, Any], chip: object, given: Mapping[str, Any]) -> dict[str, Any]:
    """Chips and layouts that are given, in place of, or laid over, those of the spec."""
    layout = {name: given[name] for name in _LAYOUT if name in given}
    first = {name: given[flag] for flag, name in _PREFILL if flag in given}
    if chip is None and "prefill_chip" not in given:
        if first:
            raise InputError(
                "prefill_tp and prefill_replicas need prefill_chip. Name the chip that prefills."
            )
        return _laid(base, layout) if layout else {}
    chips = _listed(chip) if chip is not None else [each["chip"] for each in _said(base.get("chip"))]
    entries = [{"chip": each, **layout} for each in chips]
    if "prefill_chip" not in given:
        if first:
            raise InputError(
                "prefill_tp and prefill_replicas need prefill_chip. Name the chip that prefills."
            )
        return {"chip": entries}
    if len(entries) != 1:
        raise InputError("prefill_chip needs one chip for decode. Simulate several one after the other.")
    return {
        "pools": [
            {"chip": given["prefill_chip"], "role": "prefill", **first},
            {**entries[0], "role": "decode"},
        ]
    }


def _laid(base: Mapping[str, Any], layout: dict[str, Any]) -> dict[str, Any]:
    """A layout for the chips of a spec; of its pools, for the one that decodes."""
    if "pools" in base:
        return {
            "pools": [pool if pool.get("role") == "prefill" else {**pool, **layout} for pool in base["pools"]]
        }
    return {"chip": [{**each, **layout} for each in _said(base.get("chip"))]}


def _said(chips: object) -> list[dict[str, Any]]:
    """Chips of a spec as mappings."""
    if chips is None:
        return []
    return [dict(each) if isinstance(each, Mapping) else {"chip": each} for each in _listed(chips)]


def _listed(given: object) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]
