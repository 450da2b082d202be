"""Real files in a temporary folder, and how to ask for a reading or a refusal."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import ErrorCode, InvalidData
from datafiles import DataFile, Limits, read


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., DataFile]:
    """upload(name, content) writes the file under a name that says nothing, as a store would, and reads it."""

    def write_and_read(name: str, content: bytes | str, limits: Limits = Limits()) -> DataFile:
        path = tmp_path / "stored"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read(path, name, limits)

    return write_and_read


@pytest.fixture
def refusal(upload: Callable[..., DataFile]) -> Callable[..., str]:
    """refusal(name, content) is the detail it is refused with; that it says where to look and what to do is checked for all."""

    def refused(name: str, content: bytes | str, limits: Limits = Limits()) -> str:
        with pytest.raises(InvalidData) as caught:
            upload(name, content, limits)
        error = caught.value
        assert (error.code, error.param, error.status) == (ErrorCode.INVALID_DATA, "file", 422)
        assert error.hint and error.hint.endswith((".", "}"))
        assert len(error.detail) < 400
        assert error.detail.isprintable()
        return error.detail

    return refused


def _npz(compressed: bool = True, **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture
def npz() -> Callable[..., bytes]:
    """npz(x_train=…, y_train=…) is the bytes of such an archive."""
    return _npz


@pytest.fixture
def archive() -> Callable[..., bytes]:
    """archive({"x.npy": bytes}) is a zip archive of anything."""

    def make(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as file:
            for name, content in members.items():
                file.writestr(name, content)
        return buffer.getvalue()

    return make


@pytest.fixture
def npy() -> Callable[..., bytes]:
    """npy("{'descr': …}", data) is a .npy file with a header nobody checked."""

    def make(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
        size = struct.pack("<H" if version == (1, 0) else "<I", len(header) if length is None else length)
        return b"\x93NUMPY" + bytes(version) + size + header.encode() + data

    return make
