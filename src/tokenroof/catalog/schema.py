"""What may stand in a catalog file, and how it becomes a noun of ``catalog.core``.

Numbers are unit strings ("3.35 TB/s"), alone or with their address::

    bandwidth: {value: 3.35 TB/s, source: aic, claim: datasheet, low: ..., high: ..., note: ...}

A bare string is allowed in a user's file and counts as that user's assumption. Unknown fields are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, model_validator
from pydantic_core import ErrorDetails

from tokenroof import units
from tokenroof.catalog.core import Claim, OperandKind, Quantity
from tokenroof.catalog.files import nearest
from tokenroof.errors import CatalogError

USER_SOURCE = "user"
_QUANTITY_KEYS = ("value", "source", "claim", "low", "high", "note")

# Base unit by the suffix of a field name, longest first.
_SUFFIXES = (
    ("_bytes_per_s_per_mm", "bytes/s/mm"), ("_bytes_per_mm2", "bytes/mm2"), ("_mm2_per_byte", "mm2/byte"),
    ("_bytes_per_s", "bytes/s"), ("_bytes_per_logit", "bytes"), ("_bytes", "bytes"),
    ("_flop_per_s", "flop/s"), ("_j_per_byte", "J/byte"),
    ("_usd_per_byte", "USD/byte"), ("_usd_per_h", "USD/h"), ("_usd_per_kwh", "USD/kWh"),
    ("_usd_per_kw_month", "USD/kW/month"), ("_usd_per_w", "USD/W"), ("_usd_per_mtok", "USD/Mtok"),
    ("_usd", "USD"),
    ("_kgco2e_per_kwh", "kgCO2e/kWh"), ("_kgco2e_per_flop", "kgCO2e/flop"), ("_kgco2e", "kgCO2e"),
    ("_w_per_mm2", "W/mm2"), ("_w", "W"), ("_s_per_m", "s/m"), ("_tokens_per_s", "tokens/s"), ("_hz", "Hz"),
    ("_mm2", "mm2"), ("_years", "year"), ("_degc", "degC"), ("_per_s", "1/s"), ("_s", "s"),
    ("_fraction", "1"), ("_count", "1"), ("_ratio", "1"), ("_tokens", "tokens"),
)  # fmt: skip


def unit_of(field: str) -> str:
    """Base unit that the suffix of a field name promises ("read_latency_s" -> "s").

    Raises
    ------
    ValueError
        The name ends in no known unit suffix.
    """
    for suffix, unit in _SUFFIXES:
        if f"_{field}".endswith(suffix):
            return unit
    known = ", ".join(suffix for suffix, _ in _SUFFIXES)
    raise ValueError(f"field name {field!r} does not end in a unit. End it in one of {known}")


def read_quantity(given: object, unit: str) -> Quantity:
    """A quantity from what stands in a file.

    Parameters
    ----------
    given : object
        A unit string, a bare number where ``unit`` is "1", or a mapping with ``value`` and its address.
    unit : str
        Base unit.

    Raises
    ------
    ValueError
        Anything else; a wrong or missing unit; a value that is negative or outside its own range.
    """
    if not isinstance(given, Mapping):
        return Quantity(value=_number(given, unit), unit=unit, source=USER_SOURCE, claim=Claim.ASSUMPTION)
    for key in given:
        if key not in _QUANTITY_KEYS:
            raise ValueError(_unknown(str(key), _QUANTITY_KEYS))
    if "value" not in given:
        raise ValueError(f"expected {unit}, got a mapping without 'value'. Write 'value: ...' with its unit")
    claim = given.get("claim", Claim.ASSUMPTION)
    if claim not in tuple(Claim):
        raise ValueError(f"unknown claim {claim!r}. Write one of {', '.join(Claim)}")
    value = _number(given["value"], unit)
    low, high = (None if given.get(key) is None else _number(given[key], unit) for key in ("low", "high"))
    if (low is not None and low > value) or (high is not None and high < value):
        bounds = f"{given.get('low')!r} .. {given.get('high')!r}"
        raise ValueError(f"{given['value']!r} is outside its own range {bounds}")
    return Quantity(
        value=value, unit=unit, source=str(given.get("source", USER_SOURCE)), claim=Claim(claim),
        low=low, high=high, note=str(given.get("note", "")),
    )  # fmt: skip


def _number(given: object, unit: str) -> float:
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise ValueError(f"expected {unit}, got {given!r}. Write a number with its unit")
    value = units.parse(str(given), unit)
    if value < 0:
        raise ValueError(f"expected {unit}, got {given!r}, which is negative")
    return value


def _unknown(key: str, known: tuple[str, ...]) -> str:
    near = nearest(key, known)
    return f"unknown field {key!r}. " + (f"Nearest: {near[0]}" if near else f"Known: {', '.join(known)}")


def _in(unit: str) -> PlainValidator:
    def read(given: object) -> Quantity:
        return read_quantity(given, unit)

    return PlainValidator(read)


def _by_suffix(given: object) -> dict[str, Quantity]:
    if not isinstance(given, Mapping):
        raise ValueError(f"expected named quantities, got {given!r}")
    out: dict[str, Quantity] = {}
    for name, value in given.items():
        try:
            out[str(name)] = read_quantity(value, unit_of(str(name)))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return out


FlopRate = Annotated[Quantity, _in("flop/s")]
Bytes = Annotated[Quantity, _in("bytes")]
ByteRate = Annotated[Quantity, _in("bytes/s")]
Seconds = Annotated[Quantity, _in("s")]
Watts = Annotated[Quantity, _in("W")]
Hertz = Annotated[Quantity, _in("Hz")]
EnergyPerByte = Annotated[Quantity, _in("J/byte")]
UsdPerHour = Annotated[Quantity, _in("USD/h")]
Area = Annotated[Quantity, _in("mm2")]
Carbon = Annotated[Quantity, _in("kgCO2e")]
Count = Annotated[Quantity, _in("1")]
Named = Annotated[dict[str, Quantity], PlainValidator(_by_suffix)]

Topology = Literal["nvswitch", "full_mesh", "ring", "torus2d", "torus3d", "fat_tree", "dragonfly", "pcie"]
Price = Literal["cloud_low", "cloud_median", "cloud_high", "own_hyperscaler", "own_neocloud", "rent_3yr"]
Peak = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp6", "fp4", "int8", "int4"]


class _Strict(BaseModel):
    """Base of the file schemas: an unknown field is refused, the nearest known one offered."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            for key in given:
                if key not in cls.model_fields:
                    raise ValueError(_unknown(str(key), tuple(cls.model_fields)))
        return given


class TierFile(_Strict):
    """One memory tier. ``usable_capacity`` defaults to the marketed one, as an assumption."""

    technology: str
    marketed_capacity: Bytes
    usable_capacity: Bytes | None = None
    bandwidth: ByteRate
    holds: tuple[OperandKind, ...] = ()
    energy: EnergyPerByte
    read_latency: Seconds | None = None
    page: Bytes | None = None
    outstanding: Bytes | None = None
    near_compute: bool = False


class FabricFile(_Strict):
    """One fabric; ``name`` defaults to the link's."""

    name: str = ""
    link: str
    topology: Topology
    domain_size: int
    bandwidth: ByteRate
    hop_latency: Seconds
    software_latency: Seconds
    energy: EnergyPerByte
    dims: tuple[int, ...] = ()
    in_network_reduction: bool = False


class ChipFile(_Strict):
    """A chip file after its ``extends`` chain is merged.

    ``compute_units`` not known counts as 1 (no tile quantisation), ``cache`` not known as none.
    """

    title: str
    vendor: str
    year: int
    family: str
    relative: str = ""
    process: str = ""
    peak: dict[Peak, FlopRate]
    compute_units: Count | None = None
    cache: Bytes | None = None
    boost_clock: Hertz | None = None
    on_chip: Named = {}
    memory: dict[str, TierFile]
    memory_order: tuple[str, ...] = ()
    scale_up: FabricFile | None = None
    scale_out: FabricFile | None = None
    host_link: ByteRate | None = None
    tdp: Watts | None = None
    all_in_power: Watts | None = None
    die_area: Area | None = None
    embodied: Carbon | None = None
    prices: dict[Price, UsdPerHour] = {}
    node: str = ""
    projection: bool = False
    notes: tuple[str, ...] = ()


class RowFile(_Strict):
    """A memory technology or a link."""

    title: str
    kind: str
    fields: Named
    projection: bool = False
    notes: tuple[str, ...] = ()


class NodeLinkFile(_Strict):
    """One kind of connection of a node."""

    ends: tuple[str, str]
    link: str
    bandwidth: ByteRate
    latency: Seconds


class NodeFile(_Strict):
    """A board, rack, pod or server."""

    title: str
    form: Literal["board", "rack", "pod", "server"]
    chips_per_node: int
    scale_up_topology: Topology
    scale_up_dims: tuple[int, ...] = ()
    links: tuple[NodeLinkFile, ...] = ()
    host_power: Watts | None = None
    power: Watts | None = None
    source: str
    notes: tuple[str, ...] = ()


class EngineFile(_Strict):
    """A serving engine."""

    budget_rule: Literal["utilization", "static_fraction", "free_fraction", "all"]
    memory_fraction: Count
    block_tokens: Count
    max_num_batched_tokens: Count
    max_num_seqs: Count
    chunked_prefill: bool
    step_overhead: Seconds
    context: Bytes
    graph: Bytes
    runtime: Bytes
    communicator: Bytes
    sampler_per_logit: Bytes
    exposed_collective_fraction: Count
    kernels: str


class SourceFile(_Strict):
    """Where numbers come from."""

    citation: str
    url: str = ""
    licence: str = ""
    date: str = ""


FileT = TypeVar("FileT", bound=BaseModel)


def validate(kind: type[FileT], given: Mapping[str, Any], *, path: Path, name: str) -> FileT:
    """A file schema from what stands in a file.

    Raises
    ------
    CatalogError
        The first thing wrong, as ``file: name.field: what, got what, what to write``.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        details = error.errors(include_url=False)
        _refuse(details[0], len(details) - 1, path=path, name=name)


def _refuse(detail: ErrorDetails, more: int, *, path: Path, name: str) -> NoReturn:
    where = ".".join([name, *(str(part) for part in detail["loc"] if str(part) != "[key]")])
    message = detail["msg"].removeprefix("Value error, ").rstrip(".")
    if detail["type"] == "missing":
        message = "missing. Every entry of this kind needs it"
    elif detail["type"] == "value_error":
        pass
    else:
        message = f"{message}, got {str(detail['input'])[:60]!r}"
    tail = f" ({more} more)" if more else ""
    raise CatalogError(f"{path}: {where}: {message}.{tail}") from None
