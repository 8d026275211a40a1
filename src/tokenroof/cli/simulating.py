"""``tokenroof simulate`` and ``tokenroof capacity``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import tokenroof.cli.options as o
import tokenroof.cli.run_options as r
from tokenroof.cli.output import check_apart, console, notes
from tokenroof.errors import InputError

if TYPE_CHECKING:
    from tokenroof.api.answer import Answer

_INTERRUPTED = 130
_RENAMED = {"chips": "chip", "catalogs": "catalog", "rates": "rate", "capex": "capex_usd"}
_SLO = {"slo_ttft": "ttft", "slo_tpot": "tpot", "slo_e2e": "e2e"}
_NOT_ASKED = frozenset(
    {"json", "csv", "html", "chart", "chart_kind", "log", "perfetto", "speculate", "engine_option", "sets"}
)


def simulate(
    context: typer.Context,
    spec: r.SpecFile = None,
    model: r.Model = None,
    chips: r.Chips = None,
    tp: o.Tp = None,
    pp: o.Pp = None,
    ep: o.Ep = None,
    dp: o.Dp = None,
    cp: o.Cp = None,
    replicas: o.Replicas = None,
    isl: r.Isl = None,
    osl: r.Osl = None,
    rates: r.Rates = None,
    burstiness: r.Burstiness = None,
    concurrency: r.Concurrency = None,
    think: r.Think = None,
    num_requests: r.NumRequests = None,
    duration: r.Duration = None,
    trace: r.Trace = None,
    trace_format: r.TraceFormat = None,
    expert_load_factor: o.ExpertLoadFactor = None,
    slo_ttft: r.SloTtft = None,
    slo_tpot: r.SloTpot = None,
    slo_e2e: r.SloE2e = None,
    weights: o.Weights = None,
    kv: o.Kv = None,
    engine: o.Engine = None,
    engine_option: r.EngineOptions = None,
    scheduler: r.Scheduler = None,
    prefix_caching: r.PrefixCaching = None,
    host_gb: r.HostGb = None,
    ssd_gb: r.SsdGb = None,
    remote_gb: r.RemoteGb = None,
    speculate: r.Speculate = None,
    router: r.Router = None,
    prefill_chip: o.PrefillChip = None,
    prefill_tp: o.PrefillTp = None,
    prefill_replicas: o.PrefillReplicas = None,
    price: o.Price = None,
    capex: o.Capex = None,
    region: o.Region = None,
    pue: o.Pue = None,
    utilisation: o.Utilisation = None,
    catalogs: o.Catalogs = None,
    sets: r.Sets = None,
    seed: r.Seed = None,
    warm_up: r.WarmUp = None,
    check: r.Check = False,
    out: r.Out = None,
    log: r.Log = None,
    perfetto: r.Perfetto = None,
    json: o.Json = False,
    csv: o.Csv = None,
    html: o.Html = None,
    chart: o.Chart = None,
    chart_kind: o.ChartKind = "latency",
) -> None:
    """Serve requests one by one on a model and its chips: queues, batches, caches, failures.

    tokenroof simulate --model llama-3.1-8b --chip h100 --rate 8 --slo-ttft 1 --slo-tpot 0.03
    """
    from tokenroof.api.answer import TABLE_SUFFIXES, check_suffix
    from tokenroof.report.charts import check_format, check_kind

    _no_more(context)
    check_kind(chart_kind)
    checks: tuple[tuple[Path | None, Callable[[Path], None]], ...] = (
        (csv, lambda file: check_suffix(file, TABLE_SUFFIXES)),
        (log, lambda file: check_suffix(file, TABLE_SUFFIXES)),
        (perfetto, lambda file: check_suffix(file, (".json", ".gz"))),
        (html, lambda file: check_suffix(file, (".html",))),
        (chart, check_format),
    )
    for path, refuse in checks:
        if path is not None:
            refuse(path)
    check_apart({"--csv": csv, "--html": html, "--chart": chart, "--log": log, "--perfetto": perfetto})
    if len(rates or ()) > 1 or len(chips or ()) > 1:
        for option, path in (("--log", log), ("--perfetto", perfetto)):
            if path is not None:
                raise InputError(f"{option} writes one run. Use --out, or one chip and one rate.")
    from tokenroof.api.simulation import interrupted
    from tokenroof.api.simulation import simulate as ask

    answer = ask(**_asked(context.params), progress=True, segments=perfetto is not None)
    _print(answer, json=json)
    for path in (csv, html):
        if path is not None:
            _wrote(answer.save(path))
    if log is not None and _one_run(answer, "--log"):
        _wrote(answer.save_log(log))
    if perfetto is not None and _one_run(answer, "--perfetto"):
        missing = answer.save_perfetto(perfetto)
        _wrote(perfetto)
        if missing:
            notes().print(missing, markup=False)
    if chart is not None and answer.feasible:
        _wrote(answer.save_chart(chart, kind=chart_kind))
    if any(map(interrupted, answer)):
        raise typer.Exit(code=_INTERRUPTED)
    if not answer.feasible:
        raise typer.Exit(code=2)


def capacity(
    context: typer.Context,
    spec: r.SpecFile = None,
    model: r.Model = None,
    chips: r.Chips = None,
    tp: o.Tp = None,
    pp: o.Pp = None,
    ep: o.Ep = None,
    dp: o.Dp = None,
    cp: o.Cp = None,
    replicas: o.Replicas = None,
    isl: r.Isl = None,
    osl: r.Osl = None,
    burstiness: r.Burstiness = None,
    num_requests: r.NumRequests = None,
    trace: r.Trace = None,
    trace_format: r.TraceFormat = None,
    expert_load_factor: o.ExpertLoadFactor = None,
    slo_ttft: r.SloTtft = None,
    slo_tpot: r.SloTpot = None,
    slo_e2e: r.SloE2e = None,
    attainment: r.Attainment = 0.99,
    percentile: r.Percentile = None,
    weights: o.Weights = None,
    kv: o.Kv = None,
    engine: o.Engine = None,
    engine_option: r.EngineOptions = None,
    scheduler: r.Scheduler = None,
    prefix_caching: r.PrefixCaching = None,
    host_gb: r.HostGb = None,
    ssd_gb: r.SsdGb = None,
    remote_gb: r.RemoteGb = None,
    speculate: r.Speculate = None,
    router: r.Router = None,
    prefill_chip: o.PrefillChip = None,
    prefill_tp: o.PrefillTp = None,
    prefill_replicas: o.PrefillReplicas = None,
    price: o.Price = None,
    capex: o.Capex = None,
    region: o.Region = None,
    pue: o.Pue = None,
    utilisation: o.Utilisation = None,
    catalogs: o.Catalogs = None,
    sets: r.Sets = None,
    seed: r.Seed = None,
    warm_up: r.WarmUp = None,
    tolerance: r.Tolerance = 0.02,
    json: o.Json = False,
    chart: o.Chart = None,
) -> None:
    """The highest rate at which requests still meet their limits, by bisection on seeded runs.

    tokenroof capacity --model llama-3.1-8b --chip h100 --chip b200 --slo-ttft 1 --slo-tpot 0.03
    """
    from tokenroof.report.charts import check_format

    _no_more(context)
    if chart is not None:
        check_format(chart)
    from tokenroof.api.capacity import capacity as ask
    from tokenroof.report.rates import rate_tables

    found = ask(**_asked(context.params), progress=True)
    if json:
        typer.echo(found.json())
    else:
        console().print(rate_tables(found.names, found.rows))
    if chart is not None and found.feasible:
        _wrote(found.save(chart))
    if not found.feasible:
        raise typer.Exit(code=2)


def _no_more(context: typer.Context) -> None:
    if context.args:
        raise InputError(f"unexpected {' '.join(context.args)!r}. To compare chips, repeat --chip.")


def _print(answer: Answer, *, json: bool) -> None:
    if json:
        typer.echo(answer.json())
        return
    from tokenroof.report.runs import answer as tables

    console().print(tables(answer.estimates))


def _wrote(path: Path) -> None:
    notes().print(f"wrote {path}", markup=False)


def _one_run(answer: Answer, option: str) -> bool:
    """Whether there is a run to write; several cannot share a file."""
    if len(answer) > 1:
        raise InputError(
            f"{option} writes one run, there are {len(answer)}. Use --out, or one chip and rate."
        )
    return answer[0].run is not None


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a command as arguments of the API."""
    asked = {
        _RENAMED.get(name, name): value
        for name, value in given.items()
        if name not in _NOT_ASKED and name not in _SLO and value is not None and value not in ([], ())
    }
    limits = {_SLO[name]: _value(given[name]) for name in _SLO if given[name] is not None}
    if limits:
        asked["slo"] = limits
    for name in ("think", "duration", "warm_up"):
        if name in asked:
            asked[name] = _value(asked[name])
    if "chip" in asked and len(asked["chip"]) == 1:
        asked["chip"] = asked["chip"][0]
    if given["engine_option"]:
        asked["engine_options"] = dict(_pair("--engine-option", each) for each in given["engine_option"])
    if given["speculate"] is not None:
        asked["speculation"] = speculation(given["speculate"])
    if given["sets"]:
        asked["over"] = laid(given["sets"])
    asked["catalog"] = given["catalogs"] or ()
    return asked


def _value(text: str) -> object:
    """A number of seconds, or a text that has a unit."""
    try:
        return float(text)
    except ValueError:
        return text


def _pair(option: str, text: str) -> tuple[str, object]:
    """A name and its value, read as YAML reads it: numbers, true, false, lists, or text."""
    import yaml

    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"{option} takes NAME=VALUE, got {text!r}.")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(f"{option} {name.strip()}: cannot read {value!r}.") from None


def speculation(text: str) -> dict[str, object]:
    """``METHOD:NAME=VALUE,...`` as a section."""
    method, _, rest = text.partition(":")
    parts = [part for part in rest.split(",") if part.strip()]
    return {"method": method.strip(), **dict(_pair("--speculate", part) for part in parts)}


def laid(sets: Sequence[str]) -> dict[str, Any]:
    """Keys with dots as sections in sections."""
    found: dict[str, Any] = {}
    for text in sets:
        path, value = _pair("--set", text)
        into = found
        *sections, last = path.split(".")
        for section in sections:
            into = into.setdefault(section, {})
            if not isinstance(into, dict):
                raise InputError(f"--set {path}: {section} has a value already. Leave one out.")
        into[last] = value
    return found
