"""What a caller may give, checked and turned into the nouns of the rooms below."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from tokenroof.api.lookup import import_model
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Chip, Engine
from tokenroof.catalog.dtypes import DTYPES, dtype
from tokenroof.catalog.layers import YAML_SUFFIXES, Kind
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.accounts import Spending
from tokenroof.deploy.defaults import default_parallel
from tokenroof.errors import InputError, UnknownNameError
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

ModelLike: TypeAlias = "str | Path | Mapping[str, object] | ModelSpec"
ChipLike: TypeAlias = "str | Path | Chip"
EngineLike: TypeAlias = "str | Engine"

MOST = 10**12
"""Largest length that is taken for what was meant. [tokens]"""

MOST_SEQUENCES = 1_000_000
"""Most sequences at once in a whole deployment."""

MOST_WAYS = 100_000
"""Most ways of parallelism, and copies of a model; no fabric joins as many chips."""

# What engines multiply weights of a format with when it is not the format itself.
_ACTIVATIONS = {"fp8_block": "fp8", "mxfp4": "mxfp8", "mxfp6": "mxfp8"}
_WEIGHT_ONLY = frozenset({"int8_wo", "w4a16_mxfp4", "int4", "int4_g32"})
_UNQUANTISED = frozenset({"fp32", "bf16", "fp16"})
KV_DTYPES = ("bf16", "fp16", "fp8", "int8")
"""Formats a cache may be kept in on every chip."""

SCALED_KV_DTYPES = ("mxfp8", "nvfp4", "mxfp4")
"""Formats a cache may be kept in where the chip computes in 4-bit floats: it reads their scales."""


def whole(name: str, given: object, *, least: int = 1, most: int = MOST) -> int:
    """A whole number from ``least`` to ``most``.

    Raises
    ------
    InputError
        Anything else: a fraction, NaN, a bool, text, a number below or absurdly far above.
    """
    rule = f"{name} must be a whole number of at least {least}, got {given!r}."
    if isinstance(given, bool):
        raise InputError(rule)
    try:
        number = operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(rule) from None
    if number < least:
        raise InputError(rule)
    if number > most:
        shown = f"{number:,}" if number < 10**18 else f"a number of {len(str(abs(number)))} digits"
        raise InputError(f"{name} must be at most {most:,}, got {shown}.")
    return number


def optional_whole(name: str, given: object, *, most: int = MOST) -> int | None:
    """None, or a whole number from 1 to ``most``."""
    return None if given is None else whole(name, given, most=most)


def positive(name: str, given: object) -> float:
    """A finite number above zero.

    Raises
    ------
    InputError
        Anything else.
    """
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise InputError(f"{name} must be a number, got {given!r}.")
    if not math.isfinite(given) or given <= 0:
        raise InputError(f"{name} must be a finite number above 0, got {given!r}.")
    return float(given)


def resolve_model(catalog: Catalog, given: ModelLike) -> ModelSpec:
    """A model from a catalog name, a path, the text of a config, a mapping, or a model itself.

    Raises
    ------
    InputError
        None of these, or a config that cannot be used.
    """
    if isinstance(given, ModelSpec):
        return given
    if isinstance(given, Path):
        return import_model(given)
    if isinstance(given, Mapping):
        return import_model(given)
    text = _text("model", given)
    if text.lstrip().startswith(("{", "[")):
        return import_model(text)
    if _is_known(catalog, Kind.MODEL, text):
        return catalog.model(text)
    if os.path.exists(text) or text.endswith(".json"):
        return import_model(Path(text))
    return catalog.model(_name("model", text))


def resolve_chips(catalog: Catalog, given: ChipLike | Sequence[ChipLike]) -> tuple[Chip, ...]:
    """One chip per name, path of a chip file, or chip.

    Raises
    ------
    InputError
        None is given, or one is unknown.
    CatalogError
        A chip file is malformed.
    """
    listed = [given] if isinstance(given, str | Path | Chip) else given
    if not isinstance(listed, Sequence) or not listed:
        raise InputError(f"chip must be a name or a list of names, got {given!r}. Write chip='h100'.")
    return tuple(resolve_chip(catalog, each) for each in listed)


def resolve_chip(catalog: Catalog, given: ChipLike) -> Chip:
    """One chip; see :func:`resolve_chips`."""
    if isinstance(given, Chip):
        return given
    text = _name("chip", str(given) if isinstance(given, Path) else _text("chip", given))
    if not text.endswith(YAML_SUFFIXES) and not _is_known(catalog, Kind.CHIP, text):
        if os.path.isdir(text):
            raise InputError(f"chip {text!r} is a directory. Give a chip file of it, or a name.")
        several = [part.strip() for part in text.split(",") if part.strip()]
        if len(several) > 1:
            flags = " ".join(f"--chip {each}" for each in several)
            raise InputError(
                f"chip {text!r} is not one name. Repeat --chip: {flags} (in Python: chip={several!r})."
            )
    return catalog.chip(text)


def resolve_engine(catalog: Catalog, given: EngineLike) -> Engine:
    """An engine by name."""
    return given if isinstance(given, Engine) else catalog.engine(_name("engine", _text("engine", given)))


def _is_known(catalog: Catalog, kind: Kind, text: str) -> bool:
    try:
        catalog.resolve(kind, text)
    except UnknownNameError:
        return False
    return True


def _text(what: str, given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        raise InputError(f"{what} must be a name, got {given!r}. List them with 'tokenroof {what}s list'.")
    return given


def _name(what: str, given: str) -> str:
    """A text short and plain enough to be a name or a path."""
    if len(given) > 1000 or not given.isprintable():
        raise InputError(
            f"{what} must be a name or a path, got {given[:40]!r}... of {len(given)} characters."
        )
    return given


def precision(model: ModelSpec, weights: str | None, kv: str | None) -> Precision:
    """The model's formats with the caller's laid over them.

    Parameters
    ----------
    model : ModelSpec
        Its own formats hold where nothing is given.
    weights : str or None
        Format of all matrices, routed experts included. Activations follow as engines have them: the
        same format, its 8-bit companion (mxfp8 for mxfp4), or 16 bit for weight-only formats. Tables
        and the output head follow 16 and 32 bit formats alone: engines leave them unquantised. A
        checkpoint that quantises its experts alone keeps its other matrices as they are, the format
        its experts have already changes nothing, and "fp8" is "fp8_block" where the checkpoint is.
    kv : str or None
        Format of the cache. Whether a chip has it, :func:`check_cache` says.

    Names of formats ignore case.

    Raises
    ------
    InputError
        An unknown format, or one that no cache is kept in.
    """
    chosen = model.precision
    if weights is not None:
        weights = dtype(_format(weights)).name
        if weights == "fp8" and "fp8_block" in (chosen.weights, chosen.experts):
            weights = "fp8_block"
        chosen = _weights(chosen, weights)
    if kv is not None:
        kept = _format(kv)
        if kept not in (*KV_DTYPES, *SCALED_KV_DTYPES):
            known = "no format of a cache" if kept in DTYPES else "unknown"
            raise InputError(f"kv {kv!r} is {known}. Known: {', '.join((*KV_DTYPES, *SCALED_KV_DTYPES))}.")
        chosen = replace(chosen, kv=kept)
    return chosen


def _format(given: object) -> str:
    """The name of a format as it is written here: lower case."""
    return given.strip().lower() if isinstance(given, str) else repr(given)


def check_cache(formats: Precision, chips: Iterable[Chip]) -> None:
    """Refuse a cache whose format a chip does not have.

    Raises
    ------
    InputError
        The format is one of :data:`SCALED_KV_DTYPES`, and a chip states no peak in 4-bit floats.
    """
    if formats.kv not in SCALED_KV_DTYPES:
        return
    for chip in chips:
        if "fp4" not in chip.peak_flop_per_s:
            raise InputError(
                f"kv {formats.kv!r} needs a chip with a 4-bit float peak, {chip.name} states none. "
                f"Use one of: {', '.join(KV_DTYPES)}."
            )


def _weights(chosen: Precision, weights: str) -> Precision:
    """``chosen`` with its weights in another format, and activations to match."""
    if weights in _UNQUANTISED:
        return replace(
            chosen,
            weights=weights,
            experts=weights,
            activations=weights,
            embedding=weights,
            expert_activations="",
        )
    if weights == chosen.experts:
        return chosen
    wide = chosen.activations if chosen.activations in _UNQUANTISED else "bf16"
    activations = wide if weights in _WEIGHT_ONLY else _ACTIVATIONS.get(weights, weights)
    if chosen.weights in _UNQUANTISED and chosen.experts not in _UNQUANTISED:
        beside = "" if activations == chosen.activations else activations
        return replace(chosen, experts=weights, expert_activations=beside)
    return replace(chosen, weights=weights, experts=weights, activations=activations, expert_activations="")


def spending(
    *, price: str | float, region: str, utilisation: float, pue: str, capex_usd: float | None
) -> Spending:
    """What money and carbon are counted with; ``price`` is a plan or a price per chip-hour. [USD/h]

    Raises
    ------
    InputError
        Anything that is no price, place or number, or a capital cost that the price has no use for.
    """
    given: float | None = None
    if isinstance(price, str):
        try:
            given = float(price)
        except ValueError:
            given = None
    else:
        given = positive("price", price)
    plan = price if isinstance(price, str) and given is None else "cloud"
    capital = None if capex_usd is None else positive("capex_usd", capex_usd)
    if capital is not None and price != "tco":
        raise InputError(f"capex_usd counts with price 'tco' alone, got price {price!r}. Add price 'tco'.")
    return Spending(
        price=plan,
        region=_text("region", region),
        pue=_text("pue", pue),
        utilisation_fraction=positive("utilisation", utilisation),
        usd_per_chip_hour=None if given is None else positive("price", given),
        capex_usd=capital,
    )


def sharding(
    chip: Chip,
    engine: Engine,
    model: ModelSpec,
    formats: Precision,
    shape: RequestShape,
    ways: Mapping[str, int | None],
    sequences: int | None = None,
) -> Parallel:
    """The asked ways; what is left open is chosen.

    Without any, tensor (and, if it must be, pipeline) parallelism over the fewest chips that hold the
    model and the ``sequences`` asked for at once, or a working set of them. With some of the ways,
    ``tp`` is chosen so, unless ``dp`` or ``cp`` spread the model already; the rest is 1.
    """
    given = {name: count for name, count in ways.items() if count is not None}
    if "tp" in given or given.keys() & {"dp", "cp"}:
        return Parallel(**given)
    chosen = default_parallel(chip, engine, model, formats, shape, sequences)
    return replace(chosen, **given)
