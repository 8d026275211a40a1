"""Which fitted efficiencies a computation looks up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.perf.core import Machine


class Watched(Mapping[tuple[str, str], OpEfficiency]):
    """Efficiency rows that remember which of them were looked up."""

    def __init__(self, rows: Mapping[tuple[str, str], OpEfficiency]) -> None:
        self._rows = rows
        self.seen: dict[tuple[str, str], OpEfficiency] = {}

    def __getitem__(self, key: tuple[str, str]) -> OpEfficiency:
        row = self._rows[key]
        self.seen[key] = row
        return row

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def watched(machine: Machine) -> tuple[Machine, Watched]:
    """The same machine, and the record of the efficiencies that will be looked up on it."""
    rows = Watched(machine.efficiency.rows)
    return replace(machine, efficiency=replace(machine.efficiency, rows=rows)), rows
