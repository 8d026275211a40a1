"""What servers of published benchmarks were started with, where their tables of results do not say it.

``calibrate/data/recipes.csv``: facts out of the scripts that started them, with path and commit. Columns up
to ``least_concurrency`` say which rows are meant; empty ones mean any. Of several lines for an option the
last that fits counts, so the general one comes first.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tokenroof.calibrate.validation.core import Row

_FILE = Path(__file__).parents[1] / "data" / "recipes.csv"
_CONCURRENCY = "=conc"
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One option of servers of a benchmark.

    Attributes
    ----------
    sources : tuple of str
        One of these is part of the row's source.
    framework, hardware : str
        Beginnings of what the row names.
    model, weights : str
        Parts of what the row names.
    equal : mapping of str to str
        Columns that must say just this.
    least_concurrency : int
        Of the client; 0: whatever it is.
    option, value : str
        As the engine names it; "=conc" is the client's concurrency.
    source : str
        Repository, path and commit.
    """

    sources: tuple[str, ...]
    framework: str
    hardware: str
    model: str
    weights: str
    equal: Mapping[str, str]
    least_concurrency: int
    option: str
    value: str
    source: str

    def fits(self, row: Row, concurrency: int | None) -> bool:
        """Whether the servers of a row were started so."""
        source = row.text("source").lower()
        return (
            any(each in source for each in self.sources)
            and _framework(row).startswith(self.framework)
            and row.text("hardware").lower().startswith(self.hardware)
            and self.model in row.text("model").lower()
            and self.weights in row.text("weight_precision").lower()
            and all(row.text(column) == said for column, said in self.equal.items())
            and (concurrency or 0) >= self.least_concurrency
            and (concurrency is not None or self.value != _CONCURRENCY)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An option that a server was started with.

    Attributes
    ----------
    value : object
        Of the option.
    source : str
        Where that is said.
    """

    value: object
    source: str


def started_with(row: Row, concurrency: int | None) -> dict[str, Started]:
    """Options by name that the servers of a row were started with, as far as it is known.

    Parameters
    ----------
    row : Row
        Columns ``source``, ``framework``, ``hardware``, ``model``, ``weight_precision``, ``tp``, ``isl``,
        ``osl``.
    concurrency : int or None
        Of the client; None: it has none.
    """
    return {
        recipe.option: Started(value=_value(recipe.value, concurrency), source=recipe.source)
        for recipe in recipes()
        if recipe.fits(row, concurrency)
    }


@cache
def recipes() -> tuple[Recipe, ...]:
    """All that are known, in the order of the file."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            Recipe(
                sources=tuple(line["source_contains"].split("|")),
                framework=line["framework"],
                hardware=line["hardware"],
                model=line["model_contains"],
                weights=line["weights"],
                equal={column: line[column] for column in ("tp", "isl", "osl") if line[column]},
                least_concurrency=int(line["least_concurrency"] or 0),
                option=line["option"],
                value=line["value"],
                source=line["from"],
            )
            for line in csv.DictReader(file)
        )


def _framework(row: Row) -> str:
    """The engine itself: servers behind Dynamo, with pools apart, were started with other scripts."""
    said = row.text("framework").lower()
    return "trt" if said.startswith("tensorrt") else said


def _value(said: str, concurrency: int | None) -> object:
    if said == _CONCURRENCY:
        return concurrency
    if said in _WORDS:
        return _WORDS[said]
    number = float(said)
    return int(number) if number.is_integer() else number
