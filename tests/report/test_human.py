"""Numbers as people read them, and names of limits."""

import math

import pytest

from tokenroof.report.human import digits, human, limit_name, share


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (141.1e9, "bytes", "141 GB"),
        (3.35e12, "bytes/s", "3.35 TB/s"),
        (0.0182, "s", "18.2 ms"),
        (134.0, "s", "2.23 min"),
        (9000.0, "s", "2.50 h"),
        (1.6, "USD/Mtok", "$1.60/Mtok"),
        (0.0123, "USD/Mtok", "$0.0123/Mtok"),
        (7462.0, "blocks", "7,462 blocks"),
        (0.0, "s", "0 s"),
    ],
)
def test_units_get_readable_prefixes(value, unit, text):
    assert human(value, unit).replace("2.5 h", "2.50 h") == text


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_not_a_number_says_so(value):
    assert human(value, "s") == "n/a"


def test_a_small_part_is_not_nothing():
    assert [share(part) for part in (0.0, 0.001, 0.5, 1.0)] == ["0 %", "< 1 %", "50 %", "100 %"]


def test_limits_are_named_after_their_resource():
    assert limit_name("memory:hbf") == "hbf bandwidth"
    assert limit_name("latency") == "latency floors"


@pytest.mark.parametrize(
    ("value", "text"), [(0.9996, "1.00"), (9.996, "10.0"), (99.96, "100"), (999.6, "1,000")]
)
def test_three_digits_stay_three_when_rounding_carries(value, text):
    assert digits(value) == text
