"""One process among several that store and free the same few bytes as fast as they can."""

import hashlib
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from models import cleaning
from models.blobs import Blobs
from models.dataset import Dataset
from models.ids import new_id
from models.session import Database
from models.settings import StoreSettings
from models.teardown import release, storing

CONTENTS = [b"weights %d" % i * 500 for i in range(2)]
THREADS = 3


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def dataset(project_id: str, content_sha256: str, size: int = 5) -> Dataset:
    """A row that refers to these bytes; any number may."""
    fields = {"name": "d", "size_bytes": size, "splits": {"train": 1}, "columns": [], "classes": {}, "meta": {}}
    return Dataset(id=new_id("ds"), project_id=project_id, sha256=content_sha256, format=uuid.uuid4().hex[:16], **fields)


@dataclass
class Hammer:
    """Stores, frees and collects until the time is over; `wrong` is what must not have been seen."""

    url: str
    artifacts: str
    folder: Path
    project_id: str
    seconds: float
    seed: int
    stored: int = 0
    freed: int = 0
    collected: int = 0
    wrong: list[str] = field(default_factory=list)

    def run(self) -> "Hammer":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.database, self.blobs = Database(self.url), Blobs(self.artifacts)
        self.end = time.monotonic() + self.seconds
        hands = [threading.Thread(target=self._guarded, args=(self._hand, i)) for i in range(THREADS)]
        hands.append(threading.Thread(target=self._guarded, args=(self._collect, 0)))
        for thread in hands:
            thread.start()
        for thread in hands:
            thread.join()
        self.database.dispose()
        del self.database, self.blobs  # this object goes back through a pipe
        return self

    def _guarded(self, work: object, number: int) -> None:
        try:
            work(number)  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001 - it is the result
            self.wrong.append(f"{type(error).__name__}: {error}")

    def _hand(self, number: int) -> None:
        choice = random.Random(f"{self.seed} {number}")
        while time.monotonic() < self.end:
            content = choice.choice(CONTENTS)
            if choice.random() < 0.5:
                self._store(content)
            else:
                self._free(content)

    def _store(self, content: bytes) -> None:
        source = self.folder / uuid.uuid4().hex
        source.write_bytes(content)
        with storing(self.database, self.blobs) as put:
            found, size = put(source)
            with self.database.write() as session:
                row = dataset(self.project_id, found, size)
                session.add(row)
        source.unlink()
        self.stored += 1
        try:
            with self.blobs.open(found) as file:
                whole = sha256(file.read()) == found
        except FileNotFoundError:
            whole = False
        with self.database.read() as session:
            if not whole and session.get(Dataset, row.id) is not None:
                self.wrong.append(f"{found[:8]} could not be read although a row refers to it")

    def _free(self, content: bytes) -> None:
        with self.database.write() as session:
            session.execute(sa.delete(Dataset).where(Dataset.sha256 == sha256(content)))
        self.freed += len(release(self.database, self.blobs, [sha256(content)]))

    def _collect(self, _: int) -> None:
        settings = StoreSettings(home=self.folder / "home")
        while time.monotonic() < self.end:
            found = cleaning.collect(self.database, self.blobs, settings, grace=0, strangers=True)
            self.collected += sum(one.count for one in found)
            time.sleep(0.01)


def hammer(tool: Hammer) -> Hammer:
    return tool.run()
