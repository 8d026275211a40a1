"""The nouns of a fit: rows and what they are measured by, parameters that may be fitted, what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenroof.calibrate.validation.core import Row
from tokenroof.catalog.accuracy import Served
from tokenroof.catalog.tuning import NEUTRAL, TUNABLES, Parameter, Tunable, Tuning

KINDS: Mapping[str, tuple[str, ...]] = {
    "throughput": ("total_tput_per_gpu", "output_tput_per_gpu", "input_tput_per_gpu"),
    "tpot": ("mean_tpot_s", "median_tpot_s"),
    "ttft": ("median_ttft_s", "mean_ttft_s"),
}
"""What is fitted, and the columns it is read from, the first that a row has."""

GROUPINGS = ("hardware", "model", "framework", "shape")
"""What rows are left out by in cross-validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How a fit weighs.

    Attributes
    ----------
    spread : mapping of str to float
        Of the logarithm of predicted over measured, by kind of metric, where a fit is good: repeated runs
        (0.6 %, 0.6 %, 3 % in the median) and what few parameters cannot say.
    huber : float
        Residuals beyond so many spreads count linearly.
    quality : mapping of str to float
        Weight of a row by its column ``quality``; others count 1.
    group_rows : float
        Rows of one hardware, model and framework beyond so many add as their square root.
    narrow : float
        Spread of the prior of a chip, or of an engine on something, over that of wider scopes.
    evidence : float
        What the logarithm of the evidence has to gain for a parameter to be taken.
    least_pairs : int
        Pairs of a chip and a model that have to inform a parameter that is to hold for others: what one or
        two of them ask for may be their own.
    known : float
        A parameter is refused when what is left of its prior spread is more than this.
    alike : float
        Of two parameters whose errors are more correlated than this one is refused.
    steps : int
        Times that the parameters are moved.
    """

    spread: Mapping[str, float] = field(
        default_factory=lambda: {"throughput": 0.05, "tpot": 0.05, "ttft": 0.2}
    )
    huber: float = 1.5
    quality: Mapping[str, float] = field(default_factory=lambda: {"C": 0.25})
    group_rows: float = 8.0
    narrow: float = 0.5
    evidence: float = 3.0
    least_pairs: int = 3
    known: float = 0.9
    alike: float = 0.98
    steps: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A row that can be fitted on.

    Attributes
    ----------
    row : Row
        As its file has it.
    measured : mapping of str to float
        By kind, in the unit of its column.
    columns : mapping of str to str
        The column of each kind.
    scopes : tuple of str
        Of parameters that apply to it, the widest first.
    names : frozenset of str
        Parameters that it may depend on.
    groups : mapping of str to str
        What it is in each of :data:`GROUPINGS`.
    weight : float
        Of its residuals, squared.
    configuration : str
        Rows of which this is the same are one configuration, measured again.
    tables : str
        Rows of which this is the same are simulated on the same step tables.
    asked : str
        Rows of which this is the same ask the simulator the same.
    """

    row: Row
    measured: Mapping[str, float]
    columns: Mapping[str, str]
    scopes: tuple[str, ...]
    names: frozenset[str]
    groups: Mapping[str, str]
    weight: float = 1.0
    configuration: str = ""
    tables: str = ""
    asked: str = ""

    def has(self, candidate: Candidate) -> bool:
        """Whether a parameter applies to it."""
        return candidate.name in self.names and candidate.scope in self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A parameter that may be fitted.

    Attributes
    ----------
    name, scope : str
        As in :class:`~tokenroof.catalog.tuning.Parameter`.
    expected : float
        Before the rows are seen, as a coordinate: the logarithm of factors, the value of the rest.
    spread : float
        How far from it, in the same coordinate.
    least_pairs : int
        Pairs of a chip and a model that have to inform it.
    """

    name: str
    scope: str
    expected: float
    spread: float
    least_pairs: int = 1

    @property
    def tunable(self) -> Tunable:
        """What its name means."""
        return TUNABLES[self.name]

    @property
    def label(self) -> str:
        """As it is written in options and tables."""
        return f"{self.name}:{self.scope}"

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest coordinate."""
        return coordinate(self.tunable, self.tunable.low), coordinate(self.tunable, self.tunable.high)


def coordinate(tunable: Tunable, value: float) -> float:
    """Where a value lies on the axis that it is fitted on."""
    return math.log(value) if tunable.factor else value


def value_at(tunable: Tunable, place: float) -> float:
    """The value at a coordinate."""
    return math.exp(place) if tunable.factor else place


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A parameter, or a row, that is not fitted, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResidual:
    """Predicted over measured of one metric of a row, as logarithms.

    Attributes
    ----------
    subject : int
        Which row.
    kind : str
        Of :data:`KINDS`.
    before, after : float
        With the parameters that the fit began with, and with the fitted ones.
    left_out : mapping of str to float
        With parameters that were fitted without the row's group, by grouping.
    """

    subject: int
    kind: str
    before: float
    after: float
    left_out: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Median absolute errors of one metric, as fractions of what was measured; nan where there is none.

    Attributes
    ----------
    kind : str
        Of :data:`KINDS`.
    rows : int
        How many have it.
    before, after, bias : float
        Median absolute error with the parameters that the fit began with, with the fitted ones, and the
        median error of these.
    left_out : mapping of str to float
        Median absolute error of rows with parameters that were fitted without their group, by grouping.
    """

    kind: str
    rows: int
    before: float
    after: float
    bias: float
    left_out: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupErrors:
    """Errors of the rows of one hardware, model and framework."""

    key: tuple[str, str, str]
    rows: int
    errors: tuple[Errors, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What came of a fit.

    Attributes
    ----------
    subjects : tuple of Subject
        Rows it was made on.
    refused_rows : tuple of Refusal
        Rows that could not be used.
    parameters : tuple of Parameter
        Fitted values with their evidence.
    far : tuple of str
        Those of them that lie far from what was expected: what is missing may hide there.
    refused : tuple of Refusal
        Parameters that were asked for and that the rows say nothing of.
    considered : int
        Parameters that were proposed or asked for.
    tuning : Tuning
        The fitted parameters over those that it began with.
    without : mapping of (str, str) to Tuning
        By grouping and group: fitted without it.
    served : tuple of Served
        Combinations of chip, engine, model and format that the rows measured.
    residuals : tuple of RowResidual
        Of every metric of every row.
    errors : tuple of Errors
        Over all rows, by metric.
    groups : tuple of GroupErrors
        By hardware, model and framework.
    inflation : float
        By what the residuals exceed the settings' spreads; standard errors carry it when above 1.
    alike : tuple of (str, str, float)
        Pairs of parameters that the rows hardly tell apart, with their correlation.
    reason : str
        Why nothing was fitted; "" otherwise.
    """

    subjects: tuple[Subject, ...]
    refused_rows: tuple[Refusal, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    far: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    considered: int = 0
    tuning: Tuning = NEUTRAL
    without: Mapping[tuple[str, str], Tuning] = field(default_factory=dict)
    served: tuple[Served, ...] = ()
    residuals: tuple[RowResidual, ...] = ()
    errors: tuple[Errors, ...] = ()
    groups: tuple[GroupErrors, ...] = ()
    inflation: float = 1.0
    alike: tuple[tuple[str, str, float], ...] = ()
    reason: str = ""
