"""What networks say about single rows: class probabilities at several temperatures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contract.errors import InvalidSpec
from contract.registry import BUILTINS, TASKS
from contract.registry.losses import LANGUAGE
from contract.spec import Columns, Source
from distill.data.load import Reader
from distill.data.rows import Split, TextSplit
from distill.inputs import DatasetFile, Inputs
from distill.networks import load, logits_of, rows_for

TEMPERATURES = (1.0, 2.0, 5.0)


def read_row(text: str, task: str, columns: Columns) -> Tensor | TextSplit:
    """One example, [1, *shape], from `SOURCE:ROW`: a built-in set or a file, its test split where it has one, row 0 if not said.
    For a task that reads text, anything that names no file is the text itself."""
    name, _, number = text.rpartition(":") if text.rpartition(":")[2].isdigit() and ":" in text else (text, "", "0")
    inputs = Inputs(Path())
    if name in BUILTINS:
        source = Source(dataset=name)
    elif Path(name).is_file():
        source = Source(path=name, columns=columns)
        inputs.datasets[name] = DatasetFile(Path(name), Path(name).name)
    elif TASKS[task].reads == "text":
        return TextSplit(([text],), torch.zeros(1, dtype=torch.int64))
    else:
        raise InvalidSpec(
            f"{name}: neither a file nor a built-in set.", param="INPUT", hint=f"FILE:ROW, or one of {', '.join(BUILTINS)} with :ROW."
        )
    reader = Reader(task, inputs)
    split = "test" if "test" in reader.splits(source) else "train"
    features, labels = reader.table(source, split, "INPUT")
    if int(number) >= len(labels):
        raise InvalidSpec(f"{name} has {len(labels):,} {split} rows; the first is 0.", param="INPUT")
    if isinstance(features, tuple):
        return TextSplit(tuple([str(column[int(number)])] for column in features), torch.zeros(1, dtype=torch.int64))
    return torch.from_numpy(features[int(number) : int(number) + 1].copy())


def probabilities(folder: Path, row: Tensor | TextSplit, temperatures: Sequence[float] = TEMPERATURES) -> dict[str, Any]:
    """A saved network's probabilities for one row: {"classes": […], "T=1": […], …}. Ranks are the same at every temperature."""
    network, config = load(folder)
    if config.task in LANGUAGE:
        raise InvalidSpec(f"{config.task} networks have no classes to predict.", param="INPUT")
    if isinstance(row, Tensor) and tuple(row.shape[1:]) != tuple(config.shape):
        raise InvalidSpec(f"the row has shape {list(row.shape[1:])}; the network was made for {config.shape}", param="INPUT")
    split = Split(row, torch.zeros(1, dtype=torch.int64)) if isinstance(row, Tensor) else row
    if isinstance(row, TextSplit) and config.text is not None and config.text.texts != len(row.texts):
        raise InvalidSpec("the network reads pairs of texts; give FILE:ROW of a file that has both", param="INPUT")
    with torch.inference_mode():
        logits = logits_of(network, config, rows_for(network, config, split).batch(torch.tensor([0])).given).float()[0]
    found: dict[str, Any] = {f"T={t:g}": F.softmax(logits / t, dim=-1).tolist() for t in temperatures}
    return {"classes": config.classes, **found}
