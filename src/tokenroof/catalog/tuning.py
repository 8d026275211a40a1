"""What measured servings add to measured operators: few parameters, each with its scope and its evidence.

A parameter has a name, which says what it does, and a scope, which says where: every serving ("all"), an
engine ("vllm"), a vendor ("amd"), a chip family ("cdna3"), a chip, or an engine on one of them
("sglang/amd"). Those that apply are combined, factors by their product and the rest by their sum, so that
an unmeasured chip has what its engine, vendor and family have.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tokenroof.errors import CatalogError

ALL = "all"
IDEAL = "generic"
"""The engine that is a roofline without a host: what servings add to operators does not hold for it."""
FILE = "tuning.csv"
COLUMNS = (
    "name", "scope", "value", "unit", "standard_error", "prior_spread", "rows", "source", "claim", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunable:
    """A name that a parameter may have.

    Attributes
    ----------
    unit : str
        "1" is a factor of 1 where nothing is known and combined by product; the rest is 0 and summed.
    low, high : float
        What a value may be, for one scope.
    spread : float
        How far from neutral it is expected before anything is measured: of the logarithm for factors.
    meaning : str
        What it does.
    """

    unit: str
    low: float
    high: float
    spread: float
    meaning: str

    @property
    def factor(self) -> bool:
        """Whether it multiplies."""
        return self.unit == "1"

    @property
    def neutral(self) -> float:
        """The value that changes nothing."""
        return 1.0 if self.factor else 0.0


_LEAST_TIME = 0.85
"""Measured kernels reach most of their peaks: a smaller factor would take them above the datasheet."""


def _time(what: str, spread: float, low: float = _LEAST_TIME) -> Tunable:
    return Tunable(
        unit="1", low=low, high=10.0, spread=spread, meaning=f"time of {what} over the operator model's"
    )


TUNABLES: Mapping[str, Tunable] = {
    "time_gemm": _time("dense matrix products", 0.15),
    "time_attention": _time("attention over cached and new tokens", 0.15),
    "time_experts": _time("routed experts", 0.15),
    "time_small": _time("norms, rotations, routing and other small kernels, without their bytes,", 0.25, 0.1),
    "time_collective": _time("collectives", 0.2, 0.1),
    "launch": Tunable(
        unit="1",
        low=0.02,
        high=5.0,
        spread=0.25,
        meaning="launch floors of kernels over those measured one by one: graphs and fusion shorten them",
    ),
    "routing_skew": Tunable(
        unit="exponent",
        low=0.0,
        high=2.0,
        spread=1.0,
        meaning="popularity of the i-th expert of a layer falls as i to minus this; 0 is even routing",
    ),
    "step_overhead_s": Tunable(
        unit="s", low=0.0, high=0.05, spread=1e-3, meaning="host time of every step that the device waits for"
    ),
    "prompt_layer_s": Tunable(
        unit="s",
        low=0.0,
        high=5e-3,
        spread=5e-5,
        meaning="added to every layer of a step with prompt tokens: launched without a captured graph",
    ),
    "sequence_s": Tunable(
        unit="s",
        low=0.0,
        high=1e-3,
        spread=5e-6,
        meaning="host time of a step for every sequence of a rank that gets a token",
    ),
    "client_s": Tunable(
        unit="s",
        low=0.0,
        high=0.5,
        spread=1e-2,
        meaning="between client and engine before the first token: HTTP, tokenising, streaming",
    ),
    "client_prompt_token_s": Tunable(
        unit="s/token", low=0.0, high=1e-4, spread=2e-6, meaning="the part of it that grows with the prompt"
    ),
    "handoff_s": Tunable(
        unit="s", low=0.0, high=1.0, spread=2e-2, meaning="added to the hand-off of a cache between pools"
    ),
}
"""Every name, in the order of tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One fitted value.

    Attributes
    ----------
    name, scope : str
        A name of :data:`TUNABLES`, and where it applies.
    value : float
        In the unit of its name.
    standard_error : float
        Of the value, of its logarithm for factors; nan when it was not fitted.
    prior_spread : float
        How strongly it was held at neutral.
    rows : int
        Measured servings that depend on it.
    source, claim, note : str
        Row of ``sources.yaml``, how it is known, what is to be said.
    """

    name: str
    scope: str
    value: float
    standard_error: float = math.nan
    prior_spread: float = math.nan
    rows: int = 0
    source: str = "tokenroof"
    claim: str = "measured"
    note: str = ""

    @property
    def tunable(self) -> Tunable:
        """What its name means."""
        return TUNABLES[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Parameters by name and scope.

    Attributes
    ----------
    parameters : tuple of Parameter
        No two of the same name and scope.
    """

    parameters: tuple[Parameter, ...] = ()
    _values: dict[tuple[str, str], float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = {(each.name, each.scope): each.value for each in self.parameters}
        object.__setattr__(self, "_values", values)

    def value(self, name: str, scopes: Sequence[str] = (ALL,)) -> float:
        """What applies to all of these scopes together.

        Raises
        ------
        KeyError
            The name is none of :data:`TUNABLES`: a bug of ours.
        """
        tunable = TUNABLES[name]
        found = [self._values[name, scope] for scope in scopes if (name, scope) in self._values]
        return math.prod(found) if tunable.factor else math.fsum(found)

    def over(self, other: Tuning) -> Tuning:
        """These parameters laid over another's."""
        merged = {(each.name, each.scope): each for each in (*other.parameters, *self.parameters)}
        return Tuning(parameters=tuple(merged.values()))


NEUTRAL = Tuning()


def scopes_of(*, vendor: str, family: str, chip: str, engine: str) -> tuple[str, ...]:
    """Every scope that holds for an engine on a chip, the widest first; none for :data:`IDEAL`."""
    if engine == IDEAL:
        return ()
    chips = tuple(dict.fromkeys((vendor.lower().split()[0] if vendor else "", family, chip)))
    known = tuple(name for name in chips if name)
    return (ALL, engine, *known, *(f"{engine}/{name}" for name in known))


def read(path: Path) -> Tuning:
    """The parameters of one ``tuning.csv``.

    Raises
    ------
    CatalogError
        The file is malformed; the message names file, line and field.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            given = ", ".join(reader.fieldnames or ())
            raise CatalogError(f"{path}: expected the columns {', '.join(COLUMNS)}, got {given}.")
        found = [_parse(path, reader.line_num, row) for row in reader]
    seen: set[tuple[str, str]] = set()
    for each in found:
        if (each.name, each.scope) in seen:
            raise CatalogError(f"{path}: {each.name} of {each.scope} is given twice. Leave one out.")
        seen.add((each.name, each.scope))
    return Tuning(parameters=tuple(found))


def write(tuning: Tuning, path: Path) -> None:
    """A ``tuning.csv`` that :func:`read` reads back to the same values."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in tuning.parameters:
            numbers = (f"{each.value:.5g}", each.tunable.unit, f"{each.standard_error:.3g}")
            evidence = (f"{each.prior_spread:.3g}", each.rows, each.source, each.claim, each.note)
            writer.writerow((each.name, each.scope, *numbers, *evidence))


def _parse(path: Path, line: int, row: Mapping[str, str | None]) -> Parameter:
    here = f"{path}, line {line}"
    text = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if None in row:
        raise CatalogError(f"{here}: more fields than the {len(COLUMNS)} columns.")
    if text["name"] not in TUNABLES:
        raise CatalogError(f"{here}: unknown parameter {text['name']!r}. Known: {', '.join(TUNABLES)}.")
    tunable = TUNABLES[text["name"]]
    if text["unit"] != tunable.unit:
        raise CatalogError(f"{here}: {text['name']} is in {tunable.unit!r}, got {text['unit']!r}.")
    if not text["scope"]:
        raise CatalogError(f"{here}: {text['name']}: no scope is given. Write 'all', an engine or a family.")
    try:
        value = float(text["value"])
        error, spread = float(text["standard_error"] or "nan"), float(text["prior_spread"] or "nan")
        rows = int(text["rows"] or 0)
    except ValueError as problem:
        raise CatalogError(f"{here}: {problem}. Write plain numbers.") from None
    if not tunable.low <= value <= tunable.high:
        raise CatalogError(
            f"{here}: {text['name']} must lie in {tunable.low:g}..{tunable.high:g} {tunable.unit}, "
            f"got {value:g}."
        )
    return Parameter(
        name=text["name"],
        scope=text["scope"],
        value=value,
        standard_error=error,
        prior_spread=spread,
        rows=rows,
        source=text["source"],
        claim=text["claim"],
        note=text["note"],
    )


@cache
def shipped() -> Tuning:
    """The parameters of the package."""
    path = Path(__file__).parent / "data" / FILE
    return read(path) if path.exists() else NEUTRAL


def load(directories: Sequence[Path] = ()) -> Tuning:
    """The package's parameters with the ``tuning.csv`` of other directories over them, the last one winning.

    Raises
    ------
    CatalogError
        A file is malformed.
    """
    found = shipped()
    for directory in directories:
        if (directory / FILE).is_file():
            found = read(directory / FILE).over(found)
    return found
