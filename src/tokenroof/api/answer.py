"""The answer: one estimate per chip (and rate, when simulated), which shows and saves itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from tokenroof.deploy.core import Estimate, Metric
from tokenroof.errors import InputError

if TYPE_CHECKING:
    import polars as pl
    from rich.console import RenderableType
    from rich.table import Table

    from tokenroof.report.charts.altair_types import AnyChart
    from tokenroof.serve.results import Run

CHART_SUFFIXES = (".svg", ".png", ".pdf")
TABLE_SUFFIXES = (".csv", ".parquet")
SUFFIXES = (*CHART_SUFFIXES, ".html", ".json", *TABLE_SUFFIXES)
_WIDTH = 120
_IN_SHORT = ("ttft_s", "tpot_s", "output_tokens_per_s_per_chip", "usd_per_mtok_output")


@dataclass(frozen=True, slots=True)
class Answer:
    """What :func:`tokenroof.estimate` and :func:`tokenroof.simulate` return: estimates, in the order asked.

    ``print(answer)`` shows the whole table as text, ``answer`` alone one line per estimate, and
    ``answer.metric("tpot_s")`` is one number.

    Attributes
    ----------
    estimates : tuple of Estimate
        One per chip (or per batch of a sweep); infeasible ones say why.
    """

    estimates: tuple[Estimate, ...]

    def __iter__(self) -> Iterator[Estimate]:
        return iter(self.estimates)

    def __len__(self) -> int:
        return len(self.estimates)

    def __getitem__(self, index: int) -> Estimate:
        return self.estimates[index]

    def __str__(self) -> str:
        from tokenroof.report.runs import answer

        return text_of(answer(self.estimates))

    def __repr__(self) -> str:
        from tokenroof.report.labels import metric_range, metric_text, short_names, with_range

        lines = [f"Answer of {len(self)} estimate{'' if len(self) == 1 else 's'}; print it for the table"]
        for name, estimate in zip(short_names(self.estimates), self.estimates, strict=True):
            if estimate.infeasible is not None:
                said = f"infeasible: {estimate.infeasible.reason}"
            else:
                found = estimate.metrics
                shown = (key for key in _IN_SHORT if key in found)
                said = ", ".join(
                    f"{key} {with_range(metric_text(key, found[key]), metric_range(key, found[key]))}"
                    for key in shown
                )
            lines.append(f"  {name}: {said}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from rich.console import Console

        from tokenroof.report.runs import answer

        console = Console(record=True, file=StringIO(), width=_WIDTH)
        console.print(answer(self.estimates))
        return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")

    @property
    def feasible(self) -> bool:
        """Whether any of them has an answer."""
        return any(estimate.feasible for estimate in self.estimates)

    def metric(self, name: str, index: int | None = None) -> float:
        """The value of one metric, in base units; an estimate without an answer has none.

        Parameters
        ----------
        name : str
            Identifier: "ttft_s", "tpot_s", "output_tokens_per_s_per_chip", "usd_per_mtok_output", ...
        index : int, optional
            Of which estimate, as in ``answer[index]``. Needed when there are several.

        Returns
        -------
        float
            ``answer[index].metrics[name].value``.

        Raises
        ------
        InputError
            The estimate is infeasible (the reason is said), it has no such metric, or it is not clear
            which estimate is meant.

        Examples
        --------
        >>> import tokenroof as tr
        >>> tr.estimate("llama-3.1-8b", "h100").metric("tpot_s") < 0.1
        True
        """
        return self._metric(name, index, "metric").value

    def interval(self, name: str, index: int | None = None) -> tuple[float, float]:
        """Between which values nine of ten measured servings lie, in base units; as :meth:`metric`.

        Raises
        ------
        InputError
            As :meth:`metric`, or the metric has no interval: it was asked for, or nobody measured it.

        Examples
        --------
        >>> import tokenroof as tr
        >>> answer = tr.estimate("llama-3.1-8b", "h100")
        >>> low, high = answer.interval("tpot_s")
        >>> low <= answer.metric("tpot_s") <= high
        True
        """
        found = self._metric(name, index, "interval")
        if found.low is None or found.high is None:
            raise InputError(f"{name} has no interval: it was asked for, or no errors of it are known.")
        return found.low, found.high

    def _metric(self, name: str, index: int | None, call: str) -> Metric:
        count = len(self.estimates)
        if index is None and count != 1:
            raise InputError(f"the answer holds {count} estimates. Say which: {call}({name!r}, 0).")
        at = 0 if index is None else index
        if not -count <= at < count:
            raise InputError(f"index must lie in 0..{count - 1}, got {index!r}.")
        estimate = self.estimates[at]
        if estimate.infeasible is not None:
            raise InputError(f"no {name}, the estimate is infeasible: {estimate.infeasible.reason}")
        if name not in estimate.metrics:
            raise InputError(f"unknown metric {name!r}. Known: {', '.join(estimate.metrics)}.")
        return estimate.metrics[name]

    def table(self) -> Table:
        """A rich table, one column per estimate; a notebook shows it as it is.

        Plain ``print`` does not know how to draw a rich table: there, write ``print(answer)``, or
        ``rich.print(answer.table())``.
        """
        from tokenroof.report.runs import simulated

        if simulated(self.estimates):
            from tokenroof.report.runs import comparison as side_by_side

            return side_by_side(self.estimates)
        from tokenroof.report.tables import comparison

        return comparison(self.estimates)

    def explain(self) -> str:
        """Where every millisecond and every gigabyte goes, with sources, as text."""
        from tokenroof.report.explain import explanation

        return "\n".join(text_of(explanation(estimate)) for estimate in self.estimates)

    def to_frame(self) -> pl.DataFrame:
        """A polars data frame, one row per estimate, in base units."""
        from tokenroof.report.frames import frame

        return frame(self.estimates)

    def log(self, index: int = 0) -> pl.DataFrame:
        """Every request of a simulated run: a polars data frame, one row each, times in seconds.

        Raises
        ------
        InputError
            The estimate was not simulated.
        """
        from tokenroof.serve.log import log_frame

        run = self._run(index)
        return log_frame(run.requests, run.log)

    def timeline(self, index: int = 0) -> pl.DataFrame:
        """What the replicas of a simulated run did: a polars data frame, one row per pool and time.

        Raises
        ------
        InputError
            The estimate was not simulated.
        """
        from tokenroof.serve.log import timeline_frame

        return timeline_frame(self._run(index))

    def save_log(self, path: str | Path, index: int = 0) -> Path:
        """Write :meth:`log` as ``.parquet`` or ``.csv``.

        Raises
        ------
        InputError
            An unknown extension, no run, or a file that cannot be written.
        """
        from tokenroof.serve.log import write_frame

        file = Path(path)
        check_suffix(file, TABLE_SUFFIXES)
        frame = self.log(index)
        with writing(file):
            write_frame(frame, file)
        return file

    def save_perfetto(self, path: str | Path, index: int = 0, *, requests: int = 1000) -> str:
        """Write a trace for ui.perfetto.dev or chrome://tracing: ``.json`` or ``.json.gz``.

        Parameters
        ----------
        path : str or Path
            Where to.
        index : int
            Which run.
        requests : int
            The first so many requests, each with its phases.

        Returns
        -------
        str
            What is missing in it, in one line; "" when nothing is. The work of the replicas is there when
            the run was made with ``simulate(..., segments=True)``.

        Raises
        ------
        InputError
            No run, or a file that cannot be written.
        """
        from tokenroof.report.perfetto import write_trace

        file, run = Path(path), self._run(index)
        with writing(file):
            return write_trace(run, file, requests=requests).note

    def _run(self, index: int) -> Run:
        count = len(self.estimates)
        if not -count <= index < count:
            raise InputError(f"index must lie in 0..{count - 1}, got {index!r}.")
        estimate = self.estimates[index]
        if estimate.infeasible is not None and estimate.run is None:
            raise InputError(f"no run, the estimate is infeasible: {estimate.infeasible.reason}")
        if estimate.run is None:
            raise InputError("no run: the estimate is in closed form. Use simulate.")
        return estimate.run

    def json(self) -> str:
        """Everything as JSON text, in base units, with definitions and sources."""
        from tokenroof.report.json import dumps

        return dumps(self.estimates)

    def chart(self, kind: str = "roofline") -> AnyChart:
        """An altair chart: "roofline", "breakdown", "memory", "sweep", "latency", "timeline" or "goodput".

        The last three are of simulated runs.

        Raises
        ------
        InputError
            An unknown kind, or nothing feasible to draw.
        """
        from tokenroof.report.charts import chart

        return chart(self.estimates, kind)

    def save(self, path: str | Path, *, kind: str = "roofline", sweep: Answer | None = None) -> Path:
        """Write the answer; the extension says as what, missing directories are made.

        Parameters
        ----------
        path : str or Path
            ``.html`` (the report), ``.json``, ``.csv``, ``.parquet``; charts: ``.svg``, ``.png``, ``.pdf``.
        kind : str
            Which chart.
        sweep : Answer, optional
            Of :func:`tokenroof.batch_sweep`; the report draws it as well.

        Returns
        -------
        Path
            What was written.

        Raises
        ------
        InputError
            An unknown extension, nothing to draw, or a file that cannot be written.
        """
        file = Path(path)
        check_suffix(file, SUFFIXES)
        suffix = file.suffix.lower()
        if suffix in CHART_SUFFIXES:
            return self.save_chart(file, kind=kind)
        if suffix in TABLE_SUFFIXES:
            from tokenroof.report.frames import write_frame

            with writing(file):
                write_frame(self.estimates, file)
            return file
        if suffix == ".json":
            text = self.json() + "\n"
        else:
            from tokenroof.report.html import page

            text = page(self.estimates, sweep=sweep.estimates if sweep is not None else ())
        with writing(file):
            file.write_text(text, encoding="utf-8")
        return file

    def save_chart(self, path: str | Path, *, kind: str = "roofline") -> Path:
        """Write a chart alone: ``.svg``, ``.png``, ``.pdf`` or interactive ``.html``.

        Raises
        ------
        InputError
            As :meth:`save`.
        """
        from tokenroof.report.charts import check_format, check_kind, save_chart

        file = Path(path)
        check_kind(kind)
        check_format(file)
        drawn = self.chart(kind)
        with writing(file):
            save_chart(drawn, file)
        return file


class writing:  # noqa: N801 - reads as the verb it is: ``with writing(path)``
    """Make the directories of a file, and turn what the system refuses into one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab"):
                pass
        except FileExistsError:
            raise self._refusal(NotADirectoryError(0, "a directory of it is a file")) from None
        except (OSError, ValueError) as error:
            raise self._refusal(error) from None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise self._refusal(error) from None

    def _refusal(self, error: OSError | ValueError) -> InputError:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        return InputError(f"cannot write {str(self.path)!r}: {why}. Give another path.")


def check_suffix(path: Path, known: tuple[str, ...]) -> None:
    """Refuse a path whose extension is not one of ``known``.

    Raises
    ------
    InputError
        It is not.
    """
    if path.suffix.lower() not in known:
        raise InputError(f"unknown extension of {str(path)!r}. Known: {', '.join(known)}.")


def text_of(renderable: RenderableType) -> str:
    """What a terminal of the usual width would show, without colours."""
    from rich.console import Console

    out = StringIO()
    Console(file=out, width=_WIDTH, color_system=None).print(renderable)
    return out.getvalue()
