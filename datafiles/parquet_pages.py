"""The pages of a Parquet file, counted by their headers before Arrow unpacks one.

Arrow takes room for what a page's header says, whatever the footer says: a page of 20 bytes may hold two thousand million values.
So the headers, structures in Thrift's compact protocol, are read here first: their 32-bit numbers, the rest is skipped.
"""

from typing import BinaryIO, NamedTuple, NoReturn

DATA, DICTIONARY, DATA_V2 = 0, 2, 3  # kinds of pages; Arrow skips others
MOST_PAGES = 1_000_000  # of a file; writers make pages of about a mebibyte, and each costs some 10 µs to look at
# Where things stand in a page's header, by field number; the number of values within the header of its own kind.
_KIND, _UNPACKED, _PACKED, _VALUES = 1, 2, 3, 1
_OWN = {DATA: 5, DICTIONARY: 7, DATA_V2: 8}

_I32, _STRUCT = 5, 12  # Thrift's types; those to skip stand in _skip
_DEEPEST = 8  # structures within structures; a page's header needs three
_LONGEST = 2**16  # bytes looked at in one header, statistics not counted; it needs about 30

Fields = dict[int, "int | Fields"]  # 32-bit numbers and structures by field number


class DamagedError(ValueError):
    """The file contradicts itself; the text says where."""


class Chunk(NamedTuple):
    """What the pages of a column hold: values (for lists those inside), and bytes unpacked."""

    values: int
    size: int


class PageCounter:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, MOST_PAGES

    def measure(self, start: int, length: int, values: int) -> Chunk:
        """Adds up the pages from `start` until they hold `values` values, which is where Arrow stops too."""
        found = size = 0
        place = start
        while found < values:
            if place >= start + length:
                raise DamagedError("its pages end too early")
            if self._left == 0:
                raise DamagedError(f"the file has more than {MOST_PAGES:,} pages")
            self._left -= 1
            self._file.seek(place)
            header = _HeaderReader(self._file).struct()
            kind = _number(header, _KIND)
            own = header.get(_OWN.get(kind, 0))
            if kind in (DATA, DATA_V2):
                found += _number(own if isinstance(own, dict) else {}, _VALUES)
            size += _number(header, _UNPACKED)
            place = self._file.tell() + _number(header, _PACKED)
        return Chunk(found, size)


def _number(fields: Fields, field: int) -> int:
    value = fields.get(field)
    if not isinstance(value, int) or value < 0:
        _senseless()
    return value


def _senseless() -> NoReturn:
    raise DamagedError("the header of a page makes no sense")


class _HeaderReader:
    """Reads one structure from where the file stands; refuses what Arrow might understand in another way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _LONGEST

    def struct(self, depth: int = _DEEPEST) -> Fields:
        fields: Fields = {}
        seen: set[int] = set()
        number = 0
        while head := self._byte():  # 0: the end
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            if number in seen or depth == 0:
                _senseless()
            seen.add(number)
            if kind == _I32:
                fields[number] = value = self._integer()
                if not -(2**31) <= value < 2**31:
                    _senseless()
            elif kind == _STRUCT:
                fields[number] = self.struct(depth - 1)
            else:
                self._skip(kind)
        return fields

    def _skip(self, kind: int) -> None:
        match kind:
            case 1 | 2:  # true and false: the type is the value
                pass
            case 3:  # a byte
                self._byte()
            case 4 | 6:  # integers of 16 and 64 bits
                self._varint()
            case 7:  # a double
                self._file.seek(8, 1)
            case 8:  # bytes: a smallest or largest value
                self._file.seek(self._varint(), 1)
            case _:  # lists, sets and maps: a page's header has none
                _senseless()

    def _integer(self) -> int:
        """Zigzag: 0, -1, 1, -2, … are written as 0, 1, 2, 3, …"""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        _senseless()

    def _byte(self) -> int:
        byte = self._file.read(1)
        self._left -= 1
        if not byte or self._left < 0:
            raise DamagedError("the header of a page has no end")
        return byte[0]
