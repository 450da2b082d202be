"""Structures in Thrift's compact protocol, in which Parquet describes itself.

Ours because pyarrow's own view of a file's description is not fit for the files of strangers: an error in it ends the process.
"""

from typing import TypeAlias

BOOLEAN, BYTE, I16, I32, I64, DOUBLE, BYTES, LIST, STRUCT = 2, 3, 4, 5, 6, 7, 8, 9, 12
WIDTHS = {I16: 16, I32: 32, I64: 64}
LARGEST_FIELD = 2**15 - 1
DEEPEST = 16  # structures and lists within each other; Parquet needs seven

# A structure by (number, type) of its fields: Thrift, too, takes no notice of a field that has another type than it should.
Fields: TypeAlias = "dict[tuple[int, int], Value]"
Value: TypeAlias = "int | bytes | list[Value] | Fields | None"  # None: booleans, bytes and doubles, which nothing of ours looks at


class DamagedError(ValueError):
    """The file contradicts itself; the text says where."""


class TooShortError(DamagedError):
    """The structure goes on beyond the bytes at hand."""


class Reader:
    """Reads structures from `data`; what Thrift might understand in another way, such as a field twice, is refused."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place = data, 0

    def struct(self, depth: int = DEEPEST) -> Fields:
        if depth == 0:
            raise DamagedError("structures are nested too deeply")
        fields: Fields = {}
        seen: set[int] = set()
        number = 0
        while head := self._byte():  # 0 is its end
            number = number + (head >> 4) if head >> 4 else self._integer(I16)
            if number in seen or number > LARGEST_FIELD:
                raise DamagedError("a structure has a field twice, or one that cannot be")
            seen.add(number)
            kind = head & 15
            # A boolean's type is its value: 1 or 2.
            fields[number, kind] = None if kind <= BOOLEAN else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Value:
        if kind in WIDTHS:
            return self._integer(kind)
        if kind == BYTES:
            return self._bytes(self._varint())
        if kind == STRUCT:
            return self.struct(depth - 1)
        if kind == LIST:
            return self._list(depth - 1)
        if kind not in (BOOLEAN, BYTE, DOUBLE):
            raise DamagedError(f"a field has the type {kind}, which Parquet does not use")
        self._bytes(8 if kind == DOUBLE else 1)
        return None

    def _list(self, depth: int) -> list[Value]:
        if depth == 0:
            raise DamagedError("lists are nested too deeply")
        head = self._byte()
        kind, length = max(head & 15, BOOLEAN), head >> 4
        if length == 15:
            length = self._varint()
        if length > len(self._data) - self.place:  # each takes a byte at least
            raise TooShortError("a list does not end")
        return [self._value(kind, depth) for _ in range(length)]

    def _integer(self, kind: int) -> int:
        """Zigzag: 0, -1, 1, -2, … are written as 0, 1, 2, 3, …"""
        value = self._varint()
        if value >> WIDTHS[kind]:
            raise DamagedError("a number has too many bits")
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) > 127:
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise DamagedError("a number has too many bits")
        return value | byte << shift

    def _byte(self) -> int:
        if self.place == len(self._data):
            raise TooShortError("a structure does not end")
        self.place += 1
        return self._data[self.place - 1]

    def _bytes(self, length: int) -> bytes:
        if length > len(self._data) - self.place:
            raise TooShortError("a structure does not end")
        self.place += length
        return self._data[self.place - length : self.place]


def integer(fields: Fields, field: int, kind: int = I64) -> int:
    """A count, a size or a place, so none below 0."""
    value = fields.get((field, kind))
    if not isinstance(value, int) or value < 0:
        raise DamagedError("a number is missing or negative")
    return value


def struct(fields: Fields, field: int) -> Fields:
    value = fields.get((field, STRUCT))
    if not isinstance(value, dict):
        raise DamagedError("a structure is missing")
    return value


def structs(fields: Fields, field: int) -> list[Fields]:
    values = fields.get((field, LIST))
    if not isinstance(values, list):
        raise DamagedError("a list is missing")
    found = [value for value in values if isinstance(value, dict)]
    if len(found) < len(values):  # Thrift would read these bytes as structures nevertheless
        raise DamagedError("a list holds no structures")
    return found
