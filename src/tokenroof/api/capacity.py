"""The highest rate that still meets the limits, per deployment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from tokenroof.api.answer import Answer, check_suffix, text_of, writing
from tokenroof.api.deployments import asked
from tokenroof.api.inputs import ChipLike, ModelLike, positive
from tokenroof.api.lookup import CatalogLike, load_catalog
from tokenroof.api.progress import searching
from tokenroof.api.simulation import label_of, serving_of, spec_from
from tokenroof.api.spec.common import Common
from tokenroof.api.spec.core import Spec
from tokenroof.api.workloads import workload_of
from tokenroof.deploy.core import HighestRate
from tokenroof.deploy.simulated.capacity import Search, highest_rate
from tokenroof.deploy.simulated.criterion import Attainment, Criterion, Percentile
from tokenroof.errors import InputError
from tokenroof.report.rates import document, rate_tables


@dataclass(frozen=True, slots=True)
class Rates:
    """What :func:`tokenroof.capacity` returns: the highest rate of each deployment.

    Attributes
    ----------
    names : tuple of str
        Of the deployments.
    rows : tuple of HighestRate
        One each; those without a rate say why.
    """

    names: tuple[str, ...]
    rows: tuple[HighestRate, ...]

    def __iter__(self) -> Iterator[HighestRate]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> HighestRate:
        return self.rows[index]

    def __str__(self) -> str:
        return text_of(rate_tables(self.names, self.rows))

    @property
    def feasible(self) -> bool:
        """Whether any deployment meets the limits at some rate."""
        return any(row.rate_per_s is not None for row in self.rows)

    def rate(self, index: int = 0) -> float:
        """The highest rate of a deployment. [1/s]

        Raises
        ------
        InputError
            There is none; it says why.
        """
        row = self.rows[index]
        if row.rate_per_s is None:
            why = row.infeasible.reason if row.infeasible is not None else ""
            raise InputError(f"no rate of {self.names[index]}: {why}")
        return row.rate_per_s

    @property
    def answer(self) -> Answer:
        """The estimates at the highest rates, with their runs."""
        return Answer(tuple(row.estimate for row in self.rows if row.estimate is not None))

    @property
    def probes(self) -> Answer:
        """The estimates at every rate that was tried; draw them with ``chart("goodput")``."""
        return Answer(tuple(probe.estimate for row in self.rows for probe in row.probes))

    def json(self) -> str:
        """Everything as JSON text, in base units."""
        return document(self.names, self.rows)

    def save(self, path: str | Path) -> Path:
        """Write ``.json``, or the chart of goodput against rate (``.svg``, ``.png``, ``.pdf``, ``.html``).

        Raises
        ------
        InputError
            Another extension, nothing to draw, or a file that cannot be written.
        """
        file = Path(path)
        if file.suffix.lower() != ".json":
            return self.probes.save_chart(file, kind="goodput")
        check_suffix(file, (".json",))
        with writing(file):
            file.write_text(self.json() + "\n", encoding="utf-8")
        return file


def capacity(
    model: ModelLike | None = None,
    chip: ChipLike | list[ChipLike] | None = None,
    *,
    spec: str | Path | Mapping[str, Any] | Spec | None = None,
    attainment: float = 0.99,
    percentile: str | None = None,
    tolerance: float = 0.02,
    progress: bool = False,
    catalog: CatalogLike = (),
    **common: Unpack[Common],
) -> Rates:
    """The highest rate at which requests still meet their limits, by bisection on seeded runs.

    Parameters
    ----------
    model, chip, spec, catalog, **common
        As for :func:`tokenroof.simulate`. The times at which requests are sent are stretched or squeezed;
        without ``rate`` or ``trace`` they are Poisson.
    attainment : float
        Part of the requests of every class that has to meet all its limits.
    percentile : str, optional
        Instead: every limit holds for this percentile of its own latency ("p99", "p90", "mean").
    tolerance : float
        Width of the bracket at which the search ends, over the rate.
    progress : bool
        Show on standard error what is tried.

    Returns
    -------
    Rates
        One row per chip, with every rate that was tried.

    Raises
    ------
    InputError
        Bad input; no limit; a closed loop.

    Examples
    --------
    >>> import tokenroof as tr
    >>> found = tr.capacity("llama-3.1-8b", "h100", isl=500, osl=100, num_requests=200,
    ...                     slo={"ttft": "1 s", "tpot": "20 ms"}, tolerance=0.1)
    >>> found.rate() > 10
    True
    """
    said = spec_from(spec, model, chip, dict(common), default_rate=1.0)
    criterion: Criterion = Attainment(fraction=positive("attainment", attainment))
    if percentile is not None:
        criterion = Percentile(quantile=percentile)
    search = Search(criterion=criterion, tolerance_fraction=positive("tolerance", tolerance))
    found = load_catalog(catalog)
    rates = said.traffic.rate
    requests = workload_of(said, rates[0] if rates else None).requests(said.seed)
    names, rows = [], []
    for layout in said.layouts:
        given = asked(said, layout, requests, found)
        names.append(label_of(said, given, None))
        with searching(names[-1], enabled=progress) as watch:
            rows.append(
                highest_rate(
                    given.deployment,
                    requests,
                    catalog=found,
                    serving=serving_of(said, given),
                    search=search,
                    seed=said.seed,
                    label=names[-1],
                    progress=watch,
                )
            )
    return Rates(tuple(names), tuple(rows))
