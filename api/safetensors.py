"""A .safetensors file, checked without torch: 8 bytes of length, a JSON header, then the tensors' bytes without gaps.

The header alone says which tensors there are; nothing in the file is ever executed, which is why it is the only format of weights.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from contract.errors import ErrorCode, InvalidData

MAX_HEADER = 100_000_000  # the format's own limit
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def values(self) -> int:
        return prod(self.shape)


def read_header(path: Path) -> list[Tensor]:
    """The file's tensors; InvalidData unless every byte is accounted for."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length < 2 or length > min(MAX_HEADER, size - 8):
            raise invalid(f"it does not start like a safetensors file{_pickle(path)}")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            raise invalid("its header is not JSON") from None
    if not isinstance(header, dict):
        raise invalid("its header is no mapping")
    header.pop("__metadata__", None)
    spans = sorted((_span(name, entry) for name, entry in header.items()), key=lambda span: span[:2])
    end = 0
    for start, stop, tensor in spans:
        if start != end:
            raise invalid(f"tensor {tensor.name[:60]!r} does not start where the one before it ends")
        end = stop
    if end != size - 8 - length:
        raise invalid(f"its tensors take {end:,} bytes, and {size - 8 - length:,} are there: it was cut off or has something appended")
    return [tensor for _, _, tensor in spans]


def invalid(why: str, name: str = "model.safetensors") -> InvalidData:
    hint = "Upload the files of a student as `potstill pull` gives them, or save yours with safetensors."
    return InvalidData(f"{name} cannot be used: {why}.", code=ErrorCode.INVALID_MODEL, param="file", hint=hint)


def _span(name: str, entry: Any) -> tuple[int, int, Tensor]:
    try:
        dtype, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        sound = dtype in BITS and all(type(number) is int and 0 <= number < 2**48 for number in (*shape, start, stop))
    except (TypeError, KeyError, ValueError):
        sound = False
    if not sound or prod(shape) * BITS[dtype] != (stop - start) * 8:
        raise invalid(f"the header's entry for tensor {name[:60]!r} contradicts itself")
    return start, stop, Tensor(name, dtype, tuple(shape))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _pickle(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if head[:2] == b"PK" or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        return "; it looks like a pickle, which can run code when opened and is never read here"
    return ""
