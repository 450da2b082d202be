"""The job spec: one model for client, API, worker and engine alike."""

from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from contract.base import Metadata, Sent
from contract.networks import Ensemble, FromLayers, ModelRef, NewTokenizer, Student, Teacher, Tokenizer
from contract.registry import ARCHITECTURES, TASKS, Architecture, CrossEntropy, Hinton, LogitMse, Recipe, TaskName, Term
from contract.registry.tasks import CLASSES
from contract.rules import SpecRule, conflicting, wrong
from contract.sources import Augment, Columns, Data, Source
from contract.training import Evaluation, Optimizer, Schedule, Training

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class JobKind(StrEnum):
    TRAIN = "train"
    DISTILL = "distill"
    EVALUATE = "evaluate"


class JobSpec(Sent):
    """What a job is to do."""

    version: Literal[1] = 1
    kind: JobKind = Field(strict=False)
    name: Name | None = None
    task: TaskName
    data: Data
    teacher: Teacher | None = None
    student: Student
    tokenizer: Tokenizer | None = Field(
        default=None,
        description="Of a described student that reads text: {vocabulary, lowercase} for a new one, or {model | job} for that network's. "
        "Not said, it is the teacher's; without a teacher a new one.",
    )
    recipe: Recipe | None = None
    objective: Annotated[list[Term], Field(min_length=1, max_length=32)] | None = None
    teacher_outputs: Literal["auto", "cached", "live", "text"] = Field(
        default="auto",
        description="cached: the teacher is asked once for every row, and jobs share its answers; live: in every step. auto: cached "
        "where rows are the same in every epoch and the whole answer can be kept; of a causal-lm, `cached` keeps the likeliest tokens. "
        "text: seq2seq, what the teacher writes takes the place of the targets.",
    )
    teacher_top_k: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        default=None,
        description="causal-lm with `teacher_outputs: cached`: how many of the likeliest tokens are kept of each answer, 64 when not said; "
        "the mass of all others is kept as one number.",
    )
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
        for rule in RULES:
            rule(self)
        for i, recipe in enumerate(self.evaluation.compare):
            _arm_beside(self, recipe, i)
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
        update = {"recipe": None, "objective": None if self.kind is JobKind.EVALUATE else self.terms, "teacher_outputs": self.hears}
        return self.model_copy(update={**update, "data": self.shown})

    @property
    def shown(self) -> Data:
        """`data`, with the changes of rows that the recipe makes."""
        asked, before = self.recipe.SHOWS if self.recipe is not None else None, self.data.augment or Augment()
        if asked == "mixup" and before.mixup is None:
            return self.data.model_copy(update={"augment": before.model_copy(update={"mixup": getattr(self.recipe, asked)})})
        if asked == "on_policy" and not self.data.on_policy:
            return self.data.model_copy(update={"on_policy": getattr(self.recipe, asked)})
        return self.data

    @property
    def hears(self) -> str:
        """`teacher_outputs`, or what the recipe says of it."""
        return (self.recipe.TEACHER_OUTPUTS if self.recipe is not None else None) or self.teacher_outputs

    def runs(self) -> "list[Run]":
        """The job's runs, arm by arm for each seed. Runs of one seed are paired: same split, initial weights and row order."""
        found = []
        for seed in range(self.training.seed, self.training.seed + self.evaluation.seeds):
            training = self.training.model_copy(update={"seed": seed})
            alone = self.model_copy(update={"training": training, "evaluation": Evaluation(), "name": None})
            found.append(Run("student" if self.kind is JobKind.DISTILL else "model", seed, alone))
            if self.evaluation.control:
                found.append(Run("control", seed, alone._without_teacher()))
            found += [Run(arm, seed, alone._by(recipe)) for arm, recipe in self.evaluation.arms.items()]
        return found

    def _by(self, recipe: Recipe) -> "JobSpec":
        """The same student, teacher and budget by another recipe."""
        return self.model_copy(update={"recipe": recipe, "objective": None, "teacher_outputs": "auto", "teacher_top_k": None})

    def _without_teacher(self) -> "JobSpec":
        """The same student trained on the labels alone, whose term then weighs 1 as in any ordinary training."""
        hard: Term = next((term for term in self.terms if isinstance(term, CrossEntropy)), CrossEntropy())
        update = {
            "kind": JobKind.TRAIN,
            "data": self.shown.model_copy(update={"on_policy": 0.0}),
            "teacher": None,
            "recipe": None,
            "objective": [hard.model_copy(update={"weight": 1.0, "anneal": None})],
            "teacher_outputs": "auto",
            "teacher_top_k": None,
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
    def described(self) -> Architecture | None:
        """The student's description, where it is built from one; None where it comes from another network."""
        return None if isinstance(self.student, (ModelRef, FromLayers)) else self.student

    def refs(self) -> dict[str, ModelRef]:
        """Every trained network this spec mentions, by the dotted name of the field that mentions it."""
        init = self.student.init if isinstance(self.student, FromLayers) else None
        several = self.teacher.ensemble if isinstance(self.teacher, Ensemble) else []
        named: dict[str, Any] = {f"teacher.ensemble.{i}": member for i, member in enumerate(several)} or {"teacher": self.teacher}
        named |= {"student": self.student, "student.init": init, "tokenizer": self.tokenizer}
        return {field: value for field, value in named.items() if isinstance(value, ModelRef)}

    @property
    def first_teacher(self) -> ModelRef | None:
        """The teacher, or of several the first: they read by one tokenizer."""
        return self.teacher.ensemble[0] if isinstance(self.teacher, Ensemble) else self.teacher

    def with_refs(self, found: dict[str, ModelRef]) -> "JobSpec":
        """The same spec with some of its `refs` replaced."""
        update: dict[str, Any] = {field: ref for field, ref in found.items() if "." not in field}
        if isinstance(self.teacher, Ensemble):
            members = [found.get(f"teacher.ensemble.{i}", member) for i, member in enumerate(self.teacher.ensemble)]
            update["teacher"] = self.teacher.model_copy(update={"ensemble": members})
        if "student.init" in found:
            update["student"] = self.student.model_copy(update={"init": found["student.init"]})
        return self.model_copy(update=update)

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
    if spec.teacher_outputs != "auto":
        raise wrong(f"a {spec.kind} job has no teacher to ask; leave this out", at=("teacher_outputs",))
    if spec.recipe is not None:
        raise wrong(f"a {spec.kind} job has no teacher to follow; use kind: distill, or leave this out", at=("recipe",))
    for i, term in enumerate(spec.objective or []):
        if term.NEEDS_TEACHER:
            raise wrong(f"{term.loss} needs a teacher; use kind: distill, or another loss", at=("objective", i, "loss"))


def _teachers_that_can_be_one(spec: JobSpec) -> None:
    if not isinstance(spec.teacher, Ensemble):
        return
    if spec.task not in CLASSES:
        raise wrong(f"several teachers are heard of classes of rows, not of {spec.task}; name one", at=("teacher", "ensemble"))
    if isinstance(spec.student, FromLayers) and spec.student.init == "teacher":
        raise wrong("there are several teachers; name the network: {job: job_…} or {model: mdl_…}", at=("student", "init"))
    for i, term in enumerate(spec.terms):
        if term.SEES != "logits":
            place = ("objective", i, "loss") if spec.objective is not None else ("recipe", "name")
            raise wrong(f"{term.loss} looks inside the teacher, and there are several; name one", at=place)


def _student_to_train(spec: JobSpec) -> None:
    if spec.kind is JobKind.EVALUATE and not isinstance(spec.student, ModelRef):
        raise wrong("an evaluate job measures a trained model: {job: job_…} or {model: mdl_…}", at=("student",))


def _arm_beside(spec: JobSpec, recipe: Recipe, i: int) -> None:
    place = ("evaluation", "compare", i)
    if spec.kind is not JobKind.DISTILL:
        raise wrong(f"a {spec.kind} job has no teacher to follow; recipes are compared by kind: distill", at=place)
    if recipe.SEVERAL_JOBS:
        raise wrong(f"{recipe.name} is several jobs and no arm of one; submit it beside this job", at=place)
    if spec.recipe is not None and spec.recipe.SEVERAL_JOBS:
        raise wrong(f"{spec.recipe.name} is several jobs, and arms would be the last one's; submit them beside this job", at=place)
    try:
        for rule in RULES:
            rule(spec._by(recipe))
    except SpecRule as error:
        raise wrong(f"{recipe.name}: {(error.context or {})['said']}", at=place) from None


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


def _texts_of_its_own(spec: JobSpec) -> None:
    place = ("data", "on_policy") if spec.data.on_policy else ("recipe", "name")
    if spec.task != "causal-lm":
        raise wrong(f"students of causal-lm write texts of their own, not those of {spec.task}; leave this out", at=place)
    if spec.kind is not JobKind.DISTILL:
        raise wrong(f"a {spec.kind} job has no teacher to hear on them; leave this out", at=place)
    if spec.teacher_outputs == "cached":
        raise wrong("what the student writes is new every time, so the teacher must see it live; leave this out", at=("teacher_outputs",))
    if not any(term.NEEDS_TEACHER for term in spec.terms):
        raise wrong("no term hears the teacher, and what the student writes has no labels; leave this out", at=place)


def _rows_to_change(spec: JobSpec) -> None:
    if spec.shown.on_policy:
        _texts_of_its_own(spec)
    changes = spec.shown.augment
    if changes is None:
        return
    if spec.teacher_outputs == "cached":
        raise wrong("changed rows differ every time, so the teacher must see them live; leave this out", at=("teacher_outputs",))
    if (changes.crop or changes.flip) and spec.task != "image-classification":
        raise wrong("crops and flips are for images; leave this out", at=("data", "augment"))
    if changes.mixup is not None and spec.task not in CLASSES:
        raise wrong(f"rows with one class can be mixed, not those of {spec.task}; leave this out", at=("data", "augment", "mixup"))


def _text_where_read(spec: JobSpec) -> None:
    reads, described = TASKS[spec.task].reads, spec.described
    if described is not None and spec.task not in described.SERVES:
        fitting = ", ".join(found.key() for found in ARCHITECTURES if spec.task in found.SERVES)
        raise wrong(f"{described.arch} is not made for {spec.task}; for that there are {fitting}", at=("student", "arch"))
    if isinstance(spec.student, FromLayers) and spec.student.init == "teacher" and spec.teacher is None:
        raise wrong(f"a {spec.kind} job has no teacher; name the network: {{job: job_…}} or {{model: mdl_…}}", at=("student", "init"))
    if spec.tokenizer is not None and described is None:
        raise wrong("a trained network has a tokenizer of its own; leave this out", at=("tokenizer",))
    for name, source in spec.sources().items():
        for column, belongs in (("text", "text"), ("text_pair", "text"), ("features", "numbers")):
            if getattr(source.columns, column) is not None and reads != belongs:
                raise wrong(f"{spec.task} reads {reads}; leave this out", at=(*name.split("."), "columns", column))
    if reads != "text":
        for place, value in ((("tokenizer",), spec.tokenizer), (("data", "max_length"), spec.data.max_length)):
            if value is not None:
                raise wrong(f"{spec.task} reads no text; leave this out", at=place)
        if isinstance(spec.student, FromLayers):
            raise wrong("taking layers is for transformers; describe the student by `arch`, or name a trained one", at=("student", "init"))


def _layers_to_compute_again(spec: JobSpec) -> None:
    if spec.training.gradient_checkpointing and spec.described is not None and not spec.described.LAYERED:
        raise wrong(f"{spec.described.arch} has no layers to compute again; leave this out", at=("training", "gradient_checkpointing"))


def _terms_of_kept_tokens(spec: JobSpec) -> None:
    if spec.objective is None and any(isinstance(term, LogitMse) for term in spec.terms):
        raise wrong("of kept tokens only probabilities are known; use kl, or teacher_outputs: live", at=("recipe", "name"))
    for i, term in enumerate(spec.objective or []):
        if isinstance(term, LogitMse):
            raise wrong("of kept tokens only probabilities are known; use kl, or teacher_outputs: live", at=("objective", i, "loss"))
        if term.anneal is not None and term.anneal.temperature is not None:
            place = ("objective", i, "anneal", "temperature")
            raise wrong("outputs are kept for temperatures that stay; use teacher_outputs: live", at=place)


def _losses_of_the_task(spec: JobSpec) -> None:
    if spec.recipe is not None and spec.recipe.ONLY_FOR and spec.task not in spec.recipe.ONLY_FOR:
        raise wrong(f"{spec.recipe.name} is for {' and '.join(spec.recipe.ONLY_FOR)}, not {spec.task}", at=("recipe", "name"))
    for i, term in enumerate(spec.objective or []):
        if term.ONLY_FOR and spec.task not in term.ONLY_FOR:
            raise wrong(f"{term.loss} is for {' and '.join(term.ONLY_FOR)}, not {spec.task}", at=("objective", i, "loss"))
    if spec.data.mask_probability is not None and spec.task != "masked-lm":
        raise wrong(f"{spec.task} masks nothing; leave this out", at=("data", "mask_probability"))
    demanded = spec.recipe.TEACHER_OUTPUTS if spec.recipe is not None else None
    if demanded is not None and spec.teacher_outputs not in ("auto", demanded):
        raise wrong(f"with this recipe it is {demanded}; leave this out", at=("teacher_outputs",))
    if spec.hears == "text" and spec.task != "seq2seq":
        raise wrong(f"a teacher of {spec.task} writes no texts; leave this out", at=("teacher_outputs",))
    if spec.hears == "text" and any(term.NEEDS_TEACHER for term in spec.terms):
        raise wrong("what the teacher writes has no logits to compare with; use cross_entropy, or leave this out", at=("teacher_outputs",))
    if spec.teacher_outputs == "cached" and TASKS[spec.task].answers == "text":
        raise wrong(f"of {spec.task} the teacher's outputs are not kept; leave this out", at=("teacher_outputs",))
    for i, term in enumerate(spec.objective or []):
        if TASKS[spec.task].answers == "span" and isinstance(term, CrossEntropy) and term.label_smoothing:
            raise wrong("there is no place to spread to outside the text; leave this out", at=("objective", i, "label_smoothing"))
    if spec.teacher_outputs == "cached" and spec.task == "masked-lm":
        raise wrong("masks are new in every epoch, so the teacher must see them live; leave this out", at=("teacher_outputs",))
    if spec.teacher_outputs == "cached" and any(term.SEES != "logits" for term in spec.terms):
        raise wrong("a term looks inside the teacher, of which nothing is kept; leave this out", at=("teacher_outputs",))
    if spec.teacher_outputs == "cached" and spec.task == "causal-lm":
        _terms_of_kept_tokens(spec)
    if spec.teacher_top_k is not None and (spec.task, spec.teacher_outputs) != ("causal-lm", "cached"):
        raise wrong("this goes with causal-lm and `teacher_outputs: cached`; leave it out", at=("teacher_top_k",))
    for name, source in spec.sources().items():
        if TASKS[spec.task].answers == "tokens" and (source.columns.label or source.columns.text_pair):
            column = "label" if source.columns.label else "text_pair"
            raise wrong(f"{spec.task} reads one text and predicts its tokens; leave this out", at=(*name.split("."), "columns", column))
    early = spec.training.early_stopping
    if early is not None and early.metric == "accuracy" and not TASKS[spec.task].labelled:
        raise wrong(f"{spec.task} is judged by its loss; say metric: loss", at=("training", "early_stopping", "metric"))


RULES = (
    _one_objective, _teacher_where_needed, _teachers_that_can_be_one, _student_to_train, _validation_for_early_stopping,
    _runs_that_make_sense, _rows_to_change, _text_where_read, _layers_to_compute_again, _losses_of_the_task,
)  # fmt: skip


class Run(NamedTuple):
    """One arm with one seed, as a spec of its own."""

    arm: str
    seed: int
    spec: JobSpec


__all__ = [
    "TASKS", "Architecture", "Columns", "Data", "Ensemble", "FromLayers", "JobKind", "JobSpec", "ModelRef", "NewTokenizer", "Optimizer",
    "Run", "Schedule", "Source", "SpecRule", "Training",
]  # fmt: skip
