"""What is known of one column of a dataset. In a file of its own, so that reading an answer does not load every loss there is."""

from math import prod

from pydantic import BaseModel, Field


class Column(BaseModel):
    """One column of a dataset; `shape` is that of one row's value, [] for a single number or word."""

    name: str
    type: str  # numpy's name of the number type (uint8, float64, …), "string", or "strings" for a list of them
    shape: list[int]
    characters: float | None = Field(default=None, exclude_if=lambda value: value is None, description="Of text: how many a row has.")

    @property
    def bytes_in_memory(self) -> float | None:
        """Of a row, as a network is shown it; of text its characters. None where nobody counted them."""
        if self.type in ("string", "strings"):
            return self.characters
        return prod(self.shape) * (1 if self.type == "uint8" else 4)
