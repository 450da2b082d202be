"""Which fields of a spec go together: one rule for each question, every refusal at the field to change."""

from typing import TYPE_CHECKING

from contract.export import unwritable
from contract.kind import JobKind
from contract.networks import Ensemble, FromLayers, TaskTeachers
from contract.refs import ModelRef
from contract.registry import ARCHITECTURES, TASKS, CrossEntropy, LogitMse, Recipe
from contract.registry.tasks import CLASSES, WRITES
from contract.remote import REMOTE_RULES
from contract.rules import SpecRule, conflicting, wrong
from contract.tasks import TASK_RULES

if TYPE_CHECKING:
    from contract.spec import JobSpec


def _one_objective(spec: "JobSpec") -> None:
    if spec.recipe is not None and spec.objective is not None:
        raise conflicting("recipe", "objective", "keep `recipe` for a named method or `objective` for your own terms, not both")
    if not spec.kind.trains and (spec.recipe or spec.objective):
        raise wrong(f"{spec.kind.a} job trains nothing; leave this out", at=("recipe" if spec.recipe else "objective",))
    if spec.objective is not None and not spec.terms:
        raise wrong("every term has weight 0: nothing would be learned", at=("objective",))


def _teacher_where_needed(spec: "JobSpec") -> None:
    if spec.kind is JobKind.DISTILL:
        brought = spec.recipe if spec.recipe is not None and spec.recipe.OWN_TEACHER else None
        if brought is not None and spec.teacher is not None:
            raise wrong(f"{brought.name} makes its teacher itself; leave this out, or use another recipe", at=("teacher",))
        if brought is None and spec.teacher is None:
            raise wrong("a distill job needs a teacher: {job: job_…} or {model: mdl_…}", at=("teacher",))
        return
    if spec.teacher is not None:
        raise wrong(f"{spec.kind.a} job has no teacher; use kind: distill, or leave this out", at=("teacher",))
    if spec.teacher_outputs != "auto":
        raise wrong(f"{spec.kind.a} job has no teacher to ask; leave this out", at=("teacher_outputs",))
    if spec.recipe is not None:
        raise wrong(f"{spec.kind.a} job has no teacher to follow; use kind: distill, or leave this out", at=("recipe",))
    for i, term in enumerate(spec.objective or []):
        if term.NEEDS_TEACHER:
            raise wrong(f"{term.loss} needs a teacher; use kind: distill, or another loss", at=("objective", i, "loss"))


def _teachers_that_can_be_one(spec: "JobSpec") -> None:
    if not isinstance(spec.teacher, Ensemble) and spec.recipe is not None and spec.recipe.SEVERAL_TEACHERS:
        raise wrong(f"{spec.recipe.name} needs several: {{ensemble: [{{job: job_…}}, {{job: job_…}}]}}", at=("teacher",))
    if not isinstance(spec.teacher, (Ensemble, TaskTeachers)):
        return
    if isinstance(spec.teacher, Ensemble) and spec.task not in CLASSES:
        raise wrong(f"several teachers are heard of classes of rows, not of {spec.task}; name one", at=("teacher", "ensemble"))
    if isinstance(spec.student, FromLayers) and spec.student.init == "teacher":
        raise wrong("there are several teachers; name the network: {job: job_…} or {model: mdl_…}", at=("student", "init"))
    for i, term in enumerate(spec.terms):
        if term.SEES != "logits":
            place = ("objective", i, "loss") if spec.objective is not None else ("recipe", "name")
            raise wrong(f"{term.loss} looks inside the teacher, and there are several; name one", at=place)


def _student_to_train(spec: "JobSpec") -> None:
    if not spec.kind.trains and not isinstance(spec.student, ModelRef):
        does = "measures" if spec.kind is JobKind.EVALUATE else "writes"
        raise wrong(f"{spec.kind.a} job {does} a trained model: {{job: job_…}} or {{model: mdl_…}}", at=("student",))


def _adapters(spec: "JobSpec") -> None:
    if spec.lora is None:
        return
    if not spec.kind.trains:
        raise wrong(f"{spec.kind.a} job trains nothing; leave this out", at=("student", "lora"))
    if TASKS[spec.task].reads != "text":
        raise wrong(f"LoRA is for transformers, which {spec.task} has none of; leave this out", at=("student", "lora"))
    if spec.resources.sharded:
        raise wrong("a student of which little is trained is not divided among devices; leave this out", at=("resources", "sharded"))


def _what_is_written(spec: "JobSpec") -> None:
    if spec.kind is not JobKind.EXPORT:
        if spec.export is not None:
            raise wrong(f"{spec.kind.a} job writes its network in one format; use kind: export, or leave this out", at=("export",))
        return
    found = unwritable(spec.task, None)
    if found is not None:
        raise wrong(f"{found[0]}; {found[1][0].lower()}{found[1][1:].rstrip('.')}", at=("task",))


def arm_beside(spec: "JobSpec", recipe: Recipe, i: int) -> None:
    place = ("evaluation", "compare", i)
    if spec.kind is not JobKind.DISTILL:
        raise wrong(f"{spec.kind.a} job has no teacher to follow; recipes are compared by kind: distill", at=place)
    if recipe.SEVERAL_JOBS:
        raise wrong(f"{recipe.name} is several jobs and no arm of one; submit it beside this job", at=place)
    if getattr(recipe, "words", None) is not None:
        raise wrong("all arms learn from the same rows; say this under data.augment, for all of them", at=(*place, "words"))
    if spec.recipe is not None and spec.recipe.SEVERAL_JOBS:
        raise wrong(f"{spec.recipe.name} is several jobs, and arms would be the last one's; submit them beside this job", at=place)
    try:
        for rule in RULES:
            rule(spec.by(recipe))
    except SpecRule as error:
        raise wrong(f"{recipe.name}: {(error.context or {})['said']}", at=place) from None


def _validation_for_early_stopping(spec: "JobSpec") -> None:
    if spec.training.early_stopping is not None and not spec.data.validation:
        raise wrong("early stopping watches validation rows: set data.validation, for example 0.1", at=("data", "validation"))


def _teacher_to_divide(spec: "JobSpec") -> None:
    at = ("resources", "teacher_sharded")
    if spec.kind is not JobKind.DISTILL:
        raise wrong(f"{spec.kind.a} job has no teacher to divide; leave this out", at=at)
    if not isinstance(spec.teacher, ModelRef):
        raise wrong("one teacher that is a trained model can be divided; leave this out", at=at)
    if spec.resources.devices == 1:
        raise wrong("one device has nobody to divide the teacher with; set resources.devices", at=at)
    if spec.teacher_outputs != "live":
        raise wrong("outputs that are kept are made by a whole teacher, before the student learns; set teacher_outputs: live", at=at)
    if spec.shown.on_policy:
        raise wrong("a teacher that reads what the student writes must be whole on each device; leave this out", at=at)


def _runs_that_make_sense(spec: "JobSpec") -> None:
    if spec.evaluation.control and spec.kind is not JobKind.DISTILL:
        raise wrong(f"{spec.kind.a} job has no teacher to leave out; control belongs to distill", at=("evaluation", "control"))
    if spec.resources.devices > 1 and not spec.kind.trains:
        raise wrong(f"{spec.kind.a} job trains nothing that devices could share; leave this out", at=("resources", "devices"))
    if spec.resources.sharded and spec.resources.devices == 1:
        raise wrong("one device has nobody to divide the student with; set resources.devices", at=("resources", "sharded"))
    if spec.resources.sharded and spec.shown.on_policy:
        raise wrong("a student that writes texts of its own must be whole on each device; leave this out", at=("resources", "sharded"))
    if spec.resources.teacher_sharded:
        _teacher_to_divide(spec)
    if spec.evaluation.seeds > 1 and not spec.kind.trains:
        raise wrong("measuring the same model again gives the same figures; leave seeds at 1", at=("evaluation", "seeds"))
    if spec.training.seed + spec.evaluation.seeds > 2**31:
        raise wrong("training.seed + evaluation.seeds goes past the largest seed, 2147483647", at=("training", "seed"))


def _texts_of_its_own(spec: "JobSpec") -> None:
    place = ("data", "on_policy") if spec.data.on_policy else ("recipe", "name")
    if spec.task != "causal-lm":
        raise wrong(f"students of causal-lm write texts of their own, not those of {spec.task}; leave this out", at=place)
    if spec.kind is not JobKind.DISTILL:
        raise wrong(f"{spec.kind.a} job has no teacher to hear on them; leave this out", at=place)
    if spec.teacher_outputs == "cached":
        raise wrong("what the student writes is new every time, so the teacher must see it live; leave this out", at=("teacher_outputs",))
    if not any(term.NEEDS_TEACHER for term in spec.terms):
        raise wrong("no term hears the teacher, and what the student writes has no labels; leave this out", at=place)


def _rows_to_change(spec: "JobSpec") -> None:
    if spec.shown.on_policy:
        _texts_of_its_own(spec)
    elif spec.data.teacher_mixed:
        raise wrong(
            "it goes with data.on_policy, without which nothing is drawn; set that, or leave this out", at=("data", "teacher_mixed")
        )
    for i, term in enumerate(spec.objective or []):
        if term.OF_DRAWN and not spec.shown.on_policy:
            raise wrong(f"{term.loss} is of what the student writes itself; set data.on_policy", at=("objective", i, "loss"))
    changes = spec.shown.augment
    if changes is None:
        return
    if changes.words is not None:
        _words_to_change(spec)
    if changes.anew and spec.teacher_outputs == "cached":
        raise wrong("changed rows differ every time, so the teacher must see them live; leave this out", at=("teacher_outputs",))
    if (changes.crop or changes.flip) and spec.task != "image-classification":
        raise wrong("crops and flips are for images; leave this out", at=("data", "augment"))
    if changes.mixup is not None and spec.task not in CLASSES:
        raise wrong(f"rows with one class can be mixed, not those of {spec.task}; leave this out", at=("data", "augment", "mixup"))


def _words_to_change(spec: "JobSpec") -> None:
    if getattr(spec.recipe, "words", None) is not None and spec.words_field != "recipe.words":
        raise conflicting("data.augment.words", "recipe.words", "keep one of them")
    place = tuple(spec.words_field.split("."))
    if spec.task != "text-classification":
        raise wrong(f"rows are made of texts that have a class, not of those of {spec.task}; leave this out", at=place)
    if not spec.kind.trains:
        raise wrong(f"{spec.kind.a} job trains nothing; leave this out", at=place)


def _text_where_read(spec: "JobSpec") -> None:
    reads, described = TASKS[spec.task].reads, spec.described
    if described is not None and spec.task not in described.SERVES:
        fitting = ", ".join(found.key() for found in ARCHITECTURES if spec.task in found.SERVES)
        raise wrong(f"{described.arch} is not made for {spec.task}; for that there are {fitting}", at=("student", "arch"))
    if isinstance(spec.student, FromLayers) and spec.student.init == "teacher" and spec.teacher is None:
        raise wrong("there is no teacher to take layers from; name the network: {job: job_…} or {model: mdl_…}", at=("student", "init"))
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


def _layers_to_compute_again(spec: "JobSpec") -> None:
    if spec.training.gradient_checkpointing and spec.described is not None and not spec.described.LAYERED:
        raise wrong(f"{spec.described.arch} has no layers to compute again; leave this out", at=("training", "gradient_checkpointing"))


def _terms_of_kept_tokens(spec: "JobSpec") -> None:
    if spec.objective is None and any(isinstance(term, LogitMse) for term in spec.terms):
        raise wrong("of kept tokens only probabilities are known; use kl, or teacher_outputs: live", at=("recipe", "name"))
    for i, term in enumerate(spec.objective or []):
        if isinstance(term, LogitMse):
            raise wrong("of kept tokens only probabilities are known; use kl, or teacher_outputs: live", at=("objective", i, "loss"))
        if term.anneal is not None and term.anneal.temperature is not None:
            place = ("objective", i, "anneal", "temperature")
            raise wrong("outputs are kept for temperatures that stay; use teacher_outputs: live", at=place)


def _losses_of_the_task(spec: "JobSpec") -> None:
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
    if spec.hears == "text" and spec.task not in WRITES:
        raise wrong(f"a teacher of {spec.task} writes no texts; leave this out", at=("teacher_outputs",))
    if spec.hears == "text" and any(term.NEEDS_TEACHER for term in spec.terms):
        raise wrong("what the teacher writes has no logits to compare with; use cross_entropy, or leave this out", at=("teacher_outputs",))
    for i, term in enumerate(spec.objective or []):
        if TASKS[spec.task].answers == "span" and isinstance(term, CrossEntropy) and term.label_smoothing:
            raise wrong("there is no place to spread to outside the text; leave this out", at=("objective", i, "label_smoothing"))
    if spec.teacher_outputs == "cached" and spec.task == "masked-lm":
        raise wrong("masks are new in every epoch, so the teacher must see them live; leave this out", at=("teacher_outputs",))
    if spec.teacher_outputs == "cached" and any(term.SEES != "logits" for term in spec.terms):
        raise wrong("a term looks inside the teacher, of which nothing is kept; leave this out", at=("teacher_outputs",))
    if spec.hears == "cached" and spec.task in WRITES:
        _terms_of_kept_tokens(spec)
    if spec.teacher_top_k is not None and not (spec.task in WRITES and spec.hears == "cached"):
        raise wrong(f"this goes with {' or '.join(WRITES)} and `teacher_outputs: cached`; leave it out", at=("teacher_top_k",))
    for name, source in spec.sources().items():
        if TASKS[spec.task].answers == "tokens" and (source.columns.label or source.columns.text_pair):
            column = "label" if source.columns.label else "text_pair"
            raise wrong(f"{spec.task} reads one text and predicts its tokens; leave this out", at=(*name.split("."), "columns", column))
    early = spec.training.early_stopping
    if early is not None and early.metric == "accuracy" and not TASKS[spec.task].labelled:
        raise wrong(f"{spec.task} is judged by its loss; say metric: loss", at=("training", "early_stopping", "metric"))


RULES = (
    _one_objective, _teacher_where_needed, _teachers_that_can_be_one, _student_to_train, _adapters, _what_is_written,
    _validation_for_early_stopping, _runs_that_make_sense, *REMOTE_RULES, _rows_to_change, _text_where_read, _layers_to_compute_again,
    _losses_of_the_task, *TASK_RULES,
)  # fmt: skip
