"""From rows to what can be fitted: their metrics, the scopes that hold for them, their weights."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from tokenroof.calibrate.fitting.core import KINDS, FitSettings, Refusal, Subject
from tokenroof.calibrate.validation.case import case_of
from tokenroof.calibrate.validation.core import Case, Row, UnmappedError
from tokenroof.calibrate.validation.fields import measured
from tokenroof.calibrate.validation.files import Read
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.model import Moe
from tokenroof.catalog.tuning import TUNABLES, scopes_of
from tokenroof.deploy.core import Role
from tokenroof.errors import TokenroofError

_SAME = (
    *("hardware", "num_gpus", "model", "weight_precision", "kv_precision", "framework", "disagg"),
    *("tp", "ep", "pp", "dp_attention", "prefill_gpus", "prefill_tp", "prefill_ep", "prefill_workers"),
    *("decode_tp", "decode_ep", "decode_workers", "spec_decoding", "isl", "osl", "load"),
)
"""Rows that say the same here are one configuration, measured again with another version."""


def subjects_of(
    rows: Sequence[Read], catalog: Catalog, settings: FitSettings
) -> tuple[tuple[Subject, ...], tuple[Refusal, ...]]:
    """The rows that can be fitted on, and why the others cannot.

    Parameters
    ----------
    rows : sequence of Read
        Rows, each with its problem ("" when it has none).
    catalog : Catalog
        Chips, models, engines by name.
    settings : FitSettings
        For the weights.
    """
    subjects: list[Subject] = []
    refused: list[Refusal] = []
    for row, problem in rows:
        try:
            if problem:
                raise UnmappedError(problem)
            subjects.append(_subject(row, catalog))
        except TokenroofError as error:
            refused.append(Refusal(what=row.id, reason=str(error)))
    return _weighed(subjects, settings), tuple(refused)


def _subject(row: Row, catalog: Catalog) -> Subject:
    seen = measured(row)
    columns = {
        kind: next(column for column in known if column in seen)
        for kind, known in KINDS.items()
        if any(column in seen for column in known)
    }
    if not columns:
        raise UnmappedError("no throughput and no latency that can be scored.")
    case = case_of(row, catalog)
    if case.limits is not None:
        raise UnmappedError("the highest rate within limits: found by a search, which is not fitted on.")
    pools = case.deployment.pools
    scopes = tuple(
        dict.fromkeys(
            scope
            for pool in pools
            for scope in scopes_of(
                vendor=pool.chip.vendor,
                family=pool.chip.family,
                chip=pool.chip.name,
                engine=pool.engine.name,
            )
        )
    )
    return Subject(
        row=row,
        measured={kind: seen[column] for kind, column in columns.items()},
        columns=columns,
        scopes=scopes,
        names=_names(case),
        groups={
            "hardware": pools[0].chip.name,
            "model": case.deployment.model.name,
            "framework": row.text("framework").lower(),
            "shape": f"{row.text('isl') or row.text('isl_mean')}/{row.text('osl') or row.text('osl_mean')}",
        },
        configuration="|".join(row.text(column) for column in _SAME),
        tables=_tables(case),
        asked=_asked(case),
    )


def _tables(case: Case) -> str:
    """What decides a row's step tables."""
    deployment = case.deployment
    options = case.row.text("max_batched_tokens"), [each.drafting for each in case.serving.pools]
    layouts = [(pool.chip.name, pool.engine.name, pool.parallel, pool.role) for pool in deployment.pools]
    return repr((deployment.model.name, deployment.precision, layouts, options))


def _asked(case: Case) -> str:
    """What decides a row's prediction, in short."""
    pools = [(pool.replicas, pool.role) for pool in case.deployment.pools]
    others = [getattr(case, each.name) for each in fields(case) if each.name not in _NOT_ASKED]
    # A sharding that the row does not say is chosen anew with other parameters, for each row by itself.
    chosen = "" if case.row.text("tp") else case.row.id
    found = hashlib.sha256(repr((_tables(case), pools, others, chosen)).encode())
    for part in (case.requests, case.requests.prefixes):
        for each in fields(part) if part is not None else ():
            value = getattr(part, each.name)
            if isinstance(value, np.ndarray):
                found.update(each.name.encode() + value.tobytes())
    found.update(repr(case.requests.concurrency).encode())
    return found.hexdigest()


_NOT_ASKED = frozenset({"row", "notes", "deployment", "requests"})
"""Fields of a case that decide nothing, or whose content is looked at apart."""


def _names(case: Case) -> frozenset[str]:
    """Parameters that a row may depend on; those of experts, collectives and hand-offs need them."""
    names = set(TUNABLES)
    deployment = case.deployment
    if not any(isinstance(group.ffn, Moe) for group in deployment.model.layers):
        names -= {"time_experts", "routing_skew"}
    if all(pool.parallel.chips == 1 for pool in deployment.pools):
        names -= {"time_collective"}
    if not any(pool.role is Role.PREFILL for pool in deployment.pools):
        names -= {"handoff_s"}
    return frozenset(names)


def _weighed(subjects: Sequence[Subject], settings: FitSettings) -> tuple[Subject, ...]:
    """Versions of one configuration share its weight; large groups count less per row."""
    versions = Counter(each.configuration for each in subjects)
    groups = [(each.groups["hardware"], each.groups["model"], each.groups["framework"]) for each in subjects]
    share = [1.0 / versions[each.configuration] for each in subjects]
    rows: dict[tuple[str, str, str], float] = {}
    for group, part in zip(groups, share, strict=True):
        rows[group] = rows.get(group, 0.0) + part
    return tuple(
        replace(
            each,
            weight=part
            * settings.quality.get(each.row.text("quality"), 1.0)
            * min(1.0, math.sqrt(settings.group_rows / rows[group])),
        )
        for each, group, part in zip(subjects, groups, share, strict=True)
    )
