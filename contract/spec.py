"""The job spec: one model for client, API, worker and engine alike."""

from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from contract.base import Metadata, Sent
from contract.registry import TASKS, Architecture, CrossEntropy, Hinton, Recipe, Term
from contract.rules import SpecRule, conflicting, wrong

JobRef = Annotated[str, Field(pattern=r"^(job_[0-9a-f]{32}|@[^\s@]{1,100})$", description="A job's id, or @name inside a batch.")]
ModelId = Annotated[str, Field(pattern=r"^mdl_[0-9a-f]{32}$")]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
LocalPath = Annotated[str, Field(min_length=1, max_length=4096, description="A path on this machine; only for the engine alone.")]


class JobKind(StrEnum):
    TRAIN = "train"
    DISTILL = "distill"
    EVALUATE = "evaluate"


class Columns(Sent):
    """Which columns of a table to use."""

    label: str | None = Field(default=None, description="The column with the class; `label` (or `y`) when not said.")
    features: list[str] | None = Field(default=None, min_length=1, description="The columns to learn from; all others when not said.")


class Source(Sent):
    """Where rows come from: an uploaded dataset, a built-in one or (engine alone) a file."""

    dataset: Annotated[str, Field(pattern=r"^(ds_[0-9a-f]{32}|[a-z][a-z0-9_-]{0,63})$")] | None = None
    path: LocalPath | None = None
    split: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    columns: Columns = Columns()

    @model_validator(mode="after")
    def _one_place(self) -> "Source":
        if (self.dataset is None) == (self.path is None):
            raise wrong("give exactly one of `dataset` (ds_… or a built-in name) and `path` (engine alone)")
        return self


def _source(value: Any) -> Any:
    return {"dataset": value} if isinstance(value, str) else value


class Augment(Sent):
    """Random changes to each training image each time it is seen. The teacher then sees the changed images too, live."""

    crop: int = Field(default=0, ge=0, le=64, description="Shift by up to this many pixels in each direction, zeros moving in.")
    flip: bool = Field(default=False, description="Mirror left and right, one time in two.")


class Data(Sent):
    """The rows to train, validate and test on."""

    train: Source = Field(description="A built-in name, ds_…, or {dataset, split, columns}.")
    validation: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None, description="Share of the training rows held out: the last of a shuffle that does not depend on the seed."
    )
    test: Source | None = Field(
        default=None, description="Like train. When not said: the train source's test split, else the validation rows."
    )
    max_train_samples: Annotated[int, Field(ge=1, le=10**9)] | None = Field(default=None, description="Take only the first N rows.")
    augment: Augment | None = Field(default=None, description="Random crops and flips of the training images.")

    _short = field_validator("train", "test", mode="before")(_source)


class ModelRef(Sent):
    """A trained network: the product of a job, a registered model or (engine alone) a folder."""

    job: JobRef | None = None
    model: ModelId | None = None
    path: LocalPath | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "ModelRef":
        if sum(value is not None for value in (self.job, self.model, self.path)) != 1:
            raise wrong("give exactly one of `job` (job_…), `model` (mdl_…) and `path` (engine alone)")
        return self


def _student_form(value: Any) -> str:
    if isinstance(value, dict):
        return "described" if "arch" in value else "trained"
    return "trained" if isinstance(value, ModelRef) else "described"


Student = Annotated[Annotated[Architecture, Tag("described")] | Annotated[ModelRef, Tag("trained")], Discriminator(_student_form)]


class Optimizer(Sent):
    name: Literal["adam", "adamw", "sgd"] = Field(default="adam", description="Adam (2014), AdamW (2017) or SGD.")
    lr: float = Field(default=1e-3, gt=0, le=1e6, description="Learning rate after warm-up.")
    weight_decay: float = Field(default=0.0, ge=0, le=1e3)
    momentum: float | None = Field(default=None, ge=0, lt=1, description="SGD only; 0.9 when not said.")

    @model_validator(mode="after")
    def _momentum_is_sgds(self) -> "Optimizer":
        if self.momentum is not None and self.name != "sgd":
            raise wrong(f"`momentum` belongs to sgd; {self.name} has its own", at=("momentum",))
        return self


class Schedule(Sent):
    name: Literal["constant", "linear", "cosine"] = Field(default="constant", description="linear and cosine fall to zero at the end.")
    warmup: float = Field(default=0, ge=0, le=1e9, description="Below 1: share of all steps; from 1: number of steps.")


class Keep(Sent):
    last: int = Field(default=2, ge=1, le=1000, description="Newest checkpoints kept.")
    best: int = Field(default=1, ge=0, le=1000, description="Best checkpoints by validation metric kept besides.")


class EarlyStopping(Sent):
    patience: int = Field(default=3, ge=1, le=100_000, description="Epochs without improvement before stopping.")
    min_delta: float = Field(default=0.0, ge=0, le=1e6)
    metric: Literal["accuracy", "loss"] = "accuracy"


class Training(Sent):
    epochs: int = Field(default=10, ge=1, le=1_000_000)
    batch_size: int = Field(default=64, ge=1, le=1_048_576, description="Rows per optimisation step; the last of an epoch may be smaller.")
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    seed: int = Field(default=42, ge=0, lt=2**31)
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 autocast on CUDA, fp32 on CPU.")
    clip_norm: Annotated[float, Field(gt=0, le=1e6)] | None = Field(default=None, description="Largest norm of the whole gradient.")
    checkpoint_every_seconds: float = Field(default=300, ge=0, le=86_400, description="0: after every step.")
    keep: Keep = Keep()
    early_stopping: EarlyStopping | None = Field(default=None, description="Needs data.validation; the best epoch's weights are kept.")


class Evaluation(Sent):
    control: bool = Field(default=False, description="Train the same student alone beside it: same weights, order and budget, no teacher.")
    seeds: int = Field(default=1, ge=1, le=100, description="Repeats with training.seed … + N − 1.")


class JobSpec(Sent):
    """What a job is to do."""

    version: Literal[1] = 1
    kind: JobKind = Field(strict=False)
    name: Name | None = None
    task: Literal["image-classification", "tabular-classification"]
    data: Data
    teacher: ModelRef | None = None
    student: Student
    recipe: Recipe | None = None
    objective: Annotated[list[Term], Field(min_length=1, max_length=32)] | None = None
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    priority: int = Field(default=0, ge=-1000, le=1000, description="Higher goes first.")
    metadata: Metadata = Field(default={})

    @field_validator("recipe", mode="before")
    @classmethod
    def _recipe_by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _parts_agree(self) -> "JobSpec":
        for rule in (
            _one_objective,
            _teacher_where_needed,
            _student_to_train,
            _validation_for_early_stopping,
            _runs_that_make_sense,
            _images_to_augment,
        ):
            rule(self)
        return self

    @property
    def terms(self) -> list[Term]:
        """The objective, recipes expanded; terms of weight zero do not count."""
        if self.objective is not None:
            return [term for term in self.objective if term.weight > 0]
        if self.recipe is not None:
            return self.recipe.expand()
        return Hinton().expand() if self.kind is JobKind.DISTILL else [CrossEntropy()]

    def resolved(self) -> "JobSpec":
        """The same spec with every default written out and the recipe expanded to plain terms."""
        return self.model_copy(update={"recipe": None, "objective": None if self.kind is JobKind.EVALUATE else self.terms})

    def runs(self) -> "list[Run]":
        """The job's runs, arm by arm for each seed. Runs of one seed are paired: same split, initial weights and row order."""
        found = []
        for seed in range(self.training.seed, self.training.seed + self.evaluation.seeds):
            training = self.training.model_copy(update={"seed": seed})
            alone = self.model_copy(update={"training": training, "evaluation": Evaluation(), "name": None})
            found.append(Run("student" if self.kind is JobKind.DISTILL else "model", seed, alone))
            if self.evaluation.control:
                found.append(Run("control", seed, alone._without_teacher()))
        return found

    def _without_teacher(self) -> "JobSpec":
        """The same student trained on the labels alone, whose term then weighs 1 as in any ordinary training."""
        hard = next((term for term in self.terms if isinstance(term, CrossEntropy)), CrossEntropy())
        update = {"kind": JobKind.TRAIN, "teacher": None, "recipe": None, "objective": [hard.model_copy(update={"weight": 1.0})]}
        return self.model_copy(update=update)

    def refs(self) -> dict[str, ModelRef]:
        """Every trained network this spec mentions, by the dotted name of the field that mentions it."""
        named = {"teacher": self.teacher, "student": self.student}
        return {field: value for field, value in named.items() if isinstance(value, ModelRef)}

    def sources(self) -> dict[str, Source]:
        """Every data source this spec mentions, by dotted field."""
        named = {"data.train": self.data.train, "data.test": self.data.test}
        return {field: value for field, value in named.items() if value is not None}


def _one_objective(spec: JobSpec) -> None:
    if spec.recipe is not None and spec.objective is not None:
        raise conflicting("recipe", "objective", "keep `recipe` for a named method or `objective` for your own terms, not both")
    if spec.kind is JobKind.EVALUATE and (spec.recipe or spec.objective):
        raise wrong("an evaluate job trains nothing; leave this out", at=("recipe" if spec.recipe else "objective",))
    if spec.objective is not None and not spec.terms:
        raise wrong("every term has weight 0: nothing would be learned", at=("objective",))


def _teacher_where_needed(spec: JobSpec) -> None:
    if spec.kind is JobKind.DISTILL:
        if spec.teacher is None:
            raise wrong("a distill job needs a teacher: {job: job_…} or {model: mdl_…}", at=("teacher",))
        return
    if spec.teacher is not None:
        raise wrong(f"a {spec.kind} job has no teacher; use kind: distill, or leave this out", at=("teacher",))
    if spec.recipe is not None:
        raise wrong(f"a {spec.kind} job has no teacher to follow; use kind: distill, or leave this out", at=("recipe",))
    for i, term in enumerate(spec.objective or []):
        if term.NEEDS_TEACHER:
            raise wrong(f"{term.loss} needs a teacher; use kind: distill, or another loss", at=("objective", i, "loss"))


def _student_to_train(spec: JobSpec) -> None:
    if spec.kind is JobKind.EVALUATE and not isinstance(spec.student, ModelRef):
        raise wrong("an evaluate job measures a trained model: {job: job_…} or {model: mdl_…}", at=("student",))


def _validation_for_early_stopping(spec: JobSpec) -> None:
    if spec.training.early_stopping is not None and not spec.data.validation:
        raise wrong("early stopping watches validation rows: set data.validation, for example 0.1", at=("data", "validation"))


def _runs_that_make_sense(spec: JobSpec) -> None:
    if spec.evaluation.control and spec.kind is not JobKind.DISTILL:
        raise wrong(f"a {spec.kind} job has no teacher to leave out; control belongs to distill", at=("evaluation", "control"))
    if spec.evaluation.seeds > 1 and spec.kind is JobKind.EVALUATE:
        raise wrong("measuring the same model again gives the same figures; leave seeds at 1", at=("evaluation", "seeds"))
    if spec.training.seed + spec.evaluation.seeds > 2**31:
        raise wrong("training.seed + evaluation.seeds goes past the largest seed, 2147483647", at=("training", "seed"))


def _images_to_augment(spec: JobSpec) -> None:
    if spec.data.augment is not None and spec.task != "image-classification":
        raise wrong("crops and flips are for images; leave this out", at=("data", "augment"))


class Run(NamedTuple):
    """One arm with one seed, as a spec of its own."""

    arm: str
    seed: int
    spec: JobSpec


__all__ = ["TASKS", "Columns", "Data", "JobKind", "JobSpec", "ModelRef", "Run", "Source", "SpecRule", "Training"]
