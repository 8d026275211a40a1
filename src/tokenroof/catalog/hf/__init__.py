"""Models from Hugging Face ``config.json``: read, check, import.

``read_config`` reads a file or directory, ``parse_config_text`` a string, ``import_config`` turns
the mapping into a :class:`~tokenroof.catalog.model.ModelSpec`.
"""

from tokenroof.catalog.hf.reading import parse_config_text, read_config
from tokenroof.catalog.hf.registry import BUILDERS, import_config

__all__ = ["BUILDERS", "import_config", "parse_config_text", "read_config"]
