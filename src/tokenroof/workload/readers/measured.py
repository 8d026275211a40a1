"""Requests of an open-loop experiment with what was measured of each: arrivals, lengths, TTFT, E2E."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokenroof.workload.readers.core import Rules, Trace
from tokenroof.workload.readers.rows import Rows, settle
from tokenroof.workload.readers.source import Head, Source
from tokenroof.workload.readers.table import Columns, header_of, read_table
from tokenroof.workload.readers.tabled import tabled

_MEASURED = {"meas_ttft_s": "ttft_s", "meas_e2e_s": "e2e_s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """CSV with ``meas_ttft_s`` and ``meas_e2e_s``, each of which may be blank.

    The answer's length is ``output_tokens`` or, in files of clients that count the text they got
    (``input_tokens_client``, ``output_tokens_client``), the tokens that the server had to produce
    (``output_tokens_nominal``): end-of-sequence was ignored, and a client's count of the text falls short
    of the tokens (down to 0) though the time does not. The client's count is in ``measured``. Rows whose
    ``error`` is not 0 are left out and counted.
    """

    name: ClassVar[str] = "measured"
    header: ClassVar[str] = (
        "arrival_s,(input_tokens,output_tokens | input_tokens_client,output_tokens_client,"
        "output_tokens_nominal,error),meas_ttft_s,meas_e2e_s"
    )

    def recognises(self, head: Head) -> bool:
        """By its columns."""
        return head.has("arrival_s") and bool(set(_MEASURED) & set(head.cells))

    def read(self, source: Source, rules: Rules) -> Trace:
        """Requests and, in ``Trace.measured``, ``ttft_s`` and ``e2e_s``.

        Raises
        ------
        InputError
            As ``read_trace``.
        """
        header = header_of(source).names
        client = "output_tokens_client" in header
        prompt = "input_tokens_client" if client else "input_tokens"
        answer = "output_tokens_nominal" if "output_tokens_nominal" in header else "output_tokens"
        if client and "output_tokens_nominal" not in header:
            answer = "output_tokens_client"
        numbers = ("arrival_s", prompt, answer)
        extra = tuple(
            name for name in ("error", "output_tokens_client") if name in header and name not in numbers
        )
        gaps = tuple(name for name in _MEASURED if name in header)
        table = read_table(source, Columns(numbers=numbers + extra, gaps=gaps))
        column = table.number
        rows = Rows(
            line=table.line,
            time_s=column["arrival_s"],
            isl=column[prompt],
            osl=column[answer],
            names=numbers,
            drop={"the request failed (error)": column["error"] != 0.0} if "error" in column else None,
        )
        settled = settle(source, rows, rules)
        measured = {_MEASURED[name]: column[name][settled.rows] for name in gaps}
        if "output_tokens_client" in extra:
            measured["output_tokens_client"] = column["output_tokens_client"][settled.rows]
        note = "Answers have the length that was asked of the server (output_tokens_nominal)."
        return Trace(
            table=tabled(source, settled, "measured requests"),
            format=self.name,
            measured=measured,
            dropped=settled.dropped,
            notes=(note,) if answer == "output_tokens_nominal" else (),
        )
