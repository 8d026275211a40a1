"""A run as a row of the table: per accelerator, in the columns' definitions, with what was derived noted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokenroof.calibrate.readers.core import COLUMNS, MEASURED, Latency, ResultRow, Run
from tokenroof.calibrate.readers.fields import UnusableRunError, number_text
from tokenroof.calibrate.readers.wording import spread_of
from tokenroof.errors import InputError
from tokenroof.workload.readers.source import Source

_STATISTICS = ("mean", "median", "p90", "p99")


def row_of(run: Run, given: Mapping[str, str], source: Source) -> ResultRow:
    """The row of a run.

    Parameters
    ----------
    run : Run
        What the client reported, converted.
    given : mapping of str to str
        Columns the user supplied; they replace what the file says.
    source : Source
        The file.

    Returns
    -------
    ResultRow
        Columns with what is known of the run.

    Raises
    ------
    UnusableRunError
        No request completed, or nothing measured can be read.
    InputError
        Nobody says how many accelerators there were.
    """
    if run.completed == 0:
        raise UnusableRunError("0 requests completed.")
    notes = list(run.notes)
    values = {"id": f"{source.stem}-{run.line}", **_lengths(run), **_counts(run, notes)}
    values |= {name: text for name, text in run.texts.items() if text}
    values |= given
    values |= _latencies(run, notes)
    rates = {
        f"{name}_tput_per_gpu": rate for name, rate in _rates(run).items() if rate is not None and rate > 0
    }
    if rates:
        num_gpus = _num_gpus(values, notes, source, run.line)
        values["num_gpus"] = str(num_gpus)
        values |= {name: number_text(rate / num_gpus) for name, rate in rates.items()}
    values |= given
    if not any(values.get(name) for name in MEASURED):
        raise UnusableRunError("no throughput and no latency in it.")
    if notes and "notes" not in given:
        values["notes"] = "; ".join(notes)
    return ResultRow(line=run.line, values={name: values[name] for name in _in_order(values)})


def _in_order(values: Mapping[str, str]) -> Iterator[str]:
    yield from (name for name in COLUMNS if name in values)
    yield from (name for name in values if name not in COLUMNS)


def _counts(run: Run, notes: list[str]) -> dict[str, str]:
    if run.failed:
        notes.append(f"{run.failed} requests failed and are not counted")
    return {} if run.completed is None else {"n_requests": str(run.completed)}


def _lengths(run: Run) -> dict[str, str]:
    """Mean lengths, the same rounded where no nominal length is known, and how they are spread."""
    values: dict[str, str] = {}
    for name, lengths in (("isl", run.isl), ("osl", run.osl)):
        if lengths.mean:
            values[name] = str(round(lengths.mean))
            values[f"{name}_mean"] = number_text(lengths.mean)
    if spread := spread_of(run.isl, run.osl):
        values["length_distribution"] = spread
    return values


def _rates(run: Run) -> dict[str, float | None]:
    """Token rates of the deployment; the third of them where two are known. [tokens/s]"""
    read, wrote, total = run.input_tokens_per_s, run.output_tokens_per_s, run.total_tokens_per_s
    if total is None and read is not None and wrote is not None:
        total = read + wrote
    if read is None and total is not None and wrote is not None:
        read = total - wrote
    return {"output": wrote, "input": read, "total": total}


def _num_gpus(values: Mapping[str, str], notes: list[str], source: Source, line: int) -> int:
    """Accelerators of the deployment.

    Raises
    ------
    InputError
        Neither their number nor ``tp`` is known, or it is no number.
    """
    if values.get("num_gpus"):
        return _whole("num_gpus", values["num_gpus"])
    if not values.get("tp") or _true(values.get("disagg")):
        what = "it does not say how many accelerators served, and throughput is per accelerator."
        raise source.wrong(f"{what} Add it: --set num_gpus=8.", line=line)
    num_gpus = _whole("tp", values["tp"]) * _whole("pp", values.get("pp") or "1")
    notes.append(f"num_gpus taken as tp x pp = {num_gpus}")
    return num_gpus


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in {"true", "yes", "1"}


def _whole(column: str, text: str) -> int:
    number = int(text) if text.strip().isascii() and text.strip().isdigit() and len(text) < 12 else 0
    if number < 1:
        what = f"{column} must be a whole number of at least 1, got {text[:40]!r}."
        raise InputError(f"{what} Write --set {column}=8.")
    return number


def _latencies(run: Run, notes: list[str]) -> dict[str, str]:
    """Columns of the latencies that are known, TPOT out of the means where it is not."""
    tpot = run.tpot
    if run.osl.mean is not None and run.osl.mean <= 1:
        tpot = Latency()  # one token has no time per further token; clients then write 0
    elif tpot.mean is None:
        tpot = Latency(mean=_tpot_of_means(run), median=tpot.median, p90=tpot.p90, p99=tpot.p99)
        if tpot.mean is not None:
            notes.append("mean_tpot_s is (mean E2E - mean TTFT)/(mean osl - 1), a ratio of means")
    if tpot == Latency() and run.itl != Latency():
        notes.append("only gaps between streamed chunks (ITL) are in the file: TPOT left blank")
    values: dict[str, str] = {}
    for name, latency in (("ttft", run.ttft), ("tpot", tpot), ("itl", run.itl), ("e2e", run.e2e)):
        for statistic in _STATISTICS:
            column, value = f"{statistic}_{name}_s", getattr(latency, statistic)
            if value and column in COLUMNS:  # clients write 0 for what they did not measure
                values[column] = number_text(value)
    return values


def _tpot_of_means(run: Run) -> float | None:
    e2e_s, ttft_s, osl = run.e2e.mean, run.ttft.mean, run.osl.mean
    if not e2e_s or not ttft_s or osl is None or osl <= 1 or e2e_s <= ttft_s:
        return None
    return (e2e_s - ttft_s) / (osl - 1)
