"""The job spec: one model for client, API, worker and engine alike."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from contract.agreement import RULES, arm_beside
from contract.base import Metadata, Sent
from contract.export import Export
from contract.kind import JobKind
from contract.lora import Lora
from contract.networks import Ensemble, FromLayers, NewTokenizer, Student, TaskTeachers, Teacher, Tokenizer, TrainedStudent, members
from contract.refs import ModelRef
from contract.registry import TASKS, Architecture, CrossEntropy, Hinton, Recipe, RecipeName, TaskName, Term
from contract.remote import RemoteTeacher
from contract.resources import Resources
from contract.rules import SpecRule, wrong
from contract.sources import Augment, Columns, Data, Source, TaskSources
from contract.training import Evaluation, Optimizer, Schedule, Training
from contract.words import Words

TrackerName = Literal["mlflow", "tensorboard", "wandb"]
# Control characters, line separators, and the marks that turn the direction of writing: with them one name can look like another.
UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
NAME = rf"^[^{UNPRINTABLE}]+$"
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=NAME)]


class JobSpec(Sent):
    """What a job is to do."""

    version: Literal[1] = Field(default=1, description="Version of this format.")
    kind: JobKind = Field(
        strict=False,
        description="`train` a network on labels, `distill` a teacher into a student, `evaluate` a trained network, or `export` it: write "
        "it for other programs.",
    )
    name: Name | None = Field(default=None, description="What the job is called in lists; the kind when not said.")
    task: TaskName = Field(description="What is to be learned.")
    data: Data = Field(description="Rows.")
    teacher: Teacher | None = Field(default=None, description="The network to learn from, or one behind an endpoint. `distill` only.")
    student: Student = Field(
        description="The network to train: a described architecture, or a trained one to start from. An `evaluate` job measures it, an "
        "`export` job writes it."
    )
    tokenizer: Tokenizer | None = Field(
        default=None,
        description="Of a described student that reads text: {vocabulary, lowercase} for a new one, or {model | job} for that network's. "
        "Not said, it is the teacher's; without a teacher a new one.",
    )
    recipe: Recipe | None = Field(default=None, description="A named combination of losses; its name alone is enough.")
    objective: Annotated[list[Term], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description="The loss terms themselves, in place of a recipe. Without either, `distill` uses `hinton` and `train` uses "
        "`cross_entropy`.",
    )
    teacher_outputs: Literal["auto", "cached", "live", "text"] = Field(
        default="auto",
        description="cached: the teacher is asked once for every row, and jobs share its answers; live: in every step. auto: cached "
        "where rows are the same in every epoch and the whole answer can be kept; of causal-lm and seq2seq, `cached` keeps the likeliest "
        "tokens of each answer. text: what the teacher writes takes the place of the targets; of causal-lm, of each text's second half.",
    )
    teacher_top_k: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        default=None,
        description="causal-lm and seq2seq with `teacher_outputs: cached`: how many of the likeliest tokens are kept of each answer, 64 "
        "when not said, of a remote teacher 20; the mass of all others is kept as one number.",
    )
    training: Training = Field(default=Training(), description="How to train.")
    evaluation: Evaluation = Field(default=Evaluation(), description="Control arm and seeds.")
    export: Export | None = Field(default=None, description="What an `export` job writes; as by default when not said.")
    report_to: list[TrackerName] = Field(
        default=[],
        max_length=3,
        description="Where metrics, parameters and the report are mirrored: `mlflow` (the operator's), `tensorboard` and `wandb` (files "
        "of the job, or the operator's account). A run never waits for them; see [mirror a run](../how-to/mirror-a-run.md).",
    )
    resources: Resources = Field(default=Resources(), description="What a worker must have to take the job.")
    priority: int = Field(default=0, ge=-1000, le=1000, description="Higher goes first.")
    metadata: Metadata = Field(default={}, description="Your own labels; lists of jobs can be filtered by them.")

    @field_validator("recipe", mode="before", json_schema_input_type=RecipeName | Recipe | None)
    @classmethod
    def _recipe_by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("student", mode="before", json_schema_input_type=Student)
    @classmethod
    def _adapts_what_was_trained(cls, value: Any) -> Any:
        if isinstance(value, dict) and "lora" in value and "arch" in value and "init" not in value:
            raise wrong("LoRA is for networks that were trained before, by {job}, {model}, {hub} or {init}; leave this out", at=("lora",))
        return value

    @model_validator(mode="after")
    def _parts_agree(self) -> "JobSpec":
        for rule in RULES:
            rule(self)
        for i, recipe in enumerate(self.evaluation.compare):
            arm_beside(self, recipe, i)
        return self

    @property
    def terms(self) -> list[Term]:
        """The objective, recipes expanded; terms that never weigh anything do not count."""
        if self.objective is not None:
            return [term for term in self.objective if term.counts]
        if self.recipe is not None:
            return self.recipe.expand()
        return Hinton().expand() if self.kind is JobKind.DISTILL else [CrossEntropy()]

    def resolved(self) -> "JobSpec":
        """The same spec with every default written out and the recipe expanded to plain terms."""
        update = {"recipe": None, "objective": self.terms if self.kind.trains else None, "teacher_outputs": self.hears}
        return self.model_copy(update={**update, "data": self.shown, "export": self.written_as})

    @property
    def written_as(self) -> Export | None:
        """What an `export` job writes, defaults filled in; None of other jobs."""
        return (self.export or Export()) if self.kind is JobKind.EXPORT else None

    @property
    def shown(self) -> Data:
        """`data`, with the changes of rows that the recipe makes."""
        asked = {name: getattr(self.recipe, name) for name in self.recipe.SHOWS} if self.recipe is not None else {}
        before = self.data.augment or Augment()
        changes = {name: value for name in ("mixup", "words") if (value := asked.pop(name, None)) is not None and not getattr(before, name)}
        rest = {name: getattr(self.data, name) or value for name, value in asked.items()}
        augment = before.model_copy(update=changes) if changes else self.data.augment
        return self.data.model_copy(update={**rest, "augment": augment})

    @property
    def words(self) -> Words | None:
        """How rows are made by changing words; the same for all arms."""
        augment = self.shown.augment
        return augment.words if augment is not None else None

    @property
    def words_field(self) -> str:
        """Where that is said."""
        return "data.augment.words" if self.data.augment is not None and self.data.augment.words is not None else "recipe.words"

    @property
    def hears(self) -> str:
        """`teacher_outputs`, or what the recipe says of it; of a remote teacher whatever is not text is kept."""
        asked = (self.recipe.TEACHER_OUTPUTS if self.recipe is not None else None) or self.teacher_outputs
        return "cached" if asked == "auto" and isinstance(self.teacher, RemoteTeacher) else asked

    def runs(self) -> "list[Run]":
        """The job's runs, arm by arm for each seed. Runs of one seed are paired: same split, initial weights and row order."""
        found = []
        for seed in range(self.training.seed, self.training.seed + self.evaluation.seeds):
            training = self.training.model_copy(update={"seed": seed})
            alone = self.model_copy(update={"training": training, "evaluation": Evaluation(), "name": None})
            found.append(Run("student" if self.kind is JobKind.DISTILL else "model", seed, alone))
            if self.evaluation.control:
                found.append(Run("control", seed, alone.without_teacher()))
            found += [Run(arm, seed, alone.by(recipe)) for arm, recipe in self.evaluation.arms.items()]
        return found

    def by(self, recipe: Recipe) -> "JobSpec":
        """The same student, teacher, rows and budget by another recipe."""
        how = "live" if self.resources.teacher_sharded else "auto"
        changes: dict[str, Any] = {"recipe": recipe, "objective": None, "teacher_outputs": how, "teacher_top_k": None}
        if self.words is not None:
            augment = (self.data.augment or Augment()).model_copy(update={"words": self.words})
            changes["data"] = self.data.model_copy(update={"augment": augment})
        return self.model_copy(update=changes)

    def without_teacher(self) -> "JobSpec":
        """The same student trained on the labels alone, whose term then weighs 1 as in any ordinary training."""
        hard: Term = next((term for term in self.terms if isinstance(term, CrossEntropy)), CrossEntropy())
        update = {
            "kind": JobKind.TRAIN,
            "data": self.shown.model_copy(update={"on_policy": 0.0, "teacher_mixed": 0.0}),
            "teacher": None,
            "recipe": None,
            "objective": [hard.model_copy(update={"weight": 1.0, "anneal": None})],
            "teacher_outputs": "auto",
            "teacher_top_k": None,
            "resources": self.resources.untaught,
        }
        return self.model_copy(update={**update, **self._of_the_teacher()})

    def _of_the_teacher(self) -> dict[str, Any]:
        """What the student has of its teacher from the start: without it the student alone would be another network."""
        if isinstance(self.student, FromLayers) and self.student.init == "teacher":
            return {"student": self.student.model_copy(update={"init": self.teacher})}
        if TASKS[self.task].reads == "text" and self.described is not None and self.tokenizer is None:
            return {"tokenizer": self.first_teacher}
        return {}

    @property
    def lora(self) -> Lora | None:
        """How the student is adapted, where not all of it is trained."""
        return self.student.lora if isinstance(self.student, (TrainedStudent, FromLayers)) else None

    @property
    def described(self) -> Architecture | None:
        """The student's description, where it is built from one; None where it comes from another network."""
        return None if isinstance(self.student, (ModelRef, FromLayers)) else self.student

    def refs(self) -> dict[str, ModelRef]:
        """Every trained network this spec mentions, by the dotted name of the field that mentions it."""
        init = self.student.init if isinstance(self.student, FromLayers) else None
        student = self.student.network if isinstance(self.student, TrainedStudent) else None
        named: dict[str, Any] = {**members(self.teacher), "student": student, "student.init": init, "tokenizer": self.tokenizer}
        named[f"{self.words_field}.model"] = getattr(self.words, "model", None)
        return {field: value for field, value in named.items() if isinstance(value, ModelRef)}

    @property
    def first_teacher(self) -> ModelRef | None:
        """The teacher, or of several the first: by its tokenizer the student reads."""
        return next(iter(members(self.teacher).values()), None)

    @property
    def new_tokenizer(self) -> NewTokenizer | None:
        """The tokenizer to be made of the training texts; None where a described student reads by another network's."""
        if self.described is None or TASKS[self.task].reads != "text" or isinstance(self.tokenizer, ModelRef):
            return None
        return self.tokenizer or (NewTokenizer() if self.first_teacher is None else None)

    def with_refs(self, found: dict[str, ModelRef]) -> "JobSpec":
        """The same spec with some of its `refs` replaced."""
        changed = self
        for field, ref in found.items():
            if field == "student" and isinstance(self.student, TrainedStudent):
                ref = TrainedStudent(**ref.model_dump(), lora=self.student.lora)
            changed = _put(changed, field.split("."), ref)
        return changed

    def sources(self) -> dict[str, Source]:
        """Every data source this spec mentions, by dotted field."""
        found: dict[str, Source] = {}
        for field, value in (("data.train", self.data.train), ("data.test", self.data.test)):
            if isinstance(value, TaskSources):
                found |= {f"{field}.tasks.{name}": source for name, source in value.tasks.items()}
            elif value is not None:
                found[field] = value
        return found

    def alone(self, task: str) -> "JobSpec":
        """What one of several tasks would be as a job of its own, its teacher among them."""
        teacher = self.teacher.tasks[task] if isinstance(self.teacher, TaskTeachers) else self.teacher
        return self.model_copy(update={"data": self.data.of(task), "teacher": teacher})


def _put(whole: Any, place: list[str], value: Any) -> Any:
    """The same with `value` at `place`."""
    if not place:
        return value
    first, *rest = place
    if isinstance(whole, list):
        return [_put(one, rest, value) if number == int(first) else one for number, one in enumerate(whole)]
    if isinstance(whole, dict):
        return {**whole, first: _put(whole[first], rest, value)}
    return whole.model_copy(update={first: _put(getattr(whole, first), rest, value)})


class Run(NamedTuple):
    """One arm with one seed, as a spec of its own."""

    arm: str
    seed: int
    spec: JobSpec


__all__ = [
    "TASKS", "Architecture", "Columns", "Data", "Ensemble", "Export", "FromLayers", "JobKind", "JobSpec", "ModelRef", "NewTokenizer",
    "Optimizer", "RemoteTeacher", "Run", "Schedule", "Source", "SpecRule", "TaskSources", "TaskTeachers", "Training",
]  # fmt: skip
