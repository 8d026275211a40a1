"""Further answers to a plan as sections and as JSON: whatever was asked for, in the order given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tokenroof.report.plan_answers_result import fewer_part, self_host_part, sensitivity_part
from tokenroof.report.plan_answers_serving import apart_part, drafts_part, offload_part, ratio_part
from tokenroof.report.plan_part import Part
from tokenroof.search.answers.core import BreakEvenMap, DraftTable, OffloadTable, RatioTable
from tokenroof.search.answers.core_result import FewerTable, SelfHost, Sensitivity
from tokenroof.search.core import Candidate

Answer = Sensitivity | SelfHost | FewerTable | BreakEvenMap | RatioTable | OffloadTable | DraftTable
"""What can be shown beside a plan."""

NAMES: Mapping[type[Answer], str] = {
    Sensitivity: "sensitivity",
    SelfHost: "self-host",
    FewerTable: "fewer",
    BreakEvenMap: "apart",
    RatioTable: "ratio",
    OffloadTable: "offload",
    DraftTable: "speculation",
}
"""Names of answers in JSON and on the page."""


def parts_of(answers: Sequence[Answer]) -> tuple[Part, ...]:
    """Every answer as it is shown."""
    return tuple(part_of(each) for each in answers)


def part_of(answer: Answer) -> Part:
    """One answer as it is shown."""
    match answer:
        case Sensitivity():
            return sensitivity_part(answer)
        case SelfHost():
            return self_host_part(answer)
        case FewerTable():
            return fewer_part(answer)
        case BreakEvenMap():
            return apart_part(answer)
        case RatioTable():
            return ratio_part(answer)
        case OffloadTable():
            return offload_part(answer)
        case DraftTable():
            return drafts_part(answer)


def documents(answers: Sequence[Answer]) -> dict[str, Any]:
    """Every answer as plain values by its name, for ``plan_json``; a candidate is its label."""
    return {NAMES[type(each)]: _plain(each) for each in answers}


def _plain(value: Any) -> Any:
    if isinstance(value, Candidate):
        return value.label
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
