"""An uploaded file → checked content of a Dataset row."""

from typing import TYPE_CHECKING, Any

from api.form_fields import shown
from api.multipart import Part
from contract.errors import InvalidData
from contract.fit import LABELS

if TYPE_CHECKING:
    from datafiles import DataFile

MAX_CLASSES = 1000  # of a column that is not called like a label
MAX_STORED = 20_000  # names of classes kept for one dataset, all columns together


def file_name(part: Part) -> str:
    name = shown(part.filename or "")
    if not name.strip(". "):
        raise InvalidData("file: it has no name", param="file", hint="The name's ending says the format: .npz, .csv or .jsonl, also with .gz.")
    return name


def check(part: Part) -> "DataFile":
    """The file's columns; InvalidData with place and cure for everything that is wrong with it."""
    import datafiles  # numpy stays out of a process that takes no uploads

    return datafiles.read(part.path, file_name(part))


def format_of(data: "DataFile", part: Part) -> str:
    """`csv.gz` for a packed csv: read together with the bytes, the format is all there is to know."""
    return data.format + (".gz" if file_name(part).lower().endswith(".gz") else "")


def classes(data: "DataFile") -> dict[str, list[str]]:
    """The classes of every column that could be a label: those called so first, then those with the fewest."""
    found: dict[str, list[str]] = {}
    for column in data.columns():
        names = data.classes(column.name) if not column.shape else None
        if names is not None and (len(names) <= MAX_CLASSES or column.name in LABELS):
            found[column.name] = names
    kept: dict[str, list[str]] = {}
    room = MAX_STORED
    for name in sorted(found, key=lambda name: (name not in LABELS, len(found[name]))):
        if name in LABELS or len(found[name]) <= room:
            kept[name] = found[name]
            room -= len(found[name])
    return kept


def preview(data: "DataFile", split: str, count: int) -> tuple[list[str], list[list[Any]]]:
    """Names of the columns and the split's first rows, fewer where each is large."""
    table = data.splits[split]
    values_in_row = sum(int(values[:1].size) for values in table.columns.values())
    count = max(1, min(count, MAX_PREVIEW // max(1, values_in_row)))
    columns = [values[:count].tolist() for values in table.columns.values()]
    return list(table.columns), [list(row) for row in zip(*columns, strict=True)]


MAX_PREVIEW = 200_000  # values in one preview
