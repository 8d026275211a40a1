"""A directory that a run is written to while it goes on: whole whatever happens to the process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tokenroof.api.runs.files import unwritable, write_whole
from tokenroof.api.spec.core import Spec
from tokenroof.deploy.core import Estimate
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
            self._write("spec.json", json.dumps(spec.plain(), indent=2, default=str))
        except OSError as error:
            raise unwritable(path, error) from None

    def watch(self, also: Watch | None) -> Watch:
        """A callback that writes what is over, and then calls ``also``."""

        def told(progress: Progress) -> None:
            self._parts.append(progress.log, progress.done)
            if also is not None:
                also(progress)

        return told

    def close(self, estimate: Estimate) -> None:
        """Write what is left, of an interrupted run too, and what came out.

        Raises
        ------
        InputError
            It cannot be written.
        """
        try:
            if estimate.run is not None:
                self._parts.close(estimate.run.log)
                write_frame(timeline_frame(estimate.run), self._path / "timeline.parquet")
            self._write("metrics.json", dumps((estimate,)))
        except OSError as error:
            raise unwritable(self._path, error) from None

    def _write(self, name: str, text: str) -> None:
        write_whole(self._path / name, f"{text}\n".encode())
