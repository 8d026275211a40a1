"""Processed traces of Vidur (github.com/microsoft/vidur, MIT): with sending times, or lengths alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tokenroof.workload.readers.core import Rules, Trace
from tokenroof.workload.readers.rows import Rows, settle
from tokenroof.workload.readers.source import Head, Source
from tokenroof.workload.readers.table import Columns, header_of, read_table
from tokenroof.workload.readers.tabled import tabled

_TIME, _PROMPT, _ANSWER = "arrived_at", "num_prefill_tokens", "num_decode_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vidur:
    """CSV; ``arrived_at`` in seconds. Files without it (arXiv summarisation) give lengths alone."""

    name: ClassVar[str] = "vidur"
    header: ClassVar[str] = "[arrived_at,]num_prefill_tokens,num_decode_tokens"

    def recognises(self, head: Head) -> bool:
        """By its columns."""
        return head.has(_PROMPT, _ANSWER)

    def read(self, source: Source, rules: Rules) -> Trace:
        """Requests; without times something has to say when they are sent (``Trace.sent_by``).

        Raises
        ------
        InputError
            As ``read_trace``.
        """
        timed = _TIME in header_of(source).names
        table = read_table(source, Columns(numbers=(_PROMPT, _ANSWER) + (_TIME,) * timed))
        rows = Rows(
            line=table.line,
            time_s=table.number[_TIME] if timed else np.zeros(table.line.size),
            isl=table.number[_PROMPT],
            osl=table.number[_ANSWER],
            names=(_TIME, _PROMPT, _ANSWER),
        )
        settled = settle(source, rows, rules)
        return Trace(
            table=tabled(source, settled, "Vidur processed trace"),
            format=self.name,
            timed=timed,
            dropped=settled.dropped,
            notes=() if timed else ("The file has no sending times.",),
        )
