"""A chip that publishes narrow peaks alone still multiplies 16-bit numbers, slower, and says so."""

import pytest

from tokenroof.errors import InputError
from tokenroof.perf.lowprec import wide_peak, with_wide_peak


@pytest.mark.parametrize(
    ("peaks", "expected"), [({"fp8": 8.0}, 4.0), ({"fp4": 8.0}, 2.0), ({"fp8": 8.0, "fp4": 16.0}, 4.0)]
)
def test_sixteen_bits_run_at_a_fraction_of_the_narrow_peak(peaks: dict[str, float], expected: float) -> None:
    completed, said = with_wide_peak(peaks)
    assert completed["bf16"] == expected
    assert "no 16-bit peak is published" in said


def test_a_published_peak_is_left_alone() -> None:
    assert with_wide_peak({"bf16": 1.0, "fp8": 2.0}) == ({"bf16": 1.0, "fp8": 2.0}, "")


def test_nothing_is_made_of_nothing() -> None:
    with pytest.raises(InputError, match="no usable peak"):
        with_wide_peak({})
    with pytest.raises(InputError, match="16-bit"):
        wide_peak({"fp4": 1.0})
