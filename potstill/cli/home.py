"""The home folder of `potstill up`: one service for each, a database of this version, a key. Whatever is in the way is one clear
error with its cure, before anything is started."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from contract.errors import PotstillError

if TYPE_CHECKING:
    from models.session import Database

ELSEWHERE = "Choose another one with --home or POTSTILL_HOME."
ROOM = 10_000_000  # bytes: the database's first tables and their journal, and then some


class Home:
    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        self.key = self.folder / "key"

    @contextlib.contextmanager
    def taken(self, url: str) -> Iterator[bool]:
        """One service for each home: two would run each other's jobs and fight for its files. True where the one before was
        killed and may still be on its way out. The kernel lets go of the lock however we end."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.folder / "up.lock").open("a+")
        except OSError as error:
            raise PotstillError(f"The home folder {self.folder} cannot be written: {error.strerror}.", hint=ELSEWHERE) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PotstillError(
                    f"{self.folder} is already served by {_holder(lock)}.",
                    hint="Use that service, stop it, or choose another folder with --home.",
                ) from None
            left_behind = lock.seek(0, os.SEEK_END) > 0
            self._refuse_full()
            lock.truncate(0)
            lock.write(f"process {os.getpid()} at {url}")
            lock.flush()
            try:
                yield left_behind
            finally:
                lock.truncate(0)

    def prepare(self) -> "Database":
        """The database at this version's tables, and a first key in it."""
        import migrations
        from models import schema
        from models.project import ensure_key
        from models.session import Database
        from models.settings import StoreSettings

        self._refuse_emptied()
        settings = StoreSettings(home=self.folder)
        database = Database(settings.database())
        with self._damage_explained():
            if schema.to_migrate(database):
                migrations.upgrade(settings.database())
            secret = self._secret()
            with database.write() as session:
                ensure_key(session, secret, "first key")
        return database

    def _refuse_full(self) -> None:
        free = os.statvfs(self.folder)
        if free.f_bavail * free.f_frsize < ROOM:
            raise PotstillError(
                f"The disk of the home folder {self.folder} is full: {free.f_bavail * free.f_frsize:,} bytes are free.",
                hint=f"Free some space there. {ELSEWHERE}",
            )

    def _refuse_emptied(self) -> None:
        """SQLite takes an empty file for a new database, and every job in it would be forgotten without a word."""
        file = self.folder / "potstill.db"
        if file.exists() and file.stat().st_size == 0 and any((self.folder / "artifacts").rglob("*")):
            raise PotstillError(
                f"The database {file} is empty, but there are files of jobs.",
                hint="Put a copy of it back; or remove it to start anew: the files in artifacts/ are then nobody's.",
            )

    @contextlib.contextmanager
    def _damage_explained(self) -> Iterator[None]:
        from sqlalchemy.exc import DatabaseError

        try:
            yield
        except DatabaseError as error:
            if "no such" in str(error.orig):  # SQLite's word for a missing table or column: our mistake
                raise
            room = f"Free some space there. {ELSEWHERE}" if "full" in str(error.orig) else None
            raise PotstillError(
                f"The database of the home folder {self.folder} cannot be used: {error.orig}.",
                hint=room or "Put a copy of potstill.db back, or choose another folder with --home.",
            ) from None

    def _secret(self) -> str:
        """The first key; made where there is none."""
        from models.secret import flaw, new_secret

        if not self.key.exists():
            temporary = self.folder / ".key"
            temporary.touch(mode=0o600)
            temporary.write_text(new_secret() + "\n")
            temporary.replace(self.key)
        try:
            others, secret = self.key.stat().st_mode & 0o077, self.key.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PotstillError(f"The key file {self.key} cannot be read: {error}.", hint=f"chmod 600 {self.key}") from None
        if others:
            raise PotstillError(f"The key file {self.key} can be read by others.", hint=f"chmod 600 {self.key}")
        if (wrong := flaw(secret)) is not None:
            raise PotstillError(
                f"The key file {self.key} holds no key: {wrong}.", hint="Put the key back; or remove the file, and a new key is made."
            )
        return secret


def _holder(lock: IO[str]) -> str:
    """Who has it; one that has only just taken it has yet to say so."""
    end = time.monotonic() + 2
    while True:
        lock.seek(0)
        said = lock.read().strip()
        words = said.split()
        if len(words) > 1 and words[1].isdigit() and Path(f"/proc/{words[1]}").exists():
            return said
        if time.monotonic() > end:
            return said or "another process"
        time.sleep(0.02)
