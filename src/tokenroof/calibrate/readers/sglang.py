"""SGLang's ``bench_serving``: JSON lines, appended run by run.

Keys of python/sglang/bench_serving.py (later sglang/benchmark/serving.py). Newer clients save the server's
arguments with the result (``server_info``), which say how it was deployed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tokenroof.calibrate.readers.bench import engine_of, run_of
from tokenroof.calibrate.readers.core import Run
from tokenroof.calibrate.readers.fields import Fields, UnusableRunError, number_text
from tokenroof.calibrate.readers.wording import speculation


@dataclass(frozen=True, slots=True)
class Sglang:
    """Results of ``python -m sglang.bench_serving``."""

    name: ClassVar[str] = "SGLang bench_serving"
    says: ClassVar[str] = "'completed', 'total_output_tokens', 'median_e2e_latency_ms'"

    def recognises(self, fields: Fields) -> bool:
        """Whether the end-to-end latency has SGLang's name."""
        names = ("mean_e2e_latency_ms", "median_e2e_latency_ms", "total_output_tokens_retokenized")
        return fields.has("completed", "duration") and any(fields.has(one) for one in names)

    def parts(self, fields: Fields) -> tuple[Fields, ...]:
        """The object itself."""
        return (fields,)

    def run(self, fields: Fields) -> Run:
        """The run, with the deployment where the server's arguments were saved."""
        notes: list[str] = []
        server = _deployment(fields.at("server_info"))
        texts = {
            "source": self.name,
            "framework": "sglang" if server else engine_of(fields, notes),
            **_random_lengths(fields),
            **{name: text for name, text in server.items() if text},
            **_speculation(fields),
        }
        return run_of(fields, e2e="e2e_latency", texts=texts, notes=notes)


def _random_lengths(fields: Fields) -> dict[str, str]:
    """Nominal lengths and their distribution: uniform integers in [r L, L] for the random data sets.

    For other data sets the client writes its unused defaults of the same options.
    """
    dataset = fields.text("dataset_name")
    if dataset and not dataset.startswith("random"):
        return {"length_distribution": f"dataset {dataset}"}
    isl, osl = fields.number("random_input_len"), fields.number("random_output_len")
    ratio = fields.number("random_range_ratio")
    if not dataset or not isl or not osl or ratio is None:
        return {}
    if not 0 <= ratio <= 1:
        raise UnusableRunError(f"random_range_ratio must be in 0..1, got {number_text(ratio)}.")
    uniform = f"uniform int [{number_text(ratio)}*L, L] independently for ISL and OSL"
    spread = "fixed" if ratio == 1 else uniform
    return {"isl": number_text(isl), "osl": number_text(osl), "length_distribution": spread}


def _deployment(info: Fields) -> dict[str, str]:
    """Columns out of the arguments of the server, or of the servers behind a P/D router."""
    prefill, decode = info.items("prefill"), info.items("decode")
    if not decode:
        return _server(info) if info.has("tp_size") else {}
    first = _server(decode[0])
    sides = _side("prefill", prefill) | _side("decode", decode)
    gpus = [sides.get("prefill_gpus", ""), sides.get("decode_gpus", "")]
    total = str(sum(int(one) for one in gpus)) if all(gpus) else ""
    shared = {name: text for name, text in first.items() if name not in {"tp", "ep", "pp", "dp_attention"}}
    return {**shared, **sides, "disagg": "True", "num_gpus": total}


def _server(info: Fields) -> dict[str, str]:
    radix = info.value.get("disable_radix_cache")
    return {
        "model": info.text("model_path"),
        "framework_version": info.text("version"),
        "weight_precision": info.text("quantization"),
        "kv_precision": info.text("kv_cache_dtype"),
        "num_gpus": str(_gpus(info) or ""),
        "tp": info.text("tp_size"),
        "pp": info.text("pp_size"),
        "ep": info.text("ep_size"),
        "dp_attention": info.text("enable_dp_attention"),
        "disagg": "False",
        "max_num_seqs": info.text("max_running_requests"),
        "max_batched_tokens": info.text("chunked_prefill_size"),
        "prefix_caching": {True: "off", False: "on"}.get(radix, "") if isinstance(radix, bool) else "",
    }


def _speculation(fields: Fields) -> dict[str, str]:
    """What drafted: the server's arguments, and the accepted length that the client asked it for."""
    info, length = fields.at("server_info"), fields.number("accept_length")
    decode = info.items("decode")
    arguments = decode[0] if decode else info
    method = arguments.text("speculative_algorithm").lower()
    if not method and not (length and length > 1):
        return {"spec_decoding": "none"} if arguments.has("tp_size") else {}
    k = arguments.number("speculative_num_steps")
    return speculation(method or "speculative", draft_tokens=k, accepted_length=length)


def _gpus(info: Fields) -> int:
    """Accelerators of a server: data parallelism of attention is inside ``tp``, of replicas it is not."""
    replicas = 1 if info.value.get("enable_dp_attention") else info.count("dp_size") or 1
    return (info.count("tp_size") or 0) * (info.count("pp_size") or 1) * replicas


def _side(role: str, servers: Sequence[Fields]) -> dict[str, str]:
    if not servers:
        return {}
    one = servers[0]
    return {
        f"{role}_workers": str(len(servers)),
        f"{role}_gpus": str(sum(_gpus(server) for server in servers) or ""),
        f"{role}_tp": one.text("tp_size"),
        f"{role}_ep": one.text("ep_size"),
        f"{role}_dp_attention": one.text("enable_dp_attention"),
    }
