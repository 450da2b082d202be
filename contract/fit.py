"""Do data, student and teacher fit each other? Asked by the API before it accepts a job and by the engine before it starts one."""

from contract.registry import TASKS
from contract.registry.architectures import _Architecture
from contract.shapes import DataShape, unfit
from contract.spec import JobSpec
from contract.tasks import naming


def check_fit(spec: JobSpec, train: DataShape, test: DataShape | None, models: dict[str, DataShape]) -> None:
    """Raises InvalidSpec where parts do not fit. `models` holds what each referenced network was made for, by spec field."""
    for task, part in train.tasks.items():
        with naming(task):
            of_task = f"teacher.tasks.{task}"
            known = {field: made_for for field, made_for in models.items() if field == of_task or field.startswith(f"{of_task}.")}
            mine = {f"teacher{field.removeprefix(of_task)}": made_for for field, made_for in known.items()}
            check_fit(spec.alone(task), part, test.tasks.get(task) if test else None, mine)
    if train.tasks:
        models = {field: made_for for field, made_for in models.items() if not field.startswith("teacher.tasks.")}
    if TASKS[spec.task].labelled and len(train.classes) < (1 if train.answers == "classes" else 2):
        raise unfit("data.train", f"there is only one class ({', '.join(train.classes)}); nothing can be told apart")
    if test is not None:
        if (test.shape, test.texts) != (train.shape, train.texts):
            raise unfit("data.test", f"its rows {_seen(test)}, those of data.train {_seen(train).removeprefix('have shape ')}")
        if test.answers != train.answers:
            raise unfit("data.test", f"its labels are {LABELLED[test.answers]}, those of data.train {LABELLED[train.answers]}")
        unseen = [name for name in test.classes if name not in train.classes]
        if unseen:
            raise unfit("data.test", f"it has classes that data.train lacks: {', '.join(unseen[:5])}")
    if spec.data.augment is not None and (spec.data.augment.crop or spec.data.augment.flip) and len(train.shape) != 3:
        raise unfit("data.augment", f"crops and flips need images with height and width; these rows have shape {list(train.shape)}")
    if spec.described is not None:
        _check_architecture(spec.described, train)
    for field, made_for in models.items():
        _check_made_for(field, made_for, train, field.startswith("teacher") or (field == "student" and not spec.kind.trains))


MOST_ROWS = 5_000_000  # they stand in memory as texts


def rows_with_copies(spec: JobSpec, rows: int) -> int:
    """Rows trained on: those there are, and those made of them by changing words. InvalidSpec where they are too many."""
    if spec.words is None:
        return rows
    count = rows * (1 + spec.words.copies)
    if count > MOST_ROWS:
        said = f"{spec.words.copies} copies of each of {rows:,} rows make {count:,} rows to train on; at most {MOST_ROWS:,} are accepted"
        raise unfit(f"{spec.words_field}.copies", said, "Ask for fewer copies, or take fewer rows by data.max_train_samples.")
    return count


def _check_made_for(field: str, made_for: DataShape, train: DataShape, finished: bool) -> None:
    """finished: whether it is asked as it is; a student that is trained may get a new head."""
    if field.endswith("words.model"):
        if made_for.answers != "masked-lm":
            raise unfit(field, "it is no masked language model and expects no words", "Train one first: kind: train, task: masked-lm.")
        return
    if field == "tokenizer":
        if not made_for.texts:
            raise unfit(field, "that network reads numbers and has no tokenizer")
        return
    if (made_for.shape, made_for.texts > 0) != (train.shape, train.texts > 0):
        raise unfit(field, f"it was made for rows {_of(made_for)}; data.train has {_of(train).removeprefix('of shape ')}")
    if train.speaks:
        if finished and made_for.answers != train.answers:
            raise unfit(field, f"it is no network for {train.answers}", "Train one first: kind: train.")
        return
    if (made_for.classes or "span" in (made_for.answers, train.answers)) and made_for.answers != train.answers:
        if not finished and made_for.texts:
            return  # it gets a new head
        raise unfit(field, f"it tells {TOLD[made_for.answers]}; data.train has {TOLD[train.answers]}", "Train it first: kind: train.")
    if train.answers == "span":
        return
    if made_for.texts and not made_for.classes:
        if not finished:
            return  # it gets a new head
        raise unfit(field, "it was taught no classes and has none to tell", "Train it first: kind: train, student: {model: …}.")
    if (made_for.classes, list(made_for.tasks)) != (train.classes, list(train.tasks)):
        cure = "Name a teacher for each task: {tasks: {name: {job: …}, …}}." if field == "teacher" and train.tasks else None
        raise unfit(field, f"it knows {_listed(made_for.classes)}; data.train has {_listed(train.classes)}", cure)


def _seen(rows: DataShape) -> str:
    return ("hold one text", "hold two texts")[rows.texts - 1] if rows.texts else f"have shape {list(rows.shape)}"


def _of(rows: DataShape) -> str:
    return "of text" if rows.texts else f"of shape {list(rows.shape)}"


LABELLED = {"class": "single ones", "classes": "lists", "tags": "lists"}
TOLD = {
    "class": "one class for each row",
    "classes": "any number of classes for each row",
    "tags": "a tag for each word",
    "span": "where an answer stands",
}
MAX_PARAMETERS = 2_000_000_000


def _check_architecture(architecture: _Architecture, train: DataShape) -> None:
    reason = architecture.refuses(train.shape)
    if reason:
        raise unfit("student.arch", reason, "Use mlp or logistic, or data with images.")
    count = architecture.parameters(train.shape or (1,), len(train.classes))
    if count > MAX_PARAMETERS:
        raise unfit("student", f"it would have {count:,} parameters; at most {MAX_PARAMETERS:,} are accepted", "Use narrower layers.")


def _listed(classes: list[str]) -> str:
    return f"{len(classes)} classes ({', '.join(classes[:5])}{', …' if len(classes) > 5 else ''})"
