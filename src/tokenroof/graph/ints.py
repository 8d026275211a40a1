"""Integer arithmetic that works alike on a Python int and on an integer array."""

from __future__ import annotations

from functools import cache

import numpy as np

from tokenroof.catalog.dtypes import dtype
from tokenroof.graph.core import Int, Num

WIDE_BYTES = 2
"""Bytes of what flows between operators: hidden states, outputs and small vectors stay in 16 bit."""


def ceil_div(a: Int, b: Int) -> Int:
    """``a / b`` rounded up."""
    return -(-a // b)


def floor_div(a: Int, b: Int) -> Int:
    """``a / b`` rounded down."""
    return a // b


def ceil_int(a: int, b: int) -> int:
    """``a / b`` rounded up, for plain integers."""
    return -(-a // b)


def low(a: Int, b: Int) -> Int:
    """Elementwise smaller of two."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return np.minimum(a, b)


def high(a: Int, b: Int) -> Int:
    """Elementwise larger of two."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return np.maximum(a, b)


def present(count: Int) -> bool:
    """Whether any element is not zero: an operator without work is left out of a step."""
    if isinstance(count, int):
        return count != 0
    return bool(np.any(count))


def where_present(count: Int, value: int) -> Int:
    """``value`` where ``count`` is not zero, else 0: weights are read only when the operator runs."""
    if isinstance(count, int):
        return value if count else 0
    return np.where(count != 0, np.int64(value), np.int64(0))


@cache
def _bytes_ratio(name: str) -> tuple[int, int]:
    per_element = dtype(name).bits / 8
    return per_element.numerator, per_element.denominator


def tensor_bytes(name: str, elements: Int) -> Int:
    """Bytes of ``elements`` elements of format ``name``, scales included, rounded up. [bytes]"""
    numerator, denominator = _bytes_ratio(name)
    return -(-(elements * numerator) // denominator)


def exact_bytes(name: str, elements: int) -> int:
    """As :func:`tensor_bytes` for a plain number of elements. [bytes]"""
    numerator, denominator = _bytes_ratio(name)
    return -(-(elements * numerator) // denominator)


def rounded(value: Num) -> Int:
    """The nearest integer to an expectation."""
    if isinstance(value, np.ndarray):
        return np.rint(value).astype(np.int64)
    return round(float(value))
