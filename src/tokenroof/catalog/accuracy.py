"""How far predictions lie from measured servings: few factors by metric and by how much is known.

``accuracy.csv`` has two kinds of rows. Those with ``low_factor``, ``middle_factor`` and ``high_factor`` are
quantiles (5 %, 50 %, 95 %) of measured over predicted of one metric, of rows that the parameters were not
fitted to. Those with ``spread`` say how much wider or narrower that is, in logarithms, for a chip family, an
engine, a kind of model, ... ``served.csv`` lists what was measured, which is what tells seen from unseen.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path

from tokenroof.errors import CatalogError

FILE, SERVED_FILE = "accuracy.csv", "served.csv"
COLUMNS = (
    "metric", "prediction", "scope", "low_factor", "middle_factor", "high_factor", "spread", "rows", "groups",
    "source",
)  # fmt: skip
SERVED_COLUMNS = ("chip", "family", "engine", "model", "kind", "format", "rows")

SIMULATED, CLOSED_FORM = "simulated", "closed form"
PREDICTIONS = (SIMULATED, CLOSED_FORM)

SEEN, CHIP, BORROWED, ENGINE, MODEL = "seen", "chip", "borrowed", "engine", "model"
SCOPES: Mapping[str, str] = {
    SEEN: "chip, engine, kind of model and format were all measured; other lengths or loads were not",
    CHIP: "no serving was measured on the chip, its operators were",
    BORROWED: "neither servings nor operators were measured on the chip",
    ENGINE: "the engine was not measured on this family of chips",
    MODEL: "the model was not measured, or its format not on this family of chips",
}
"""What was left out when the errors of a scope were measured."""

FACETS = ("family", "engine", "kind", "format", "load", "pools")
"""What a row with a ``spread`` is about: its scope reads "family=hopper"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Measured over predicted of one metric.

    Attributes
    ----------
    metric : str
        Identifier: "total_tokens_per_s", "tpot_s", "ttft_p50_s", ...
    prediction : str
        One of :data:`PREDICTIONS`.
    scope : str
        One of :data:`SCOPES`.
    low_factor, middle_factor, high_factor : float
        Quantiles at 5 %, 50 % and 95 %; finite-sample corrected.
    rows, groups : int
        Measured servings behind it, and how many groups were left out one by one.
    source : str
        Row of ``sources.yaml``.
    """

    metric: str
    prediction: str
    scope: str
    low_factor: float
    middle_factor: float
    high_factor: float
    rows: int
    groups: int
    source: str = "tokenroof"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relative:
    """How much wider than on average the errors of a group are.

    Attributes
    ----------
    metric : str
        Kind of metric: what its identifier begins with ("total", "tpot", "ttft", "e2e"), or "all".
    facet, name : str
        One of :data:`FACETS` and what it is.
    spread : float
        Factor on the logarithms of the factors.
    rows : int
        Measured servings behind it.
    source : str
        Row of ``sources.yaml``.
    """

    metric: str
    facet: str
    name: str
    spread: float
    rows: int
    source: str = "tokenroof"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A combination that was measured: names of the catalog, kind of model, format, and how many rows."""

    chip: str
    family: str
    engine: str
    model: str
    kind: str
    format: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Everything that is known about errors.

    Attributes
    ----------
    spreads : tuple of Spread
        No two of the same metric, prediction and scope.
    relatives : tuple of Relative
        No two of the same metric, facet and name.
    served : tuple of Served
        What was measured.
    """

    spreads: tuple[Spread, ...] = ()
    relatives: tuple[Relative, ...] = ()
    served: tuple[Served, ...] = ()
    _spreads: dict[tuple[str, str, str], Spread] = field(init=False, repr=False, compare=False)
    _relatives: dict[tuple[str, str, str], float] = field(init=False, repr=False, compare=False)
    _seen: dict[tuple[str, ...], frozenset[tuple[str, ...]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        spreads = {(each.metric, each.prediction, each.scope): each for each in self.spreads}
        relatives = {(each.metric, each.facet, each.name): each.spread for each in self.relatives}
        object.__setattr__(self, "_spreads", spreads)
        object.__setattr__(self, "_relatives", relatives)
        object.__setattr__(self, "_seen", {})

    def __hash__(self) -> int:
        return id(self)

    def spread(self, metric: str, prediction: str, scope: str) -> Spread | None:
        """Of a metric; None when nothing was measured."""
        return self._spreads.get((metric, prediction, scope))

    def relative(self, metric: str, facet: str, name: str) -> float:
        """Width of a group's errors over the average; 1 where nothing is known."""
        return self._relatives.get((metric, facet, name), 1.0)

    def has_served(self, **asked: str) -> bool:
        """Whether any measured serving has all of these fields (``chip=``, ``engine=``, ...)."""
        names = tuple(asked)
        if names not in self._seen:
            self._seen[names] = frozenset(
                tuple(getattr(each, name) for name in names) for each in self.served
            )
        return tuple(asked.values()) in self._seen[names]

    def over(self, other: Accuracy) -> Accuracy:
        """Lay it over another: its factors replace the other's, what was measured is added."""
        spreads = {(e.metric, e.prediction, e.scope): e for e in (*other.spreads, *self.spreads)}
        relatives = {(e.metric, e.facet, e.name): e for e in (*other.relatives, *self.relatives)}
        return Accuracy(
            spreads=tuple(spreads.values()),
            relatives=tuple(relatives.values()),
            served=tuple(dict.fromkeys((*other.served, *self.served))),
        )


NOTHING = Accuracy()


def read(directory: Path) -> Accuracy:
    """The ``accuracy.csv`` and ``served.csv`` of a directory; what is missing is empty.

    Raises
    ------
    CatalogError
        A file is malformed; the message names file, line and field.
    """
    spreads: list[Spread] = []
    relatives: list[Relative] = []
    seen: set[tuple[str, str, str]] = set()
    for here, text in _lines(directory / FILE, COLUMNS):
        each = _relative(here, text) if text["spread"] else _spread(here, text)
        key = (text["metric"], text["prediction"], text["scope"])
        if key in seen:
            raise CatalogError(f"{here}: {' '.join(filter(None, key))} is given twice. Leave one out.")
        seen.add(key)
        if isinstance(each, Spread):
            spreads.append(each)
        else:
            relatives.append(each)
    served = tuple(
        Served(**{name: text[name] for name in SERVED_COLUMNS[:-1]}, rows=_count(here, text, "rows"))
        for here, text in _lines(directory / SERVED_FILE, SERVED_COLUMNS)
    )
    return Accuracy(spreads=tuple(spreads), relatives=tuple(relatives), served=served)


def write(accuracy: Accuracy, directory: Path) -> None:
    """Both files, so that :func:`read` gives the same again."""
    with (directory / FILE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in accuracy.spreads:
            factors = (f"{x:.4g}" for x in (each.low_factor, each.middle_factor, each.high_factor))
            where = (each.metric, each.prediction, each.scope)
            writer.writerow((*where, *factors, "", each.rows, each.groups, each.source))
        for other in accuracy.relatives:
            scope = f"{other.facet}={other.name}"
            writer.writerow(
                (other.metric, "", scope, "", "", "", f"{other.spread:.3g}", other.rows, "", other.source)
            )
    write_served(accuracy.served, directory / SERVED_FILE)


def write_served(served: Sequence[Served], path: Path) -> None:
    """What was measured: in a user's catalog directory it tells that a chip is no longer unseen."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(SERVED_COLUMNS)
        for row in served:
            writer.writerow(tuple(getattr(row, each.name) for each in fields(row)))


def _lines(path: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Where a line stands, and its texts by column; nothing for a file that is not there."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != tuple(columns):
            given = ", ".join(reader.fieldnames or ())
            raise CatalogError(f"{path}: expected the columns {', '.join(columns)}, got {given}.")
        found = []
        for row in reader:
            here = f"{path}, line {reader.line_num}"
            if None in row:
                raise CatalogError(f"{here}: more fields than the {len(columns)} columns.")
            found.append((here, {name: (row.get(name) or "").strip() for name in columns}))
        return found


def _spread(here: str, text: Mapping[str, str]) -> Spread:
    for column, known in (("prediction", PREDICTIONS), ("scope", tuple(SCOPES))):
        if text[column] not in known:
            raise CatalogError(f"{here}: unknown {column} {text[column]!r}. Known: {', '.join(known)}.")
    low, middle, high = (_number(here, text, f"{name}_factor") for name in ("low", "middle", "high"))
    if not low <= middle <= high:
        raise CatalogError(
            f"{here}: the factors must be in order, got {low:g}, {middle:g}, {high:g}. Sort them."
        )
    return Spread(
        metric=text["metric"],
        prediction=text["prediction"],
        scope=text["scope"],
        low_factor=low,
        middle_factor=middle,
        high_factor=high,
        rows=_count(here, text, "rows"),
        groups=_count(here, text, "groups"),
        source=text["source"],
    )


def _relative(here: str, text: Mapping[str, str]) -> Relative:
    facet, equals, name = text["scope"].partition("=")
    if facet not in FACETS or not equals or not name:
        raise CatalogError(
            f"{here}: a spread is that of a group, got the scope {text['scope']!r}. "
            f"Write facet=name with one of {', '.join(FACETS)}."
        )
    return Relative(
        metric=text["metric"],
        facet=facet,
        name=name,
        spread=_number(here, text, "spread"),
        rows=_count(here, text, "rows"),
        source=text["source"],
    )


def _number(here: str, text: Mapping[str, str], column: str) -> float:
    try:
        value = float(text[column])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise CatalogError(f"{here}: {column} must be a number above 0, got {text[column]!r}.")
    return value


def _count(here: str, text: Mapping[str, str], column: str) -> int:
    if not text[column].isdecimal():
        raise CatalogError(f"{here}: {column} must be a whole number, got {text[column]!r}.")
    return int(text[column])


@cache
def shipped() -> Accuracy:
    """That of the package."""
    return read(Path(__file__).parent / "data")


def load_accuracy(directories: Sequence[Path] = ()) -> Accuracy:
    """The package's with the files of other directories over them, the last one winning.

    Raises
    ------
    CatalogError
        A file is malformed.
    """
    found = shipped()
    for directory in directories:
        if (directory / FILE).is_file() or (directory / SERVED_FILE).is_file():
            found = read(directory).over(found)
    return found
