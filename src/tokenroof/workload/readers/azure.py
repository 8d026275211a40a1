"""Azure LLM inference traces of 2023 and 2024, and the multimodal one of 2025.

Published at github.com/Azure/AzurePublicDataset (CC-BY 4.0): Patel et al., "Splitwise", ISCA 2024 (2023
trace); Stojkovic et al., "DynamoLLM", HPCA 2025 (2024 trace).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tokenroof.workload.core import FloatArray
from tokenroof.workload.readers.core import Rules, Trace
from tokenroof.workload.readers.rows import Rows, settle
from tokenroof.workload.readers.source import Head, Source
from tokenroof.workload.readers.table import Columns, Table, header_of, read_table
from tokenroof.workload.readers.tabled import tabled


@dataclass(frozen=True, slots=True, kw_only=True)
class Azure:
    """CSV with ``TIMESTAMP`` (date and time of day, fraction of up to nine digits), tokens in and out."""

    name: ClassVar[str] = "azure"
    header: ClassVar[str] = "TIMESTAMP,[NumImages,]ContextTokens,GeneratedTokens"

    def recognises(self, head: Head) -> bool:
        """By its columns."""
        return head.has("TIMESTAMP", "ContextTokens", "GeneratedTokens")

    def read(self, source: Source, rules: Rules) -> Trace:
        """Times are counted from the first request that is kept.

        Raises
        ------
        InputError
            As ``read_trace``.
        """
        notes: tuple[str, ...] = ("Times are counted from the first request.",)
        if "NumImages" in header_of(source).names:
            notes += (
                "Images count with the tokens that the file gives for the prompt; NumImages is not used.",
            )
        columns = Columns(numbers=("ContextTokens", "GeneratedTokens"), words=("TIMESTAMP",))
        table = read_table(source, columns)
        rows = Rows(
            line=table.line,
            time_s=_seconds(source, table),
            isl=table.number["ContextTokens"],
            osl=table.number["GeneratedTokens"],
            names=("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
        )
        settled = settle(source, rows, rules)
        settled = replace(settled, arrival_s=settled.arrival_s - settled.arrival_s[0])
        return Trace(
            table=tabled(source, settled, "Azure LLM inference trace"),
            format=self.name,
            dropped=settled.dropped,
            notes=notes,
        )


def _seconds(source: Source, table: Table) -> FloatArray:
    """Seconds after the earliest request, exact to the nanosecond before they become floats."""
    import polars as pl

    text = table.text["TIMESTAMP"].str.strip_chars()
    plain = text.str.replace(r"(?:\+00:00|Z)$", "").str.replace("T", " ", literal=True)
    when = plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ns", strict=False)
    if when.null_count():
        row = int(np.argmax(when.is_null().to_numpy()))
        raise source.wrong(
            f"TIMESTAMP must be like '2023-11-16 18:15:46.6805900' (UTC), got {text[row]!r}.",
            line=int(table.line[row]),
        )
    stamp = when.cast(pl.Int64).to_numpy()
    return np.asarray((stamp - stamp.min()) / 1e9, dtype=np.float64)
