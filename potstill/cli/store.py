"""The store itself, for what an operator does beside the service: no key is asked for, access to the database is the right to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from contract.errors import PotstillError

if TYPE_CHECKING:
    from models.session import Database
    from models.settings import StoreSettings


@contextmanager
def opened() -> Iterator[tuple["Database", "StoreSettings"]]:
    """The database that the environment names, once it is there and of this version."""
    from models import schema
    from models.session import Database
    from models.settings import StoreSettings

    settings = StoreSettings()
    if not settings.database_url and not (settings.home_path() / "potstill.db").exists():
        raise PotstillError(f"There is no service in {settings.home_path()}.", hint="Name its folder in POTSTILL_HOME.")
    database = Database(settings.database())
    try:
        schema.refuse_other(database)
        yield database, settings
    finally:
        database.dispose()
