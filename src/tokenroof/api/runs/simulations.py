"""Finished simulations of a plan, kept in a run: what ``search`` calls a store."""

from __future__ import annotations

from tokenroof.api.runs.store import RunStore
from tokenroof.search.core import Record


class Simulations:
    """``search.core.Store`` over the records of a run.

    Parameters
    ----------
    run : RunStore
        Open for as long as this is used.
    """

    def __init__(self, run: RunStore) -> None:
        self._run = run
        self._used: dict[str, Record] = {}

    @property
    def used(self) -> tuple[Record, ...]:
        """Records that were asked for or kept by this process, by label: those that the answer rests on."""
        return tuple(sorted(self._used.values(), key=lambda each: (each.label, each.replicas, each.key)))

    def get(self, key: str) -> Record | None:
        """What was kept under a key, before a kill as well; None when nothing was."""
        held = self._run.get(key)
        if held is None:
            return None
        record = Record(**held | {"key": key, "replicas": tuple(held["replicas"])})
        self._used[key] = record
        return record

    def put(self, key: str, record: Record) -> None:
        """Keep a record; on the disk when this returns."""
        self._run.put(
            key,
            {
                "label": record.label,
                "replicas": list(record.replicas),
                "seed": record.seed,
                "rate_factor": float(record.rate_factor),
                "values": {name: float(value) for name, value in record.values.items()},
                "low": {name: float(value) for name, value in record.low.items()},
                "high": {name: float(value) for name, value in record.high.items()},
                "infeasible": record.infeasible,
            },
        )
        self._used[key] = record
