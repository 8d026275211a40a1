"""What differs between two mappings of plain values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

NOTHING = "nothing"
"""Stands for a key that one of the two does not have."""


def flat_differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Keys with other values.

    Returns
    -------
    list of tuple
        Key with its sections ("slo.ttft_s", "chips.1"), and both values as text.
    """
    one, other = dict(_flat(left)), dict(_flat(right))
    return [
        (key, one.get(key, NOTHING), other.get(key, NOTHING))
        for key in {**one, **other}
        if one.get(key, NOTHING) != other.get(key, NOTHING)
    ]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _flat(each, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value:
        for index, each in enumerate(value):
            yield from _flat(each, f"{prefix}.{index}" if prefix else str(index))
    else:
        yield prefix, json.dumps(value, ensure_ascii=False)
