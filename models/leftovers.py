"""What processes that died left in the home folder, and what a cache holds too much of. Nothing here is in use: each function says why."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

DAY = 24 * 3600.0
HOUR = 3600.0
MOMENT = 600.0


def untouched(path: Path, seconds: float, now: float | None = None) -> bool:
    """Neither it nor anything in it was written to for so long."""
    try:
        newest = max(file.lstat().st_mtime for file in _with_all_below(path))
    except FileNotFoundError:  # somebody is at it
        return False
    return (now or time.time()) - newest > seconds


def uploads(folder: Path, now: float | None = None) -> list[Path]:
    """Uploads to which no byte was added for a day: their process is gone, and with it the request."""
    return [upload for upload in _inside(folder, "upload-*") if untouched(upload, DAY, now)]


def attempts(work: Path) -> dict[Path, tuple[str, int]]:
    """Folders of attempts, dead or alive: (job, number of the attempt)."""
    found = {}
    for folder in (attempt for job in _inside(work, "job_*") for attempt in _inside(job, "attempt-*")):
        number = folder.name.removeprefix("attempt-")
        if number.isdigit():
            found[folder] = folder.parent.name, int(number)
    return found


def helps(work: Path, now: float | None = None) -> list[Path]:
    """What was fetched to help with another's run, and not touched for a day: whoever helped is gone."""
    return [folder for folder in _inside(work, "help-*") if untouched(folder, DAY, now)]


def drop_empty_jobs(work: Path, now: float | None = None) -> None:
    """Removes job folders that were empty for an hour. A worker that comes at this very moment makes its folder again."""
    for folder in _inside(work, "job_*"):
        if untouched(folder, HOUR, now):
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


def locks(run: Path, now: float | None = None) -> Iterator[Path]:
    """Lock files that nobody holds. Each is held while it is given out; a day of age because a worker makes the file first and takes
    the lock then."""
    for path in _inside(run, "wrk_*.lock"):
        if untouched(path, DAY, now):
            with held(path) as mine:
                if mine:
                    yield path


def cache_locks(cache: Path, now: float | None = None) -> Iterator[Path]:
    """Lock files of what was made and is gone, that nobody holds. Whoever opens one at this moment may make a part that another one makes
    too, each whole or not at all."""
    for path in (path for folder in _inside(cache, "*") for path in _inside(folder, "*.lock")):
        if untouched(path, DAY, now) and not any(other != path for other in path.parent.glob(f"{path.stem}.*")):
            with held(path) as mine:
                if mine:
                    yield path


def beyond(cache: Path, limit: int, now: float | None = None) -> list[Path]:
    """The files of a cache beyond its limit, least recently used first, and what broken writes left. A job that reads one keeps
    what it reads; the next one makes it again."""
    files = []
    folders = _inside(cache, "*")
    for path in (path for folder in folders for path in _inside(folder, "[!.]*") if path.suffix != ".lock"):
        with contextlib.suppress(FileNotFoundError):
            files.append((path.stat().st_mtime, path.stat().st_size, path))
    files.sort()
    excess = sum(size for _, size, _ in files) - limit
    gone = []
    for _, size, path in files:
        if excess <= 0:
            break
        gone.append(path)
        excess -= size
    return gone + [path for folder in folders for path in _inside(folder, ".*") if untouched(path, HOUR, now)]


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Whether its lock could be had; it is ours until the end of the block."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("r+"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def is_held(path: Path) -> bool:
    if not path.exists():
        return False
    with held(path) as mine:
        return not mine


def size(path: Path) -> int:
    """Bytes that go with it: what has another name elsewhere, in the store above all, stays."""
    total = 0
    for file in _with_all_below(path):
        with contextlib.suppress(FileNotFoundError):
            stat = file.lstat()
            total += stat.st_size if file.is_file() and stat.st_nlink == 1 else 0
    return total


def _inside(folder: Path, pattern: str) -> list[Path]:
    """Where others are at work a folder may be gone from one moment to the next."""
    try:
        return [path for path in folder.iterdir() if fnmatch(path.name, pattern)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _with_all_below(path: Path) -> Iterator[Path]:
    yield path
    for folder, folders, files in os.walk(path):
        yield from (Path(folder, name) for name in [*folders, *files])


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
