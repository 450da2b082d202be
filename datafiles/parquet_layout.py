"""What a Parquet file says it holds: its footer, and the headers of its pages, which must agree.

Arrow takes room for what a page's header says, whatever the footer says: a page of 20 bytes may hold two thousand million values.
So both are read here before Arrow unpacks anything. (Where things stand: parquet.thrift of apache/parquet-format.)
"""

from typing import BinaryIO, NamedTuple

from contract.errors import InvalidData
from datafiles.refusal import refuse, shown, size_text
from datafiles.sniff import HEAD, looks_like
from datafiles.thrift import BYTES, I32, I64, LIST, STRUCT, DamagedError, Fields, Reader, TooShortError, integer, struct, structs

MAGIC, ENCRYPTED = b"PAR1", b"PARE"
LARGEST_FOOTER = 16 * 2**20  # bytes; Arrow takes many times that for it, and 10,000 columns in one row group need about 5 MiB
MOST_PAGES = 1_000_000  # of a file; writers make pages of about a mebibyte, and each costs some 10 µs to look at
WINDOWS = (2**10, 2**16, 2**24)  # bytes read for a page's header: it takes some 30, but may hold long smallest and largest values
AGAIN = "Upload it again; if that does not help, save it again."

DATA, DATA_V2 = 0, 3  # the kinds of pages that hold values
OWN_HEADER = {DATA: 5, DATA_V2: 8}
DELTAS = {6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY"}


class Chunk(NamedTuple):
    """What pages hold: values (of lists those inside), bytes unpacked, and which of DELTAS they are written in, if any."""

    values: int = 0
    size: int = 0
    delta: str | None = None


class Layout(NamedTuple):
    rows: int
    groups: int
    columns: list[Chunk]  # in the file's order; a list is one, a structure as many as it has fields


def read_layout(file: BinaryIO) -> tuple[Layout, int]:
    """The layout and the file's size. Raises InvalidData for what is not Parquet, encrypted or in several files, DamagedError for
    what contradicts itself."""
    size, length = _ends(file)
    file.seek(size - 8 - length)
    footer = Reader(file.read(length)).struct()
    if (8, STRUCT) in footer:  # how it is encrypted: some columns may be, and others not
        raise _encrypted()
    pages = _Pages(file, size)
    rows, columns = 0, list[Chunk]()
    groups = structs(footer, 4)
    for group in groups:
        rows += integer(group, 3)
        chunks = [pages.add_up(column, integer(group, 3)) for column in structs(group, 1)]
        columns = columns or [Chunk()] * len(chunks)
        if len(chunks) != len(columns):
            raise DamagedError("its row groups have different columns")
        columns = [Chunk(a.values + b.values, a.size + b.size, a.delta or b.delta) for a, b in zip(columns, chunks, strict=True)]
    if integer(footer, 3) != rows:
        raise DamagedError(f"it declares {integer(footer, 3):,} rows, but its row groups {rows:,}")
    return Layout(rows, len(groups), columns), size


def _ends(file: BinaryIO) -> tuple[int, int]:
    """The file's size and its footer's, once it begins and ends like Parquet and the footer fits in between."""
    head = file.read(HEAD)
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    length, end = int.from_bytes(file.read(4), "little"), file.read(4)
    if ENCRYPTED in (head[:4], end):
        raise _encrypted()
    if not head.startswith(MAGIC):
        hint = "Save it with df.to_parquet(path, index=False)."
        raise refuse(f"the file says .parquet but is not; it starts like {looks_like(head)}", hint)
    if end != MAGIC or length + 12 > size:
        raise refuse("the Parquet file ends too early: it is truncated", AGAIN)
    if length > LARGEST_FOOTER:
        detail = f"the Parquet footer takes {size_text(length)}; at most {size_text(LARGEST_FOOTER)} are accepted"
        raise refuse(detail, "Save the file with fewer columns, or in fewer row groups.")
    return size, length


def _encrypted() -> InvalidData:
    return refuse("the Parquet file is encrypted", "Save it without encryption.")


class _Pages:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._left = file, size, MOST_PAGES

    def add_up(self, column: Fields, rows: int) -> Chunk:
        """What the pages of a column within a row group of `rows` hold."""
        if (1, BYTES) in column:
            raise refuse("its rows lie in other files", "Upload the file that has the rows, not _metadata.")
        about = struct(column, 3)
        values, length, start, first = (integer(about, field) for field in (5, 7, 9, 9))
        if rows == values == 0:
            return Chunk()
        dictionary = about.get((11, I64))
        if isinstance(dictionary, int) and 0 < dictionary < start:
            first = dictionary
        encodings = about.get((2, LIST))
        delta = next((DELTAS[code] for code in encodings if code in DELTAS), None) if isinstance(encodings, list) else None
        try:
            if values < rows or first < len(MAGIC) or first + length > self._size:
                raise DamagedError("what the footer says of it cannot be")
            return Chunk(values, self._unpacked(first, first + length, values), delta)
        except DamagedError as error:
            raise DamagedError(f"column {_name(about)}: {error}") from error

    def _unpacked(self, place: int, end: int, values: int) -> int:
        """The bytes of the pages from `place` on, up to `values` values, which is where Arrow stops too."""
        found = size = 0
        while found < values:
            if place >= end or self._left == 0:
                raise DamagedError("its pages end too early" if place >= end else f"the file has more than {MOST_PAGES:,} pages")
            self._left -= 1
            header, place = self._header(place)
            kind = integer(header, 1, I32)
            if kind in OWN_HEADER:
                found += integer(struct(header, OWN_HEADER[kind]), 1, I32)
            size += integer(header, 2, I32)
            place += integer(header, 3, I32)
        if found != values:
            raise DamagedError(f"declared are {values:,} values, but its pages hold {found:,}")
        return size

    def _header(self, place: int) -> tuple[Fields, int]:
        """The header of the page at `place`, and where it ends."""
        for window in WINDOWS:
            self._file.seek(place)
            reader = Reader(self._file.read(window))
            try:
                return reader.struct(), place + reader.place
            except TooShortError:
                if window == WINDOWS[-1]:
                    raise
        raise AssertionError


def _name(about: Fields) -> str:
    path = about.get((3, LIST))
    return shown(path[0].decode(errors="replace")) if isinstance(path, list) and path and isinstance(path[0], bytes) else "?"
