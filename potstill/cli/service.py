"""`up`, `api`, `worker`, `migrate`: the service in one process tree, or in the parts a deployment runs.

Every child is started as `python -P -c …`, so that the folder a user stands in, with an `api/` or `models/` of its own, is
never on the import path.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from contract.errors import PotstillError
from potstill import settings as local

WORKER = "from worker.serve import main; main()"

Host = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on. [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one. [default: 8400]")]
Slots = Annotated[int | None, typer.Option(metavar="N", min=1, max=256, help="Jobs run at once.")]


def up(
    host: Host = None,
    port: Port = None,
    slots: Slots = None,
    home: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where everything is kept. [default: ~/.potstill]")] = None,
) -> None:
    """Run the whole service here: API, worker and SQLite. Ctrl-C stops it; running jobs go back to the queue at a checkpoint."""
    from potstill.cli.embedded import Embedded

    if home is not None:
        os.environ["POTSTILL_HOME"] = str(home.expanduser().resolve())
    sys.exit(Embedded(local.home(), host or "127.0.0.1", 8400 if port is None else port, slots).run())


def api(host: Host = None, port: Port = None) -> None:
    """Run the API alone. It reads POTSTILL_DATABASE_URL, POTSTILL_BROKER_URL, POTSTILL_ARTIFACTS_URL."""
    import migrations
    from api.serve import serve
    from api.settings import Settings

    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    serve(Settings(**given), schema_head=migrations.head())  # type: ignore[arg-type]


def worker(slots: Slots = None) -> None:
    """Run a worker alone. SIGTERM brings its jobs to a checkpoint and gives them back."""
    if slots is not None:
        os.environ["POTSTILL_SLOTS"] = str(slots)
    os.environ["PYTHONSAFEPATH"] = "1"
    os.execv(sys.executable, [sys.executable, "-P", "-c", WORKER])  # noqa: S606 - a process that trainers can be forked from


def migrate() -> None:
    """Bring the database to this version; make POTSTILL_KEY, if set, a key of the default project."""
    import migrations
    from models import schema
    from models.project import ensure_key
    from models.secret import flaw
    from models.session import Database
    from models.settings import StoreSettings

    url = StoreSettings().database()
    database = Database(url)
    if schema.to_migrate(database):
        migrations.upgrade(url)
    secret = os.environ.get("POTSTILL_KEY")
    if secret:
        if (wrong := flaw(secret)) is not None:
            raise PotstillError(f"POTSTILL_KEY cannot be a key: {wrong}.", hint="echo psk_$(openssl rand -hex 24) makes one.")
        with database.write() as session:
            ensure_key(session, secret, "from POTSTILL_KEY")
    print(f"the database is at {schema.revision(database)}")
    database.dispose()
