"""What networks say about single rows: class probabilities at several temperatures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contract.errors import InvalidSpec
from contract.registry import BUILTINS
from contract.spec import Columns, Source
from distill.data.load import Reader
from distill.inputs import DatasetFile, Inputs
from distill.networks import load, scaled

TEMPERATURES = (1.0, 2.0, 5.0)


def read_row(text: str, task: str, columns: Columns) -> Tensor:
    """One example, [1, *shape], from `SOURCE:ROW`: a built-in set or a file, its test split where it has one, row 0 if not said."""
    name, _, number = text.rpartition(":") if text.rpartition(":")[2].isdigit() and ":" in text else (text, "", "0")
    inputs = Inputs(Path())
    if name in BUILTINS:
        source = Source(dataset=name)
    elif Path(name).is_file():
        source = Source(path=name, columns=columns)
        inputs.datasets[name] = DatasetFile(Path(name), Path(name).name)
    else:
        raise InvalidSpec(
            f"{name}: neither a file nor a built-in set.", param="INPUT", hint=f"FILE:ROW, or one of {', '.join(BUILTINS)} with :ROW."
        )
    reader = Reader(task, inputs)
    split = "test" if "test" in reader.splits(source) else "train"
    features, _labels = reader.table(source, split, "INPUT")
    if int(number) >= len(features):
        raise InvalidSpec(f"{name} has {len(features):,} {split} rows; the first is 0.", param="INPUT")
    return torch.from_numpy(features[int(number) : int(number) + 1].copy())


def probabilities(folder: Path, row: Tensor, temperatures: Sequence[float] = TEMPERATURES) -> dict[str, Any]:
    """A saved network's probabilities for one row: {"classes": […], "T=1": […], …}. Ranks are the same at every temperature."""
    network, config = load(folder)
    if tuple(row.shape[1:]) != tuple(config.shape):
        raise InvalidSpec(f"the row has shape {list(row.shape[1:])}; the network was made for {config.shape}", param="INPUT")
    with torch.inference_mode():
        logits = network(scaled(row, config.input)).float()[0]
    found: dict[str, Any] = {f"T={t:g}": F.softmax(logits / t, dim=-1).tolist() for t in temperatures}
    return {"classes": config.classes, **found}
