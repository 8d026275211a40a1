"""GuideLLM's ``benchmarks.json``: a report of several benchmarks, each a run at one rate or concurrency.

Its "time per output token" includes the first token (newer versions) or divides by n instead of n - 1
(older ones); its "inter-token latency" is (E2E - TTFT)/(n - 1) of a request, which is TPOT here, but its
distribution is weighted by tokens. Per-request values are used when all of them are in the file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from tokenroof.calibrate.readers.core import Latency, Lengths, Run
from tokenroof.calibrate.readers.details import latency_of
from tokenroof.calibrate.readers.fields import Fields, UnusableRunError, number_text
from tokenroof.calibrate.readers.wording import OFFLINE, closed, opened

_MS = 1e-3


@dataclass(frozen=True, slots=True)
class Guidellm:
    """Reports of ``guidellm benchmark``."""

    name: ClassVar[str] = "GuideLLM"
    says: ClassVar[str] = "'benchmarks' with 'metrics'"

    def recognises(self, fields: Fields) -> bool:
        """Whether there is a list of benchmarks with metrics."""
        return any(one.has("metrics") for one in fields.items("benchmarks"))

    def parts(self, fields: Fields) -> tuple[Fields, ...]:
        """The benchmarks, numbered from 1."""
        listed = enumerate(fields.items("benchmarks"), start=1)
        return tuple(Fields(line=i, value=one.value, path=one.path, above=fields) for i, one in listed)

    def run(self, fields: Fields) -> Run:
        """One benchmark."""
        metrics = fields.at("metrics")
        totals = metrics.at("request_totals")
        completed = totals.count("successful")
        if completed is None:
            completed = _successful(metrics, "request_latency").count("count")
        if completed is None:
            raise UnusableRunError("metrics.request_totals.successful is needed.")
        notes: list[str] = []
        incomplete, failed = totals.count("incomplete") or 0, totals.count("errored") or 0
        # requests cut off at the end worked the server too; what failed may have done nothing
        status = "total" if incomplete and not failed else "successful"
        if incomplete:
            counted = "counted in the throughput" if status == "total" else "not counted"
            notes.append(f"{incomplete} requests were cut off at the end and are {counted}")
        return Run(
            line=fields.line,
            completed=completed,
            failed=failed,
            output_tokens_per_s=metrics.at("output_tokens_per_second", status).number("mean"),
            total_tokens_per_s=metrics.at("tokens_per_second", status).number("mean"),
            ttft=_latency(_successful(metrics, "time_to_first_token_ms"), _MS),
            tpot=_tpot(fields, completed, notes),
            e2e=_latency(_successful(metrics, "request_latency"), 1.0),
            isl=_lengths(_successful(metrics, "prompt_token_count")),
            osl=_lengths(_successful(metrics, "output_token_count")),
            texts={
                "source": self.name,
                "date": _day(fields),
                "model": _model(fields),
                "load": _load(_strategy(fields), completed + incomplete + failed),
                **_nominal(fields),
            },
            notes=(*notes, *_left_out(fields)),
        )


def _successful(metrics: Fields, name: str) -> Fields:
    return metrics.at(name, "successful")


def _latency(part: Fields, scale: float) -> Latency:
    percentiles = part.at("percentiles")
    return Latency(
        mean=part.number("mean", scale=scale),
        median=part.number("median", scale=scale),
        p90=percentiles.number("p90", scale=scale),
        p99=percentiles.number("p99", scale=scale),
    )


def _lengths(part: Fields) -> Lengths:
    return Lengths(
        mean=part.number("mean"),
        least=part.number("min"),
        most=part.number("max"),
        deviation=part.number("std_dev"),
    )


def _tpot(fields: Fields, completed: int, notes: list[str]) -> Latency:
    """TPOT of each request where all are saved, else the inter-token latency, weighted by tokens."""
    requests = fields.at("requests").items("successful")
    if len(requests) == completed:
        many = [one for one in requests if (one.number("output_tokens") or 0) > 1]
        each = [one.number("inter_token_latency_ms", scale=_MS) for one in many]
        if each and None not in each:
            return latency_of([one for one in each if one is not None])
    summary = _latency(_successful(fields.at("metrics"), "inter_token_latency_ms"), _MS)
    if summary != Latency():
        notes.append("TPOT is GuideLLM's inter-token latency, weighted by tokens instead of by requests")
    return summary


def _strategy(fields: Fields) -> Fields:
    """Scheduling strategy: under ``config``, under ``args`` before 0.4."""
    places = (fields.at(place, "strategy") for place in ("config", "args", "scheduler"))
    return next((place for place in places if place.has("type_")), fields.at("config", "strategy"))


def _load(strategy: Fields, sent: int) -> str:
    kind = strategy.text("type_")
    streams = strategy.count("streams") or strategy.count("max_concurrency")
    if kind == "synchronous":
        return closed(1)
    if kind == "concurrent" and streams:
        return closed(streams)
    if kind == "throughput":
        most = strategy.count("max_concurrency")
        return closed(most) if most and most < sent else OFFLINE
    rate = strategy.number("rate")
    if kind in {"constant", "poisson"} and rate:
        return opened(rate, shape="Poisson" if kind == "poisson" else "constant", count=sent)
    return f"open:{kind}" if kind else ""


def _model(fields: Fields) -> str:
    report = fields.above or fields
    places = (
        report.at("args").text("model"),
        fields.at("config", "backend").text("model"),
        fields.at("worker").text("backend_model"),
        fields.at("args", "backend").text("model"),
    )
    return next((text for text in places if text), "")


def _nominal(fields: Fields) -> dict[str, str]:
    """Lengths asked of the generator of synthetic prompts: ``prompt_tokens=1000,output_tokens=500``."""
    report = fields.above or fields
    places = (report.at("args").value.get("data"), fields.at("request_loader").value.get("data"))
    asked = json.dumps([place for place in places if place is not None])
    values = {}
    for column, key in (("isl", "prompt_tokens"), ("osl", "output_tokens")):
        found = re.search(rf'{key}[\\"\']*\s*[:=]\s*(\d{{1,9}})\b', asked)
        if found:
            values[column] = found[1]
    return values


def _day(fields: Fields) -> str:
    start = fields.number("start_time")
    return datetime.fromtimestamp(start, tz=UTC).date().isoformat() if start and start < 4e9 else ""


def _left_out(fields: Fields) -> list[str]:
    """Warm-up and cool-down that the metrics do not contain."""
    parts = (("warm-up", "warmup_duration"), ("cool-down", "cooldown_duration"))
    times = [(name, fields.value.get(key)) for name, key in parts]
    return [
        f"{name} of {number_text(round(seconds, 3))} s left out"
        for name, seconds in times
        if isinstance(seconds, float) and 0.05 < seconds < 1e6
    ]
