"""inference-perf: ``stage_N_lifecycle_metrics.json`` and ``summary_lifecycle_metrics.json``.

Its time per output token divides by tokens the client counted again from the text, or, in older versions, by
streamed events, of which there may be two per token: the mean is compared with (mean E2E - mean TTFT)/(mean
output length - 1), and where they disagree the file's TPOT is not used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tokenroof.calibrate.readers.core import Latency, Lengths, Run
from tokenroof.calibrate.readers.fields import Fields, UnusableRunError, number_text
from tokenroof.calibrate.readers.wording import closed, opened

_AGREE_FRACTION = 0.1
"""How far both means of TPOT may be apart: a mean of ratios is no ratio of means. Assumption."""


@dataclass(frozen=True, slots=True)
class InferencePerf:
    """Reports of ``inference-perf``; a stage says its load, the summary pools all stages."""

    name: ClassVar[str] = "inference-perf"
    says: ClassVar[str] = "'load_summary', 'successes'"

    def recognises(self, fields: Fields) -> bool:
        """Whether load and successes are there."""
        return fields.has("load_summary", "successes")

    def parts(self, fields: Fields) -> tuple[Fields, ...]:
        """The object itself."""
        return (fields,)

    def run(self, fields: Fields) -> Run:
        """The run.

        Raises
        ------
        UnusableRunError
            It is the report of the server's own metrics.
        """
        good, load = fields.at("successes"), fields.at("load_summary")
        latency, rates = good.at("latency"), good.at("throughput")
        if not latency.value:
            raise UnusableRunError(
                "no 'successes.latency': this is no report of requests. "
                "Give stage_<i>_lifecycle_metrics.json or summary_lifecycle_metrics.json."
            )
        completed = good.count("count")
        if completed is None:
            raise UnusableRunError("successes.count is needed.")
        served = good.at("output_tokens")  # counted by the server; output_len by the client
        osl = _lengths(served if served.number("mean") else good.at("output_len"))
        duration_s = fields.number("benchmark_time_seconds")
        total = served.number("total")
        wrote = total / duration_s if total and duration_s else rates.number("output_tokens_per_sec")
        run = Run(
            line=fields.line,
            completed=completed,
            failed=fields.at("failures").count("count") or 0,
            input_tokens_per_s=rates.number("input_tokens_per_sec"),
            output_tokens_per_s=wrote,
            ttft=_latency(latency.at("time_to_first_token")),
            itl=_latency(latency.at("inter_token_latency")),
            e2e=_latency(latency.at("request_latency")),
            isl=_lengths(good.at("prompt_tokens" if good.has("prompt_tokens") else "prompt_len")),
            osl=osl,
            texts={"source": self.name, "load": _load(load)},
        )
        tpot, notes = _tpot(_latency(latency.at("time_per_output_token")), run)
        return replace(run, tpot=tpot, notes=notes)


def _latency(part: Fields) -> Latency:
    return Latency(
        mean=part.number("mean"),
        median=part.number("median") if part.has("median") else part.number("p50"),
        p90=part.number("p90"),
        p99=part.number("p99"),
    )


def _lengths(part: Fields) -> Lengths:
    return Lengths(mean=part.number("mean"), least=part.number("min"), most=part.number("max"))


def _tpot(stated: Latency, run: Run) -> tuple[Latency, tuple[str, ...]]:
    """TPOT of the file where it agrees with the means of E2E, TTFT and length, else none of it."""
    e2e_s, ttft_s, osl = run.e2e.mean, run.ttft.mean, run.osl.mean
    if not stated.mean or not e2e_s or not ttft_s or not osl or osl <= 1 or e2e_s <= ttft_s:
        return stated, ()
    ratio = stated.mean * (osl - 1) / (e2e_s - ttft_s)
    if abs(ratio - 1) <= _AGREE_FRACTION:
        return stated, ()
    note = (
        f"the file's TPOT is {number_text(round(ratio, 3))} of what E2E, TTFT and lengths say and is left out"
    )
    return Latency(), (note,)


def _load(load: Fields) -> str:
    """The column ``load``; the summary of several stages says none."""
    concurrency, rate = load.count("concurrency"), load.number("requested_rate")
    if concurrency:
        return closed(concurrency)
    return opened(rate, count=load.count("count")) if rate else ""
