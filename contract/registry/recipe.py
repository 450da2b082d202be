"""What all recipes are: a name for terms."""

import json
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from contract.base import Choice
from contract.registry.objective import Term

Alpha = Annotated[float, Field(ge=0, le=1, description="Weight of the soft (teacher) term; the labels weigh 1 − alpha.")]


class BaseRecipe(Choice):
    KEY: ClassVar = "name"
    ONLY_FOR: ClassVar[tuple[str, ...]] = ()  # tasks; all when empty
    SEVERAL_TASKS: ClassVar[bool] = False  # whether it needs them
    SEVERAL_JOBS: ClassVar[bool] = False  # whether it is a chain (contract.chains)
    SHOWS: ClassVar[tuple[str, ...]] = ()  # its parameters that say how rows are shown, as in `data`: `mixup`, `words`, `on_policy`, …
    OWN_TEACHER: ClassVar[bool] = False  # whether it makes its teacher itself, so that a spec names none
    SEVERAL_TEACHERS: ClassVar[bool] = False  # whether its teacher must be an ensemble
    TEACHER_OUTPUTS: ClassVar[str | None] = None  # what `teacher_outputs` must then be

    @classmethod
    def example(cls) -> Self:
        """One with its defaults, or where there are none for all, such as one might ask for."""
        return cls()

    def expand(self) -> list[Term]:
        """The terms this recipe stands for; terms of weight zero are left out."""
        raise TypeError(f"{type(self).__name__} has no expansion")

    @classmethod
    def entry(cls) -> dict[str, Any]:
        return {**super().entry(), "expands_to": [_rounded(t) for t in cls.example().expand()]}


def _rounded(term: Term) -> dict[str, Any]:
    """0.3 and not 0.30000000000000004: 1 − alpha is told to people here."""
    return dict(json.loads(term.model_dump_json(), parse_float=lambda digits: round(float(digits), 10)))


def counted(*terms: Term) -> list[Term]:
    """Those that weigh anything."""
    return [term for term in terms if term.weight > 0]
