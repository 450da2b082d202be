"""The tasks a job can be about, with the columns their data needs and the metrics their reports carry."""

from typing import Any, Literal, NamedTuple

Answers = Literal["class", "tags", "span", "text", "tokens"]  # for a row, for each word, where in it, another text, or its own tokens


TaskName = Literal[
    "image-classification",
    "tabular-classification",
    "text-classification",
    "token-classification",
    "question-answering",
    "seq2seq",
    "masked-lm",
    "causal-lm",
]


class Task(NamedTuple):
    name: TaskName
    meaning: str
    inputs: str
    metric: str
    higher_is_better: bool
    reads: Literal["numbers", "text"]
    answers: Answers

    @property
    def labelled(self) -> bool:
        """Whether its rows come with classes."""
        return self.answers in ("class", "tags")

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
            "class",
        ),
        Task(
            "tabular-classification",
            "One class for each row of numbers.",
            "numeric columns, standardised by the training rows' mean and deviation; an integer or string label",
            "accuracy",
            True,
            "numbers",
            "class",
        ),
        Task(
            "text-classification",
            "One class for each text, or for each pair of texts, or any number of them where labels are lists.",
            "a column of text (`text`, `sentence` or the only one), a second one for pairs (`text_pair`); an integer or string label, or "
            "a list of them",
            "accuracy",
            True,
            "text",
            "class",
        ),
        Task(
            "token-classification",
            "One class for each word: names, parts of speech.",
            "a list of words (`tokens`, `words` or the only one) and a list of as many labels (`tags`, `ner_tags`, `label` or `labels`)",
            "accuracy",
            True,
            "text",
            "tags",
        ),
        Task(
            "question-answering",
            "Where in a text the answer to a question stands.",
            "columns of text: `question`, `context` and `answer`, which must stand in the context; `answer_start`, its first character, "
            "where it stands there more than once",
            "f1",
            True,
            "text",
            "span",
        ),
        Task(
            "seq2seq",
            "One text from another: translations, summaries.",
            "a column of text (`text`, `source` or the only other one) and one with what is to become of it (`target`)",
            "chrf",
            True,
            "text",
            "text",
        ),
        Task(
            "masked-lm",
            "Tokens that were hidden, from those around them: what BERT is pre-trained on.",
            "a column of text; texts are put one after the other and cut into blocks of data.max_length tokens, masked anew in every epoch",
            "perplexity",
            False,
            "text",
            "tokens",
        ),
        Task(
            "causal-lm",
            "Each token from those before it: next-word prediction.",
            "a column of text; texts are put one after the other and cut into blocks of data.max_length tokens",
            "perplexity",
            False,
            "text",
            "tokens",
        ),
    )
}
LANGUAGE = tuple(name for name, task in TASKS.items() if task.answers in ("text", "tokens"))
WRITES = ("seq2seq", "causal-lm")  # whose networks write texts
CLASSES = tuple(name for name, task in TASKS.items() if task.answers == "class")
NUMBERS = tuple(name for name, task in TASKS.items() if task.reads == "numbers")
TEXTS = tuple(name for name, task in TASKS.items() if task.reads == "text")
ONE_STACK = tuple(name for name in TEXTS if name != "seq2seq")  # whose transformers are one stack of layers, not an encoder and a decoder
