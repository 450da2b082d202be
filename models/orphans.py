"""What lies in the artifact store without a row that refers to it: files of uploads and runs that did not come to their commit,
half-written ones, and what a deletion that was cut off had laid aside."""

import re
import time
from dataclasses import dataclass, field
from typing import Any

from models.blobs import ASIDE, SHELF, Blobs
from models.session import Database
from models.teardown import BATCH, referenced, release, settle, unreferenced

CUT_OFF_SECONDS = 24 * 3600.0
BUSY_SECONDS = 3600.0  # a write may take so long, or a move in a store that copies
NAME = re.compile(r"(?P<hidden>\.?)(?P<sha256>[0-9a-f]{64})(?P<rest>\.[0-9a-f]{32})?")


@dataclass
class Listing:
    """The store at one moment: path → (sha256, size). Files of others are left out."""

    blobs: dict[str, tuple[str, int]] = field(default_factory=dict)
    aside: dict[str, tuple[str, int]] = field(default_factory=dict)
    halves: dict[str, tuple[str, int]] = field(default_factory=dict)  # not yet under their name


def listing(blobs: Blobs) -> Listing:
    found = Listing()
    for path, info in blobs.fs.find(blobs.root, detail=True).items():
        folder, _, name = path.rpartition("/")
        parts, place = NAME.fullmatch(name), folder.rsplit("/", 1)[-1]
        if parts is None:
            continue
        entry = parts["sha256"], int(info["size"])
        if place == ASIDE and parts["rest"]:
            found.aside[path] = entry
        elif place == name[:2] and not parts["rest"]:
            found.blobs[path] = entry
        elif parts["hidden"] and parts["rest"]:
            found.halves[path] = entry
    return found


def shelved_beyond(blobs: Blobs, limit: int) -> dict[str, int]:
    """Paths and sizes of the oldest on the shelf, so many that those left are within the limit."""
    if blobs.local is not None:
        return {}
    try:
        there = blobs.fs.find(f"{blobs.root}/{SHELF}", detail=True)
    except FileNotFoundError:
        return {}
    files = sorted((str(info.get("LastModified", info.get("created", ""))), int(info["size"]), path) for path, info in there.items())
    excess = sum(size for _, size, _ in files) - limit
    gone: dict[str, int] = {}
    for _, size, path in files:
        if excess <= 0:
            break
        gone[path] = size
        excess -= size
    return gone


def age(blobs: Blobs, path: str, now: float | None = None) -> float:
    """Seconds since it came to this place. On a disk the inode's time is taken: it changes when a file is moved or linked."""
    try:
        changed: Any = blobs.fs.info(path)["created"] if blobs.local is not None else blobs.fs.modified(path).timestamp()
    except FileNotFoundError:
        return 0.0
    return (now or time.time()) - float(changed)


def orphans(database: Database, blobs: Blobs, found: Listing, grace: float, now: float | None = None) -> tuple[dict[str, int], bool]:
    """sha256 → size of what nobody refers to, and whether the database knows any of the files: one that knows none may well be
    another service's."""
    with database.read() as session:
        known = referenced(session)
    mine = {sha256 for sha256, _ in found.blobs.values()} & known
    loose = {path: entry for path, entry in found.blobs.items() if entry[0] not in known}
    return {entry[0]: entry[1] for path, entry in loose.items() if age(blobs, path, now) >= grace}, bool(mine) or not loose


def free(database: Database, blobs: Blobs, loose: dict[str, int], dry_run: bool) -> list[int]:
    """The sizes of those that went, or would."""
    return list(loose.values()) if dry_run else [loose[sha256] for sha256 in release(database, blobs, loose)]


def finish_deletions(database: Database, blobs: Blobs, found: Listing, dry_run: bool, now: float | None = None) -> list[int]:
    """What was laid aside and then forgotten goes, or goes back when a row refers to it. A store that copies to move may still be
    at it; a disk is not."""
    aside = [path for path in found.aside if blobs.local is not None or age(blobs, path, now) > BUSY_SECONDS]
    sizes: list[int] = []
    for start in range(0, len(aside), BATCH):
        batch = {path: found.aside[path][0] for path in aside[start : start + BATCH]}
        if dry_run:
            with database.read() as session:
                gone = unreferenced(session, batch.values())
        else:
            gone = settle(database, blobs, batch)
        sizes += [found.aside[path][1] for path, sha256 in batch.items() if sha256 in gone]
    return sizes


def drop_halves(blobs: Blobs, found: Listing, dry_run: bool, now: float | None = None) -> list[int]:
    """What was being written and has not come to its end for an hour; sent in parts, for a day."""
    old = [path for path in found.halves if age(blobs, path, now) > BUSY_SECONDS]
    for path in old if not dry_run else ():
        blobs.discard(path)
    sizes = [found.halves[path][1] for path in old]
    for size, forget in blobs.unfinished(CUT_OFF_SECONDS):
        sizes.append(size)
        if not dry_run:
            forget()
    return sizes
