"""What all recipes are: a name for terms."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from contract.base import Choice
from contract.registry.objective import Term

Alpha = Annotated[float, Field(ge=0, le=1, description="Weight of the soft (teacher) term; the labels weigh 1 − alpha.")]


class BaseRecipe(Choice):
    KEY: ClassVar = "name"
    ONLY_FOR: ClassVar[tuple[str, ...]] = ()  # tasks; all when empty
    SEVERAL_JOBS: ClassVar[bool] = False  # whether it is a chain (contract.chains)
    SHOWS: ClassVar[str | None] = None  # its parameter that says how rows are shown: `mixup` or `on_policy`, as in `data`
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
        return {**super().entry(), "expands_to": [t.model_dump(mode="json") for t in cls.example().expand()]}


def counted(*terms: Term) -> list[Term]:
    """Those that weigh anything."""
    return [term for term in terms if term.weight > 0]
