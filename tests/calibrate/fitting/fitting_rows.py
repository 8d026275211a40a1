"""Small servings made up for fits: rows, and what a simulator with given parameters measures on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokenroof.calibrate.fitting.core import KINDS
from tokenroof.calibrate.fitting.evaluate import simulated
from tokenroof.calibrate.validation.core import Row
from tokenroof.calibrate.validation.files import Read
from tokenroof.catalog.catalog import load
from tokenroof.catalog.tuning import Parameter, Tuning

ASKED: Mapping[str, str] = {
    "hardware": "h100",
    "num_gpus": "1",
    "tp": "1",
    "model": "llama-3.1-8b",
    "framework": "vllm",
    "length_distribution": "fixed",
}
LOADS = (("300", "60", 1), ("300", "60", 16), ("300", "60", 64), ("2000", "30", 4), ("2000", "30", 16))


def asked_rows(**changes: str) -> list[Row]:
    """Five rows of one chip and engine: two shapes, several loads."""
    return [
        Row(
            line=line,
            texts={**ASKED, "isl": isl, "osl": osl, "load": f"closed:conc={load}"}
            | {"n_requests": str(4 * load), "id": f"row {line}"}
            | changes,
        )
        for line, (isl, osl, load) in enumerate(LOADS, start=1)
    ]


def tuning(values: Mapping[str, float]) -> Tuning:
    """Parameters from ``name:scope`` to value."""
    return Tuning(
        parameters=tuple(
            Parameter(name=label.split(":")[0], scope=label.split(":")[1], value=value)
            for label, value in values.items()
        )
    )


def measured_rows(values: Mapping[str, float], rows: Sequence[Row] | None = None) -> list[Read]:
    """The rows with the results of a world in which these parameters hold."""
    catalog = load().tuned(tuning(values))
    found: list[Read] = []
    for row in asked_rows() if rows is None else rows:
        metrics = simulated(row, catalog)
        said = {columns[0]: f"{metrics[columns[0]]:.8g}" for columns in KINDS.values()}
        found.append((Row(line=row.line, texts={**row.texts, **said}), ""))
    return found
