"""Achieved fractions of the peaks: measured, fitted, and kept apart from the datasheet.

One :class:`OpEfficiency` row is one fitted form for one operator class on one chip with one
framework and dtype. :class:`EfficiencySet` is what a machine uses: for every operator class and
dtype a row, and a note when the row is borrowed from a relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OpEfficiency:
    """One fitted form.

    Attributes
    ----------
    op : str
        "gemm", "attention_decode", "attention_prefill", "mla_decode", "mla_prefill", "moe",
        "elementwise", "recurrent", "all_reduce", ...
    chip, kernels, dtype : str
        What was measured: chip name, framework, dtype (for attention: "q/kv" formats, plus head dim).
    form : str
        Functional form; a name of ``perf``'s formulas.
    parameters : mapping of str to float
        By parameter name; fractions are dimensionless, times are in seconds.
    error_fraction : float
        Mean absolute relative error on held-out rows (nan when unknown).
    rows : int
        Measured rows behind it (0 = assumption).
    source, claim : str
        Row of ``sources.yaml``, and how it is known.
    """

    op: str
    chip: str
    kernels: str
    dtype: str
    form: str
    parameters: Mapping[str, float]
    error_fraction: float
    rows: int
    source: str
    claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficiencySet:
    """What one machine achieves.

    Attributes
    ----------
    rows : mapping of (op, dtype) to OpEfficiency
        Chosen rows.
    borrowed : tuple of str
        One sentence per row that stands in for a missing measurement.
    """

    rows: Mapping[tuple[str, str], OpEfficiency]
    borrowed: tuple[str, ...]

    def row(self, op: str, dtype: str) -> OpEfficiency:
        """The form to use for an operator class and dtype.

        Raises
        ------
        KeyError
            The set was built without this operator class: a bug of ours.
        """
        return self.rows[(op, dtype)]
