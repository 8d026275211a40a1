"""From a choice of a plan to the files that launch it, and that test it with the planned traffic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenroof.api.runs.files import unwritable, write_whole
from tokenroof.deploy.simulated.drafting.core import Drafting
from tokenroof.deploy.simulated.drafting.eagle import Eagle
from tokenroof.deploy.simulated.drafting.model import DraftModel
from tokenroof.deploy.simulated.drafting.mtp import Mtp
from tokenroof.deploy.simulated.drafting.ngram import NGram
from tokenroof.deploy.simulated.offload import Host
from tokenroof.deploy.simulated.pools import PoolOptions
from tokenroof.report import launch
from tokenroof.report.launch import LaunchFile, LaunchSettings, PoolSettings, Speculation, launch_files
from tokenroof.search.asked import Load, Question
from tokenroof.search.core import Choice

CONTEXT_STEP_TOKENS = 1024
"""The longest accepted sequence is that of the traffic, rounded up to so many tokens: what a client adds
around a prompt (a chat template) fits as well."""

INDEX = "README.md"
"""What every file is for, and which could not be written."""

_EXECUTABLE = 0o755


def files_of_choice(choice: Choice, question: Question, load: Load) -> tuple[LaunchFile, ...]:
    """Files that launch a choice, its spare replicas included; one without a text says why there is none.

    Parameters
    ----------
    choice : Choice
        What is launched.
    question : Question
        Whose traffic the load tests send, drawn with its own seed.
    load : Load
        Its lengths.
    """
    drafting = choice.candidate.drafting
    if drafting is not None and _speculation(drafting, question) is None:
        reason = f"{type(drafting).__name__} is a time without a method, no engine has a flag for it."
        return (LaunchFile(name="launch.sh", text="", note=reason),)
    traffic = question.workload.requests(question.seed)
    return launch_files(choice.deployment, settings_of(choice, question, load), traffic)


def settings_of(choice: Choice, question: Question, load: Load) -> LaunchSettings:
    """What launch files need to know beside the deployment."""
    longest = -(-load.longest_tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS
    return LaunchSettings(
        pools=tuple(_pool(options, question) for options in choice.serving.pools),
        max_context_tokens=max(load.longest_tokens, min(longest, question.model.max_context_tokens)),
    )


def _pool(options: PoolOptions, question: Question) -> PoolSettings:
    host_bytes = sum(place.size_bytes for place in options.offload if isinstance(place, Host))
    return PoolSettings(
        prefix_caching=options.prefix_caching,
        speculation=None if options.drafting is None else _speculation(options.drafting, question),
        offload_bytes=host_bytes or None,
    )


def _speculation(drafting: Drafting, question: Question) -> Speculation | None:
    """The same as a flag says it; None for what only a simulator can do."""
    tokens = drafting.draft_tokens
    match drafting:
        case Mtp():
            return launch.Mtp(draft_tokens=tokens)
        case NGram():
            return launch.Ngram(draft_tokens=tokens)
        case DraftModel():
            return launch.DraftModel(draft_tokens=tokens, model=drafting.model.hf_id or drafting.model.name)
        case Eagle():  # which head was trained for a checkpoint nobody's config says
            own = (question.model.hf_id or question.model.name).rsplit("/", maxsplit=1)[-1]
            return launch.Eagle(draft_tokens=tokens, model=f"REPLACE/{own}-EAGLE3")
        case _:
            return None


def index(choice: Choice, files: Sequence[LaunchFile]) -> str:
    """What every file is for, as Markdown."""
    counts = " + ".join(str(count) for count in choice.replicas)
    lines = [
        f"# {choice.chips} chip{'' if choice.chips == 1 else 's'}: {counts} x {choice.candidate.label}",
        "",
        "| file | use |",
        "| --- | --- |",
        *(f"| `{each.name}` | {each.note} |" for each in files if each.written),
    ]
    missing = [f"- `{each.name}`: {each.note}" for each in files if not each.written]
    kept = [type(place).__name__ for place in choice.candidate.offload if not isinstance(place, Host)]
    if missing:
        lines += ["", "Not written:", "", *missing]
    if kept:
        lines += [
            "",
            f"The plan keeps evicted cache on {' and '.join(kept)} as well: set that up by hand, no flag "
            "of it is written.",
        ]
    if isinstance(choice.candidate.drafting, Eagle):
        lines += ["", "Replace the EAGLE-3 head by one that was trained for the checkpoint."]
    return "\n".join(lines) + "\n"


def write_files(directory: Path, choice: Choice, files: Sequence[LaunchFile]) -> None:
    """Write what can be written into a directory, and an index of all.

    Raises
    ------
    InputError
        It cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for each in files:
            if each.written:
                path = directory / each.name
                write_whole(path, each.text.encode())
                if path.suffix == ".sh":
                    path.chmod(_EXECUTABLE)
        write_whole(directory / INDEX, index(choice, files).encode())
    except OSError as error:
        raise unwritable(directory, error) from None
