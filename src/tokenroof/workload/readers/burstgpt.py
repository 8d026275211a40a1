"""BurstGPT: months of ChatGPT and GPT-4 requests of a campus, from Azure OpenAI.

Published at github.com/HPMLL/BurstGPT (CC-BY 4.0): Wang et al., "BurstGPT", arXiv 2401.17644.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tokenroof.errors import UnknownNameError
from tokenroof.workload.core import NOBODY, IntArray, RequestClass
from tokenroof.workload.readers.core import Rules, Trace
from tokenroof.workload.readers.rows import Rows, settle
from tokenroof.workload.readers.source import Head, Source
from tokenroof.workload.readers.table import Columns, Table, header_of, read_table
from tokenroof.workload.readers.tabled import tabled

_PROMPT, _ANSWER = "Request tokens", "Response tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstGpt:
    """CSV; ``Timestamp`` in seconds from the first day. A class per model and kind of log.

    Failed requests (``Response tokens`` 0) are left out and counted. ``Session ID``, where there is one,
    says to which conversation a request belongs; it is sent at its recorded time all the same. ``Elapsed
    time`` is in ``measured`` as ``e2e_s``. Files of the first two releases have neither.

    Attributes
    ----------
    models, log_types : tuple of str
        Only these (``"ChatGPT"``, ``"GPT-4"``; ``"Conversation log"``, ``"API log"``); all when empty.
    """

    models: tuple[str, ...] = ()
    log_types: tuple[str, ...] = ()
    name: ClassVar[str] = "burstgpt"
    header: ClassVar[str] = (
        "Timestamp,[Session ID,Elapsed time,]Model,Request tokens,Response tokens,Total tokens,Log Type"
    )

    def recognises(self, head: Head) -> bool:
        """By its columns."""
        return head.has("Timestamp", "Model", _PROMPT, _ANSWER)

    def read(self, source: Source, rules: Rules) -> Trace:
        """Times are counted from the first request that is kept.

        Raises
        ------
        InputError
            As ``read_trace``; and for a model or kind of log that is not in the file.
        """
        header = header_of(source).names
        session_given, elapsed_given = "Session ID" in header, "Elapsed time" in header
        columns = Columns(
            numbers=("Timestamp", _PROMPT, _ANSWER),
            gaps=("Elapsed time",) * elapsed_given,
            words=("Model", "Log Type"),
            remarks=("Session ID",) * session_given,
        )
        table = read_table(source, columns)
        model, models = table.codes("Model")
        log, logs = table.codes("Log Type")
        drop = {}
        for what, wanted, code, known in (
            ("model", self.models, model, models),
            ("log type", self.log_types, log, logs),
        ):
            for name in wanted:
                if name not in known:
                    raise UnknownNameError(f"{what} of {source.path.name}", name, known)
            if wanted:
                drop[f"of another {what}"] = ~np.isin(code, [known.index(name) for name in wanted])
        drop["the request failed (no response tokens)"] = table.number[_ANSWER] == 0.0
        rows = Rows(
            line=table.line,
            time_s=table.number["Timestamp"],
            isl=table.number[_PROMPT],
            osl=table.number[_ANSWER],
            names=("Timestamp", _PROMPT, _ANSWER),
            drop=drop,
        )
        settled = settle(source, rows, rules)
        pair = (model * len(logs) + log)[settled.rows]
        pairs = np.flatnonzero(np.bincount(pair, minlength=len(models) * len(logs)))
        classes = tuple(
            RequestClass(name=f"{models[p // len(logs)]} / {logs[p % len(logs)]}") for p in pairs.tolist()
        )
        requests = tabled(
            source,
            replace(settled, arrival_s=settled.arrival_s - settled.arrival_s[0]),
            "BurstGPT trace",
            session=_sessions(table)[settled.rows] if session_given else None,
            class_index=np.searchsorted(pairs, pair).astype(np.int64),
            classes=classes,
        )
        return Trace(
            table=requests,
            format=self.name,
            measured={"e2e_s": table.number["Elapsed time"][settled.rows]} if elapsed_given else {},
            dropped=settled.dropped,
            notes=("Times are counted from the first request.",),
        )


def _sessions(table: Table) -> IntArray:
    """Conversation of each row in order of appearance; rows without one are in none."""
    code, names = table.codes("Session ID")
    number = np.full(len(names), NOBODY, dtype=np.int64)
    given = [index for index, name in enumerate(names) if name.strip() not in ("", "nan", "None")]
    number[given] = np.arange(len(given))
    return number[code]
