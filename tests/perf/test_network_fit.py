"""The fit of collectives: exact on its own form, and good on what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from collective_machines import SWITCH, machine

from tokenroof.calibrate.network import (
    Series,
    fit,
    fit_lines,
    held_out_errors,
    read_exchanges,
    read_series,
    thinned,
)
from tokenroof.errors import InputError
from tokenroof.perf.collectives import collective_s

MEASURED = Path(__file__).resolve().parents[2] / "calibration" / "measured"
SIZES = 2.0 ** np.arange(9, 30)


def series(seconds: np.ndarray, kind: str = "all_reduce", group: int = 8) -> Series:
    return Series(
        kind=kind, chip="toy", kernels="vllm", version="1", group=group, message_bytes=SIZES, seconds=seconds
    )


def test_two_regimes_are_found_again() -> None:
    seconds = np.minimum(4e-6 + SIZES / 5e10, 3e-5 + SIZES / 4e11)
    lines = fit_lines(SIZES, seconds, pieces=2)
    assert np.array(lines) == pytest.approx(np.array([[4e-6, 2e-11], [3e-5, 2.5e-12]]), rel=0.02)
    assert max(held_out_errors(series(seconds))) < 0.01


def test_a_fitted_row_gives_the_series_back_through_the_machine() -> None:
    seconds = np.minimum(4e-6 + SIZES / 5e10, 3e-5 + SIZES / 4e11)
    row = fit(series(seconds), SWITCH, source="test")
    predicted = collective_s("all_reduce", SIZES, 8, 1, machine(rows=(row,)))
    assert predicted == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize("sharpness", [1.0, 3.0])
def test_overlap_of_overhead_and_bytes_is_chosen_by_held_out_error(sharpness: float) -> None:
    seconds = (4e-6**sharpness + (SIZES / 4e11) ** sharpness) ** (1 / sharpness)
    row = fit(series(seconds), SWITCH, source="test")
    assert row.parameters.get("sharpness", 1.0) == sharpness
    assert row.error_fraction < 0.03


def test_a_measured_series_is_within_a_few_percent() -> None:
    """vLLM's custom all-reduce on eight H100: 3 % held out, the earlier study's best form 5 %."""
    kept = next(
        one
        for one in read_series(MEASURED / "collectives.parquet")
        if (one.chip, one.kernels, one.kind, one.group) == ("h100", "vllm", "all_reduce", 8)
    )
    assert max(held_out_errors(kept)) < 0.05


def test_exchanges_are_series_of_many_shapes() -> None:
    kept = read_exchanges(MEASURED / "moe_alltoall.parquet")
    assert {(one.chip, one.group) for one in kept} >= {("h100", 8), ("gb200-nvl72", 64)}
    assert all(np.all(np.diff(one.message_bytes) >= 0) for one in kept)


def test_many_points_are_thinned_to_medians() -> None:
    sizes, seconds = thinned(np.arange(1.0, 1001.0), np.arange(1.0, 1001.0), limit=10)
    assert len(sizes) == 10
    assert sizes == pytest.approx(seconds)


def test_one_point_is_no_fit() -> None:
    with pytest.raises(InputError, match="2 sizes or more"):
        fit_lines(np.array([1.0]), np.array([1.0]))


@pytest.mark.parametrize("read", [read_series, read_exchanges])
def test_a_missing_table_says_where_tables_live(read, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="calibration/measured"):
        read(tmp_path / "none.parquet")
