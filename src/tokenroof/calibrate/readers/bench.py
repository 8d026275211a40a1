"""What ``vllm bench serve`` and SGLang's ``bench_serving`` have in common, which is most of it."""

from __future__ import annotations

import math
from dataclasses import replace

from tokenroof.calibrate.readers.core import Latency, Lengths, Run
from tokenroof.calibrate.readers.details import details_of, filled
from tokenroof.calibrate.readers.fields import Fields, UnusableRunError, number_text, short
from tokenroof.calibrate.readers.wording import OFFLINE, closed, opened

_MS = 1e-3
_ENGINES = {
    "vllm": "vllm",
    "vllm-chat": "vllm",
    "sglang": "sglang",
    "sglang-native": "sglang",
    "sglang-oai": "sglang",
    "sglang-oai-chat": "sglang",
    "tensorrt-llm": "trt",
    "trt": "trt",
    "lmdeploy": "lmdeploy",
    "lmdeploy-chat": "lmdeploy",
    "tgi": "tgi",
}
"""Engine that is named by the client's choice of request format; ``openai`` names none."""


def latency_ms(fields: Fields, name: str) -> Latency:
    """Latency out of ``mean_<name>_ms`` and so on."""
    return Latency(
        mean=fields.number(f"mean_{name}_ms", scale=_MS),
        median=fields.number(f"median_{name}_ms", scale=_MS),
        p90=fields.number(f"p90_{name}_ms", scale=_MS),
        p99=fields.number(f"p99_{name}_ms", scale=_MS),
    )


def run_of(fields: Fields, *, e2e: str, texts: dict[str, str], notes: list[str]) -> Run:
    """Run out of the keys that both clients write.

    Parameters
    ----------
    fields : Fields
        The object.
    e2e : str
        What the client calls the end-to-end latency.
    texts : dict of str to str
        Columns that the caller knows.
    notes : list of str
        What the caller converted.

    Raises
    ------
    UnusableRunError
        A count is missing, or a value is none.
    """
    completed, duration_s = fields.count("completed"), fields.number("duration")
    if completed is None or not duration_s:
        raise UnusableRunError("'completed' and a 'duration' above 0 are needed.")
    if completed == 0:
        raise UnusableRunError("0 requests completed.")
    details = details_of(fields)
    isl = _lengths(fields, "total_input_tokens", completed, None if details is None else details.isl)
    osl = _lengths(fields, "total_output_tokens", completed, None if details is None else details.osl)
    ttft, tpot = latency_ms(fields, "ttft"), latency_ms(fields, "tpot")
    itl, whole = latency_ms(fields, "itl"), latency_ms(fields, e2e)
    failed = fields.count("failed") or 0
    if details is not None:
        ttft, tpot = filled(ttft, details.ttft), filled(tpot, details.tpot)
        itl, whole = filled(itl, details.itl), filled(whole, details.e2e)
        failed = failed or details.failed
        texts = {"stream_chunk": details.stream_chunk, **texts}
    return Run(
        line=fields.line,
        completed=completed,
        failed=failed,
        input_tokens_per_s=isl.mean * completed / duration_s if isl.mean else None,
        output_tokens_per_s=_rate(fields, "output_throughput", osl, completed, duration_s),
        total_tokens_per_s=fields.number("total_token_throughput") or fields.number("total_throughput"),
        ttft=ttft,
        tpot=tpot,
        itl=itl,
        e2e=whole,
        isl=isl,
        osl=osl,
        texts={"load": load_of(fields), **texts},
        notes=tuple(notes),
    )


def _rate(fields: Fields, key: str, lengths: Lengths, completed: int, duration_s: float) -> float | None:
    stated = fields.number(key)
    return stated or (lengths.mean * completed / duration_s if lengths.mean else None)


def _lengths(fields: Fields, key: str, completed: int, details: Lengths | None) -> Lengths:
    total = fields.number(key)
    mean = total / completed if total else None
    if details is None:
        return Lengths(mean=mean)
    return replace(details, mean=mean or details.mean)


def load_of(fields: Fields) -> str:
    """How requests were sent: the column ``load``.

    Raises
    ------
    UnusableRunError
        The rate is neither a number above 0 nor "inf" nor "trace".
    """
    rate, concurrency = fields.value.get("request_rate"), fields.count("max_concurrency")
    strategy = fields.text("ramp_up_strategy")
    if strategy:
        ends = f"{fields.text('ramp_up_start_rps')} to {fields.text('ramp_up_end_rps')}"
        return f"open:ramp {ends} requests/s, {strategy}"
    if rate == "trace":
        return "open:trace"
    if rate is None or rate == "inf" or (isinstance(rate, float) and rate == math.inf):
        if concurrency:
            return closed(concurrency)
        return "" if rate is None else OFFLINE
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < 1e9:
        raise UnusableRunError(f"request_rate must be a number above 0 or 'inf', got {short(rate)}.")
    burstiness = fields.number("burstiness")
    shape = "Poisson" if burstiness in (None, 1.0) else f"gamma, shape {number_text(burstiness)}"
    sent = (fields.count("completed") or 0) + (fields.count("failed") or 0)
    return opened(float(rate), shape=shape, count=sent, cap=concurrency)


def engine_of(fields: Fields, notes: list[str]) -> str:
    """Engine named by the client's request format, with a note; "" when it names none."""
    backend = fields.text("backend") or fields.text("endpoint_type")
    engine = _ENGINES.get(backend, "")
    if engine:
        notes.append(f"framework taken from the client's backend {backend!r}")
    return engine
