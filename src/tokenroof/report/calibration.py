"""Fitted parameters and their errors: tables for a terminal, and stable JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tokenroof.calibrate.fitting.core import Errors, Fit, Refusal
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.catalog.tuning import TUNABLES, Parameter
from tokenroof.report.json import plain
from tokenroof.report.plan_labels import counted
from tokenroof.report.tables import grid, lines

Operators: TypeAlias = Mapping[str, tuple[OpEfficiency, ...]]
"""Fitted forms by the name of their file."""

LABELS = {"throughput": "throughput", "tpot": "time per token", "ttft": "first token"}
_DASH = "-"
_FEW = 4
_WEAK = 0.15


def tables(found: Fit | None, operators: Operators = MappingProxyType({})) -> RenderableType:
    """Everything: fitted parameters, errors, what was refused, forms of operators."""
    parts: list[RenderableType] = []
    if found is not None:
        parts += _of_fit(found)
    if operators:
        parts.append(forms(operators))
    return Stack(*parts)


def _of_fit(found: Fit) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if found.reason:
        parts.append(Text(f"Nothing was fitted: {found.reason}\n"))
    else:
        parts += [parameters(found), errors(found), groups(found)]
        parts += [lines(title, texts).append("\n") for title, texts in _remarks(found) if texts]
    if found.refused:
        parts.append(_refusals("Parameters that were not fitted", "parameter", found.refused))
    if found.refused_rows:
        total = f"{len(found.refused_rows)} of {len(found.refused_rows) + len(found.subjects)}"
        parts.append(_refusals(f"Rows that were not used: {total}", "row", found.refused_rows))
    return parts


def forms(operators: Operators) -> Table:
    """Fitted forms of measured operators, with their error on rows that were not fitted."""
    table = grid("Forms of measured operators")
    for name in ("operator", "chip", "kernels", "format"):
        table.add_column(name, overflow="fold")
    for name in ("rows", "mean error,\nheld out"):
        table.add_column(name, justify="right")
    for rows in operators.values():
        for row in rows:
            what = (row.op, row.chip, row.kernels, row.dtype)
            table.add_row(*map(Text, what), str(row.rows), _percent(row.error_fraction))
    return table


def parameters(found: Fit) -> Table:
    """Every fitted parameter with its evidence."""
    table = grid(
        f"{counted(len(found.parameters), 'parameter')} fitted to {counted(len(found.subjects), 'row')} "
        f"({found.considered} considered)"
    )
    for name in ("parameter", "scope"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "standard\nerror", "expected\nwithin", "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for each in found.parameters:
        spread = f"± {each.prior_spread:.2g}" + (" (log)" if each.tunable.factor else "")
        table.add_row(
            each.name,
            each.scope,
            value_text(each),
            f"± {each.standard_error:.1%}" if each.tunable.factor else f"± {each.standard_error:.2g}",
            spread,
            str(each.rows),
            Text(each.tunable.meaning),
        )
    return table


def value_text(each: Parameter) -> str:
    """A value with its unit."""
    unit = "" if each.tunable.unit in ("1", "exponent") else f" {each.tunable.unit}"
    return f"{each.value:.4g}{unit}"


def errors(found: Fit) -> Table:
    """Median errors before and after, and of rows that were left out."""
    cuts = tuple(found.errors[0].left_out) if found.errors else ()
    table = grid("Median error")
    table.add_column("")
    for name in ("rows", "before", "after", "bias", *(f"left out\nby {cut}" for cut in cuts)):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found.errors:
        table.add_row(
            LABELS[each.kind],
            str(each.rows),
            _percent(each.before),
            _percent(each.after),
            _percent(each.bias, signed=True),
            *(_percent(each.left_out[cut]) for cut in cuts),
        )
    return table


def groups(found: Fit) -> Table:
    """Median errors after the fit, and with the hardware left out, by hardware, model and framework."""
    table = grid("Median error after the fit by hardware, model, framework")
    for name in ("hardware", "model", "framework"):
        table.add_column(name, overflow="fold")
    table.add_column("rows", justify="right")
    for label in LABELS.values():
        table.add_column(f"{label}\nerror", justify="right")
        table.add_column("bias", justify="right")
    for group in found.groups:
        said = {each.kind: each for each in group.errors}
        cells = [cell for kind in LABELS for cell in _cells(said.get(kind))]
        table.add_row(*group.key, str(group.rows), *cells)
    return table


def _cells(each: Errors | None) -> tuple[Text, Text]:
    if each is None:
        return Text(_DASH), Text(_DASH)
    style = "red" if each.after > _WEAK else ""
    return Text(_percent(each.after), style=style), Text(_percent(each.bias, signed=True))


def _remarks(found: Fit) -> list[tuple[str, list[str]]]:
    far = [
        f"{label}: more than two spreads from what was expected; something the model lacks may hide there"
        for label in found.far
    ]
    alike = [f"{one} and {other}: correlation {value:+.2f}" for one, other, value in found.alike]
    said = [
        "standard errors are of the likelihood and the priors together, "
        f"times {max(1.0, found.inflation):.2f} for what residuals exceed the expected scatter"
    ]
    return [("Far from expected", far), ("Hardly told apart", alike), ("How to read them", said)]


def _refusals(title: str, what: str, refused: Sequence[Refusal]) -> Table:
    table = grid(title)
    table.add_column(what, overflow="fold")
    table.add_column("why", overflow="fold")
    by_text: dict[str, list[str]] = {}
    for each in refused:
        by_text.setdefault(each.reason, []).append(each.what)
    for reason, names in by_text.items():
        more = f", and {len(names) - _FEW} more" if len(names) > _FEW else ""
        table.add_row(Text(", ".join(names[:_FEW]) + more), Text(reason))
    return table


def _percent(fraction: float, *, signed: bool = False) -> str:
    if not math.isfinite(fraction):
        return _DASH
    return f"{100 * fraction:+.1f} %" if signed else f"{100 * fraction:.1f} %"


def document(found: Fit | None, operators: Operators = MappingProxyType({})) -> dict[str, Any]:
    """The whole calibration as plain values; errors in percent (docs/reference/json.md)."""
    return (_fit_document(found) if found is not None else {}) | {
        "operators": [
            {
                "file": name,
                "op": row.op,
                "chip": row.chip,
                "kernels": row.kernels,
                "dtype": row.dtype,
                "parameters": dict(row.parameters),
                "rows": row.rows,
                "held_out_mean_ape": 100 * row.error_fraction,
            }
            for name, rows in operators.items()
            for row in rows
        ]
    }


def _fit_document(found: Fit) -> dict[str, Any]:
    return {
        "reason": found.reason,
        "coverage": {
            "rows": len(found.subjects) + len(found.refused_rows),
            "fitted": len(found.subjects),
            "refused": [{"id": each.what, "reason": each.reason} for each in found.refused_rows],
        },
        "parameters": [_parameter(each, found) for each in found.parameters],
        "considered": found.considered,
        "refused": [{"parameter": each.what, "reason": each.reason} for each in found.refused],
        "correlated": [
            {"parameters": [one, other], "correlation": value} for one, other, value in found.alike
        ],
        "inflation": found.inflation,
        "errors": [_errors(each) for each in found.errors],
        "groups": [
            {
                "by": "hardware,model,framework",
                "key": ",".join(group.key),
                "rows": group.rows,
                "errors": [_errors(each) for each in group.errors],
            }
            for group in found.groups
        ],
        "rows": [
            {
                "id": found.subjects[each.subject].row.id,
                "metric": found.subjects[each.subject].columns[each.kind],
                "before": _off(each.before),
                "after": _off(each.after),
                "left_out": {name: _off(value) for name, value in each.left_out.items()},
            }
            for each in found.residuals
        ],
    }


def dumps(content: dict[str, Any]) -> str:
    """A document as text, in a fixed order; a number that is not finite reads null."""
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False)


def _parameter(each: Parameter, found: Fit) -> dict[str, Any]:
    return {
        "name": each.name,
        "scope": each.scope,
        "value": each.value,
        "unit": each.tunable.unit,
        "meaning": TUNABLES[each.name].meaning,
        "standard_error": each.standard_error,
        "prior_spread": each.prior_spread,
        "rows": each.rows,
        "far": f"{each.name}:{each.scope}" in found.far,
    }


def _errors(each: Errors) -> dict[str, Any]:
    return {
        "metric": each.kind,
        "n": each.rows,
        "before_median_ape": 100 * each.before,
        "median_ape": 100 * each.after,
        "bias": 100 * each.bias,
        "left_out_median_ape": {name: 100 * value for name, value in each.left_out.items()},
    }


def _off(log: float) -> float:
    return 100 * math.expm1(log) if math.isfinite(log) else math.nan
