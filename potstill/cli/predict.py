"""`predict`: a student beside its teacher on single rows, at several temperatures. Computed here, from their files."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potstill.cli.options import JobId, Json, connect, job_id
from potstill.cli.output import emit, line, table

if TYPE_CHECKING:
    from contract.spec import Columns, JobSpec
    from potstill.client import Client
    from potstill.job import Job

SHOWN = 5  # classes


def predict(
    job: JobId,
    rows: Annotated[list[str], typer.Argument(metavar="INPUT", help="FILE:ROW or a built-in set, as digits:17; rows count from 0.")],
    task: Annotated[str | None, typer.Option("--task", metavar="NAME", help="Of several tasks this one; all when not said.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a job's student, and its teacher, make of rows: probabilities at T = 1, 2 and 5. Ranks never change with T."""
    from contract.check import parse_spec
    from distill.networks import load_config
    from distill.predict import probabilities, read_row

    with connect() as client, tempfile.TemporaryDirectory() as folder:
        found = client.jobs.get(job_id(client, job))
        spec = parse_spec(found.view.resolved_spec)
        _refuse_unknown(task, spec)
        networks = _networks(client, found, Path(folder))
        order = load_config(networks["student"]).features
        for text in rows:
            row = read_row(text, spec.task, _columns(spec, task), order)
            said = {name: probabilities(path, row) for name, path in networks.items()}
            if task is not None:
                said = {name: {"tasks": {task: one["tasks"][task]}} for name, one in said.items()}
            if as_json:
                emit({"input": text, **said}, stream=True)
            else:
                _show(text, said)


def _refuse_unknown(task: str | None, spec: "JobSpec") -> None:
    from contract.errors import InvalidSpec

    if task is not None and task not in spec.data.tasks:
        known = ", ".join(spec.data.tasks) or "it has but one"
        raise InvalidSpec(f"--task: the job has no task {task}", param="--task", hint=f"Its tasks: {known}.")


def _columns(spec: "JobSpec", task: str | None) -> "Columns":
    """Those of the task asked for; of all tasks together nobody knows which are meant."""
    from contract.spec import Columns, Source

    source = spec.data.of(task).train if task is not None else spec.data.train
    return source.columns if isinstance(source, Source) else Columns()


def _networks(client: "Client", job: "Job", folder: Path) -> dict[str, Path]:
    """The student's files and, of a distill job, the teacher's."""
    found = {"student": job.pull(folder / "student")}
    teacher: dict[str, Any] = job.view.resolved_spec.get("teacher") or {}
    source = teacher.get("job")
    if teacher.get("tasks"):
        line("!", "warning", "every task has a teacher of its own, so the student stands alone")
    if teacher.get("ensemble"):
        line("!", "warning", f"the teacher is {len(teacher['ensemble'])} networks, so the student stands alone")
    if teacher.get("model"):
        source = client.models.get(teacher["model"]).job
        if source is None:
            line("!", "warning", "the teacher was uploaded; the service hands out the files of jobs only, so the student stands alone")
    if source is not None:
        found["teacher"] = client.jobs.get(source).pull(folder / "teacher")
    return found


def _show(text: str, said: dict[str, dict[str, Any]]) -> None:
    student = said["student"]
    if "tasks" in student:
        for task in student["tasks"]:
            _show(f"{text} · {task}", {name: one["tasks"][task] for name, one in said.items()})
        return
    if "words" in student:
        _show_words(text, said)
        return
    if "written" in student:
        line("·", "text", student["text"], stderr=False)
        table(["NETWORK", "WRITES"], [(name, one["written"]) for name, one in said.items()])
        return
    if "answer" in student:
        line("·", "question", student["question"], stderr=False)
        table(["NETWORK", "ANSWER", "P"], [(name, one["answer"], f"{one['p']:.4f}") for name, one in said.items()])
        return
    temperatures = [name for name in student if name != "classes"]
    first = said.get("teacher", student)
    order = sorted(range(len(student["classes"])), key=lambda i: -first[temperatures[0]][i])[:SHOWN]
    line("·", "input", text, stderr=False)
    headers = ["CLASS", *(f"{name.upper()} {t}" for t in temperatures for name in said)]
    table(headers, [(student["classes"][i], *(f"{said[name][t][i]:.4f}" for t in temperatures for name in said)) for i in order])


def _show_words(text: str, said: dict[str, dict[str, Any]]) -> None:
    """The likeliest class of each word, and how sure the networks are of it."""
    line("·", "input", text, stderr=False)
    headers = ["WORD", *(column for name in said for column in (name.upper(), "T=1"))]
    rows = zip(said["student"]["words"], *(zip(one["tags"], one["T=1"], strict=True) for one in said.values()), strict=True)
    table(headers, [(word, *(cell for tag, sure in answers for cell in (tag, f"{sure:.4f}"))) for word, *answers in rows])
