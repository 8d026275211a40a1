"""A checked view of a config: errors of one line that name the field, and no field left unaccounted.

Three classes of fields: *used* (some builder read it), *harmless* (cannot change the cost) and the
rest; :meth:`Fields.unknown` lists those of the rest that are switched on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tokenroof.catalog.hf.harmless import HARMLESS, HARMLESS_BEGINNINGS, HARMLESS_ENDINGS
from tokenroof.errors import InputError

# One table of synonyms: our word for a size -> the names configs give it, in order of preference.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "hidden": ("hidden_size", "d_model", "n_embd", "dim"),
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "heads": ("num_attention_heads", "n_heads", "n_head"),
    "kv_heads": ("num_key_value_heads", "n_kv_heads", "num_kv_heads"),
    "head_dim": ("head_dim", "attention_head_dim", "kv_channels"),
    "intermediate": ("intermediate_size", "mlp_hidden_size", "ffn_dim"),
    "vocab": ("vocab_size",),
    "context": ("max_position_embeddings", "max_sequence_length", "n_positions", "seq_length"),
    "experts": ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"),
    "topk": ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts", "moe_k"),
    "shared_experts": ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"),
    "expert_intermediate": ("moe_intermediate_size", "expert_intermediate_size"),
    "shared_intermediate": (
        "moe_shared_expert_intermediate_size",
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
    ),
    "activation": ("hidden_act", "hidden_activation", "mlp_hidden_act", "activation_function"),
    "mtp_layers": ("num_nextn_predict_layers", "mtp_num_hidden_layers"),
    "dtype": ("torch_dtype", "dtype"),
}

MAX_LAYERS = 10_000
_MAX_SIZE = 2**40
_OFF: tuple[object, ...] = (None, False, 0, "", [], {})


class Fields:
    """A mapping of a config, read by name with its type checked.

    Parameters
    ----------
    data : Mapping
        The JSON object.
    where : str
        What errors call it ("model 'x'", "model 'x': vision_config").
    outer_type : str
        ``model_type`` of the enclosing config when this is a nested one.
    """

    def __init__(self, data: Mapping[str, object], where: str, *, outer_type: str = "") -> None:
        strange = next((key for key in data if not isinstance(key, str)), None)
        if strange is not None:
            raise InputError(f"{where}: field name {short(strange)} is not a string. Correct the config.")
        self._data = dict(data)
        self._used: set[str] = set()
        self._where = where
        self.outer_type = outer_type
        self.warnings: list[str] = []

    def _names(self, word: str) -> tuple[str, ...]:
        return SYNONYMS.get(word, (word,))

    def _name(self, word: str) -> str:
        """The name under which ``word`` is given, else its usual one."""
        names = self._names(word)
        return next((name for name in names if self._data.get(name) is not None), names[0])

    def raw(self, word: str) -> object:
        """The value under ``word`` or one of its synonyms; None when absent.

        Raises
        ------
        InputError
            Two synonyms are given and disagree.
        """
        found: dict[str, object] = {}
        for name in self._names(word):
            if name in self._data:
                self._used.add(name)
                if self._data[name] is not None:
                    found[name] = self._data[name]
        values = list(found.values())
        if any(value != values[0] for value in values[1:]):
            pairs = ", ".join(f"{name} = {short(value)}" for name, value in found.items())
            raise self.error(word, f"given twice with different values: {pairs}", "Keep one of them.")
        return values[0] if values else None

    def error(self, word: str, problem: str, rule: str) -> InputError:
        """An error about one field, in the one-line form of the project."""
        return InputError(f"{self._where}: {self._name(word)}: {problem}. {rule}")

    def warn(self, text: str) -> None:
        """Record an approximation or an assumption, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def has(self, word: str) -> bool:
        """Whether ``word`` or a synonym is present and not null."""
        return self.raw(word) is not None

    def default(self, word: str, value: int) -> None:
        """Fill in what the family's own configuration class assumes for an absent field, and say so."""
        if not self.has(word):
            name = self._names(word)[0]
            self._data[name] = value
            self.warn(f"{name} is missing: the default of the family, {value}, is taken")

    def size_or(self, word: str, default: int) -> int:
        """A whole number of at least 1, or ``default`` when absent."""
        return self._whole(word, default, 1)

    def count_or(self, word: str, default: int) -> int:
        """A whole number of at least 0, or ``default`` when absent."""
        return self._whole(word, default, 0)

    def size(self, word: str) -> int:
        """A whole number of at least 1 that must be there.

        Raises
        ------
        InputError
            Missing, of another type, negative, zero or absurdly large.
        """
        if not self.has(word):
            raise self.missing((word,))
        return self._whole(word, 0, 1)

    def missing(self, words: Sequence[str]) -> InputError:
        """An error that names every missing field."""
        names = ", ".join(self._names(word)[0] for word in words)
        return InputError(f"{self._where}: required fields are missing: {names}. Add them to config.json.")

    def require(self, *words: str) -> None:
        """Check that every one of ``words`` is there, naming all that are not."""
        absent = [word for word in words if not self.has(word)]
        if absent:
            raise self.missing(absent)

    def _whole(self, word: str, default: int, least: int) -> int:
        value = self.raw(word)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < least or value > _MAX_SIZE:
            rule = f"It must be a whole number from {least} to {_MAX_SIZE}. Correct config.json."
            raise self.error(word, f"got {short(value)}", rule)
        return value

    def flag(self, word: str, default: bool) -> bool:
        """True or false, or ``default`` when absent."""
        value = self.raw(word)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(word, f"got {short(value)}", "It must be true or false. Correct config.json.")
        return value

    def text(self, word: str, default: str) -> str:
        """A string, or ``default`` when absent."""
        value = self.raw(word)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.error(word, f"got {short(value)}", "It must be a string. Correct config.json.")
        return value

    def items(self, word: str) -> list[object] | None:
        """A list, or None when absent."""
        value = self.raw(word)
        if value is None or isinstance(value, list):
            return value
        raise self.error(word, f"got {short(value)}", "It must be a list. Correct config.json.")

    def per_layer(self, word: str, layers: int, allowed: Sequence[object]) -> list[object] | None:
        """A list with one entry per layer, each one of ``allowed``; None when absent."""
        values = self.items(word)
        if values is None:
            return None
        if len(values) < layers:
            raise self.error(word, f"got {len(values)} entries for {layers} layers", "Give one per layer.")
        for value in values:
            if isinstance(value, bool) or value not in allowed:
                known = ", ".join(repr(one) for one in allowed)
                raise self.error(word, f"got {short(value)}", f"Each entry is one of {known}.")
        return values[:layers]

    def whole_list(self, word: str, least: int = 0) -> list[int] | None:
        """A list of whole numbers of at least ``least``; None when absent."""
        values = self.items(word)
        if values is None:
            return None
        found = []
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MAX_SIZE:
                rule = f"Each entry is a whole number of at least {least}."
                raise self.error(word, f"got {short(value)}", rule)
            found.append(value)
        return found

    def sub(self, word: str) -> Fields | None:
        """A nested object, or None when absent; its warnings join this one's."""
        value = self.raw(word)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.error(word, f"got {short(value)}", "It must be an object. Correct config.json.")
        inner = Fields(value, f"{self._where}: {word}", outer_type=self.text("model_type", ""))
        inner.warnings = self.warnings
        return inner

    def ignore(self, *names: str) -> None:
        """Count ``names`` as used: the builder knows them and they change nothing."""
        self._used.update(names)

    def unknown(self) -> list[str]:
        """Fields nobody read that are switched on and not known to be harmless."""
        return sorted(
            name
            for name, value in self._data.items()
            if name not in self._used
            and name not in HARMLESS
            and not name.endswith(HARMLESS_ENDINGS)
            and not name.startswith(HARMLESS_BEGINNINGS)
            and value not in _OFF
        )

    def count_or_any(self, word: str, default: int) -> int:
        """A whole number of any sign (-1 often means "one group per row"), or ``default``."""
        value = self.raw(word)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def first_object(self) -> Fields | None:
        """The first nested object, or None."""
        return next(
            (self.sub(name) for name, value in self._data.items() if isinstance(value, Mapping)), None
        )

    def first_algorithm(self) -> str:
        """``quant_algo`` of the first nested object that has one, experts first; "" = none."""
        names = sorted(self._data, key=lambda name: "expert" not in name)
        for name in names:
            value = self._data[name]
            if isinstance(value, Mapping) and isinstance(value.get("quant_algo"), str):
                return str(value["quant_algo"])
        return ""

    def names_matching(self, pattern: re.Pattern[str]) -> list[str]:
        """Names of switched-on fields in which ``pattern`` is found."""
        return sorted(
            name for name, value in self._data.items() if pattern.search(name) and value not in _OFF
        )

    def divides(self, word: str, part: int, whole_word: str, whole: int) -> None:
        """Check that ``part`` divides ``whole``."""
        if whole % part:
            rule = f"It must divide {self._name(whole_word)} = {whole}. Correct config.json."
            raise self.error(word, f"got {part}", rule)


def short(value: object) -> str:
    """``repr`` cut to one short line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
