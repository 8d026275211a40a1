"""Aggregates of InferenceMAX (later InferenceX): ``agg_*.json``, lists of them, and rows of its data base.

Keys of utils/process_result.py: seconds, and tokens/s per accelerator - of its role where prefill and decode
are apart: ``output_tput_per_gpu`` is then per decode and ``input_tput_per_gpu`` per prefill accelerator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokenroof.calibrate.readers.core import Latency, Run
from tokenroof.calibrate.readers.fields import Fields, UnusableRunError, number_text
from tokenroof.calibrate.readers.wording import closed, speculation

_CLIENT = "inferencex_native"
_SPREAD = "uniform int [0.8*L, L] independently for ISL and OSL; ignore_eos"
"""What that client sends by default (``--random-range-ratio 0.8``); an aggregate does not say it."""


@dataclass(frozen=True, slots=True)
class InferenceX:
    """Aggregated results of InferenceMAX and InferenceX."""

    name: ClassVar[str] = "InferenceX"
    says: ClassVar[str] = "'hw', 'conc', 'tput_per_gpu'"

    def recognises(self, fields: Fields) -> bool:
        """Whether throughput per accelerator and a concurrency are there."""
        flat = _flat(fields)
        return flat.has("tput_per_gpu", "conc") and (flat.has("hw") or flat.has("hardware"))

    def parts(self, fields: Fields) -> tuple[Fields, ...]:
        """The object itself."""
        return (fields,)

    def run(self, fields: Fields) -> Run:
        """The run."""
        flat = _flat(fields)
        conc = flat.count("conc")
        if not conc:
            raise UnusableRunError("conc must be at least 1.")
        apart = flat.text("disagg").lower() == "true"
        layout, total = _apart(flat) if apart else _together(flat)
        client = flat.text("benchmark_client") or _CLIENT
        fixed = bool(flat.text("isl") and flat.text("osl")) and client == _CLIENT
        return Run(
            line=fields.line,
            ttft=_latency(flat, "ttft"),
            tpot=_tpot(flat),
            itl=_latency(flat, "itl"),
            e2e=_latency(flat, "e2el"),
            texts={
                "source": self.name,
                "source_url": flat.text("run_url"),
                "date": flat.text("date")[:10],
                "hardware": _hardware(flat.text("hw") or flat.text("hardware")),
                "model": flat.text("model"),
                "weight_precision": flat.text("precision"),
                "framework": flat.text("framework"),
                "framework_version": flat.text("image"),
                **_speculation(flat),
                "isl": flat.text("isl"),
                "osl": flat.text("osl"),
                "load": closed(conc),
                "length_distribution": _SPREAD if fixed else "",
                "max_batched_tokens": flat.text("max_num_batched_tokens"),
                "num_gpus": number_text(total),
                **layout,
            },
            notes=("lengths are the default of the client, [0.8 L, L]",) if fixed else (),
        )


def _flat(fields: Fields) -> Fields:
    """A row of the data base has its measured values under ``metrics``."""
    return Fields(line=fields.line, value={**fields.at("metrics").value, **fields.value})


def _hardware(text: str) -> str:
    """Chip out of the name of a runner: ``h200-nb_3`` is an H200."""
    return text.split("-")[0].split("_")[0]


def _latency(flat: Fields, name: str) -> Latency:
    return Latency(
        mean=flat.number(f"mean_{name}"),
        median=flat.number(f"median_{name}"),
        p90=flat.number(f"p90_{name}"),
        p99=flat.number(f"p99_{name}"),
    )


def _tpot(flat: Fields) -> Latency:
    """TPOT, or one over the interactivity, which is written as exactly that for each statistic."""
    stated, speed = _latency(flat, "tpot"), _latency(flat, "intvty")
    if stated != Latency():
        return stated
    return Latency(
        mean=1 / speed.mean if speed.mean else None,
        median=1 / speed.median if speed.median else None,
        p99=1 / speed.p99 if speed.p99 else None,
    )


def _speculation(flat: Fields) -> dict[str, str]:
    method = (flat.text("spec_decoding") or flat.text("spec_method") or flat.text("mtp")).lower()
    method = {"on": "mtp", "off": "none"}.get(method, method)  # the first aggregates had mtp: on
    if method in {"", "none"}:
        return {"spec_decoding": method}
    k, length = flat.number("num_speculative_tokens"), flat.number("mean_tokens_per_step")
    return speculation(method, draft_tokens=k, accepted_length=length)


def _together(flat: Fields) -> tuple[dict[str, str], float]:
    """One engine, on one node or several: the parallelism of several nodes is written as that of prefill."""
    wide = not flat.has("tp")
    tp = flat.count("prefill_tp" if wide else "tp")
    pp = flat.count("prefill_pp" if wide else "pp") or 1
    total = (flat.count("num_prefill_gpu") if wide else None) or (tp or 0) * pp * (
        flat.count("pcp_size") or 1
    )
    if not total:
        raise UnusableRunError("'tp', or 'num_prefill_gpu', must be at least 1.")
    both, wrote = flat.number("tput_per_gpu"), flat.number("output_tput_per_gpu")
    read = flat.number("input_tput_per_gpu")
    if read is None and both is not None and wrote is not None:
        read = both - wrote
    attention = flat.text("prefill_dp_attention" if wide else "dp_attention")
    return {
        "tp": str(tp or ""),
        "pp": str(pp),
        "ep": flat.text("prefill_ep" if wide else "ep"),
        "dp_attention": attention.lower(),
        "disagg": "False",
        "output_tput_per_gpu": number_text(wrote),
        "input_tput_per_gpu": number_text(read),
        "total_tput_per_gpu": number_text(both),
    }, total


def _apart(flat: Fields) -> tuple[dict[str, str], float]:
    """Prefill and decode on accelerators of their own: rates per role, and spread over all of them."""
    prefill, decode = flat.count("num_prefill_gpu"), flat.count("num_decode_gpu")
    if not prefill or not decode:
        raise UnusableRunError(
            "'num_prefill_gpu' and 'num_decode_gpu' must be at least 1 for a disaggregated run."
        )
    total = prefill + decode
    wrote, read = flat.number("output_tput_per_gpu"), flat.number("input_tput_per_gpu")
    layout = {
        "disagg": "True",
        "prefill_gpus": str(prefill),
        "decode_gpus": str(decode),
        "total_tput_per_gpu": number_text(flat.number("tput_per_gpu")),
        "output_tput_per_decode_gpu": number_text(wrote),
        "input_tput_per_prefill_gpu": number_text(read),
        "output_tput_per_gpu": number_text(None if wrote is None else wrote * decode / total),
        "input_tput_per_gpu": number_text(None if read is None else read * prefill / total),
    }
    for role in ("prefill", "decode"):
        layout[f"{role}_workers"] = flat.text(f"{role}_num_workers")
        layout[f"{role}_tp"] = flat.text(f"{role}_tp")
        layout[f"{role}_ep"] = flat.text(f"{role}_ep")
        layout[f"{role}_dp_attention"] = flat.text(f"{role}_dp_attention").lower()
    return layout, total
