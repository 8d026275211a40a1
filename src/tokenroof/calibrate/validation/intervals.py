"""Intervals of a row's predicted metrics, by the same rule as those of any answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tokenroof.calibrate.intervals import COLUMNS, counted
from tokenroof.calibrate.validation.case import case_of
from tokenroof.calibrate.validation.core import Case, Row
from tokenroof.catalog.accuracy import SIMULATED, Accuracy, Served
from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Estimate
from tokenroof.deploy.known import (
    CLOSED,
    HIGHEST,
    OFFLINE,
    OPEN,
    Asked,
    asked_of,
    log_factors,
    under_known_name,
)
from tokenroof.errors import TokenroofError


def asked_of_case(case: Case, estimate: Estimate) -> tuple[Asked, ...]:
    """What a row asks, as its intervals are looked up."""
    requests = case.requests
    if case.limits is not None:
        load = HIGHEST
    elif requests.concurrency is not None:
        load = CLOSED
    else:
        queued = not float(requests.arrival_s.max()) > 0.0
        load = OFFLINE if queued or "queue_growth_requests_per_s" in estimate.metrics else OPEN
    return asked_of(case.deployment, load=load, grounded=estimate.grounded)


def served_of(rows: Sequence[Row], catalog: Catalog) -> tuple[Served, ...]:
    """The combinations that rows measured, those that cannot be mapped left out."""
    found: list[Asked] = []
    for row in rows:
        try:
            case = case_of(row, catalog)
        except TokenroofError:
            continue
        found += asked_of(case.deployment, load=CLOSED, grounded=True)
    return counted(found)


def intervals_of(
    case: Case, predicted: Mapping[str, float], estimate: Estimate, catalog: Catalog
) -> dict[str, tuple[float, float]]:
    """Intervals of what is predicted for a row, by column.

    Parameters
    ----------
    case : Case
        The row as it was asked.
    predicted : mapping of str to float
        By column.
    estimate : Estimate
        The answer.
    catalog : Catalog
        With what is known of errors.
    """
    asked = under_known_name(asked_of_case(case, estimate), case.deployment.model, catalog)
    return column_intervals(predicted, asked, catalog.accuracy)


def column_intervals(
    predicted: Mapping[str, float], asked: Sequence[Asked], accuracy: Accuracy, prediction: str = SIMULATED
) -> dict[str, tuple[float, float]]:
    """Intervals of the predicted metrics of a row, by column: the widest of its pools.

    Parameters
    ----------
    predicted : mapping of str to float
        By column.
    asked : sequence of Asked
        Of every pool.
    accuracy : Accuracy
        What is known of errors.
    prediction : str
        Kind of prediction.
    """
    out = {}
    for column, value in predicted.items():
        if column not in COLUMNS:
            continue
        found = [log_factors(each, COLUMNS[column], prediction, accuracy) for each in asked]
        known = [each for each in found if each is not None]
        if known and len(known) == len(found):
            low, high = min(low for low, _ in known), max(high for _, high in known)
            out[column] = (value * math.exp(min(low, 0.0)), value * math.exp(max(high, 0.0)))
    return out
