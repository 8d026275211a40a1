"""AIPerf's ``profile_export_aiperf.json`` and genai-perf's ``profile_export_genai_perf.json``.

Each metric is ``{unit, avg, p50, p99, ...}``. Their inter-token latency is (E2E - TTFT)/(n - 1) of a request,
which is TPOT here; AIPerf's inter-chunk latency is the gap between streamed chunks, which is ITL here.
The configuration of the run stands beside the metrics, in three shapes over the versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tokenroof.calibrate.readers.core import Latency, Lengths, Run
from tokenroof.calibrate.readers.fields import Fields, UnusableRunError, number_text, short
from tokenroof.calibrate.readers.wording import closed, opened, speculation

_SECONDS = {
    "ns": 1e-9,
    "nanoseconds": 1e-9,
    "us": 1e-6,
    "microseconds": 1e-6,
    "ms": 1e-3,
    "milliseconds": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "seconds": 1.0,
}
_GENAI = ("model", "formatted_model_name", "model_names", "perf_analyzer", "subcommand")
"""Options that genai-perf writes at the top of its configuration and AIPerf does not."""


@dataclass(frozen=True, slots=True)
class Aiperf:
    """Summaries of ``aiperf profile`` and ``genai-perf profile``."""

    name: ClassVar[str] = "AIPerf"
    says: ClassVar[str] = "'request_latency' with 'unit' and 'avg'"

    def recognises(self, fields: Fields) -> bool:
        """Whether the metrics are blocks with a unit."""
        metrics = ("request_latency", "time_to_first_token", "output_token_throughput", "request_throughput")
        return any(fields.at(one).has("unit") for one in metrics)

    def parts(self, fields: Fields) -> tuple[Fields, ...]:
        """The object itself."""
        return (fields,)

    def run(self, fields: Fields) -> Run:
        """The run, with rates out of means and counts where a version does not state them."""
        config = fields.at("input_config")
        isl, osl = _lengths(fields, "input_sequence_length"), _lengths(fields, "output_sequence_length")
        per_s = _average(fields, "request_throughput")
        isl_per_s = per_s * isl.mean if per_s and isl.mean else None
        length = _average(fields, "spec_decode_token_weighted_acceptance_length")
        length = length or _average(fields, "spec_decode_acceptance_length")
        count = fields.at("request_count").count("avg")
        notes = ["the run was cancelled"] if fields.value.get("was_cancelled") is True else []
        return Run(
            line=fields.line,
            completed=count if count is not None else fields.at("request_latency").count("count"),
            failed=fields.at("error_request_count").count("avg") or 0,
            input_tokens_per_s=_average(fields, "input_token_throughput") or isl_per_s,
            output_tokens_per_s=_average(fields, "output_token_throughput"),
            total_tokens_per_s=_average(fields, "total_token_throughput"),
            ttft=_latency(fields, "time_to_first_token"),
            tpot=_latency(fields, "inter_token_latency"),
            itl=_latency(fields, "inter_chunk_latency"),
            e2e=_latency(fields, "request_latency"),
            isl=isl,
            osl=osl,
            texts={
                "source": "genai-perf" if any(config.has(one) for one in _GENAI) else self.name,
                "date": fields.text("start_time")[:10],
                "model": _model(config),
                "load": _load(config, count),
                **(speculation("speculative", draft_tokens=None, accepted_length=length) if length else {}),
                **_nominal(config),
            },
            notes=tuple(notes),
        )


def _average(fields: Fields, name: str) -> float | None:
    return fields.at(name).number("avg")


def _latency(fields: Fields, name: str) -> Latency:
    """Latency in seconds by the unit the file states.

    Raises
    ------
    UnusableRunError
        The unit is none of time.
    """
    part = fields.at(name)
    if not part.value:
        return Latency()
    scale = _SECONDS.get(part.text("unit").lower())
    if scale is None:
        raise UnusableRunError(
            f"{name}.unit must be one of time, as 'ms', got {short(part.value.get('unit'))}."
        )
    return Latency(
        mean=part.number("avg", scale=scale),
        median=part.number("p50", scale=scale),
        p90=part.number("p90", scale=scale),
        p99=part.number("p99", scale=scale),
    )


def _lengths(fields: Fields, name: str) -> Lengths:
    part = fields.at(name)
    return Lengths(
        mean=part.number("avg"),
        least=part.number("min"),
        most=part.number("max"),
        deviation=part.number("std"),
    )


def _model(config: Fields) -> str:
    items = config.at("models").items("items")
    texts = (
        config.at("endpoint").first_text("model_names"),
        items[0].text("name") if items else "",
        config.first_text("model_names"),
        config.first_text("model"),
    )
    return next((text for text in texts if text), "")


def _phase(config: Fields) -> Fields:
    """Where load is configured: the profiling phase, ``loadgen``, perf_analyzer's stimulus, or the top."""
    phases = config.items("phases")
    profiling = [one for one in phases if "profiling" in (one.text("kind"), one.text("name"))]
    if profiling or phases:
        return (profiling or list(phases))[-1]
    for place in (config.at("loadgen"), config.at("perf_analyzer", "stimulus")):
        if place.value:
            return place
    return config


def _load(config: Fields, count: int | None) -> str:
    """The column ``load``; a rate counts before a concurrency, which then is a cap."""
    phase = _phase(config)
    rate = phase.value.get("rate", phase.value.get("request_rate"))
    concurrency = phase.value.get("concurrency")
    at_once = concurrency if isinstance(concurrency, int) and 0 < concurrency < 2**40 else None
    if isinstance(rate, (int, float)) and not isinstance(rate, bool) and 0 < rate < 1e9:
        kind = phase.text("type") or phase.text("arrival_pattern") or phase.text("request_rate_mode")
        smooth = phase.text("smoothness") or phase.text("arrival_smoothness")
        shape = {"poisson": "Poisson", "gamma": f"gamma, shape {smooth or '1'}"}.get(kind, kind)
        return opened(float(rate), shape=shape, count=count, cap=at_once)
    if phase.text("type") in {"user_centric", "fixed_schedule"}:
        return f"open:{phase.text('type')}"
    return closed(at_once) if at_once else ""


def _nominal(config: Fields) -> dict[str, str]:
    """Lengths asked of the generator of synthetic prompts."""
    prompt = config.at("input", "prompt")
    datasets = config.items("datasets")
    prompts = datasets[0].at("prompts") if datasets else config.at("datasets", "prompts")
    asked = {
        "isl": (prompt.at("input_tokens").value, prompts.value, config.value),
        "osl": (prompt.at("output_tokens").value, prompts.value, config.value),
    }
    keys = {
        "isl": ("mean", "isl", "synthetic_input_tokens_mean"),
        "osl": ("mean", "osl", "output_tokens_mean"),
    }
    found = {
        column: next(
            (text for place, key in zip(places, keys[column], strict=True) if (text := _tokens(place, key))),
            "",
        )
        for column, places in asked.items()
    }
    return {column: text for column, text in found.items() if text}


def _tokens(place: Mapping[str, object], key: str) -> str:
    value = place.get(key)
    if isinstance(value, Mapping):
        value = value.get("mean", value.get("value"))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        return ""
    return number_text(float(value))
