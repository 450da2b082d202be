"""`gc`: free what nothing refers to any more, in the store that this machine's settings name."""

from typing import Annotated

import typer

from potstill.cli.options import Json
from potstill.cli.output import emit, line, size, table
from potstill.cli.store import opened


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="Leave files alone that came to the store less than this ago.")
    ] = 3600.0,
    strangers: Annotated[
        bool, typer.Option("--all", help="Collect also when the database knows none of the store's files: when it is empty, say.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Free what nothing refers to any more: bytes without a row, folders of attempts that died, old answers, the cache's excess.

    Workers do the same every hour. It reads POTSTILL_HOME, POTSTILL_DATABASE_URL and POTSTILL_ARTIFACTS_URL, as they do, and may run
    beside them: what is in use stays.
    """
    from models import cleaning
    from models.blobs import Blobs

    with opened() as (database, settings):
        found = cleaning.collect(database, Blobs(settings.artifacts()), settings, grace=grace, dry_run=dry_run, strangers=strangers)
    count, freed = sum(one.count for one in found), sum(one.size_bytes for one in found)
    if as_json:
        kinds = [{"what": one.what, "count": one.count, "size_bytes": one.size_bytes, "note": one.note} for one in found]
        emit({"dry_run": dry_run, "found": kinds, "count": count, "size_bytes": freed})
        return
    table(["WHAT", "WOULD GO" if dry_run else "GONE", "BYTES"], [(one.what, f"{one.count:,}", size(one.size_bytes)) for one in found])
    for one in found:
        if one.note is not None:
            line("!", "left alone", f"{one.what}: {one.note}", hint="--all collects them.")
    line("✓", "would free" if dry_run else "freed", f"{size(freed)} in {count:,} things", stderr=False)
