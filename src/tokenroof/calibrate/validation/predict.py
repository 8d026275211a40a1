"""Simulate a row, and state what its client would have reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tokenroof.calibrate.validation.capacity import at_highest_rate, full_rate_per_s
from tokenroof.calibrate.validation.case import case_of
from tokenroof.calibrate.validation.core import Case, Outcome, Row
from tokenroof.calibrate.validation.fields import measured
from tokenroof.calibrate.validation.intervals import intervals_of
from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Estimate
from tokenroof.deploy.simulated.simulate import simulate
from tokenroof.errors import InputError, TokenroofError
from tokenroof.serve.results import RequestLog


def predict_row(row: Row, catalog: Catalog) -> Outcome:
    """A row's outcome: predicted metrics, or the reason why there are none.

    Parameters
    ----------
    row : Row
        As its file has it; whatever is wrong with it becomes its reason.
    catalog : Catalog
        Chips, models, engines by name, with the parameters to predict with.
    """
    seen: dict[str, float] = {}
    try:
        seen = measured(row)
        case = case_of(row, catalog)
        found, estimate = predict_case(case, catalog)
    except TokenroofError as error:
        return Outcome(row=row, measured=seen, predicted={}, reason=str(error))
    if estimate.infeasible is not None:
        return Outcome(
            row=row, measured=seen, predicted={}, reason=estimate.infeasible.reason, notes=case.notes
        )
    return Outcome(
        row=row,
        measured=seen,
        predicted=found,
        notes=case.notes,
        intervals=intervals_of(case, found, estimate, catalog),
        estimate=replace(estimate, run=None),
    )


def predict_case(case: Case, catalog: Catalog) -> tuple[dict[str, float], Estimate]:
    """What the client of a case reports, and the whole answer.

    Raises
    ------
    InputError
        Requests did not complete.
    """
    if case.limits is not None:
        return at_highest_rate(case, case.limits, catalog)
    estimate = simulate(
        case.deployment, case.requests, catalog=catalog, serving=case.serving, label=case.row.id
    )
    if estimate.infeasible is not None:
        return {}, estimate
    assert estimate.run is not None
    return reported(case, estimate.run.log), estimate


def reported(case: Case, log: RequestLog) -> dict[str, float]:
    """What the client of a case states about a run: metrics by column name.

    Raises
    ------
    InputError
        Requests did not complete.
    """
    done = ~np.isnan(log.finish_s)
    if not done.any() or (~done).mean() > 0.01:
        raise InputError(f"{int((~done).sum())} requests did not complete.")
    span_s = float(log.finish_s[done].max()) - float(log.arrival_s.min())
    counted = span_s * case.counts_chips
    isl, osl = log.isl_tokens[done], log.osl_tokens[done]
    ttft_s, e2e_s = (log.first_s - log.arrival_s)[done], (log.finish_s - log.arrival_s)[done]
    found = {
        "total_tput_per_gpu": float((isl + osl / case.beams).sum()) / counted,
        "output_tput_per_gpu": float(osl.sum()) / (counted * case.beams),
        "input_tput_per_gpu": float(isl.sum()) / counted,
        "median_ttft_s": float(np.median(ttft_s)),
        "mean_ttft_s": float(ttft_s.mean()),
        "p99_ttft_s": float(np.percentile(ttft_s, 99)),
        "mean_e2e_s": float(e2e_s.mean()),
        "median_e2e_s": float(np.median(e2e_s)),
        "p99_e2e_s": float(np.percentile(e2e_s, 99)),
    }
    if case.steady:
        scale = full_rate_per_s(log.finish_s[done]) * span_s / done.sum()
        found = {name: value * (scale if "tput" in name else 1.0) for name, value in found.items()}
    several = osl > 1
    if several.any():
        tpot_s = (e2e_s - ttft_s)[several] / (osl[several] - 1)
        found |= {
            "mean_tpot_s": float(tpot_s.mean()),
            "median_tpot_s": float(np.median(tpot_s)),
            "p99_tpot_s": float(np.percentile(tpot_s, 99)),
        }
    return found
