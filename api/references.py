"""What a spec refers to, looked up in the caller's project: rows with their shape and classes, networks with what they were made for."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import lookup
from contract.column import Column
from contract.columns import choose_columns, test_split
from contract.errors import ErrorCode, InvalidSpec, NotFound
from contract.model import LONGEST, ModelConfig, Reading, Scaling
from contract.networks import members
from contract.registry import BUILTINS, TASKS
from contract.resources import Offer
from contract.shapes import DataShape, builtin_shape, joined
from contract.spec import Columns, JobKind, JobSpec, ModelRef, Source, TaskSources
from contract.status import JobStatus
from models.base import now
from models.dataset import Dataset
from models.job import Job
from models.service import SILENCE, Worker
from outward.judge import Outward

NO_PATHS = "Only `potstill run` reads paths of its own machine; upload it here instead."


@dataclass(frozen=True)
class Rows:
    """One source, resolved: which split of what, and what a network sees of it."""

    origin: str  # the dataset's id or built-in name
    split: str
    rows: int
    splits: tuple[str, ...]
    shape: DataShape
    row_bytes: float | None  # in memory; of texts their characters; None where nobody counted them


@dataclass(frozen=True)
class Network:
    """One network a spec names. `made_for` is None where only the engine can tell, `config` where a tokenizer is still to be found."""

    made_for: DataShape | None
    parameters: int | None
    job_id: str | None = None
    config: ModelConfig | None = None
    report: dict[str, Any] | None = None  # of the job that made it


class Lookup:
    """Finds things for one submission. `lock` keeps what it finds from being deleted before the job that needs it is stored; `teachers`
    judges endpoints of remote ones."""

    def __init__(self, session: Session, project_id: str, teachers: Outward, *, lock: bool, called: dict[str, str] | None = None) -> None:
        self.session, self.teachers = session, teachers
        self.project_id = project_id
        self.lock = lock
        self.called = called or {}  # job id → its @name in this batch

    def trackers(self) -> set[str] | None:
        """What workers that are alive can mirror runs to; None where nobody says."""
        query = select(Worker.trackers).where(Worker.last_heartbeat_at > now(-SILENCE), Worker.trackers.is_not(None))
        said = self.session.scalars(query).all()
        return {name for names in said for name in names or []} if said else None

    def offers(self) -> list[Offer]:
        """What workers that are alive have."""
        return [worker.offer for worker in self.session.scalars(select(Worker).where(Worker.last_heartbeat_at > now(-SILENCE)))]

    def rows(self, source: Source, default_split: str, field: str, task: str, beside: Source | None = None) -> Rows | None:
        """beside: the rows trained on, where these are to measure on. None: what they are shows when a worker has fetched them."""
        if source.path is not None:
            raise _wrong(f"{field}.path", "a path means nothing to a service", hint=NO_PATHS)
        if source.hub is not None:
            return None
        assert source.dataset is not None
        if source.dataset in BUILTINS:
            return self._builtin(source, default_split, field, task)
        dataset = self._dataset(source.dataset, field)
        splits = tuple(sorted(dataset.splits, key=lambda name: (name != "train", name)))  # Postgres keeps no order of keys
        default = default_split if beside is None else test_split(source, beside, splits)
        split = _existing_split(source.split, default, splits, field, source.dataset)
        columns = [Column.model_validate(column) for column in dataset.columns]
        chosen = choose_columns(columns, source.columns, task, field)
        classes = dataset.classes.get(chosen.label) if chosen.label and TASKS[task].labelled else []
        if classes is None:
            raise _wrong(
                f"{field}.columns.label",
                f"column {chosen.label!r} holds no classes: fractions, or too many different values",
                ErrorCode.DOES_NOT_FIT,
                "Labels are integers or words; name their column under columns.label.",
            )
        sizes = {column.name: column.bytes_in_memory for column in columns}
        return Rows(
            dataset.id, split, dataset.splits[split], splits, chosen.made_for(classes), total([sizes[name] for name in chosen.features])
        )

    def network(self, ref: ModelRef, field: str) -> Network:
        if ref.path is not None:
            raise _wrong(f"{field}.path", "a path means nothing to a service", hint=NO_PATHS)
        if ref.hub is not None:
            return Network(None, None)  # what it is shows when a worker has fetched it
        if ref.model is not None:
            return self._model(ref.model, f"{field}.model")
        assert ref.job is not None
        return self._product(ref.job, f"{field}.job")

    def _builtin(self, source: Source, default_split: str, field: str, task: str) -> Rows:
        assert source.dataset is not None
        builtin = BUILTINS[source.dataset]
        if task not in builtin.tasks:
            raise _wrong(field, f"{builtin.name} is for {' and '.join(builtin.tasks)}, not {task}", ErrorCode.DOES_NOT_FIT)
        if source.columns != Columns():
            raise _wrong(f"{field}.columns", f"{builtin.name} has no columns to choose from", hint="Leave this out.")
        split = _existing_split(source.split, default_split, tuple(builtin.rows), field, builtin.name)
        row_bytes = builtin.characters or prod(builtin.shape)
        return Rows(builtin.name, split, builtin.rows[split], tuple(builtin.rows), builtin_shape(builtin.name, task), row_bytes)

    def _dataset(self, name: str, field: str) -> Dataset:
        try:
            return lookup.dataset(self.session, self.project_id, name, lock="keep" if self.lock else None)
        except NotFound:
            close = difflib.get_close_matches(name, BUILTINS, n=1, cutoff=0.5)
            hint = (
                f"Did you mean {close[0]}?" if close else f"Built in: {', '.join(BUILTINS)}; `potstill datasets ls` lists those uploaded."
            )
            raise _wrong(field, f"there is no dataset {name}", ErrorCode.DATASET_NOT_FOUND, hint) from None

    def _model(self, id_: str, field: str) -> Network:
        try:
            model = lookup.model(self.session, self.project_id, id_, lock="keep" if self.lock else None)
        except NotFound:
            raise _wrong(
                field, f"there is no model {id_}", ErrorCode.MODEL_NOT_FOUND, "`potstill models ls` lists those there are."
            ) from None
        config = ModelConfig.model_validate(model.config)
        return Network(config.made_for, model.parameters, config=config)

    def _product(self, job_id: str, field: str) -> Network:
        """The network a job made or will make."""
        shown = self.called.get(job_id, job_id)
        try:
            job = lookup.job(self.session, self.project_id, job_id)
        except NotFound:
            raise _wrong(field, f"there is no job {shown}", ErrorCode.JOB_NOT_FOUND, "`potstill jobs` lists those there are.") from None
        if job.kind == JobKind.EVALUATE:
            raise _wrong(field, f"{shown} is an evaluate job and makes no model", ErrorCode.DOES_NOT_FIT, "Name the job that trained it.")
        if job.status in (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.CANCELLING):
            said = {JobStatus.FAILED: "failed", JobStatus.CANCELLED: "was cancelled"}.get(JobStatus(job.status), "is being cancelled")
            raise _wrong(
                field,
                f"{shown} {said} and has no model",
                ErrorCode.DEPENDENCY_FAILED,
                f"`potstill retry {job_id}` gives a new job to name.",
            )
        if job.status != JobStatus.SUCCEEDED:
            return self._to_come(job)
        if job.model_id is None:
            raise _wrong(field, f"the model of {shown} was deleted", ErrorCode.MODEL_NOT_FOUND, "Train it again, or name another.")
        made = self._model(job.model_id, field)
        assert made.config is not None
        # The job says more of a network that transformers built than its config, of which we know the number of weights.
        told = self._to_come(job).config if made.config.of_library else None
        config = told.model_copy(update={"text": made.config.text}) if told is not None else made.config
        return Network(made.made_for, made.parameters, job.id, config, job.report)

    def _to_come(self, job: Job) -> Network:
        """What an unfinished job's network will be made for: the rows that job trains on."""
        try:
            spec = JobSpec.model_validate(job.resolved_spec)
        except ValidationError:  # written by another version; the engine will look
            return Network(None, None, job.id)
        train = self._trained_on(spec)
        if train is None:
            return Network(None, None, job.id)
        config = described_config(spec, train, vocabulary(spec, {}))
        return Network(train, config.parameters if config is not None and not train.texts else None, job.id, config)

    def _trained_on(self, spec: JobSpec) -> DataShape | None:
        if isinstance(spec.data.train, TaskSources):
            tasks = {task: self._trained_on(spec.alone(task)) for task in spec.data.tasks}
            known = {task: shape for task, shape in tasks.items() if shape is not None}
            return joined(known) if len(known) == len(tasks) else None
        rows = self.rows(spec.data.train, "train", "data.train", spec.task)
        return rows.shape if rows is not None else None


Count = TypeVar("Count", int, float)


def total(counts: Sequence[Count | None]) -> Count | None:
    """None where one of them is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def vocabulary(spec: JobSpec, networks: dict[str, Network]) -> int | None:
    """Tokens that a described student knows; of a new tokenizer at most. None where it reads by a network that is not known yet."""
    if spec.new_tokenizer is not None:
        return spec.new_tokenizer.vocabulary
    field = "tokenizer" if spec.tokenizer is not None else next(iter(members(spec.teacher)), "")
    config = networks[field].config if field in networks else None
    return config.text.vocabulary if config is not None and config.text is not None else None


def described_config(spec: JobSpec, train: DataShape, tokens: int | None) -> ModelConfig | None:
    """What a described student will be; tokens: those it knows. None where it is not described, or nobody knows how it reads."""
    described = spec.described
    if described is None or (train.texts and tokens is None):
        return None
    reading = None
    if train.texts and tokens is not None:
        longest = getattr(described, "positions", LONGEST)
        reading = Reading(texts=train.texts, vocabulary=tokens, max_length=min(spec.data.max_length or LONGEST, longest))
    return ModelConfig.of(described, spec.task, train, Scaling(), reading)


def _existing_split(asked: str | None, default: str, there: tuple[str, ...], field: str, name: str) -> str:
    split = asked or default
    if split in there:
        return split
    place = f"{field}.split" if asked else field
    listed = ", ".join(there)
    cure = (
        f"Give {{dataset: {name}, split: …}} with one of {listed}."
        if len(there) > 1
        else "Name another source, or hold rows out with data.validation."
    )
    raise _wrong(place, f"{name} has no split {split!r}; it has {listed}", ErrorCode.DOES_NOT_FIT, cure)


def _wrong(param: str, detail: str, code: str = ErrorCode.INVALID_SPEC, hint: str | None = None) -> InvalidSpec:
    return InvalidSpec(f"{param}: {detail}", code=code, param=param, hint=hint)
