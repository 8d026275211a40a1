"""The nouns of a comparison: how far predictions are off, by metric and by group of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenroof.calibrate.validation.core import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How far one metric is off over a set of rows.

    The error of a row is (predicted - measured) / measured.

    Attributes
    ----------
    n : int
        Rows that have the metric, measured and predicted.
    median_fraction, mean_fraction, p90_fraction : float or None
        Of the absolute error over the rows; None without a row. The 90th percentile is interpolated
        linearly.
    bias_fraction : float or None
        Mean of the error with its sign: above 0 is predicted too high.
    interval_fraction : float or None
        Part of the rows with an interval whose measured value lies in it; None without an interval.
    """

    n: int
    median_fraction: float | None = None
    mean_fraction: float | None = None
    p90_fraction: float | None = None
    bias_fraction: float | None = None
    interval_fraction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows that say the same in some columns.

    Attributes
    ----------
    by, key : tuple of str
        Columns, and what they say; "" is "not said".
    rows, predicted : int
        How many there are, and how many of them have a prediction.
    scores : mapping of str to Score
        By metric, all of them.
    """

    by: tuple[str, ...]
    key: tuple[str, ...]
    rows: int
    predicted: int
    scores: Mapping[str, Score]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A figure to hold errors against: a noise floor, or the error that another tool has.

    Attributes
    ----------
    kind : str
        "noise" is the spread of repeated measurements, "tool" the error of another tool.
    name : str
        What of: empty for noise.
    metric : str
        A metric of a row.
    median, p90 : str
        In percent, as the source writes it ("27 to 300"); "" is not said.
    source : str
        Where it is from, and on which rows.
    """

    kind: str
    name: str
    metric: str
    median: str
    p90: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Predicted against measured servings.

    Attributes
    ----------
    outcomes : tuple of Outcome
        One per row, in the order of the files.
    scores : mapping of str to Score
        By metric, over all rows.
    by : tuple of str
        Columns that groups were asked by.
    groups : tuple of Group
        By all of these columns together, then by each alone.
    reasons : mapping of str to int
        Why rows have no prediction, and how many; the most frequent first.
    references : tuple of Reference
        What the errors are to be held against.
    """

    outcomes: tuple[Outcome, ...]
    scores: Mapping[str, Score]
    by: tuple[str, ...]
    groups: tuple[Group, ...]
    reasons: Mapping[str, int]
    references: tuple[Reference, ...] = ()

    @property
    def predicted(self) -> tuple[Outcome, ...]:
        """Rows that have a prediction."""
        return tuple(outcome for outcome in self.outcomes if outcome.predicted)

    @property
    def unmapped(self) -> tuple[Outcome, ...]:
        """Rows that have none; each says why."""
        return tuple(outcome for outcome in self.outcomes if not outcome.predicted)
