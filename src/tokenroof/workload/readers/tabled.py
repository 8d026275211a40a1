"""The table of requests of a trace file, out of its rows that were kept."""

from __future__ import annotations

import numpy as np

from tokenroof.workload.core import NOBODY, IntArray, Prefixes, RequestClass, Requests
from tokenroof.workload.readers.rows import Settled
from tokenroof.workload.readers.source import Source


def tabled(
    source: Source,
    settled: Settled,
    what: str,
    *,
    session: IntArray | None = None,
    class_index: IntArray | None = None,
    classes: tuple[RequestClass, ...] = (RequestClass(),),
    prefixes: Prefixes | None = None,
) -> Requests:
    """Requests of a file.

    Parameters
    ----------
    source : Source
        The file.
    settled : Settled
        Its rows.
    what : str
        Kind of file, for ``Requests.source``.
    session, class_index : IntArray, optional
        As in ``Requests``, of the rows that were kept; none, one class.
    classes : tuple of RequestClass
        Kinds of requests.
    prefixes : Prefixes, optional
        Of the rows that were kept.
    """
    count = settled.rows.size
    return Requests(
        arrival_s=settled.arrival_s,
        isl_tokens=settled.isl_tokens,
        osl_tokens=settled.osl_tokens,
        follows=settled.follows,
        session=np.full(count, NOBODY, dtype=np.int64) if session is None else session,
        class_index=np.zeros(count, dtype=np.int64) if class_index is None else class_index,
        classes=classes,
        prefixes=prefixes,
        label=source.stem,
        source=f"{source.path.name} ({what})",
    )
