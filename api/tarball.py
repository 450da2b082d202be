"""Stored files as one tar, written while it is sent. Its length is known beforehand, so that a broken download shows."""

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.blobs import Blobs

BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Member:
    path: str
    sha256: str
    size: int


def headers(members: Sequence[Member], modified: int) -> list[bytes]:
    """The tar header of each file; the same files give the same bytes every time."""
    found = []
    for member in members:
        info = tarfile.TarInfo(member.path)
        info.size, info.mtime, info.mode = member.size, modified, 0o644
        found.append(info.tobuf(tarfile.PAX_FORMAT))
    return found


def length(members: Sequence[Member], modified: int) -> int:
    return sum(map(len, headers(members, modified))) + sum(member.size + _padding(member.size) for member in members) + 2 * BLOCK


def etag(members: Sequence[Member], modified: int) -> str:
    said = "\n".join([str(modified), *(f"{member.path} {member.sha256}" for member in members)])
    return f'"{hashlib.sha256(said.encode()).hexdigest()}"'


def stream(blobs: Blobs, members: Sequence[Member], modified: int) -> Iterator[bytes]:
    for member, header in zip(members, headers(members, modified), strict=True):
        yield header
        yield from blobs.read_range(member.sha256, 0, member.size)
        yield b"\0" * _padding(member.size)
    yield b"\0" * (2 * BLOCK)


def _padding(size: int) -> int:
    return -size % BLOCK
