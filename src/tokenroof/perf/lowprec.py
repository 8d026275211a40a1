"""Which arithmetic a pair of formats runs on, given what the chip can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tokenroof.catalog.dtypes import dtype
from tokenroof.catalog.model import Precision
from tokenroof.errors import InputError
from tokenroof.graph.core import Num


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputePath:
    """How a matrix product of two formats is computed.

    Attributes
    ----------
    row : str
        Dtype of the efficiency row to use.
    peak : str
        Peak to compute at; a key of the machine's peaks.
    quantises : bool
        Activations are quantised by a separate kernel first.
    """

    row: str
    peak: str
    quantises: bool


_WEIGHT_ONLY = {"int4": "int4_wo", "int4_g32": "int4_wo", "int8_wo": "int8_wo", "w4a16_mxfp4": "w4a16_mxfp4"}
_WHEN_NOT_NATIVE = {
    "fp8": "int8_wo",
    "fp8_block": "int8_wo",
    "mxfp8": "int8_wo",
    "int8": "int8_wo",
    "mxfp6": "int8_wo",
    "nvfp4": "int4_wo",
    "mxfp4": "w4a16_mxfp4",
}
_NATIVE_ROW = {
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "mxfp8": "fp8_block",
    "int8": "int8",
    "mxfp6": "fp8_block",
    "nvfp4": "nvfp4",
    "mxfp4": "nvfp4",
}


def compute_path(weight_dtype: str, act_dtype: str, peaks: Mapping[str, Num]) -> ComputePath:
    """Choose the arithmetic of ``weight_dtype`` weights and ``act_dtype`` activations.

    A format whose peak the chip lacks is stored as it is and multiplied in 16 bits (weight-only
    kernels): nvfp4 on Hopper, fp8 on Ampere. 4-bit weights with 8-bit activations run at the fp8
    peak; MXFP4 with MXFP8 needs block-scaled arithmetic, which chips with a 4-bit peak have
    (Blackwell, CDNA4). 16-bit activations always mean 16-bit arithmetic.

    Parameters
    ----------
    weight_dtype, act_dtype : str
        Names of ``tokenroof.catalog.dtypes``.
    peaks : mapping of str to Num
        What the chip has. [flop/s]

    Returns
    -------
    ComputePath

    Raises
    ------
    InputError
        Unknown format, or a chip without any peak that could serve.
    """
    weight, act = dtype(weight_dtype), dtype(act_dtype)
    wide = wide_peak(peaks)
    if weight.name in _WEIGHT_ONLY:
        return ComputePath(row=_WEIGHT_ONLY[weight.name], peak=wide, quantises=False)
    if weight.name not in _NATIVE_ROW:
        narrow = weight.compute if weight.compute in peaks else wide
        return ComputePath(row="bf16", peak=narrow, quantises=False)
    if act.bits >= 16:
        return ComputePath(row=_WHEN_NOT_NATIVE[weight.name], peak=wide, quantises=False)
    block_scaled = act.name == "mxfp8"
    mixed = weight.compute == "fp4" and act.compute in ("fp8", "int8") and "fp8" in peaks
    if mixed and ("fp4" in peaks or not block_scaled):
        return ComputePath(row="w4a8_mxfp4_mxfp8", peak="fp8", quantises=True)
    if weight.compute in peaks:
        return ComputePath(row=_NATIVE_ROW[weight.name], peak=weight.compute, quantises=True)
    return ComputePath(row=_WHEN_NOT_NATIVE[weight.name], peak=wide, quantises=False)


def formats_on(precision: Precision, peaks: Mapping[str, Num]) -> Precision:
    """The formats as a chip runs them: inputs stay in 16 bit where its kernels unpack the weights.

    Parameters
    ----------
    precision : Precision
        Of the checkpoint.
    peaks : mapping of str to Num
        What the chip has. [flop/s]

    Returns
    -------
    Precision
        The same stored formats; activations that no kernel of this chip takes have become bf16.
    """

    def inputs(weights: str, activations: str) -> str:
        narrow = dtype(activations).bits < 16
        return "bf16" if narrow and not compute_path(weights, activations, peaks).quantises else activations

    dense, experts = (
        inputs(precision.weights, precision.activations),
        inputs(precision.experts, precision.expert_inputs),
    )
    return replace(precision, activations=dense, expert_activations="" if experts == dense else experts)


_WIDE = ("bf16", "fp16", "fp32")
_NARROW_WAYS = {"fp8": 2.0, "int8": 2.0, "fp6": 2.0, "fp4": 4.0}  # rate of a format over that of 16 bits


def with_wide_peak(peaks: Mapping[str, Num]) -> tuple[dict[str, Num], str]:
    """Peaks completed by a 16-bit one, and the sentence that says so ("" when nothing was missing).

    Some chips publish narrow peaks alone; arrays halve their rate with each doubling of the width, so
    half the 8-bit or a quarter of the 4-bit peak stands in.

    Raises
    ------
    InputError
        The chip states no usable peak at all.
    """
    if any(name in peaks for name in _WIDE):
        return dict(peaks), ""
    for name, ways in _NARROW_WAYS.items():
        if name in peaks:
            return {**peaks, "bf16": peaks[name] / ways}, (
                f"peak: no 16-bit peak is published; 1/{ways:.0f} of the {name} peak is assumed"
            )
    raise InputError(f"the chip states no usable peak (it has: {', '.join(peaks) or 'none'}). Add 'bf16'.")


def wide_peak(peaks: Mapping[str, Num]) -> str:
    """The peak that 16-bit arithmetic runs at: bf16, else fp16, else fp32.

    Raises
    ------
    InputError
        The chip states none of them; a machine is completed by :func:`with_wide_peak`.
    """
    for name in _WIDE:
        if name in peaks:
            return name
    raise InputError(f"the chip states no 16-bit peak (it has: {', '.join(peaks) or 'none'}). Add 'bf16'.")


def attention_peak(q_dtype: str, peaks: Mapping[str, Num]) -> str:
    """The peak that attention arithmetic runs at for queries of this format."""
    compute = dtype(q_dtype).compute
    return compute if compute in peaks else wide_peak(peaks)


def short_name(name: str) -> str:
    """Format of a cache or a query as efficiency rows name it: "bf16" or "fp8" (by width)."""
    return "fp8" if dtype(name).bits < 16 else "bf16"
