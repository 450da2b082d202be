"""NumPy archives: members `<column>_<split>.npy`, such as x_train and y_test; one without a split belongs to train."""

import struct
import zipfile
import zlib
from typing import BinaryIO

from datafiles.checks import check_names
from datafiles.limits import Limits
from datafiles.npy import read_array
from datafiles.refusal import listed, plain, refuse, shown
from datafiles.sniff import HEAD, looks_like
from datafiles.table import Array, Table

SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}  # in the order they are listed
LARGEST_READ = 2**20  # a directory of 64 members takes a few KB, and members are read in blocks of this size
HINT = "Save it with np.savez(path, x_train=…, y_train=…, x_test=…, y_test=…)."
_ENCRYPTED = 0x1
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, NotImplementedError)


def read(file: BinaryIO, limits: Limits) -> dict[str, Table]:
    """The splits of the archive, train first. Raises InvalidData naming the member."""
    head = file.read(HEAD)
    if not head.startswith(b"PK"):
        raise refuse(f"the file says .npz but is not a zip archive; it starts like {looks_like(head)}", HINT)
    packed = _Guarded(file)
    try:
        with zipfile.ZipFile(packed) as archive:
            return _read_members(archive, packed.size, limits)
    except _BROKEN as error:
        raise refuse(
            f"the zip archive is damaged: {plain(error)}", "Upload it again; if that does not help, save it again with np.savez."
        ) from error


class _OutsideError(OSError, zipfile.BadZipFile):
    """An OSError as well, because zipfile's search for the optional parts of a directory counts on those."""


class _Guarded:
    """The file as zipfile sees it. zipfile believes the archive's own offsets and would take in a directory of any length."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        self.tell = file.tell

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        target = offset + (0, self.tell(), self.size)[whence]
        if not 0 <= target <= self.size:
            raise _OutsideError("it points outside itself")
        return self._file.seek(target)

    def read(self, size: int = -1) -> bytes:
        left = self.size - self.tell()
        size = left if size < 0 else min(size, left)
        if size > LARGEST_READ:
            raise zipfile.BadZipFile("its directory is too long")
        return self._file.read(size)


def _read_members(archive: zipfile.ZipFile, packed: int, limits: Limits) -> dict[str, Table]:
    members = archive.infolist()
    if not members:
        raise refuse("the archive holds no arrays", HINT)
    if len(members) > limits.max_members:
        raise refuse(f"the archive has {len(members):,} members; at most {limits.max_members} are accepted", HINT)
    limits.check_unpacked(sum(member.file_size for member in members), packed)
    places: dict[tuple[str, str], zipfile.ZipInfo] = {}
    for member in members:
        place = _place(member)
        if place in places:
            detail = f"{shown(places[place].filename)} and {shown(member.filename)} are both column {shown(place[1])} of split {place[0]}"
            raise refuse(detail, "Keep one of them.")
        places[place] = member
    if all(split != "train" for split, _ in places):
        raise refuse(f"there is no train split, only {listed([member.filename for member in members])}", HINT)
    check_names(dict.fromkeys(column for _, column in places))
    # Every member has a good name by now, so nothing is unpacked in vain.
    splits: dict[str, dict[str, Array]] = {split: {} for split in SPLITS.values()}
    for (split, column), member in places.items():
        splits[split][column] = _read_member(archive, member)
    return {split: Table(columns) for split, columns in splits.items() if columns}


def _place(member: zipfile.ZipInfo) -> tuple[str, str]:
    """The split and column a member is, by its name."""
    name = member.orig_filename
    if "/" in name or "\\" in name:
        raise refuse(f"member {shown(name)} lies in a folder", HINT)
    if not name.endswith(".npy"):
        raise refuse(f"member {shown(name)} is not a .npy array", HINT)
    if member.flag_bits & _ENCRYPTED:
        raise refuse(f"member {shown(name)} is encrypted", "Save the archive without a password.")
    # Others unpack without bound in one step, and numpy never writes them.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refuse(f"member {shown(name)} is compressed by a method other than deflate", "Save it with np.savez or np.savez_compressed.")
    stem = name.removesuffix(".npy")
    column, underscore, split = stem.rpartition("_")
    return (SPLITS[split], column) if underscore and split in SPLITS else ("train", stem)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    try:
        with archive.open(member) as stream:
            return read_array(stream, member.file_size, member.filename)
    except _BROKEN as error:
        raise refuse(
            f"{shown(member.filename)} is damaged: {plain(error)}", "Upload it again; if that does not help, save it again."
        ) from error
