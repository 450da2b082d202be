"""The door: a file's name says its format, the format's reader makes columns of it, and what must hold of all is checked."""

from pathlib import Path

from datafiles import delimited, jsonl, lines, npz, parquet
from datafiles.checks import check
from datafiles.compression import opened
from datafiles.limits import Limits
from datafiles.refusal import refuse, shown
from datafiles.table import DataFile

# A new format is one module with read(file, limits) → {split: Table}, and its line here.
_READERS = {"npz": npz.read, "csv": delimited.read, "jsonl": jsonl.read, "parquet": parquet.read, "txt": lines.read}
FORMATS = tuple(_READERS)


def read(path: Path, name: str, limits: Limits = Limits()) -> DataFile:
    """The checked columns of the file at `path`; `name` is what its owner called it, and its ending decides the format.

    Raises InvalidData and nothing else for what is wrong with the file: the place in `detail`, the cure in `hint`.
    """
    stem = name.lower().removesuffix(".gz")
    format = stem.rpartition(".")[2] if "." in stem else ""
    if format not in _READERS:
        allowed = ", ".join(f".{known}" for known in FORMATS)
        raise refuse(f"the name {shown(name)} does not end in {allowed} (or one of these with .gz)", "Name the file for what it holds.")
    with opened(path, name.lower().endswith(".gz"), limits) as file:
        data = DataFile(format, _READERS[format](file, limits))
    check(data, limits)
    return data
