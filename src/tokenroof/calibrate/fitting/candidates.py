"""Which parameters rows may speak of: proposed by rule, or as asked for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from tokenroof.calibrate.fitting.core import Candidate, FitSettings, Subject, coordinate
from tokenroof.catalog.tuning import ALL, TUNABLES, Tuning
from tokenroof.errors import InputError

EVERYWHERE = frozenset({"routing_skew"})
"""Parameters of traffic and models, not of machines: there is one value, whatever the chips."""

WIDE, NARROW = "wide", "narrow"
"""Scopes that are proposed: those that carry over to other chips, or those of the chips of the rows."""


def proposed(
    subjects: Sequence[Subject], begin: Tuning, settings: FitSettings, *, scopes: str
) -> tuple[Candidate, ...]:
    """Every parameter that some, but not the same rows depend on.

    Parameters
    ----------
    subjects : sequence of Subject
        Rows to fit on.
    begin : Tuning
        What is expected: the values so far.
    settings : FitSettings
        Spreads of priors.
    scopes : str
        :data:`WIDE`: everything, engines, vendors and families. :data:`NARROW`: chips, and engines on
        them, starting from what their families have.

    Notes
    -----
    Of two scopes of a name that hold for the same rows only the widest is proposed (narrow: the chip before
    the engine on it): the rows cannot tell them apart.
    """
    found: list[Candidate] = []
    kinds = _kinds(subjects)
    for name in TUNABLES:
        seen: set[frozenset[int]] = set()
        for scope, wide in kinds.items():
            if name in EVERYWHERE and scope != ALL:
                continue
            if wide != (scopes == WIDE):
                continue
            rows = frozenset(
                place for place, each in enumerate(subjects) if name in each.names and scope in each.scopes
            )
            if not rows or rows in seen:
                continue
            seen.add(rows)
            found.append(candidate(name, scope, begin, settings))
    least = settings.least_pairs if scopes == WIDE else 1
    return tuple(replace(each, least_pairs=least) for each in found)


def asked(
    labels: Sequence[str], subjects: Sequence[Subject], begin: Tuning, settings: FitSettings
) -> tuple[Candidate, ...]:
    """Parameters named as ``name:scope``.

    Raises
    ------
    InputError
        A name or a scope is unknown, or given twice.
    """
    found: dict[str, Candidate] = {}
    scopes = _kinds(subjects)
    for label in labels:
        name, colon, scope = (part.strip() for part in label.partition(":"))
        if not colon or not scope:
            raise InputError(f"parameters: {label!r} has no scope. Write name:scope, as time_gemm:vllm.")
        for what, given, known in (("parameter", name, TUNABLES), ("scope", scope, scopes)):
            if given not in known:
                near = difflib.get_close_matches(given, known, n=3, cutoff=0.4)
                hint = f"Nearest: {', '.join(near)}. " if near else ""
                raise InputError(f"unknown {what} {given!r}. {hint}Known: {', '.join(known)}.")
        if name in EVERYWHERE and scope != ALL:
            raise InputError(f"{name} holds everywhere, got the scope {scope!r}. Write {name}:{ALL}.")
        if f"{name}:{scope}" in found:
            raise InputError(f"parameters: {name}:{scope} is given twice. Leave one out.")
        found[f"{name}:{scope}"] = candidate(name, scope, begin, settings)
    return tuple(found.values())


def candidate(name: str, scope: str, begin: Tuning, settings: FitSettings) -> Candidate:
    """A parameter with what is expected of it."""
    tunable = TUNABLES[name]
    known = {(each.name, each.scope): each.value for each in begin.parameters}
    expected = coordinate(tunable, known.get((name, scope), tunable.neutral))
    wide = scope == ALL or ("/" not in scope)
    return Candidate(
        name=name, scope=scope, expected=expected, spread=tunable.spread * (1.0 if wide else settings.narrow)
    )


def _kinds(subjects: Sequence[Subject]) -> dict[str, bool]:
    """Scopes of the rows in their order, and whether they carry over to other chips."""
    found: dict[str, bool] = {}
    for place in range(max((len(each.scopes) for each in subjects), default=0)):
        for each in subjects:
            if place < len(each.scopes):
                scope = each.scopes[place]
                chip = each.groups["hardware"]
                found[scope] = found.get(scope, True) and scope != chip and not scope.endswith(f"/{chip}")
    return found
