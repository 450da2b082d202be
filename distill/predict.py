"""What networks say about single rows: class probabilities at several temperatures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contract.errors import InvalidSpec
from contract.model import ModelConfig
from contract.registry import BUILTINS, TASKS
from contract.registry.tasks import LANGUAGE
from contract.spec import Columns, Source
from distill import answers
from distill.data.load import Reader
from distill.data.rows import Split, TextSplit
from distill.data.spans import SpanTokens
from distill.inputs import DatasetFile, Inputs
from distill.networks import load, logits_of, rows_for, said_of
from distill.networks.reading import LibraryNetwork
from distill.tasks import slices
from distill.written import texts

TEMPERATURES = (1.0, 2.0, 5.0)


NO_ANSWER = torch.zeros(1, dtype=torch.int64)


def read_row(text: str, task: str, columns: Columns, order: Sequence[str] = ()) -> Tensor | TextSplit:
    """One example, [1, *shape], from `SOURCE:ROW`: a built-in set or a file, its test split where it has one, row 0 if not said.
    For a task that reads text, anything that names no file is the text itself. order: the columns of a table as its network is used to
    them."""
    name, _, number = text.rpartition(":") if text.rpartition(":")[2].isdigit() and ":" in text else (text, "", "0")
    inputs = Inputs(Path())
    if name in BUILTINS:
        source = Source(dataset=name)
    elif _is_file(name):
        source = Source(path=name, columns=columns)
        inputs.datasets[name] = DatasetFile(Path(name), Path(name).name)
    elif TASKS[task].reads == "text":
        return TextSplit(([" ".join(text.split())] if TASKS[task].answers == "tags" else [text],), NO_ANSWER)
    else:
        raise InvalidSpec(
            f"{name}: neither a file nor a built-in set.", param="INPUT", hint=f"FILE:ROW, or one of {', '.join(BUILTINS)} with :ROW."
        )
    reader = Reader(task, inputs, order)
    split = "test" if "test" in reader.splits(source) else "train"
    features, names, asked, _ = reader.table(source, split, "INPUT")
    if int(number) >= len(names):
        raise InvalidSpec(f"{name} has {len(names):,} {split} rows; the first is 0.", param="INPUT")
    if isinstance(features, tuple):
        shown = [column[int(number)] for column in features]
        return TextSplit(tuple([" ".join(text) if asked == "tags" else str(text)] for text in shown), NO_ANSWER)
    return torch.from_numpy(features[int(number) : int(number) + 1].copy())


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # a text may be longer than a name can be
        return False


def probabilities(folder: Path, row: Tensor | TextSplit, temperatures: Sequence[float] = TEMPERATURES) -> dict[str, Any]:
    """A saved network's probabilities for one row: {"classes": […], "T=1": […], …}. Ranks are the same at every temperature.

    Of a text whose words have classes: {"words": […], "tags": […], "T=1": […]}, the likeliest of each and its probability. Of a network of
    several tasks: {"tasks": {name: {"classes": […], "T=1": […], …}}}, of each among its own classes.
    """
    network, config = load(folder)
    if config.task == "question-answering" and isinstance(row, TextSplit):
        return _answered(network, config, row)
    if isinstance(network, LibraryNetwork) and config.task == "seq2seq" and isinstance(row, TextSplit):
        return {"text": row.texts[0][0], "written": texts(network, rows_for(network, config, row))[0]}
    if config.task in LANGUAGE:
        raise InvalidSpec(f"{config.task} networks have no classes to predict.", param="INPUT")
    if isinstance(row, Tensor) and tuple(row.shape[1:]) != tuple(config.shape):
        raise InvalidSpec(f"the row has shape {list(row.shape[1:])}; the network was made for {config.shape}", param="INPUT")
    if isinstance(row, TextSplit) and config.by_token:
        return _tagged(network, config, row, temperatures)
    split = Split(row, NO_ANSWER) if isinstance(row, Tensor) else row
    if isinstance(row, TextSplit) and config.text is not None and not config.tasks and config.text.texts != len(row.texts):
        raise InvalidSpec("the network reads pairs of texts; give FILE:ROW of a file that has both", param="INPUT")
    with torch.inference_mode():
        logits = logits_of(network, config, rows_for(network, config, split).batch(torch.tensor([0])).given).float()[0]
    if config.multi_label:
        return {"classes": config.classes, **{f"T={t:g}": (logits / t).sigmoid().tolist() for t in temperatures}}
    if config.tasks:
        own = zip(config.by_task.items(), slices(config), strict=True)
        return {"tasks": {task: _softened(logits[place], classes, temperatures) for (task, classes), place in own}}
    return _softened(logits, config.classes, temperatures)


def _softened(logits: Tensor, classes: list[str], temperatures: Sequence[float]) -> dict[str, Any]:
    return {"classes": classes, **{f"T={t:g}": F.softmax(logits / t, dim=-1).tolist() for t in temperatures}}


def _answered(network: nn.Module, config: ModelConfig, row: TextSplit) -> dict[str, Any]:
    """{"question", "answer", "p"}: the likeliest part of the text, and how likely its first and its last token are together."""
    if len(row.texts) != 2:
        raise InvalidSpec("a question goes with a text that answers it; give FILE:ROW of a file that has both", param="INPUT")
    rows = rows_for(network, config, replace(row, spans=[(0, 0)]))
    assert isinstance(rows, SpanTokens)
    first, last = answers.likeliest(network, config, rows)[0].tolist()
    with torch.inference_mode():
        p = said_of(network, config, rows.batch(torch.tensor([0])).given).logits.softmax(1)
    return {"question": row.texts[0][0], "answer": rows.said(0, first, last), "p": float(p[0, first] * p[1, last])}


def _tagged(network: nn.Module, config: ModelConfig, row: TextSplit, temperatures: Sequence[float]) -> dict[str, Any]:
    words = row.texts[0][0].split(" ")
    read = rows_for(network, config, replace(row, tags=[[0] * len(words)]))
    with torch.inference_mode():
        logits = said_of(network, config, read.batch(torch.tensor([0])).given).logits.float()
    tags = [config.classes[i] for i in logits.argmax(1).tolist()]
    sure = {f"T={t:g}": F.softmax(logits / t, dim=-1).amax(1).tolist() for t in temperatures}
    return {"words": words[: len(tags)], "tags": tags, **sure}
