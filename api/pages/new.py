"""A new job: a spec in a box, checked while it is written, sent by a button; and a form that writes one."""

from pprint import pformat
from typing import Any

from sqlalchemy import select
from starlette.responses import JSONResponse, RedirectResponse, Response

from api import admission, batch, lookup, quotas
from api.bodies import storable
from api.pages import form
from api.pages.render import HEADERS, html
from api.pages.visitor import Visit
from contract.check import parse_spec
from contract.document import parse_mapping, to_yaml
from contract.errors import PotstillError, QuotaExceeded, TooLarge
from contract.kind import JobKind
from contract.machine import Estimate
from contract.registry import ARCHITECTURES, BUILTINS, RECIPES, TASKS
from contract.wire import ValidateView
from models.dataset import Dataset
from models.job import Job, Origin
from models.results import Model

EXAMPLES = {
    "Train a teacher": """kind: train
name: digits-teacher
task: image-classification
data: {train: digits, validation: 0.1, test: digits}
student: {arch: mlp, hidden: [128]}
training: {epochs: 30, optimizer: {lr: 5.0e-3}}
""",
    "Distil a student": """kind: distill
name: digits-student
task: image-classification
data: {train: digits, validation: 0.1, test: digits}
teacher: {job: JOB}
student: {arch: mlp, hidden: [8]}
recipe: {name: hinton, temperature: 4.0, alpha: 0.7}
training: {epochs: 30, optimizer: {lr: 5.0e-3}}
evaluation: {control: true, seeds: 3}
""",
}
LARGEST = 64 * 1024  # characters
SUGGESTED = 20


def show(visit: Visit, text: str | None = None, problem: PotstillError | None = None) -> Response:
    """What was sent; else another job's spec, what the form says, or an example."""
    query, known = visit.request.query_params, _known(visit)
    chosen = {name: value for name, value in query.items() if name not in ("job", "example")}
    if text is None and "job" in query:
        with visit.services.database.read() as session:
            text = to_yaml(lookup.job(session, visit.caller.project_id, query["job"]).spec)
    elif text is None:
        example = EXAMPLES.get(query.get("example", ""), EXAMPLES["Train a teacher"])
        text = form.written(chosen) if chosen else example.replace("JOB", (known["teacher.job"] or ["JOB"])[0])
    names = {"tasks": list(TASKS), "built-in datasets": list(BUILTINS)}
    names |= {"recipes": [recipe.key() for recipe in RECIPES], "networks": [one.key() for one in ARCHITECTURES]}
    status = problem.status if problem is not None else 200
    shown = {"parts": form.parts(chosen or {"kind": "train"}, known), "filling": bool(chosen), "ways": elsewhere(visit, text)}
    return html(visit.request, "new.html", status, text=text, problem=problem, examples=list(EXAMPLES), known=names, **shown)


def _known(visit: Visit) -> dict[str, list[str]]:
    """What the project has that a form could name, newest first."""
    with visit.services.database.read() as session:
        trained = (
            select(Model.job_id)
            .join(Job, Job.id == Model.job_id)
            .where(Model.project_id == visit.caller.project_id, Job.kind == JobKind.TRAIN)
        )
        uploaded = select(Dataset.id).where(Dataset.project_id == visit.caller.project_id)
        jobs, datasets = (
            session.scalars(one.order_by(table.id.desc()).limit(SUGGESTED)) for one, table in ((trained, Model), (uploaded, Dataset))
        )
        found = {"teacher.job": [str(id_) for id_ in jobs], "data.train": [str(id_) for id_ in datasets]}
    return {**found, "data.test": found["data.train"]}


def elsewhere(visit: Visit, text: str) -> dict[str, str]:
    """The same submission, to be pasted into a terminal or a program."""
    url = f"{visit.request.url.scheme}://{visit.request.url.netloc}"
    here = f"<<'SPEC'\n{text.strip()}\nSPEC"
    try:
        said = pformat(_mapping(text), sort_dicts=False, width=100)
    except PotstillError:
        said = f'"""{text.strip()}"""'
    curl = f'curl -H "Authorization: Bearer $POTSTILL_KEY" -H "Content-Type: application/yaml" --data-binary @- {url}/v1/jobs {here}'
    python = f"from potstill import Client\n\njob = Client().jobs.submit({said})\njob.wait()"
    return {"curl": curl, "Python": python, "CLI": f"potstill submit - --watch {here}"}


def submit(visit: Visit) -> Response:
    text = visit.form.get("spec", "")
    try:
        members = batch.parse_one(_mapping(text))
        with visit.services.database.write() as session:
            visit.services.quotas.room_for_jobs(session, visit.caller.project_id, len(members))
            jobs = batch.submit(session, visit.caller.project_id, members, Origin(visit.request.state.request_id), visit.services.teachers)
            due = [id_ for job in jobs for id_ in lookup.due(session, job)]
    except PotstillError as error:
        if isinstance(error, QuotaExceeded):
            quotas.note(visit.services.database, visit.caller, error)
        return show(visit, text, error)
    for id_ in due:
        visit.services.bell.ring(id_)
    return RedirectResponse(f"/jobs/{jobs[-1].id}", 303)


def check(visit: Visit) -> Response:
    """What submitting would say, for the page's script."""
    try:
        spec = parse_spec(_mapping(visit.form.get("spec", "")))
        with visit.services.database.read() as session:
            found = admission.verdict(session, visit.caller.project_id, spec, visit.services.teachers)
        errors = [f"{error.pointer or 'the spec'}: {error.message}" for error in found.errors]
        answer = {"valid": found.valid, "errors": errors, "warnings": found.warnings, "forecast": _forecast(found)}
    except PotstillError as error:
        answer = {"valid": False, "errors": [" ".join(filter(None, [error.detail, error.hint]))], "warnings": [], "forecast": []}
    return JSONResponse({**answer, "ways": elsewhere(visit, visit.form.get("spec", ""))}, headers=HEADERS)


def _forecast(found: ValidateView) -> list[str]:
    if not isinstance(found.estimate, Estimate):
        return []
    steps = f"{found.estimate.steps:,} steps" if found.estimate.steps else None
    return [said for said in (steps, found.estimate.takes, found.estimate.needs) if said]


def _mapping(text: str) -> dict[str, Any]:
    if len(text) > LARGEST:
        raise TooLarge(f"The spec has {len(text):,} characters; a page takes {LARGEST:,}.", hint="Send it by `potstill submit`.")
    return storable(parse_mapping(text.encode(), "application/yaml"))
