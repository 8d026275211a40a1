"""The engines that can be launched, by the names of the catalog."""

from __future__ import annotations

from typing import Final

from tokenroof.report.launch.engines.core import EngineFlags
from tokenroof.report.launch.engines.sglang import Sglang
from tokenroof.report.launch.engines.trtllm import Trtllm
from tokenroof.report.launch.engines.vllm import Vllm

ENGINES: Final[dict[str, EngineFlags]] = {"vllm": Vllm(), "sglang": Sglang(), "trtllm": Trtllm()}
