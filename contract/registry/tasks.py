"""The tasks a job can be about, with the columns their data needs and the metrics their reports carry."""

from typing import Any, NamedTuple


class Task(NamedTuple):
    name: str
    meaning: str
    inputs: str
    metric: str
    higher_is_better: bool

    def entry(self) -> dict[str, Any]:
        return self._asdict()


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "image-classification",
            "One class for each image.",
            "features of shape [height, width] or with channels first or last; uint8 pixels are divided by 255; an integer or string label",
            "accuracy",
            True,
        ),
        Task(
            "tabular-classification",
            "One class for each row of numbers.",
            "numeric columns, standardised by the training rows' mean and deviation; an integer or string label",
            "accuracy",
            True,
        ),
    )
}
