"""A directory that a run is written to while it goes on: whole whatever happens to the process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tokenroof.api.spec.core import Spec
from tokenroof.deploy.core import Estimate
from tokenroof.errors import InputError
from tokenroof.report.json import dumps
from tokenroof.serve.log import LogParts, timeline_frame, write_frame
from tokenroof.workload.core import Requests

if TYPE_CHECKING:
    from tokenroof.serve.run import Progress

LEAST_ROWS = 10_000
"""Requests of a part of the log."""

Watch = Callable[["Progress"], None]


class RunDirectory:
    """``spec.json`` at the beginning, ``log/part-*.parquet`` meanwhile, metrics and timeline at the end.

    Parameters
    ----------
    path : Path
        Made if it is not there.
    spec : Spec
        What is asked.
    requests : Requests
        What is served.

    Raises
    ------
    InputError
        It is a file, cannot be written, or holds another run.
    """

    def __init__(self, path: Path, spec: Spec, requests: Requests) -> None:
        self._path = path
        try:
            self._parts = LogParts(path / "log", requests, least_rows=LEAST_ROWS)
            text = json.dumps(spec.plain(), indent=2, default=str)
            self._write("spec.json", text)
        except OSError as error:
            raise InputError(
                f"cannot write {str(path)!r}: {error.strerror}. Give another directory."
            ) from None

    def watch(self, also: Watch | None) -> Watch:
        """A callback that writes what is over, and then calls ``also``."""

        def told(progress: Progress) -> None:
            self._parts.append(progress.log, progress.done)
            if also is not None:
                also(progress)

        return told

    def close(self, estimate: Estimate) -> None:
        """Write what is left, of an interrupted run too, and what came out."""
        if estimate.run is not None:
            self._parts.close(estimate.run.log)
            write_frame(timeline_frame(estimate.run), self._path / "timeline.parquet")
        self._write("metrics.json", dumps((estimate,)))

    def _write(self, name: str, text: str) -> None:
        """A whole file or none."""
        temporary = self._path / f".{name}.tmp"
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(self._path / name)
