"""Files of a job onto this disk: resumed where they broke off, checked against their SHA-256, never half there."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from contract.errors import Refused
from contract.wire import ArtifactView
from potstill.errors import ChecksumMismatch, PotstillError
from potstill.transport import LOST, Transport, backoff

STALLS = 5  # broken connections in a row without one new byte
OnBytes = Callable[[str, int, int], None]  # file, bytes here, bytes in all


def pull(transport: Transport, artifacts: Sequence[ArtifactView], folder: Path, on_bytes: OnBytes | None = None) -> Path:
    """Every artifact into `folder`, without a leading `student/`. Files that are there already, whole, are not fetched again."""
    places = [(artifact, local_path(folder, artifact.path)) for artifact in artifacts]  # all checked before one is written
    for artifact, place in places:
        fetch(transport, artifact, place, on_bytes or (lambda *_: None))
    return folder


def local_path(folder: Path, path: str) -> Path:
    """Where an artifact goes; refuses names that would leave the folder, also through a symbolic link in it."""
    inner = path.removeprefix("student/")
    place = folder / inner
    parts = inner.split("/")
    harmless = inner.isprintable() and "\\" not in inner and not any(part in ("", ".", "..") for part in parts)
    if not harmless or not place.resolve().is_relative_to(folder.resolve()):
        raise Refused(
            f"The service names a file {path!r}, which would lie outside {folder}.",
            code="unsafe_path",
            hint="Nothing was written. Do not trust this service.",
        )
    return place


def fetch(transport: Transport, artifact: ArtifactView, place: Path, on_bytes: OnBytes) -> None:
    """One file, by way of `<name>.part`. Bytes that turn out wrong are fetched once more from the start."""
    if place.is_file() and place.stat().st_size == artifact.size_bytes and _sha256(place) == artifact.sha256:
        on_bytes(artifact.path, artifact.size_bytes, artifact.size_bytes)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    for _ in range(2):
        _download(transport, artifact, part, on_bytes)
        got = _sha256(part)
        if got == artifact.sha256:
            _publish(part, place)
            return
        part.unlink()
    raise ChecksumMismatch(artifact.path, artifact.sha256, got)


def _download(transport: Transport, artifact: ArtifactView, part: Path, on_bytes: OnBytes) -> None:
    """Brings `part` to the announced size, going on after each lost connection with what has not come yet."""
    stalls = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have and have == artifact.size_bytes:
            return
        try:
            _append(transport, artifact, part, have if have < artifact.size_bytes else 0, on_bytes)
            return
        except LOST as error:
            grown = part.exists() and part.stat().st_size > have
            stalls = 0 if grown else stalls + 1
            if stalls > STALLS:
                lost = transport.unreachable(error)
                lost.hint = "Run the same again: it goes on where it stopped."
                raise lost from error
            time.sleep(backoff(stalls))
        except PotstillError as error:
            if error.status != 416 or not have:
                raise
            part.unlink()  # no beginning of this file


def _append(transport: Transport, artifact: ArtifactView, part: Path, have: int, on_bytes: OnBytes) -> None:
    """One request for the bytes from `have` on. If-Range: should the file be another by now, all of it comes, from the start."""
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": f'"{artifact.sha256}"'}
    with transport.stream(f"/v1/artifacts/{artifact.id}", headers=headers) as response:
        goes_on = response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {have}-")
        done = have if goes_on else 0
        with part.open("ab" if goes_on else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                on_bytes(artifact.path, done, artifact.size_bytes)
                if done > artifact.size_bytes:
                    return  # the check will say so; no reason to fill the disk first


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(part: Path, place: Path) -> None:
    """On disk first, then under its name: a file with its name is whole, also after a power cut."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(place)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
