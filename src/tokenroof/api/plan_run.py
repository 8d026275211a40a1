"""A plan file from the question to the answer, kept in a directory while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenroof.api.plan_answers import Beside, answers_of
from tokenroof.api.plan_files import files_of_choice, write_files
from tokenroof.api.plan_question import api_of, catalog_of, files_of, question_of_plan
from tokenroof.api.planfile import PlanFile, plan_of, read_plan
from tokenroof.api.runs.files import unwritable, write_whole
from tokenroof.api.runs.simulations import Simulations
from tokenroof.api.runs.store import RunStore
from tokenroof.catalog.catalog import Catalog
from tokenroof.errors import InputError, TokenroofError
from tokenroof.report.launch import LaunchFile
from tokenroof.report.plan_answers import documents, parts_of
from tokenroof.search.answers.core_result import ApiPrice
from tokenroof.search.asked import Question
from tokenroof.search.core import PlanResult, Progress, Store, Watch
from tokenroof.search.plan import check
from tokenroof.search.plan import plan as make_plan
from tokenroof.search.runs import Memory

if TYPE_CHECKING:
    from rich.console import RenderableType

DEPLOY, PAGE = "deploy", "report.html"
"""Directory of launch files, and the page, in the directory of a run."""

_SENT = ".jsonl"
"""Files of this kind are requests, thousands of lines that nobody reads on a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A plan that can begin.

    Attributes
    ----------
    given : mapping
        As it was written: the input of record.
    question : Question
        What it means.
    catalog : Catalog
        With the user's directories.
    files : tuple of Path
        The user's own files.
    answers : tuple of str
        What is answered beside the choice.
    api : ApiPrice or None
        What self-hosting is compared with.
    """

    given: Mapping[str, Any]
    question: Question
    answers: tuple[str, ...] = ()
    api: ApiPrice | None = None
    catalog: Catalog
    files: tuple[Path, ...]

    @property
    def label(self) -> str:
        """The question in a few words, for lists of runs."""
        chips = self.question.chips
        return f"{self.question.model.name} on {chips[0].name if len(chips) == 1 else f'{len(chips)} chips'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An answer, and what was written of it.

    Attributes
    ----------
    result : PlanResult
        The answer.
    beside : Beside
        What else was asked.
    launch : tuple of LaunchFile
        Of the best; those that could not be written say why. Empty without a best.
    deploy : Path or None
        Directory that they were written to.
    page : Path or None
        The page that was written.
    """

    result: PlanResult
    beside: Beside = field(default_factory=Beside)
    launch: tuple[LaunchFile, ...] = ()
    deploy: Path | None = None
    page: Path | None = None

    def html(self) -> str:
        """The answer as one self-contained page."""
        from tokenroof.report.plan_page import page  # draws charts: loaded with a page to write

        files = [each for each in self.launch if not each.name.endswith(_SENT)]
        return page(self.result, parts=parts_of(self.beside.answers), files=files)

    def text(self) -> RenderableType:
        """The answer for a terminal; of what else was asked what it says, the tables are on the page."""
        from tokenroof.report.plan_text import answer

        parts = parts_of(self.beside.answers)
        return answer(self.result, parts=[replace(each, tables=(), notes=()) for each in parts])

    def json(self) -> str:
        """The answer as JSON (docs/reference/json.md)."""
        from tokenroof.report.plan_json import dumps

        return dumps(self.result, answers=documents(self.beside.answers))

    def save(self, path: Path) -> Path:
        """Write the page.

        Raises
        ------
        InputError
            It cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.html().encode())
        except OSError as error:
            raise unwritable(path, error) from None
        return path


def tasks_of(path: Path | None, over: Mapping[str, Any]) -> tuple[Task, ...]:
    """A plan file with keys laid over it, as something that can begin: one plan for every model.

    Parameters
    ----------
    path : Path or None
        The file; None: everything is in ``over``.
    over : mapping
        Sections by name.

    Raises
    ------
    InputError
        Anything wrong, in one line with the file.
    """
    given = read_plan(path, over)
    where = "" if path is None else str(path)
    models = given.get("model")
    if not isinstance(models, list | tuple):
        return (_task(given, where),)
    found = tuple(_task({**given, "model": each}, where) for each in models)
    names = [task.question.model.name for task in found]
    if not names or len(set(names)) < len(names):
        said = ", ".join(names) or "none"
        raise InputError(f"{where}: model: give each of several models once, got {said}.".removeprefix(": "))
    return found


def task_of(path: Path | None, over: Mapping[str, Any]) -> Task:
    """As :func:`tasks_of`, of one model.

    Raises
    ------
    InputError
        Anything wrong; several models.
    """
    found = tasks_of(path, over)
    if len(found) > 1:
        raise InputError(f"one model is planned for here, got {len(found)}. Take them one after the other.")
    return found[0]


def _task(given: Mapping[str, Any], where: str) -> Task:
    plan: PlanFile = plan_of(given, where=where)
    try:
        catalog = catalog_of(plan)
        question, api = question_of_plan(plan, catalog), api_of(plan)
        check(question, catalog)  # here, so that what cannot be asked leaves no directory behind
    except TokenroofError as error:
        raise InputError(f"{where}: {error}" if where else str(error)) from None
    return Task(
        given=given,
        question=question,
        catalog=catalog,
        files=files_of(plan, catalog),
        answers=plan.answers,
        api=api,
    )


def run_plan(
    task: Task,
    *,
    out: Path | None = None,
    resume: bool = False,
    workers: int | None = None,
    progress: Watch | None = None,
) -> Planned:
    """Answer a plan.

    Parameters
    ----------
    task : Task
        What is asked.
    out : Path, optional
        Directory of the run; without one nothing is kept.
    resume : bool
        Go on with what the directory holds.
    workers : int, optional
        Processes; default: one per core. The result does not depend on it.
    progress : callable, optional
        Told how far the plan is.

    Raises
    ------
    InputError
        As ``RunStore``; a load without a rate.
    """
    if out is None:
        return _planned(task, Memory(), workers, progress)
    with RunStore(out, task.given, label=task.label, files=task.files, resume=resume) as run:
        store = Simulations(run)
        found = replace(_planned(task, store, workers, progress), page=out / PAGE)
        found.save(out / PAGE)  # before the results: with those the run is complete
        result = found.result
        if result.best is not None:
            found = replace(found, deploy=out / DEPLOY)
            write_files(out / DEPLOY, result.best, found.launch)
        from tokenroof.api.runs.tables import plan_tables

        run.finish(plan_tables(result, store.used))
    return found


def _planned(task: Task, store: Store, workers: int | None, progress: Watch | None) -> Planned:
    result = make_plan(task.question, catalog=task.catalog, store=store, workers=workers, progress=progress)
    if progress is not None:
        progress(Progress(stage="answer", done=0, total=0))
    best = result.best
    return Planned(
        result=result,
        beside=answers_of(task.answers, result, task.catalog, api=task.api, store=store, workers=workers),
        launch=() if best is None else files_of_choice(best, result.question, result.load),
    )
