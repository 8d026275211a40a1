"""Files that launch a deployment: commands, Compose, Kubernetes, llm-d, Dynamo, and a load test."""

from tokenroof.report.launch.core import (
    DraftModel,
    Eagle,
    LaunchFile,
    LaunchSettings,
    Mtp,
    Ngram,
    PoolSettings,
    Speculation,
)
from tokenroof.report.launch.files import launch_files

__all__ = [
    "DraftModel",
    "Eagle",
    "LaunchFile",
    "LaunchSettings",
    "Mtp",
    "Ngram",
    "PoolSettings",
    "Speculation",
    "launch_files",
]
