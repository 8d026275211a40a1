"""Rows and outcomes for the tests of validation: some by hand, some of the shipped ones."""

from __future__ import annotations

from tokenroof.calibrate.validation.core import Outcome, Row
from tokenroof.calibrate.validation.files import read_rows, shipped_files

SMALL: dict[str, str] = {
    "hardware": "h100",
    "num_gpus": "1",
    "tp": "1",
    "model": "llama-3.1-8b",
    "framework": "vllm",
    "weight_precision": "bf16",
    "kv_precision": "bf16",
    "isl": "200",
    "osl": "50",
    "load": "closed:conc=4",
    "total_tput_per_gpu": "2500",
    "mean_tpot_s": "0.007",
}
"""A row that is quick to predict."""

KINDS = (
    "imx-4063b0406b",  # vLLM, tensor parallel, range-ratio lengths
    "imx-e2b7073ac2",  # TensorRT-LLM
    "ixdb-2-1024-8192-c4",  # AMD
    "ixdb-1638-8192-1024-c1",  # prefill and decode apart
    "tpu-7x-qwen3-32b-1024-1024",  # TPU
    "neb-h200-gptoss-eagle3k1-c1-x10",  # speculation, warm-up
    "imx-153143bbc0",  # cold start
    "trtv1.0-Llama-3.1-8B-Instruct-H100-TP1-FP8-128-4096",  # offline queue
    "mlperf-v4.1-MI300X-x1-llama2-70b-Offline-fp8",  # lengths of a data set
)
"""One shipped row of every kind."""


def shipped(*ids: str) -> list[dict[str, str]]:
    """Shipped rows by their id, in the order of the files."""
    return [dict(row.texts) for row, _ in read_rows(shipped_files()) if row.id in ids]


def outcome(
    name: str,
    measured: dict[str, float] | None = None,
    predicted: dict[str, float] | None = None,
    *,
    reason: str = "",
    intervals: dict[str, tuple[float, float]] | None = None,
    **texts: str,
) -> Outcome:
    """An outcome by hand."""
    return Outcome(
        row=Row(line=1, texts={"id": name, **texts}),
        measured=measured or {},
        predicted=predicted or {},
        reason=reason,
        intervals=intervals or {},
    )
