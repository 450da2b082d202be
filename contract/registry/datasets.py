"""Datasets that need no upload because they come inside a dependency, or inside Python."""

from typing import Any, NamedTuple


class Builtin(NamedTuple):
    name: str
    meaning: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    rows: dict[str, int]
    tasks: tuple[str, ...]
    characters: int = 0  # of a row of text, about

    def entry(self) -> dict[str, Any]:
        return self._asdict()


BUILTINS: dict[str, Builtin] = {
    "digits": Builtin(
        "digits",
        "1,797 handwritten digits of 8×8 pixels from scikit-learn (UCI, Alpaydin and Kaynak 1998); a fixed stratified 80/20 split.",
        (1, 8, 8),
        tuple("0123456789"),
        {"train": 1437, "test": 360},
        ("image-classification", "tabular-classification"),
    ),
    "docstrings": Builtin(
        "docstrings",
        "2,000 docstrings of the standard library of the Python that runs the job; what the module they stand in is about. 400 of each.",
        (),
        ("code", "files", "networks", "numbers", "tests"),
        {"train": 1600, "test": 400},
        ("text-classification", "masked-lm", "causal-lm"),
        178,
    ),
    "returns": Builtin(
        "returns",
        "800 docstrings of functions of the standard library, and whether the function gives a value back. 400 of each.",
        (),
        ("nothing", "value"),
        {"train": 600, "test": 200},
        ("text-classification",),
        172,
    ),
    "arguments": Builtin(
        "arguments",
        "1,300 docstrings of functions of the standard library, word by word, and which words name an argument of their function.",
        (),
        ("O", "argument"),
        {"train": 1040, "test": 260},
        ("token-classification",),
        185,
    ),
    "messages": Builtin(
        "messages",
        "560 messages of Django in English and French, where it is installed with the worker (`pip install 'potstill[messages]'`).",
        (),
        (),
        {"train": 500, "test": 60},
        ("seq2seq",),
        21,
    ),
}
