"""Number formats: how many bytes a tensor of each takes, and at which peak it computes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tokenroof.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class DType:
    """A storage format.

    Attributes
    ----------
    name : str
        Identifier used in files and flags.
    bits : fractions.Fraction
        Bits per element including the amortised scales (exact).
    compute : str
        Peak to use when both operands are this format ("bf16", "fp8", "fp4", "int8", "fp32").
    """

    name: str
    bits: Fraction
    compute: str

    def bytes_of(self, elements: int) -> int:
        """Bytes of a tensor, rounded up to a whole byte. [bytes]"""
        total = self.bits * elements / 8
        return -(-total.numerator // total.denominator)


def _scaled(bits: int, scale_bits: int, group: int) -> Fraction:
    return Fraction(bits) + Fraction(scale_bits, group)


# Scale formats: DeepSeek block fp8 has one fp32 per 128x128 block; MX formats one E8M0 byte per 32
# (OCP MX v1.0); NVFP4 one E4M3 byte per 16; AWQ/GPTQ int4 one fp16 scale and one 4-bit zero per 128;
# compressed-tensors int4 of Kimi one 16-bit scale per 32.
DTYPES: dict[str, DType] = {
    d.name: d
    for d in (
        DType(name="fp32", bits=Fraction(32), compute="fp32"),
        DType(name="bf16", bits=Fraction(16), compute="bf16"),
        DType(name="fp16", bits=Fraction(16), compute="bf16"),
        DType(name="fp8", bits=Fraction(8), compute="fp8"),
        DType(name="fp8_block", bits=_scaled(8, 32, 128 * 128), compute="fp8"),
        DType(name="int8", bits=Fraction(8), compute="int8"),
        DType(name="int8_wo", bits=Fraction(8), compute="bf16"),
        DType(name="mxfp8", bits=_scaled(8, 8, 32), compute="fp8"),
        DType(name="mxfp6", bits=_scaled(6, 8, 32), compute="fp6"),
        DType(name="nvfp4", bits=_scaled(4, 8, 16), compute="fp4"),
        DType(name="mxfp4", bits=_scaled(4, 8, 32), compute="fp4"),
        DType(name="w4a16_mxfp4", bits=_scaled(4, 8, 32), compute="bf16"),
        DType(name="int4", bits=_scaled(4, 20, 128), compute="bf16"),
        DType(name="int4_g32", bits=_scaled(4, 16, 32), compute="bf16"),
    )
}


def dtype(name: str) -> DType:
    """The format called ``name``.

    Raises
    ------
    InputError
        No such format.
    """
    try:
        return DTYPES[name]
    except KeyError:
        raise InputError(f"unknown dtype {name!r}. Known: {', '.join(DTYPES)}.") from None
