"""``vllm bench serve --save-result`` (one JSON object) and ``--append-result`` (one per line).

Keys of vllm/benchmarks/serve.py, and of benchmark_serving.py before it, whose forks write the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tokenroof.calibrate.readers.bench import engine_of, run_of
from tokenroof.calibrate.readers.core import COLUMNS, Latency, Run
from tokenroof.calibrate.readers.details import latency_of
from tokenroof.calibrate.readers.fields import Fields
from tokenroof.calibrate.readers.wording import speculation

_PARALLEL = {"tensor_parallel_size": "tp", "pipeline_parallel_size": "pp"}
_OWN = {"date"}


@dataclass(frozen=True, slots=True)
class Vllm:
    """Results of ``vllm bench serve``; ``--metadata column=value`` is taken as columns."""

    name: ClassVar[str] = "vllm bench serve"
    says: ClassVar[str] = "'completed', 'total_output_tokens', 'mean_ttft_ms'"

    def recognises(self, fields: Fields) -> bool:
        """Whether the counts and one of the latencies are there by vLLM's names."""
        latencies = ("mean_ttft_ms", "mean_tpot_ms", "mean_e2el_ms", "total_token_throughput")
        return fields.has("completed", "duration") and any(fields.has(one) for one in latencies)

    def parts(self, fields: Fields) -> tuple[Fields, ...]:
        """The object itself."""
        return (fields,)

    def run(self, fields: Fields) -> Run:
        """The run, with E2E out of the list of latencies where the summary lacks it."""
        notes: list[str] = []
        stated = {name: fields.text(name) for name in COLUMNS if name not in _OWN}
        stated |= {column: fields.text(key) for key, column in _PARALLEL.items() if fields.text(key)}
        texts = {
            "source": self.name,
            "date": _day(fields.text("date")),
            "model": fields.text("model_id"),
            "framework": "" if stated["framework"] else engine_of(fields, notes),
            **_speculation(fields),
            **{name: text for name, text in stated.items() if text},
        }
        run = run_of(fields, e2e="e2el", texts=texts, notes=notes)
        if run.e2e == Latency() and not run.failed:
            return replace(run, e2e=latency_of(fields.numbers("latencies") or ()))
        return run


def _day(text: str) -> str:
    """Day out of the client's ``20251231-235959``."""
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) >= 8 and text[:8].isdigit() else text


def _speculation(fields: Fields) -> dict[str, str]:
    """Draft tokens per step and accepted length, which vLLM writes when it speculated."""
    length = fields.number("spec_decode_acceptance_length")
    if not length:
        return {}
    drafts, tokens = fields.number("spec_decode_num_drafts"), fields.number("spec_decode_draft_tokens")
    draft = tokens / drafts if drafts and tokens else None
    return speculation("speculative", draft_tokens=draft, accepted_length=length)
