"""The door for jobs: a spec that passes here has everything it refers to, and its parts fit each other."""

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from api.errors import field_errors
from api.references import Lookup, Rows, described_parameters
from contract.chains import links
from contract.errors import FieldError, InvalidSpec
from contract.fit import check_fit
from contract.registry import TASKS
from contract.spec import JobKind, JobSpec
from contract.wire import ValidateView
from models.ids import new_id
from models.job import Job
from models.lifecycle import create


@dataclass(frozen=True)
class Checked:
    """A spec whose references were found and whose parts fit."""

    spec: JobSpec
    needs: list[str]  # jobs that must succeed first
    warnings: list[str]
    estimate: dict[str, Any]


def check(look: Lookup, spec: JobSpec) -> Checked:
    """Raises InvalidSpec naming the field."""
    refuse_names_outside_batches(spec)
    train = look.rows(spec.data.train, "train", "data.train", spec.task)
    test = _test(look, spec, train)
    held_out, left = _validation(spec, train) if train is not None else (None, None)
    networks = {field: look.network(ref, field) for field, ref in spec.refs().items()}
    made_for = {field: network.made_for for field, network in networks.items() if network.made_for is not None}
    if train is not None:
        check_fit(spec, train.shape, test.shape if test else None, made_for)
    described = described_parameters(spec, train.shape) if train is not None else None
    student = networks["student"].parameters if "student" in networks else described
    of_teachers = [network.parameters for field, network in networks.items() if field.startswith("teacher")]
    known = [count for count in of_teachers if count is not None]
    parameters = {"student": student, "teacher": sum(known) if known and len(known) == len(of_teachers) else None}
    return Checked(
        spec=spec,
        needs=[network.job_id for network in networks.values() if network.job_id is not None],
        warnings=_warnings(spec, train, test, left, parameters),
        estimate={
            "parameters": {name: count for name, count in parameters.items() if name == "student" or spec.teacher is not None},
            "train_rows": left,
            "validation_rows": held_out,
            "test_rows": test.rows if test else None if spec.data.test else held_out,
            "steps": _steps(spec, left),
        },
    )


def store(
    session: Session, project_id: str, sent: dict[str, Any], checked: Checked, traceparent: str | None, id_: str | None = None
) -> Job:
    spec = checked.spec
    network = spec.described.arch if spec.described is not None else "model"
    job = Job(
        id=id_ or new_id("job"),
        project_id=project_id,
        kind=spec.kind.value,
        name=spec.name or f"{spec.kind}-{network}",
        priority=spec.priority,
        spec=sent,
        resolved_spec=spec.resolved().model_dump(mode="json"),
        traceparent=traceparent,
        warnings=checked.warnings,
        meta=dict(spec.metadata),
    )
    return create(session, job, checked.needs, _runs(job, spec))


def _runs(job: Job, spec: JobSpec) -> list[Job]:
    """The runs of a job of several, as jobs of their own; none for a job of one, which is executed as it is."""
    runs = spec.runs()
    if len(runs) == 1:
        return []
    return [
        Job(
            project_id=job.project_id,
            kind=run.spec.kind.value,
            name=f"{job.name[:50]} · {run.arm}, seed {run.seed}",
            arm=run.arm,
            seed=run.seed,
            priority=job.priority,
            spec=run.spec.model_dump(mode="json"),
            resolved_spec=run.spec.resolved().model_dump(mode="json"),
            traceparent=job.traceparent,
            meta=job.meta,
        )
        for run in runs
    ]


def verdict(session: Session, project_id: str, spec: JobSpec) -> ValidateView:
    """What submitting would say, without submitting."""
    try:
        chain = links(spec)
        checked = check(Lookup(session, project_id, lock=False), spec)
    except InvalidSpec as error:
        return invalid(error)
    before = [link.resolved().model_dump(mode="json") for link in chain[:-1]] or None
    resolved = checked.spec.resolved().model_dump(mode="json")
    return ValidateView(
        valid=True, errors=[], warnings=checked.warnings, resolved_spec=resolved, jobs_before=before, estimate=checked.estimate
    )


def invalid(error: InvalidSpec) -> ValidateView:
    errors = field_errors(error) or [FieldError(pointer="", message=error.detail)]
    if error.hint:
        errors = [errors[0].model_copy(update={"message": f"{errors[0].message}. {error.hint}"}), *errors[1:]]
    return ValidateView(valid=False, errors=errors, warnings=[], resolved_spec=None, estimate=None)


def refuse_names_outside_batches(spec: JobSpec) -> None:
    for field, ref in spec.refs().items():
        if ref.job is not None and ref.job.startswith("@"):
            raise InvalidSpec(
                f"{field}.job: {ref.job} names a job of the same batch, and this is none",
                param=f"{field}.job",
                hint="Give the job's id, or send both to POST /v1/jobs/batch.",
            )


def _test(look: Lookup, spec: JobSpec, train: Rows | None) -> Rows | None:
    """The rows to measure on; None for the validation rows, and where nobody knows yet what there is."""
    if spec.data.test is not None:
        return look.rows(spec.data.test, "test", "data.test", spec.task, beside=spec.data.train)
    if train is None:
        return None
    if "test" in train.splits:
        return look.rows(spec.data.train.model_copy(update={"split": "test"}), "test", "data.test", spec.task)
    if not spec.data.validation:
        raise InvalidSpec(
            f"data.test: there is nothing to measure on: {train.origin} has no split called test ({', '.join(train.splits)})",
            param="data.test",
            hint="Name a test source, or set data.validation, for example 0.1.",
        )
    return None


def _validation(spec: JobSpec, train: Rows) -> tuple[int, int]:
    """Rows held out and rows left, counted as the engine counts them."""
    rows = min(train.rows, spec.data.max_train_samples or train.rows)
    held_out = max(1, round(rows * spec.data.validation)) if spec.data.validation else 0
    if held_out >= rows:
        raise InvalidSpec(
            f"data.validation: {spec.data.validation} of {rows} rows leaves nothing to train on",
            param="data.validation",
            hint="Use a smaller share.",
        )
    return held_out, rows - held_out


def _steps(spec: JobSpec, rows: int | None) -> int | None:
    """Optimisation steps of all runs together; None for rows still to be fetched, and for a language model, whose blocks only the
    tokenizer can count."""
    if rows is None or TASKS[spec.task].answers == "tokens":
        return None
    in_one = spec.training.epochs * math.ceil(rows / spec.training.batch_size)
    return 0 if spec.kind is JobKind.EVALUATE else in_one * len(spec.runs())


def _warnings(spec: JobSpec, train: Rows | None, test: Rows | None, rows: int | None, parameters: dict[str, int | None]) -> list[str]:
    found = _of_rows(spec, train, test, rows) if train is not None and rows is not None else []
    student, teacher = parameters["student"], parameters["teacher"]
    if student is not None and teacher is not None and student >= teacher:
        found.append(f"student: with {student:,} parameters it is no smaller than its teacher ({teacher:,}).")
    return found


def _of_rows(spec: JobSpec, train: Rows, test: Rows | None, rows: int) -> list[str]:
    found = []
    trains = spec.kind is not JobKind.EVALUATE
    if test is not None and (test.origin, test.split) == (train.origin, train.split) and trains:
        found.append("data.test: these are the training rows; the report will not tell how the student does on new ones.")
    if spec.data.max_train_samples is not None and spec.data.max_train_samples > train.rows:
        found.append(f"data.max_train_samples: there are only {train.rows:,} rows; all are used.")
    if trains and TASKS[spec.task].answers != "tokens" and spec.training.batch_size > rows:
        found.append(f"training.batch_size: there are only {rows:,} rows; every epoch is one step.")
    return found
