"""Distributions of a prompt's and its answer's length together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import FloatArray, IntArray, Lengths
from tokenroof.workload.inputs import as_column, check_number, check_whole
from tokenroof.workload.lengths import check_weights, draw_rows, rescaled


class LengthPairs(Protocol):
    """A distribution of prompt and answer lengths."""

    @property
    def mean_isl_tokens(self) -> float:
        """Expected prompt. [tokens]"""
        ...

    @property
    def mean_osl_tokens(self) -> float:
        """Expected answer. [tokens]"""
        ...

    def sample(self, rng: np.random.Generator, count: int) -> tuple[IntArray, IntArray]:
        """So many prompt lengths and answer lengths, each of at least 1 and of shape (count,). [tokens]"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Independent:
    """Prompts and answers that know nothing of each other.

    Attributes
    ----------
    isl, osl : Lengths
        Of prompts, of answers.
    """

    isl: Lengths
    osl: Lengths

    @property
    def mean_isl_tokens(self) -> float:
        """Expected prompt. [tokens]"""
        return self.isl.mean_tokens

    @property
    def mean_osl_tokens(self) -> float:
        """Expected answer. [tokens]"""
        return self.osl.mean_tokens

    def sample(self, rng: np.random.Generator, count: int) -> tuple[IntArray, IntArray]:
        """So many prompt lengths and answer lengths, each of shape (count,). [tokens]"""
        own = rng.spawn(2)
        return self.isl.sample(own[0], count), self.osl.sample(own[1], count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joint:
    """Observed pairs, drawn with replacement, so that long prompts keep the answers they had.

    Attributes
    ----------
    isl_tokens, osl_tokens : IntArray
        Observed prompts and answers, or those of a table, shape (num_observed,). [tokens]
    weights : FloatArray or None
        How likely each pair is, of any sum, same shape; None: equally.
    """

    isl_tokens: IntArray
    osl_tokens: IntArray
    weights: FloatArray | None = None

    def __post_init__(self) -> None:
        for name in ("isl_tokens", "osl_tokens"):
            column = as_column("Joint", name, getattr(self, name), np.int64)
            check_whole("Joint", f"the smallest of {name}", int(column.min()), least=1)
            check_whole("Joint", f"the largest of {name}", int(column.max()), least=1)
            object.__setattr__(self, name, column)
        if self.isl_tokens.size != self.osl_tokens.size:
            raise InputError(
                f"Joint: osl_tokens has {self.osl_tokens.size} rows, isl_tokens has {self.isl_tokens.size}."
            )
        object.__setattr__(self, "weights", check_weights("Joint", self.weights, self.isl_tokens.size))

    @property
    def mean_isl_tokens(self) -> float:
        """Expected prompt. [tokens]"""
        return float(np.average(self.isl_tokens, weights=self.weights))

    @property
    def mean_osl_tokens(self) -> float:
        """Expected answer. [tokens]"""
        return float(np.average(self.osl_tokens, weights=self.weights))

    def sample(self, rng: np.random.Generator, count: int) -> tuple[IntArray, IntArray]:
        """So many prompt lengths and answer lengths, each of shape (count,). [tokens]"""
        rows = draw_rows(rng, count, self.isl_tokens.size, self.weights)
        return self.isl_tokens[rows], self.osl_tokens[rows]

    def scaled(self, *, mean_isl_tokens: float, mean_osl_tokens: float) -> Joint:
        """The same shape and correlation with other means, but for rounding and lengths below 1."""
        check_number("Joint", "mean_isl_tokens", mean_isl_tokens, above=0.0)
        check_number("Joint", "mean_osl_tokens", mean_osl_tokens, above=0.0)
        return Joint(
            isl_tokens=rescaled(self.isl_tokens, mean_isl_tokens / self.mean_isl_tokens),
            osl_tokens=rescaled(self.osl_tokens, mean_osl_tokens / self.mean_osl_tokens),
            weights=self.weights,
        )
