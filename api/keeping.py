"""Uploaded bytes into the store, together with the rows that speak of them: on failure neither stays."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from api.multipart import Part
from contract.errors import PotstillError
from models.blobs import Blobs
from models.session import Database
from models.teardown import free, unreferenced


@contextmanager
def kept(database: Database, blobs: Blobs) -> Iterator[Callable[[Part], None]]:
    """Gives a function that stores a part's bytes; those whose rows did not come about are removed again."""
    stored: list[Part] = []

    def keep(part: Part) -> None:
        stored.append(part)
        blobs.put(part.path, part.sha256)

    try:
        yield keep
    except BaseException:
        # When the database is away nobody knows whether the rows are there; bytes too many are the smaller evil.
        with suppress(PotstillError), database.read() as session:
            free(blobs, unreferenced(session, [part.sha256 for part in stored]))
        raise
    for part in stored:
        # A deletion of the same bytes may have overtaken us between storing and committing.
        if not blobs.exists(part.sha256, part.size):
            blobs.put(part.path, part.sha256)
