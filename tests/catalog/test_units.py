"""Text with units in, base units out, and back."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.errors import InputError, UnitError
from tokenroof.units import format_si, parse


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("3.35 TB/s", "bytes/s", 3.35e12),
        ("80 GB", "bytes", 80e9),
        ("80 GiB", "bytes", 80 * 2**30),
        ("143,771 MiB", "bytes", 143771 * 2**20),
        ("989.4 TFLOP/s", "flop/s", 989.4e12),
        ("989.4 TFLOPS", "flop/s", 989.4e12),
        ("1 PFLOP/s", "flop/s", 1e15),
        ("62 TOP/s", "flop/s", 62e12),
        ("400 Gb/s", "bytes/s", 50e9),
        ("6.4 Gbit/s", "bytes/s", 0.8e9),
        ("700 W", "W", 700.0),
        ("10.2 kW", "W", 10200.0),
        ("50 MW", "W", 50e6),
        ("50 mW", "W", 0.05),
        ("1.3 USD/h", "USD/h", 1.3),
        ("5 MUSD", "USD", 5e6),
        ("3.5 pJ/bit", "J/byte", 28e-12),
        ("1 us", "s", 1e-6),
        ("1 µs", "s", 1e-6),
        ("20 ms", "s", 0.02),
        ("2 h", "s", 7200.0),
        ("0.082 USD/kWh", "USD/kWh", 0.082),
        ("473 gCO2e/kWh", "kgCO2e/kWh", 0.473),
        ("0.66 gCO2e/EFLOP", "kgCO2e/flop", 0.66e-21),
        ("814 mm2", "mm2", 814.0),
        ("0.021 um2", "mm2", 0.021e-6),
        ("10 %", "1", 0.1),
        ("0.9", "1", 0.9),
        ("1e3 B", "bytes", 1000.0),
        ("5.4 USD/Mtok", "USD/Mtok", 5.4),
        ("110 USD/kW/month", "USD/kW/month", 110.0),
        ("165 GB/s/mm", "bytes/s/mm", 165e9),
        ("1 W", "J/s", 1.0),
        ("1 kWh", "J", 3.6e6),
    ],
)
def test_a_quantity_means_its_base_units(text, dimension, value):
    assert parse(text, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "dimension", "message"),
    [
        ("3.35 TB", "bytes/s", "expected bytes/s, got '3.35 TB'. Write '3.35 TB/s'."),
        ("3.35", "bytes/s", "expected bytes/s, got '3.35'. Write for example '3.35 TB/s'."),
        ("700 W", "bytes/s", "expected bytes/s, got '700 W'"),
        ("fast", "bytes/s", "which has no number"),
        ("", "s", "which has no number"),
        ("nan s", "s", "which has no number"),
        ("1e400 s", "s", "too large"),
        ("3.35 TBs", "bytes/s", "unknown unit 'TBs'. Nearest: TB"),
        ("3 TB/parsec", "bytes/s", "unknown unit 'parsec' in 'TB/parsec'"),
        ("3.35 tb/s", "bytes/s", "unknown unit 'tb'"),
        ("3,35 TB/s", "bytes/s", "unknown unit"),
        ("3 mB", "bytes", "unknown unit 'mB'"),
        ("1.3", "USD/h", "Write for example '1.3 USD/h'"),
        ("1.3 USD", "USD/h", "Write '1.3 USD/h'"),
        ("3.5 pJ", "J/byte", "Write '3.5 pJ/bit'"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(text, dimension, message):
    with pytest.raises(UnitError) as caught:
        parse(text, dimension)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.35e12, "bytes/s", "3.35 TB/s"),
        (0.0123, "s", "12.3 ms"),
        (28e-12, "J/byte", "3.5 pJ/bit"),
        (0.473, "kgCO2e/kWh", "473 gCO2e/kWh"),
        (164.0, "kgCO2e", "164 kgCO2e"),
        (1.3, "USD/h", "1.3 USD/h"),
        (0.9, "1", "0.9"),
        (0.0, "s", "0 s"),
        (999.9e9, "bytes", "1 TB"),
        (1730.0, "W", "1.73 kW"),
        (989.4e12, "flop/s", "989 TFLOP/s"),
    ],
)
def test_numbers_read_well(value, unit, text):
    assert format_si(value, unit) == text


UNITS = st.sampled_from(
    [
        "bytes",
        "bytes/s",
        "flop/s",
        "s",
        "W",
        "J",
        "J/byte",
        "J/flop",
        "USD/h",
        "USD",
        "kgCO2e",
        "mm2",
        "1",
        "Hz",
    ]
)


@given(value=st.floats(min_value=1e-30, max_value=1e30), unit=UNITS)
def test_formatting_and_parsing_are_inverse(value, unit):
    assert parse(format_si(value, unit, digits=17), unit) == pytest.approx(value, rel=1e-12)


@given(value=st.floats(min_value=1e-9, max_value=1e9), prefix=st.sampled_from("kMGTP"))
def test_a_prefix_is_a_power_of_ten(value, prefix):
    power = 3 * ("kMGTP".index(prefix) + 1)
    assert parse(f"{value!r} {prefix}B/s", "bytes/s") == pytest.approx(value * 10**power, rel=1e-12)


@given(value=st.floats(min_value=1e-9, max_value=1e9))
def test_a_byte_is_eight_bits(value):
    assert parse(f"{value!r} GB", "bytes") == pytest.approx(8 * parse(f"{value!r} Gb", "bytes"), rel=1e-12)


@given(text=st.text(max_size=30), unit=UNITS)
def test_any_text_is_a_finite_number_or_a_unit_error(text, unit):
    with contextlib.suppress(UnitError):
        assert math.isfinite(parse(text, unit))
