"""Counting what was not taken, by stage, chips and binding constraint."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tokenroof.deploy.core import Infeasible
from tokenroof.search.core import Candidate, Rejected


@dataclass(slots=True)
class Tally:
    """Rejected candidates, added up; of each kind the one that came nearest is kept."""

    _found: dict[tuple[str, str, str], tuple[float, Rejected]] = field(default_factory=dict)

    def add(
        self,
        stage: str,
        family: str,
        reason: str,
        count: int,
        problem: Infeasible,
        *,
        nearness: float = 1.0,
        example: Candidate | None = None,
    ) -> None:
        """So many more; ``nearness`` is the smaller the nearer the example came."""
        if count <= 0:
            return
        key = (stage, family, reason)
        known = self._found.get(key)
        new = Rejected(
            stage=stage, family=family, reason=reason, count=count, example=example, problem=problem
        )
        if known is None:
            self._found[key] = (nearness, new)
            return
        total = known[1].count + count
        nearer = nearness < known[0]
        kept = new if nearer else known[1]
        self._found[key] = (min(nearness, known[0]), replace(kept, count=total))

    def rows(self) -> tuple[Rejected, ...]:
        """Most frequent first."""
        found = (each for _, each in self._found.values() if each.count)
        return tuple(sorted(found, key=lambda row: (-row.count, row.stage, row.family, row.reason)))

    def nearness(self, row: Rejected) -> float:
        """How near the nearest of a row came; the smaller the nearer."""
        return self._found[row.stage, row.family, row.reason][0]

    def take_back(self, stage: str, family: str, reason: str) -> None:
        """One that was counted and is taken after all."""
        key = (stage, family, reason)
        if key in self._found:
            nearness, row = self._found[key]
            self._found[key] = (nearness, replace(row, count=row.count - 1))

    @property
    def count(self) -> int:
        """All of them."""
        return sum(each.count for _, each in self._found.values())
