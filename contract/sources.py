"""The part of a spec that says which rows."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from contract.base import Sent
from contract.rules import wrong

HubName = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")]
# Both become parts of paths in the Hub's cache, so neither may lead out of it.
Revision = Annotated[str, Field(max_length=100, pattern=r"^\w[\w-]*([./][\w-]+)*$")]
Subset = Annotated[str, Field(max_length=100, pattern=r"^\w[\w-]*(\.[\w-]+)*$")]
LocalPath = Annotated[str, Field(min_length=1, max_length=4096, description="A path on this machine; only for the engine alone.")]


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

    dataset: Annotated[str, Field(pattern=r"^(ds_[0-9a-f]{32}|[a-z][a-z0-9_-]{0,63})$")] | None = None
    hub: HubName | None = Field(
        default=None, description="A dataset of the Hugging Face Hub, org/name: its Parquet, JSON lines or CSV files."
    )
    subset: Subset | None = Field(
        default=None, description="Of `hub`: which of its subsets, where it has several; the Hub calls them configurations."
    )
    revision: Revision | None = Field(
        default=None, description="Of `hub`: a commit, tag or branch. Not said, the Parquet files that the Hub makes of every dataset."
    )
    path: LocalPath | None = None
    split: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    columns: Columns = Columns()

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


def as_source(value: Any) -> Any:
    return {"dataset": value} if isinstance(value, str) else value


class Augment(Sent):
    """Random changes to each training row each time it is seen. The teacher then sees the changed rows too, live."""

    crop: int = Field(default=0, ge=0, le=64, description="Shift images by up to this many pixels in each direction, zeros moving in.")
    flip: bool = Field(default=False, description="Mirror images left and right, one time in two.")
    mixup: Annotated[float, Field(gt=0, le=100)] | None = Field(
        default=None,
        description="Mix every row with another of its batch, and the loss as well, in a share drawn from Beta(mixup, mixup); of texts "
        "what tokens are embedded as (Zhang et al. 2017, https://arxiv.org/abs/1710.09412).",
    )


class Data(Sent):
    """The rows to train, validate and test on."""

    train: Source = Field(description="A built-in name, ds_…, or {dataset, split, columns}.")
    validation: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None, description="Share of the training rows held out: the last of a shuffle that does not depend on the seed."
    )
    test: Source | None = Field(
        default=None,
        description="Like train; of data with one split that one. When not said: the train source's test split, else the validation rows.",
    )
    max_train_samples: Annotated[int, Field(ge=1, le=10**9)] | None = Field(default=None, description="Take only the first N rows.")
    augment: Augment | None = Field(default=None, description="Random changes of the training rows: crops and flips of images, mixtures.")
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

    _short = field_validator("train", "test", mode="before")(as_source)
