"""The part of a spec that says which rows."""

from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator, model_validator
from typing_extensions import TypeAliasType

from contract.base import Sent
from contract.refs import HubName, LocalPath, Revision
from contract.rules import exactly_one, wrong
from contract.words import Words

DATASET = r"^(ds_[0-9a-f]{32}|[a-z][a-z0-9_-]{0,63})$"
DatasetName = TypeAliasType("DatasetName", Annotated[str, Field(pattern=DATASET)])
Subset = Annotated[str, Field(max_length=100, pattern=r"^\w[\w-]*(\.[\w-]+)*$")]


class Columns(Sent):
    """Which columns of a table to use."""

    label: str | None = Field(
        default=None,
        description="The column with the class, or with lists of them; `label`, `y` or `labels` when not said, of words `tags`.",
    )
    features: list[str] | None = Field(default=None, min_length=1, description="The columns to learn from; all others when not said.")
    text: str | None = Field(
        default=None, description="The column with the text, or with lists of words; `text`, `sentence` or the only one when not said."
    )
    text_pair: str | None = Field(default=None, description="The second text, where rows are pairs; `text_pair` when there is one.")


class Source(Sent):
    """Where rows come from: an uploaded dataset, a built-in one, one of the Hugging Face Hub or (engine alone) a file."""

    model_config = ConfigDict(json_schema_extra=exactly_one("dataset", "hub", "path"))

    dataset: DatasetName | None = Field(default=None, description="A built-in name, or the id of an uploaded dataset: ds_….")
    hub: HubName | None = Field(
        default=None, description="A dataset of the Hugging Face Hub, org/name: its Parquet, JSON lines or CSV files."
    )
    subset: Subset | None = Field(
        default=None, description="Of `hub`: which of its subsets, where it has several; the Hub calls them configurations."
    )
    revision: Revision | None = Field(
        default=None, description="Of `hub`: a commit, tag or branch. Not said, the Parquet files that the Hub makes of every dataset."
    )
    path: LocalPath | None = Field(default=None, description="A file; for `potstill run` only.")
    split: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(default=None, description="Which split of it.")
    columns: Columns = Field(default=Columns(), description="Which columns.")

    @model_validator(mode="after")
    def _one_place(self) -> "Source":
        if sum(value is not None for value in (self.dataset, self.hub, self.path)) != 1:
            raise wrong("give exactly one of `dataset` (ds_… or a built-in name), `hub` (org/name) and `path` (engine alone)")
        for name in ("subset", "revision"):
            if getattr(self, name) is not None and self.hub is None:
                raise wrong(f"only `hub` has a {name}; leave this out", at=(name,))
        return self

    @property
    def key(self) -> str:
        """What its rows are found under; two sources with one key are splits of the same data."""
        return self.dataset or self.path or f"{self.hub} {self.subset or ''} {self.revision or ''}"


TaskKey = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
MOST_TASKS = 8
_TWO_OR_MORE = Field(min_length=2, max_length=MOST_TASKS)


def as_source(value: Any) -> Any:
    return {"dataset": value} if isinstance(value, str) else value


class TaskSources(Sent):
    """The rows of several tasks, each from a source of its own."""

    tasks: dict[TaskKey, Source] = Field(description="2 to 8, by name: small letters, digits, - and _. The student tells `name/class`.")

    @field_validator("tasks", mode="before", json_schema_input_type=Annotated[dict[TaskKey, DatasetName | Source], _TWO_OR_MORE])
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if not 2 <= len(value) <= MOST_TASKS:
            raise wrong(f"name 2 to {MOST_TASKS} tasks, not {len(value)}; of one, give the source itself")
        return {name: as_source(source) for name, source in value.items()}

    @field_validator("tasks")
    @classmethod
    def _in_order(cls, value: dict[str, Source]) -> dict[str, Source]:
        """Of their names: a database keeps no order of keys, and classes are numbered by it."""
        return dict(sorted(value.items()))


def _source_form(value: Any) -> str:
    return "several" if isinstance(value, TaskSources) or (isinstance(value, dict) and "tasks" in value) else "one"


Sources = Annotated[Annotated[Source, Tag("one")] | Annotated[TaskSources, Tag("several")], Discriminator(_source_form)]


class Augment(Sent):
    """Random changes of training rows: new ones each time, which the teacher then sees live, or, of words, made once."""

    crop: int = Field(default=0, ge=0, le=64, description="Shift images by up to this many pixels in each direction, zeros moving in.")
    flip: bool = Field(default=False, description="Mirror images left and right, one time in two.")
    mixup: Annotated[float, Field(gt=0, le=100)] | None = Field(
        default=None,
        description="Mix every row with another of its batch, and the loss as well, in a share drawn from Beta(mixup, mixup); of texts "
        "what tokens are embedded as (Zhang et al. 2017, https://arxiv.org/abs/1710.09412).",
    )
    words: Words | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="text-classification: rows made of each training row by changing its words, once, before training. They keep its "
        "label, and the teacher answers each of them.",
    )

    @property
    def anew(self) -> bool:
        """Whether rows look different every time."""
        return bool(self.crop or self.flip or self.mixup)


class Data(Sent):
    """The rows to train, validate and test on."""

    train: Sources = Field(description="A built-in name, ds_…, or {dataset, split, columns}; of several tasks {tasks: {name: source, …}}.")
    validation: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None, description="Share of the training rows held out: the last of a shuffle that does not depend on the seed."
    )
    test: Sources | None = Field(
        default=None,
        description="Like train; of data with one split that one. When not said: the train source's test split, else the validation rows.",
    )
    sampling: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0,
        exclude_if=lambda value: value == 1,
        description="Of several tasks: an epoch draws as many rows as all have together, of each task in proportion to its rows to this "
        "power. At 1 every row is seen once; 0.75 shows more of small tasks (Clark et al. 2019, https://arxiv.org/abs/1907.04829).",
    )
    max_train_samples: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        default=None, description="Take only the first N rows, of several tasks the first N of each."
    )
    augment: Augment | None = Field(
        default=None, description="Random changes of the training rows: crops and flips of images, mixtures, other words."
    )
    max_length: Annotated[int, Field(ge=4, le=131_072)] | None = Field(
        default=None, description="Texts are cut after so many tokens; 512, or what the network can read, when not said."
    )
    mask_probability: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="masked-lm: share of tokens to predict, 0.15 when not said: 80 % of them masked, 10 % replaced, 10 % kept.",
    )

    on_policy: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        exclude_if=lambda value: value == 0,
        description="causal-lm: share of steps in which the student writes the second half of each block itself and hears its teacher on "
        "that (Agarwal et al. 2023, https://arxiv.org/abs/2306.13649).",
    )
    teacher_mixed: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        exclude_if=lambda value: value == 0,
        description="With `on_policy`: a, the teacher's share in what each token is drawn from, a·p_t + (1 − a)·p_s (Gu et al. 2023, "
        "https://arxiv.org/abs/2306.08543).",
    )

    _short_train = field_validator("train", mode="before", json_schema_input_type=DatasetName | Sources)(as_source)
    _short_test = field_validator("test", mode="before", json_schema_input_type=DatasetName | Sources | None)(as_source)

    @property
    def tasks(self) -> list[str]:
        """The names of several tasks; none where there is but one."""
        return list(self.train.tasks) if isinstance(self.train, TaskSources) else []

    def of(self, task: str) -> "Data":
        """The same of one of the tasks."""
        train, test = (each.tasks[task] if isinstance(each, TaskSources) else each for each in (self.train, self.test))
        return self.model_copy(update={"train": train, "test": test, "sampling": 1.0})
