"""The nouns of a workload. Arrival processes and traces join when there is a simulator."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestShape:
    """A request of fixed lengths.

    Attributes
    ----------
    isl_tokens, osl_tokens : int
        Prompt and answer. [tokens]
    image_tokens : int
        Of the prompt, those that come from images. [tokens]
    """

    isl_tokens: int
    osl_tokens: int
    image_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("isl_tokens", "osl_tokens"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
        if not 0 <= self.image_tokens <= self.isl_tokens:
            raise InputError(
                f"image_tokens must lie in 0..isl_tokens ({self.isl_tokens}), got {self.image_tokens}."
            )
