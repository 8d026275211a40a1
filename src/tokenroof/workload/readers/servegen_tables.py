"""Tables of lengths of a ServeGen client: probabilities of token counts per window of some hours."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from tokenroof.workload.core import FloatArray, IntArray
from tokenroof.workload.readers.source import Source

_PROMPTS = ("input_tokens", "text_tokens")
_COUNTED = (("image_tokens", "image_count"), ("audio_tokens", "audio_count"), ("video_tokens", "video_count"))
_KNOWN = {"output_tokens", "reason_ratio", *_PROMPTS, *(name for pair in _COUNTED for name in pair)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distribution:
    """Values and the probability of at most each, shape (num_values,)."""

    values: IntArray
    cumulative: FloatArray

    def at(self, uniform: FloatArray) -> IntArray:
        """Values at these quantiles in 0..1."""
        place = np.searchsorted(self.cumulative, uniform * self.cumulative[-1], side="right")
        return np.asarray(self.values[np.minimum(place, self.values.size - 1)])

    @property
    def at_zero(self) -> bool:
        """Whether 0 is among the values."""
        return bool(self.values[0] == 0 and self.cumulative[0] > 0.0)

    @property
    def mean(self) -> float:
        """Expected value."""
        weights = np.diff(self.cumulative, prepend=0.0)
        return float((self.values * weights).sum() / self.cumulative[-1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableSet:
    """Lengths of one window.

    Attributes
    ----------
    prompt, answer : Distribution
        Text of the prompt, and the answer (with its reasoning). [tokens]
    parts : tuple of (Distribution, Distribution)
        Images, sounds, videos of a prompt: how many, and tokens of one.
    """

    prompt: Distribution
    answer: Distribution
    parts: tuple[tuple[Distribution, Distribution], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClientTables:
    """All windows of a client with their begin [s], and remarks on them."""

    tables: tuple[tuple[float, TableSet], ...]
    notes: tuple[str, ...]


def read_tables(source: Source) -> ClientTables:
    """Tables of a ``chunk-<i>-dataset.json``; a window with an empty one is served by that before it.

    Raises
    ------
    InputError
        No JSON, an unknown field, or probabilities that do not sum to 1; with window and line.
    """
    text = source.text()
    try:
        windows = json.loads(text)
    except json.JSONDecodeError as error:
        hint = " Was the file cut off?" if error.pos >= len(text.rstrip()) - 1 else ""
        raise source.wrong(f"no JSON ({error.msg}).{hint}", line=error.lineno) from None
    except (RecursionError, ValueError) as error:
        raise source.wrong(f"no JSON ({type(error).__name__}).") from None
    if not isinstance(windows, dict) or not all(isinstance(fields, dict) for fields in windows.values()):
        raise source.wrong("expected an object of windows, each an object of tables.")
    tables: list[tuple[float, TableSet]] = []
    notes: set[str] = set()
    for key, fields in windows.items():
        line = source.line_at(max(0, source.data.find(f'"{key}"'.encode())))
        if not key.isascii() or not key.isdigit():
            raise source.wrong(f"a window begins at whole seconds, got {key!r}.", line=line)
        if tables and float(key) <= tables[-1][0]:
            raise source.wrong("windows must ascend in time.", line=line)
        unknown = sorted(set(fields) - _KNOWN)
        if unknown:
            raise source.wrong(
                f"unknown table {unknown[0]!r} at {key} s. Known: {', '.join(sorted(_KNOWN))}.", line=line
            )
        read = {
            name: _distribution(source, name, fields[name], key, line)
            for name in fields
            if name != "reason_ratio"
        }
        if any(distribution is None for distribution in read.values()):
            continue
        found = {name: distribution for name, distribution in read.items() if distribution is not None}
        prompt = next((found[name] for name in _PROMPTS if name in found), None)
        if prompt is None or "output_tokens" not in found:
            raise source.wrong(
                f"window {key} needs input_tokens (or text_tokens) and output_tokens.", line=line
            )
        if "reason_ratio" in fields:
            notes.add("answers include their reasoning; reason_ratio is not used.")
        if prompt.at_zero or found["output_tokens"].at_zero:
            notes.add("prompts and answers of 0 tokens are drawn as 1 token.")
        parts = tuple(
            (found[count], found[size]) for size, count in _COUNTED if count in found and size in found
        )
        tables.append((float(key), TableSet(prompt=prompt, answer=found["output_tokens"], parts=parts)))
    if not tables:
        raise source.wrong("no window has tables of lengths.")
    return ClientTables(tables=tuple(tables), notes=tuple(sorted(notes)))


def _distribution(source: Source, name: str, text: object, window: str, line: int) -> Distribution | None:
    """A table written as text "{length: probability, ...}"; None when it is empty."""
    where = f"{name} at {window} s"
    if not isinstance(text, str) or not (text.strip().startswith("{") and text.strip().endswith("}")):
        raise source.wrong(f'{where}: expected text like "{{224: 0.25, 225: 0.75}}".', line=line)
    inside = text.strip()[1:-1].strip()
    if not inside:
        return None
    try:
        pairs = np.array([float(word) for word in inside.replace(":", ",").split(",")]).reshape(-1, 2)
    except ValueError as error:
        raise source.wrong(f"{where}: no table of length: probability ({error}).", line=line) from None
    value, weight = pairs[np.argsort(pairs[:, 0], kind="stable")].T
    if not (np.isfinite(pairs).all() and (value == np.floor(value)).all() and (value >= 0.0).all()):
        raise source.wrong(f"{where}: lengths must be whole numbers of at least 0.", line=line)
    if (value > 2.0**30).any() or (weight < 0.0).any() or abs(weight.sum() - 1.0) > 1e-3:
        raise source.wrong(
            f"{where}: probabilities must be at least 0 and sum to 1 (they sum to {weight.sum():g}).",
            line=line,
        )
    return Distribution(values=value.astype(np.int64), cumulative=np.cumsum(weight))
