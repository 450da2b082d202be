"""The tasks a job can be about, with the columns their data needs and the metrics their reports carry."""

from typing import Any, Literal, NamedTuple


class Task(NamedTuple):
    name: str
    meaning: str
    inputs: str
    metric: str
    higher_is_better: bool
    reads: Literal["numbers", "text"]
    labelled: bool  # whether rows have a class; the others predict their own tokens

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
            "numbers",
            True,
        ),
        Task(
            "tabular-classification",
            "One class for each row of numbers.",
            "numeric columns, standardised by the training rows' mean and deviation; an integer or string label",
            "accuracy",
            True,
            "numbers",
            True,
        ),
        Task(
            "text-classification",
            "One class for each text, or for each pair of texts.",
            "a column of text (`text`, `sentence` or the only one), a second one for pairs (`text_pair`); an integer or string label",
            "accuracy",
            True,
            "text",
            True,
        ),
        Task(
            "masked-lm",
            "Tokens that were hidden, from those around them: what BERT is pre-trained on.",
            "a column of text; texts are put one after the other and cut into blocks of data.max_length tokens, masked anew in every epoch",
            "perplexity",
            False,
            "text",
            False,
        ),
        Task(
            "causal-lm",
            "Each token from those before it: next-word prediction.",
            "a column of text; texts are put one after the other and cut into blocks of data.max_length tokens",
            "perplexity",
            False,
            "text",
            False,
        ),
    )
}
