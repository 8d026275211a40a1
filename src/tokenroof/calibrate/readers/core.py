"""The nouns of the readers: the columns of a table of results, a row of it, a run as a client reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from tokenroof.calibrate.readers.fields import Fields

COLUMNS: tuple[str, ...] = (
    *("id", "source", "source_url", "license", "date", "quality"),
    *("hardware", "num_gpus", "interconnect", "model", "weight_precision", "kv_precision"),
    *("framework", "framework_version", "tp", "ep", "dp_attention", "pp", "disagg"),
    *("prefill_gpus", "decode_gpus", "prefill_workers", "prefill_tp", "prefill_ep", "prefill_dp_attention"),
    *("decode_workers", "decode_tp", "decode_ep", "decode_dp_attention"),
    *("spec_decoding", "spec_acceptance_length"),
    *("isl", "osl", "isl_mean", "osl_mean", "length_distribution", "load", "n_requests"),
    *("max_num_seqs", "max_batched_tokens", "prefix_caching"),
    *("output_tput_per_gpu", "input_tput_per_gpu", "total_tput_per_gpu"),
    *("output_tput_per_decode_gpu", "input_tput_per_prefill_gpu", "output_tput_total"),
    *("mean_ttft_s", "median_ttft_s", "p90_ttft_s", "p99_ttft_s"),
    *("mean_tpot_s", "median_tpot_s", "p99_tpot_s", "mean_itl_s", "median_itl_s"),
    *("mean_e2e_s", "median_e2e_s", "p90_e2e_s", "p99_e2e_s"),
    *("total_tput_min", "total_tput_max", "cold_start", "total_tput_per_gpu_warm_est"),
    *("n_runs", "run_spread", "run_spread_ttft", "run_spread_tpot", "run_spread_e2e", "littles_ratio"),
    *("stream_chunk", "config_group", "trace_file", "scenario", "constraint", "notes"),
)
"""Every column a row may have.

Throughputs [tokens/s] are per accelerator of the whole deployment unless the name says otherwise, times are
in seconds, ``isl`` and ``osl`` are nominal and ``*_mean`` effective lengths [tokens],
``spec_acceptance_length`` is tokens per verification step with the one that is always accepted.
"""

MEASURED: tuple[str, ...] = tuple(
    name for name in COLUMNS if "_tput_per" in name or name.endswith(("_s", "_tput_total"))
)
"""Columns that hold something measured; a row has at least one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One measured run.

    Attributes
    ----------
    line : int
        Line in the file on which it begins, or its number in a list of the file, from 1.
    values : mapping of str to str
        Column to text, as it would stand in a CSV file; what the file does not say is absent or "".
    problem : str
        Why the row cannot be used; "" when it can be read.
    """

    line: int
    values: Mapping[str, str]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What is known of the distribution of a latency over the requests of a run.

    Attributes
    ----------
    mean, median, p90, p99 : float or None
        Statistics over requests (over gaps for inter-token latencies). [s]
    """

    mean: float | None = None
    median: float | None = None
    p90: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Prompts or answers of a run.

    Attributes
    ----------
    mean : float or None
        Mean over requests. [tokens]
    least, most : float or None
        Shortest and longest. [tokens]
    deviation : float or None
        Standard deviation. [tokens]
    """

    mean: float | None = None
    least: float | None = None
    most: float | None = None
    deviation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as a client reports it, with units and definitions already converted.

    Attributes
    ----------
    line : int
        Where it stands in the file.
    completed : int or None
        Requests that succeeded.
    failed : int
        Requests that did not.
    input_tokens_per_s, output_tokens_per_s, total_tokens_per_s : float or None
        Rates of the whole deployment. [tokens/s]
    ttft, tpot, itl, e2e : Latency
        ``tpot`` is (e2e - ttft)/(n - 1) of each request, ``itl`` the gaps between streamed chunks.
    isl, osl : Lengths
        Effective lengths.
    texts : mapping of str to str
        Further columns as they stand in the row.
    notes : tuple of str
        What was converted or derived, a phrase each.
    """

    line: int
    completed: int | None = None
    failed: int = 0
    input_tokens_per_s: float | None = None
    output_tokens_per_s: float | None = None
    total_tokens_per_s: float | None = None
    ttft: Latency = Latency()
    tpot: Latency = Latency()
    itl: Latency = Latency()
    e2e: Latency = Latency()
    isl: Lengths = Lengths()
    osl: Lengths = Lengths()
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class ResultFormat(Protocol):
    """What a client writes. One type per client."""

    name: ClassVar[str]
    says: ClassVar[str]

    def recognises(self, fields: Fields) -> bool:
        """Whether an object was written by this client."""
        ...

    def parts(self, fields: Fields) -> tuple[Fields, ...]:
        """The runs of an object, one or more."""
        ...

    def run(self, fields: Fields) -> Run:
        """One of ``parts``, converted.

        Raises
        ------
        UnusableRunError
            It cannot be used; with the reason.
        """
        ...
