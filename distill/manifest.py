"""The list of a folder's files with the SHA-256 of each. A folder with a manifest is whole; reading verifies it."""

import json
from hashlib import file_digest
from pathlib import Path

from distill.errors import CheckpointInvalidError

NAME = "manifest.json"
LARGEST = 16 << 20  # bytes of a JSON file worth reading


def write(folder: Path) -> None:
    files = {path.name: _digest(path) for path in sorted(folder.iterdir())}
    (folder / NAME).write_text(json.dumps({"files": files}, indent=1))


def verify(folder: Path) -> None:
    """Raises CheckpointInvalidError unless the manifest names every file there is and each is what it was."""
    try:
        here = {path.name: path for path in folder.iterdir()}
        strange = sorted(name for name, path in here.items() if not path.is_file())  # reading a pipe or a device would never end
        if strange:
            raise CheckpointInvalidError(f"{folder.name}: {', '.join(strange)} cannot be read as a file")
        files = json.loads(read(here.pop(NAME)))["files"]
        different = sorted(here.keys() ^ files.keys())
        wrong = different or sorted(name for name, path in here.items() if _digest(path) != files[name])
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise CheckpointInvalidError(f"{folder.name} is not complete") from None
    if wrong:
        how = "missing, or not named in its manifest" if different else "changed since it was written"
        raise CheckpointInvalidError(f"{folder.name}: {', '.join(wrong)[:200]} {how}")


def read(path: Path) -> bytes:
    """The content of a small file. ValueError for one that no writer of ours made so large."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name} is too large")
    return path.read_bytes()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
