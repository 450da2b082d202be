"""The door for jobs: a spec that passes here has everything it refers to, and its parts fit each other."""

import math
from dataclasses import dataclass

from sqlalchemy.orm import Session

from api import estimate
from api.errors import field_errors
from api.estimate import Parts
from api.references import Lookup, Network, described_config, total, vocabulary
from api.rows import rows_of
from contract import taste
from contract.chains import links, made_by_a_recipe
from contract.errors import ErrorCode, FieldError, InvalidSpec
from contract.export import unwritable
from contract.fit import check_fit, rows_with_copies
from contract.lora import unadaptable
from contract.model import ModelConfig
from contract.registry import TASKS
from contract.resources import unmet
from contract.shapes import DataShape
from contract.sights import check_sights
from contract.spec import FromLayers, JobSpec, RemoteTeacher
from contract.wire import ValidateView
from outward.judge import Outward


@dataclass(frozen=True)
class Checked:
    """A spec whose references were found and whose parts fit."""

    spec: JobSpec
    needs: list[str]  # jobs that must succeed first
    warnings: list[str]
    parts: Parts


def check(look: Lookup, spec: JobSpec) -> Checked:
    """Raises InvalidSpec naming the field."""
    refuse_names_outside_batches(spec)
    _refuse_trackers_nobody_has(look, spec)
    if isinstance(spec.teacher, RemoteTeacher):
        look.teachers.check_name(spec.teacher.endpoint, "teacher.endpoint")
    seen = rows_of(look, spec)
    left = rows_with_copies(spec, seen.left) if seen.left is not None else None
    networks = {field: look.network(ref, field) for field, ref in spec.refs().items()}
    made_for = {field: network.made_for for field, network in networks.items() if network.made_for is not None}
    if seen.train is not None:
        check_fit(spec, seen.train, seen.test, made_for)
    _refuse_unwritable(spec, networks)
    student = _student(spec, seen.train, networks)
    if spec.lora is not None and student is not None and (why := unadaptable(student)):
        raise InvalidSpec(f"student.lora: {why}", code=ErrorCode.DOES_NOT_FIT, param="student.lora")
    teacher = networks["teacher"].config if "teacher" in networks else None
    check_sights(spec, {"student": None if isinstance(spec.student, FromLayers) else student, "teacher": teacher})
    parts = Parts(spec, seen, left, networks, student, _parameters(spec, student, networks), _steps(spec, left))
    return Checked(
        spec=spec,
        needs=[network.job_id for network in networks.values() if network.job_id is not None],
        warnings=[*seen.warnings, *_warnings(parts), *(unmet(spec.resources, look.offers()) if spec.resources.told else ())],
        parts=parts,
    )


def verdict(session: Session, project_id: str, spec: JobSpec, teachers: Outward) -> ValidateView:
    """What submitting would say, without submitting."""
    try:
        chain = links(spec)
        look = Lookup(session, project_id, teachers, lock=False)
        for link in chain[:-1]:
            check_before(look, link)
        checked = check(look, spec)
        found = estimate.estimated(session, checked.parts)
    except InvalidSpec as error:
        return invalid(error)
    before = [link.resolved().model_dump(mode="json") for link in chain[:-1]] or None
    resolved = chain[-1].resolved().model_dump(mode="json")
    return ValidateView(
        valid=True,
        errors=[],
        warnings=[*checked.warnings, *taste.of_time(spec, found), *taste.of_memory(found)],
        resolved_spec=resolved,
        jobs_before=before,
        estimate=found,
    )


def check_before(look: Lookup, link: JobSpec) -> None:
    """A job that the spec's recipe puts before it: its rows are there, and its student can read them."""
    with made_by_a_recipe(link):
        seen = rows_of(look, link)
        if seen.train is not None:
            check_fit(link, seen.train, seen.test, {})


def invalid(error: InvalidSpec) -> ValidateView:
    errors = field_errors(error) or [FieldError(pointer="", message=error.detail)]
    if error.hint:
        errors = [errors[0].model_copy(update={"message": f"{errors[0].message.rstrip('.')}. {error.hint}"}), *errors[1:]]
    return ValidateView(valid=False, errors=errors, warnings=[], resolved_spec=None, estimate=None)


def refuse_names_outside_batches(spec: JobSpec) -> None:
    for field, ref in spec.refs().items():
        if ref.job is not None and ref.job.startswith("@"):
            raise InvalidSpec(
                f"{field}.job: {ref.job} names a job of the same batch, and this is none",
                param=f"{field}.job",
                hint="Give the job's id, or send both to POST /v1/jobs/batch.",
            )


def _refuse_trackers_nobody_has(look: Lookup, spec: JobSpec) -> None:
    had = look.trackers() if spec.report_to else None
    for i, name in enumerate(spec.report_to):
        if had is not None and name not in had:
            uri = ", and POTSTILL_MLFLOW_TRACKING_URI" if name == "mlflow" else ""
            raise InvalidSpec(
                f"report_to.{i}: no worker here can mirror to {name}",
                param=f"report_to.{i}",
                hint=f"The operator adds it to the workers: pip install 'potstill[{name}]'{uri}. Or leave it out.",
            )


def _refuse_unwritable(spec: JobSpec, networks: dict[str, Network]) -> None:
    found = unwritable(spec.task, networks["student"].parameters) if spec.written_as is not None else None
    if found is not None:
        raise InvalidSpec(f"student: {found[0]}", code=ErrorCode.DOES_NOT_FIT, param="student", hint=found[1])


def _steps(spec: JobSpec, rows: int | None) -> int | None:
    """Optimisation steps of all runs together; None for rows still to be fetched, and for a language model, whose blocks only the
    tokenizer can count."""
    if rows is None or TASKS[spec.task].answers == "tokens":
        return None
    in_one = spec.training.epochs * math.ceil(rows / spec.training.batch_size)
    return in_one * len(spec.runs()) if spec.kind.trains else 0


def _student(spec: JobSpec, train: DataShape | None, networks: dict[str, Network]) -> ModelConfig | None:
    """What the student will be, as far as that is known; one made of another's layers at most."""
    if isinstance(spec.student, FromLayers):
        source = "student.init" if "student.init" in networks else next((field for field in networks if field.startswith("teacher")), "")
        return networks[source].config if source in networks else None
    if "student" in networks:
        return networks["student"].config
    return described_config(spec, train, vocabulary(spec, networks)) if train is not None else None


def _parameters(spec: JobSpec, student: ModelConfig | None, networks: dict[str, Network]) -> dict[str, int | None]:
    """None where only the engine can tell."""
    mine = networks["student"].parameters if "student" in networks else None
    if spec.described is not None and student is not None:
        mine = student.parameters
    teachers = [network.parameters for field, network in networks.items() if field.startswith("teacher")]
    return {"student": mine, "teacher": total(teachers) if teachers else None}


def _warnings(parts: Parts) -> list[str]:
    spec, rows = parts.spec, parts.left
    found = []
    if parts.steps and rows is not None and spec.training.batch_size > rows:
        found.append(f"training.batch_size: there are only {rows:,} rows; every epoch is one step.")
    student, teacher = parts.parameters["student"], parts.parameters["teacher"]
    if student is not None and teacher is not None and student >= teacher:
        found.append(f"student: with {student:,} parameters it is no smaller than its teacher ({teacher:,}).")
    reports = {field: network.report for field, network in parts.teachers.items() if network.report is not None}
    return [*found, *taste.of_spec(spec, _classes(parts.seen.train), parts.steps, parts.seen.held_out), *taste.of_teachers(reports)]


def _classes(train: DataShape | None) -> int:
    """Between which an answer decides; 0 where it is no class, or nobody knows yet."""
    if train is None or train.speaks or train.answers == "span":
        return 0
    return 2 if train.answers == "classes" else max((len(task.classes) for task in train.tasks.values()), default=len(train.classes))
