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
        found = (each for _, each in self._found.values())
        return tuple(sorted(found, key=lambda row: (-row.count, row.stage, row.family, row.reason)))

    @property
    def count(self) -> int:
        """All of them."""
        return sum(each.count for _, each in self._found.values())
