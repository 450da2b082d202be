"""An uploaded file → a Dataset row, and back to its first rows."""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from api import form_fields
from api.bodies import storable
from api.downloads import File, must_exist
from api.form_fields import Fields, shown
from api.idempotency import Created
from api.multipart import Form, Part
from api.paging import refused
from api.quotas import Quotas
from contract.columns import TAGS
from contract.errors import InvalidData, InvalidSpec, Unavailable
from contract.wire import PreviewView
from models.blobs import Blobs
from models.dataset import Dataset
from models.ids import new_id

if TYPE_CHECKING:
    from datafiles import DataFile

MAX_CLASSES = 1000  # of a column that is not called like a label
MAX_STORED = 20_000  # names of classes kept for one dataset, all columns together
MAX_PREVIEW = 200_000  # values in one preview
CHECKED, SHOWN = threading.BoundedSemaphore(4), threading.BoundedSemaphore(2)  # files read at once: each may unpack to gigabytes
PATIENCE = 10.0  # seconds that a preview waits for others


@dataclass(frozen=True)
class Content:
    """An accepted file: its bytes are stored, its row is not."""

    part: Part
    fields: Fields
    name: str
    format: str
    splits: dict[str, int]
    columns: list[dict[str, object]]
    classes: dict[str, list[str]]


def prepare(received: Form, keep: Callable[[Part], None]) -> Content:
    """Reads the whole file; InvalidData with place and cure for everything that is wrong with it."""
    import datafiles  # numpy stays out of a process that takes no uploads

    fields, part = form_fields.fields(received), form_fields.one_file(received)
    name = shown(part.filename or "")
    with CHECKED:
        data = datafiles.read(part.path, name)
    content = Content(
        part=part,
        fields=fields,
        name=fields.name or name,
        # `csv.gz` for a packed csv: with the bytes, the format is all that a reader needs to know.
        format=data.format + (".gz" if name.lower().endswith(".gz") else ""),
        splits={split: table.rows for split, table in data.splits.items()},
        columns=[column.model_dump(mode="json") for column in data.counted()],
        classes=_classes(data),
    )
    try:
        storable({"splits": content.splits, "columns": content.columns, "classes": content.classes})
    except InvalidSpec as error:
        raise InvalidData(error.detail, param="file", hint=error.hint) from None
    keep(part)
    return content


def store(session: Session, project_id: str, quotas: Quotas, content: Content) -> Created:
    same = (Dataset.project_id == project_id, Dataset.sha256 == content.part.sha256, Dataset.format == content.format)
    found = session.scalar(select(Dataset).where(*same))
    if found is not None:
        return Created(200, found.view(), f"/v1/datasets/{found.id}")
    quotas.room_for_bytes(session, project_id, content.part.size)
    row = Dataset(
        id=new_id("ds"),
        project_id=project_id,
        name=content.name,
        format=content.format,
        sha256=content.part.sha256,
        size_bytes=content.part.size,
        splits=content.splits,
        columns=content.columns,
        classes=content.classes,
        meta=dict(content.fields.metadata),
    )
    session.add(row)
    session.flush()
    return Created(201, row.view(), f"/v1/datasets/{row.id}")


def preview(blobs: Blobs, uploads: Path, row: Dataset, split: str | None, count: int) -> PreviewView:
    """The split's first rows, fewer where each is very large."""
    split = split or ("train" if "train" in row.splits else next(iter(row.splits)))
    if split not in row.splits:
        raise refused("split", f"{row.id} has no split {split[:60]!r}", hint=f"It has {', '.join(sorted(row.splits, reverse=True))}.")
    import datafiles

    must_exist(blobs, File(row.sha256, row.size_bytes, row.name))
    uploads.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="upload-", dir=uploads) as folder:
        path = Path(folder) / "data"
        with _one_of_few():
            blobs.fetch(row.sha256, path)
            table = datafiles.read(path, f"data.{row.format}").splits[split]
    in_row = sum(int(values[:1].size) for values in table.columns.values())
    count = max(1, min(count, MAX_PREVIEW // max(1, in_row)))
    columns = [values[:count].tolist() for values in table.columns.values()]
    return PreviewView(split=split, columns=list(table.columns), rows=[list(cells) for cells in zip(*columns, strict=True)])


@contextmanager
def _one_of_few() -> Iterator[None]:
    if not SHOWN.acquire(timeout=PATIENCE):
        raise Unavailable("Other previews are being read.", hint="Ask again in a moment.", headers={"Retry-After": "5"})
    try:
        yield
    finally:
        SHOWN.release()


def _classes(data: "DataFile") -> dict[str, list[str]]:
    """The classes of every column that could be a label: those called so, then those with the fewest."""
    found: dict[str, list[str]] = {}
    for column in data.columns():
        names = data.classes(column.name) if not column.shape else None
        if names is not None and (len(names) <= MAX_CLASSES or column.name in TAGS):
            found[column.name] = names
    kept: dict[str, list[str]] = {}
    room = MAX_STORED
    for name in sorted(found, key=lambda name: (name not in TAGS, len(found[name]))):
        if name in TAGS or len(found[name]) <= room:
            kept[name] = found[name]
            room -= len(found[name])
    return kept
