"""Uploaded bytes into the store, together with the rows that speak of them: on failure neither stays."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.multipart import Part
from models.blobs import Blobs
from models.session import Database
from models.teardown import storing


@contextmanager
def kept(database: Database, blobs: Blobs) -> Iterator[Callable[[Part], None]]:
    """Gives a function that stores a part's bytes; those whose rows did not come about are removed again."""
    with storing(database, blobs) as put:

        def keep(part: Part) -> None:
            put(part.path, part.sha256)

        yield keep
