"""`config.json` of a network: what rebuilds it and what it was made for. Ours is written by the engine and checked at upload; that of
transformers is read for the same facts, with ours under the key `potstill`."""

import re
from math import prod
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from contract.registry import TASKS, Architecture
from contract.registry.architectures import Work
from contract.registry.tasks import LANGUAGE
from contract.registry.texts import KERNELS, _Transformer
from contract.shapes import DataShape, by_task

_ARCHITECTURE: TypeAdapter[Architecture] = TypeAdapter(Architecture)
OURS = "potstill"
LONGEST = 512  # tokens of a text, for networks that have no longest of their own
LIBRARY_KERNELS = 12 * KERNELS  # of a pass through twelve layers
WEIGHTS, CONFIG, CARD, INDEX = "model.safetensors", "config.json", "README.md", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json")  # one of them says how a network reads
TEXTS = (
    CARD, INDEX, *TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
    "generation_config.json",
)  # fmt: skip
SHARD = re.compile(r"model-[0-9]{5}-of-[0-9]{5}\.safetensors")


def holds_weights(name: str) -> bool:
    return name == WEIGHTS or SHARD.fullmatch(name) is not None


def belongs(name: str) -> bool:
    """Whether a model may have a file of this name."""
    return name == CONFIG or name in TEXTS or holds_weights(name)


class Scaling(BaseModel):
    """Raw features become (x − subtract) / divide before the first layer; one number, or one for each feature."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    subtract: float | list[float] = 0.0
    divide: float | list[float] = 1.0


class Reading(BaseModel):
    """How a network reads text: how many texts a row has, how many tokens it knows, and after how many a text is cut."""

    model_config = ConfigDict(extra="forbid")
    texts: int = Field(default=1, ge=1, le=2)
    vocabulary: int = Field(ge=1)
    max_length: int = Field(ge=1)


class ModelConfig(BaseModel):
    """The architecture's own fields stand beside these in the file: {"arch": "mlp", "hidden": [4], "task": …, "shape": …}."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    arch: str
    task: str
    shape: list[int] = Field(max_length=3)
    classes: list[str]
    input: Scaling = Scaling()
    text: Reading | None = None
    multi_label: bool = False  # a row may have any number of classes
    tasks: list[str] = Field(default=[], exclude_if=lambda value: not value)  # of several; the classes of each are task/class
    features: list[str] = Field(default=[], exclude_if=lambda value: not value)  # the columns of a table, as they stand in a row
    weights: int | None = None  # of a network that transformers builds: what it counted

    @classmethod
    def of(cls, architecture: Architecture, task: str, made_for: DataShape, scaling: Scaling, text: Reading | None = None) -> "ModelConfig":
        fields = architecture.model_dump(mode="json")
        return cls(
            **fields,
            task=task,
            shape=list(made_for.shape),
            classes=made_for.classes,
            input=scaling,
            text=text,
            multi_label=made_for.answers == "classes",
            tasks=list(made_for.tasks),
        )

    @classmethod
    def read(cls, document: dict[str, Any]) -> "ModelConfig":
        """Of a config.json, whoever wrote it. Raises pydantic's ValidationError, or ValueError for what is none."""
        return of_transformers(document) if "model_type" in document else cls.model_validate(document)

    @model_validator(mode="after")
    def _says_what_it_reads(self) -> "ModelConfig":
        named = [f"{task}/{name}" for task, classes in self.by_task.items() for name in classes]
        if self.tasks and (named != self.classes or not all(self.by_task.values())):
            raise ValueError("tasks: each has classes, and every class is one of theirs, task/class, in their order")
        if self.of_library:
            return self
        if len(self.classes) < (1 if self.multi_label else 2) and self.task not in (*LANGUAGE, "question-answering"):
            raise ValueError("classes: at least two are needed")
        if bool(self.shape) == (self.text is not None):
            raise ValueError("shape: rows of numbers have one, texts have none")
        return self

    @property
    def of_library(self) -> bool:
        """Whether transformers builds it."""
        return self.weights is not None

    @property
    def architecture(self) -> Architecture:
        """Raises pydantic's ValidationError when the fields describe no registered architecture."""
        return _ARCHITECTURE.validate_python(self.model_extra_with_arch())

    def model_extra_with_arch(self) -> dict[str, Any]:
        return {"arch": self.arch, **(self.model_extra or {})}

    def flaw(self) -> str | None:
        """Why these fields, each of them valid, describe no network that can run; None when they do. Raises as `architecture` does."""
        if self.of_library:
            return None
        reads_text = self.architecture.READS == "text"
        if reads_text != (self.text is not None):
            return f"text: {self.arch} {'needs it' if reads_text else 'reads none'}"
        shape = tuple(self.shape)
        if reads_text:
            return None
        if min(shape) < 1:
            return f"shape: {self.shape} holds no values"
        reason = self.architecture.refuses(shape)
        if reason:
            return f"shape: {reason}"
        for field, value in (("subtract", self.input.subtract), ("divide", self.input.divide)):
            if isinstance(value, list) and len(value) != prod(shape):
                return f"input.{field}: {len(value)} numbers for {prod(shape)} features"
        if 0 in (self.input.divide if isinstance(self.input.divide, list) else [self.input.divide]):
            return "input.divide: it holds a zero"
        return None

    @property
    def made_for(self) -> DataShape:
        if self.task in LANGUAGE:
            answers: str = self.task
        else:
            answers = "classes" if self.multi_label else TASKS[self.task].answers if self.task in TASKS else "class"
        texts = self.text.texts if self.text else 0
        tasks = {task: DataShape(classes=classes, texts=texts) for task, classes in self.by_task.items()}
        return DataShape(shape=tuple(self.shape), classes=self.classes, texts=texts, answers=answers, tasks=tasks)

    @property
    def by_task(self) -> dict[str, list[str]]:
        """The classes of each of several tasks, in the order of the logits."""
        return by_task(self.tasks, self.classes)

    @property
    def by_token(self) -> bool:
        """Whether it tells something of tokens, not one thing of each row."""
        return self.made_for.answers not in ("class", "classes")

    @property
    def parameters(self) -> int:
        if self.weights is not None:
            return self.weights
        return self.architecture.parameters((self.text.vocabulary,) if self.text else tuple(self.shape), len(self.classes))

    def work(self, tokens: int = 0) -> Work:
        """Of a row; of a text, with so many tokens. Of what transformers builds only the weights are known, each of which is used at most
        once for each token: a bound."""
        if self.weights is not None:
            values = round(25 * tokens * self.weights**0.5)
            return Work(tokens * self.weights, LIBRARY_KERNELS, values, values // 25)
        return self.architecture.work((self.text.vocabulary,) if self.text else tuple(self.shape), len(self.classes), tokens)

    @property
    def pace(self) -> float:
        """Share of a large matrix product's speed that its layers reach."""
        return _Transformer.PACE if self.weights is not None else self.architecture.PACE


CLASSIFIES = {"ForSequenceClassification": "text-classification", "ForTokenClassification": "token-classification"}
POINTS = {"ForQuestionAnswering": "question-answering"}
SPEAKS = {
    "ForMaskedLM": "masked-lm",
    "ForCausalLM": "causal-lm",
    "LMHeadModel": "causal-lm",
    "ForConditionalGeneration": "seq2seq",
    "MTModel": "seq2seq",
}
COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "roberta-prelayernorm", "longformer", "mpnet")


def _task(heads: list[str]) -> str:
    """What a network's head is for; an encoder without one has no task yet."""
    return next((task for ending, task in {**CLASSIFIES, **POINTS, **SPEAKS}.items() for head in heads if head.endswith(ending)), "")


POSITIONS = ("max_position_embeddings", "n_positions")


def longest(document: dict[str, Any]) -> int | None:
    """The longest text, in tokens, for which a config.json of transformers promises positions."""
    found = next((document[name] for name in POSITIONS if isinstance(document.get(name), int)), None)
    if found is not None and document.get("model_type") in COUNT_FROM_PADDING:  # their first position is the one after the padding's
        found -= int(document.get("pad_token_id") or 0) + 1
    return found


def of_transformers(document: dict[str, Any]) -> ModelConfig:
    """The facts in a config.json of transformers. A network without a head for classes has none and gets one when it is trained.

    Raises ValueError where a fact is missing that a reader of text must have.
    """
    ours = document.get(OURS)
    ours = ours if isinstance(ours, dict) else {}
    heads = [name for name in document.get("architectures") or [] if isinstance(name, str)]
    named = document.get("id2label")
    classes: list[str] = []
    task = _task(heads)
    if isinstance(named, dict) and task in CLASSIFIES.values():
        classes = [str(named[key]) for key in sorted(named, key=int)]
    if task in CLASSIFIES.values() and not classes:
        task = ""
    vocabulary = document.get("vocab_size")
    if not isinstance(vocabulary, int):
        raise ValueError("vocab_size: it is missing; only networks that read text are known")
    reading = {"texts": 1, "vocabulary": vocabulary, "max_length": min(longest(document) or LONGEST, LONGEST), **(ours.get("text") or {})}
    return ModelConfig(
        arch=str(document["model_type"]),
        task=task,
        multi_label=document.get("problem_type") == "multi_label_classification",
        shape=[],
        classes=classes,
        text=Reading.model_validate(reading),
        tasks=ours.get("tasks") or [],
        weights=int(ours.get("weights") or 0),
    )
