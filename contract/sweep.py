"""The sweep spec: one job, the fields of it that vary, and how their values are chosen."""

import copy
import itertools
import math
import random
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from contract.base import About, Choice, Metadata, Sent
from contract.errors import InvalidSpec
from contract.rules import wrong
from contract.spec import Name

MAX_TRIALS = 1000


FARTHEST = 1e150  # beyond it neither differences nor logarithms can be computed
DEEPEST = 50  # mappings and lists in each other; a job has less than ten
LONGEST_INTEGER = 2**63


def _plain(value: Any) -> None:
    """What is found only when trials are made would be found too late."""
    waiting = [(value, 0)]
    while waiting:
        part, depth = waiting.pop()
        inside = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        if inside and depth >= DEEPEST:
            raise wrong(f"mappings and lists stand more than {DEEPEST} deep in each other")
        waiting += [(one, depth + 1) for one in inside]
        if isinstance(part, float) and not math.isfinite(part):
            raise wrong("a number in it is not finite")
        if isinstance(part, int) and abs(part) > LONGEST_INTEGER:
            raise wrong("a number in it is too large")


class Range(Sent):
    """Every number between two ends, both included."""

    low: float | int = Field(description="The lower end.")
    high: float | int = Field(description="The upper end.")
    log: bool = Field(default=False, description="Even in the logarithm: for learning rates, from 1e-5 to 1e-1 say.")
    integer: bool = Field(default=False, description="Whole numbers only.")
    steps: Annotated[int, Field(ge=2, le=MAX_TRIALS)] | None = Field(
        default=None, description="For `grid`: this many values, evenly spaced."
    )

    @model_validator(mode="after")
    def _ends(self) -> "Range":
        for name, end in (("low", self.low), ("high", self.high)):
            if abs(end) > FARTHEST:
                raise wrong(f"it is farther from zero than {FARTHEST:g}, and nothing can be computed there", at=(name,))
        if self.low >= self.high:
            raise wrong(f"{self.high} is not above `low` ({self.low})", at=("high",))
        if self.log and self.low <= 0:
            raise wrong("a logarithm needs a number above 0", at=("low",))
        if self.integer and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise wrong("whole numbers have whole ends", at=("integer",))
        return self

    def rounded(self, value: float) -> float | int:
        """Four digits are enough to write down, and to tell neighbours apart; never outside the ends."""
        return round(value) if self.integer else min(max(float(f"{value:.4g}"), float(self.low)), float(self.high))

    def points(self, steps: int) -> list[float | int]:
        even = [i / (steps - 1) for i in range(steps)]
        low, high = float(self.low), float(self.high)
        raw = [low * (high / low) ** t if self.log else low + (high - low) * t for t in even]
        return list(dict.fromkeys(self.rounded(value) for value in raw))


Options = Annotated[list[Any], Field(min_length=1, max_length=MAX_TRIALS)]


def _kind(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "options"


Dimension = Annotated[Annotated[Range, Tag("range")] | Annotated[Options, Tag("options")], Discriminator(_kind)]
Space = dict[str, Dimension]
Values = dict[str, Any]  # one for each dimension, by its dotted field


class Grid(Choice):
    ABOUT: ClassVar = About("Every combination.")
    KEY: ClassVar = "name"
    name: Literal["grid"] = "grid"


class RandomSearch(Choice):
    ABOUT: ClassVar = About("Independent draws.", paper="Bergstra, Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html")
    KEY: ClassVar = "name"
    name: Literal["random"] = "random"
    trials: int = Field(ge=1, le=MAX_TRIALS, description="How many.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Decides every draw.")


class Tpe(Choice):
    ABOUT: ClassVar = About(
        "A tree-structured Parzen estimator: the first ten are drawn, each later one is likely to be better by what is known then.",
        paper="Bergstra et al. 2011, https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization; Optuna's",
    )
    KEY: ClassVar = "name"
    name: Literal["tpe"] = "tpe"
    trials: int = Field(ge=1, le=MAX_TRIALS, description="How many.")
    parallel: int = Field(default=4, ge=1, le=100, description="How many at once; fewer learn more from each other.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Decides every draw, and every choice for the same results.")


class Halving(Sent):
    """Asynchronous successive halving (Li et al. 2018, https://arxiv.org/abs/1810.05934): from `first_epochs` · factor^k epochs on a trial
    goes on only while it is among the best 1/factor of those that have come as far."""

    first_epochs: int = Field(default=1, ge=1, le=1_000_000, description="When trials are compared for the first time.")
    factor: int = Field(default=3, ge=2, le=100, description="How many of those that come to a rung there are for each that goes on.")

    def rungs(self, epochs: int) -> list[int]:
        """Epochs after which it is decided, the last one excluded: nothing would be saved."""
        found, epoch = [], self.first_epochs
        while epoch < epochs:
            found.append(epoch)
            epoch *= self.factor
        return found


Search = Annotated[Grid | RandomSearch | Tpe, Field(discriminator="name")]


def _search_by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class SweepSpec(Sent):
    """Many jobs that differ in a few fields, and the search for the best of them."""

    version: Literal[1] = Field(default=1, description="Version of this format.")
    name: Name | None = Field(default=None, description="What the sweep is called in lists; the job's when not said.")
    job: dict[str, Any] = Field(description="A job spec; what varies may be left out of it.")
    space: Annotated[Space, Field(min_length=1, max_length=20)] = Field(
        description="Dotted fields of the job, `recipe.temperature` say, each with its values: a list, or {low, high, log, integer, steps}."
    )
    search: Annotated[Search, BeforeValidator(_search_by_name, json_schema_input_type=Literal["grid"] | Search)] = Field(
        default=Grid(), description="grid, random or tpe."
    )
    halving: Halving | None = Field(default=None, description="Stop losers early, by their validation metric. Needs data.validation.")
    metric: Literal["accuracy", "loss", "perplexity"] | None = Field(
        default=None, description="Of the validation rows, by which the best is chosen; accuracy, or loss where rows have no classes."
    )
    metadata: Metadata = Field(default={}, description="Your own labels.")

    @field_validator("job")
    @classmethod
    def _numbers(cls, value: dict[str, Any]) -> dict[str, Any]:
        _plain(value)
        return value

    @field_validator("space")
    @classmethod
    def _apart(cls, value: Space) -> Space:
        for options in value.values():
            _plain(options if isinstance(options, list) else None)
        for field in value:
            inside = next((other for other in value if other.startswith(f"{field}.")), None)
            if inside is not None:
                raise wrong(f"{inside} is a part of {field}: vary one of them", at=(inside,))
        return value

    @model_validator(mode="after")
    def _finite(self) -> "SweepSpec":
        if isinstance(self.search, Grid):
            for field, dimension in self.space.items():
                if isinstance(dimension, Range) and dimension.steps is None:
                    raise wrong("a grid needs to know how many values of a range: say `steps`, or list them", at=("space", field, "steps"))
            size = math.prod(len(values) for values in self._axes())
            if size > MAX_TRIALS:
                raise wrong(
                    f"these are {size:,} combinations; at most {MAX_TRIALS:,} are run. Search `random` draws from them", at=("space",)
                )
        choices = sum(len(dimension) for dimension in self.space.values() if isinstance(dimension, list))
        if isinstance(self.search, Tpe) and choices > MAX_TRIALS:
            raise wrong(f"these are {choices:,} values to choose from, each of which is looked at; at most {MAX_TRIALS:,}", at=("space",))
        return self

    @property
    def trials(self) -> int:
        """How many there will be."""
        return math.prod(len(values) for values in self._axes()) if isinstance(self.search, Grid) else self.search.trials

    def grid(self) -> list[Values]:
        return [dict(zip(self.space, values, strict=True)) for values in itertools.product(*self._axes())]

    def drawn(self) -> list[Values]:
        """Of a random search: each trial's draw depends on the seed and its number alone."""
        assert isinstance(self.search, RandomSearch)
        draws = [random.Random(f"{self.search.seed} {number}") for number in range(self.search.trials)]  # noqa: S311 - guards nothing
        return [{field: _draw(dimension, draw) for field, dimension in self.space.items()} for draw in draws]

    def _axes(self) -> list[list[Any]]:
        return [d.points(d.steps or 2) if isinstance(d, Range) else list(d) for d in self.space.values()]

    def filled(self, values: Values) -> dict[str, Any]:
        """The job spec, as it would be sent, with these values in their places."""
        job = copy.deepcopy(self.job)
        if isinstance(job.get("recipe"), str):
            job["recipe"] = {"name": job["recipe"]}
        for field, value in values.items():
            _put(job, field, copy.deepcopy(value))
        return job


def _draw(dimension: Dimension, draw: random.Random) -> Any:
    if not isinstance(dimension, Range):
        return draw.choice(dimension)
    low, high, t = float(dimension.low), float(dimension.high), draw.random()
    if dimension.integer and not dimension.log:
        return draw.randint(round(low), round(high))
    return dimension.rounded(low * (high / low) ** t if dimension.log else low + (high - low) * t)


def _put(job: dict[str, Any], field: str, value: Any) -> None:
    *above, last = field.split(".")
    at: Any = job
    for part in above:
        at = _inside(at, part, field) if isinstance(at, list) else at.setdefault(part, {}) if isinstance(at, dict) else None
    if isinstance(at, dict):
        at[last] = value
    elif isinstance(at, list):
        _inside(at, last, field)
        at[int(last)] = value
    else:
        raise _no_place(field)


def _inside(items: list[Any], part: str, field: str) -> Any:
    if not part.isdecimal() or len(part) > 4 or int(part) >= len(items):
        raise _no_place(field)
    return items[int(part)]


def _no_place(field: str) -> InvalidSpec:
    return InvalidSpec(
        f"space.{field}: the job has no such place",
        param=f"space.{field}",
        hint="Write the field as in an error message: `training.optimizer.lr`, `objective.0.weight`.",
    )


def label(values: Values) -> str:
    """`temperature=4, lr=0.001`: the shortest that tells trials apart at a glance."""
    return ", ".join(f"{field.rsplit('.', 1)[-1]}={brief(value)}" for field, value in values.items())


def brief(value: Any) -> str:
    """`mlp [4]` for a mapping, numbers without what they do not need."""
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values() if not isinstance(part, dict))
    return f"{value:g}" if isinstance(value, float) else str(value)
