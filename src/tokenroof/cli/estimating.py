"""``tokenroof estimate`` and ``tokenroof explain``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

import tokenroof.cli.options as o
from tokenroof.cli.output import check_apart, console, notes
from tokenroof.errors import InputError

if TYPE_CHECKING:
    from tokenroof.api.answer import Answer

_RENAMED = {"chips": "chip", "images": "image_tokens", "capex": "capex_usd", "catalogs": "catalog"}
_OUTPUTS = frozenset({"json", "csv", "html", "chart", "chart_kind"})


def estimate(
    context: typer.Context,
    model: o.Model,
    chips: o.Chips,
    tp: o.Tp = None,
    pp: o.Pp = None,
    ep: o.Ep = None,
    dp: o.Dp = None,
    cp: o.Cp = None,
    replicas: o.Replicas = 1,
    isl: o.Isl = 2000,
    osl: o.Osl = 500,
    images: o.Images = 0,
    batch: o.Batch = None,
    concurrency: o.Concurrency = None,
    weights: o.Weights = None,
    kv: o.Kv = None,
    engine: o.Engine = "vllm",
    expert_load_factor: o.ExpertLoadFactor = 1.0,
    price: o.Price = "cloud",
    capex: o.Capex = None,
    region: o.Region = "us",
    pue: o.Pue = "industry_latest",
    utilisation: o.Utilisation = 1.0,
    prefill_chip: o.PrefillChip = None,
    prefill_tp: o.PrefillTp = None,
    prefill_replicas: o.PrefillReplicas = 1,
    catalogs: o.Catalogs = None,
    json: o.Json = False,
    csv: o.Csv = None,
    html: o.Html = None,
    chart: o.Chart = None,
    chart_kind: o.ChartKind = "roofline",
) -> None:
    """Speed, memory, cost, energy and carbon of a model on one or several chips.

    tokenroof estimate --model llama-3.3-70b --chip h100 --chip b200 --isl 2000 --osl 500
    """
    from tokenroof.api.answer import TABLE_SUFFIXES, check_suffix
    from tokenroof.report.charts import check_format, check_kind

    check_kind(chart_kind)
    for path, check in (
        (csv, lambda file: check_suffix(file, TABLE_SUFFIXES)),
        (html, lambda file: check_suffix(file, (".html",))),
        (chart, check_format),
    ):
        if path is not None:
            check(path)
    check_apart({"--csv": csv, "--html": html, "--chart": chart})
    answer = _ask(context)
    if json:
        typer.echo(answer.json())
    else:
        from tokenroof.report.tables import answer as table

        console().print(table(answer.estimates))
    sweep = None
    if answer.feasible and (html is not None or (chart is not None and chart_kind == "sweep")):
        sweep = _sweep(context.params)
    written = [answer.save(path, sweep=sweep) for path in (csv, html) if path is not None]
    if chart is not None and answer.feasible:
        drawn = sweep if sweep is not None and chart_kind == "sweep" else answer
        written.append(drawn.save_chart(chart, kind=chart_kind))
    for path in written:
        notes().print(f"wrote {path}", markup=False)
    _finish(answer)


def explain(
    context: typer.Context,
    model: o.Model,
    chips: o.Chips,
    tp: o.Tp = None,
    pp: o.Pp = None,
    ep: o.Ep = None,
    dp: o.Dp = None,
    cp: o.Cp = None,
    replicas: o.Replicas = 1,
    isl: o.Isl = 2000,
    osl: o.Osl = 500,
    images: o.Images = 0,
    batch: o.Batch = None,
    concurrency: o.Concurrency = None,
    weights: o.Weights = None,
    kv: o.Kv = None,
    engine: o.Engine = "vllm",
    expert_load_factor: o.ExpertLoadFactor = 1.0,
    price: o.Price = "cloud",
    capex: o.Capex = None,
    region: o.Region = "us",
    pue: o.Pue = "industry_latest",
    utilisation: o.Utilisation = 1.0,
    prefill_chip: o.PrefillChip = None,
    prefill_tp: o.PrefillTp = None,
    prefill_replicas: o.PrefillReplicas = 1,
    catalogs: o.Catalogs = None,
) -> None:
    """Where every millisecond and every gigabyte goes, with definitions, assumptions and sources."""
    from tokenroof.report.explain import explanation

    answer = _ask(context)
    out = console()
    for each in answer:
        out.print(explanation(each))
    _finish(answer)


def _ask(context: typer.Context) -> Answer:
    from tokenroof.api.calls import estimate as ask

    if context.args:
        more = " ".join(f"--chip {each}" for each in context.args)
        raise InputError(f"unexpected {' '.join(context.args)!r}. To compare chips, repeat --chip: {more}.")
    return ask(**_asked(context.params))


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a command as arguments of the API."""
    asked = {_RENAMED.get(name, name): value for name, value in given.items() if name not in _OUTPUTS}
    return asked | {"catalog": asked["catalog"] or ()}


def _sweep(given: Mapping[str, Any]) -> Answer:
    """The same chips and layouts over batch sizes."""
    from tokenroof.api.calls import batch_sweep

    asked = _asked(given)
    return batch_sweep(**{name: asked[name] for name in asked if name not in ("batch", "concurrency")})


def _finish(answer: Answer) -> None:
    """Exit code 2 when nothing that was asked for can be; the table says why."""
    if not answer.feasible:
        raise typer.Exit(code=2)
