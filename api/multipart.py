"""multipart/form-data to files on disk: memory use does not depend on the upload, and whatever happens the files are gone afterwards."""

import errno
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO

from anyio import to_thread
from fastapi import Depends, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from contract.errors import ErrorCode, Refused, Unavailable
from models import leftovers

BATCH = 1 << 20  # bytes gathered before a thread hashes and writes them
MAX_PARTS = 128
MAX_FIELD = 64 * 1024


@dataclass
class Part:
    """One part. Its bytes are in `path`, or, when it came without a file name, in `value`."""

    name: str
    filename: str | None
    path: Path
    size: int = 0
    sha256: str = ""
    value: str = ""


@dataclass(frozen=True)
class Form:
    parts: list[Part] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        """Of what was sent, without the boundary, which is another one each time."""
        said = "\n".join(f"{part.name}\0{part.filename}\0{part.sha256}" for part in self.parts)
        return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()


async def _form(request: Request) -> AsyncIterator[Form]:
    async with received(request, request.app.state.services.settings.uploads_path()) as form:
        yield form


Upload = Annotated[Form, Depends(_form, scope="function")]  # the files are gone before the answer goes out


@asynccontextmanager
async def received(request: Request, uploads: Path) -> AsyncIterator[Form]:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        hint = "With curl: -F file=@rows.csv"
        raise Refused("A file is sent as multipart/form-data.", status=415, code=ErrorCode.UNSUPPORTED_MEDIA_TYPE, hint=hint)
    if not options.get(b"boundary"):
        raise _malformed("its Content-Type has no boundary")
    folder = await to_thread.run_sync(_new_folder, uploads)
    try:
        reader = _Reader(options[b"boundary"], folder)
        async for chunk in request.stream():
            reader.feed(chunk)
            if reader.waiting >= BATCH:
                await to_thread.run_sync(reader.store)
        await to_thread.run_sync(reader.finish)
        yield reader.form
    except FormParserError as error:
        raise _malformed(str(error)) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Unavailable("The disk for uploads is full.", code=ErrorCode.DISK_FULL, hint="Free some space, then send it again.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(uploads: Path) -> None:
    """Removes what a killed process left behind; younger folders may be another process's."""
    for folder in leftovers.uploads(uploads):
        leftovers.remove(folder)


def _new_folder(uploads: Path) -> Path:
    uploads.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(prefix="upload-", dir=uploads))


class _Reader:
    """The parser's callbacks only gather; `store`, called in a thread, hashes and writes."""

    def __init__(self, boundary: bytes, folder: Path) -> None:
        self.form = Form()
        self.waiting = 0
        self._folder = folder
        self._gathered: list[tuple[int, bytes]] = []  # index of the part, bytes of it
        self._header_name = self._header_value = b""
        self._disposition = ""
        self._complete = False
        self._open: tuple[int, BinaryIO, hashlib._Hash] | None = None
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_header_name,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def store(self) -> None:
        for index, data in self._gathered:
            part = self.form.parts[index]
            if self._open is None or self._open[0] != index:
                self._close()
                self._open = (index, part.path.open("ab"), hashlib.sha256())
            self._open[1].write(data)
            self._open[2].update(data)
            part.size += len(data)
        self._gathered.clear()
        self.waiting = 0

    def finish(self) -> None:
        self._parser.finalize()
        if not self._complete:
            raise _malformed("it ends in the middle of a part")
        self.store()
        self._close()
        for part in self.form.parts:
            part.path.touch()
            part.sha256 = part.sha256 or hashlib.sha256().hexdigest()
            if part.filename is None:
                part.value = part.path.read_text("utf-8", "replace")

    def _close(self) -> None:
        if self._open is not None:
            index, file, digest = self._open
            file.close()
            self.form.parts[index].sha256 = digest.hexdigest()
            self._open = None

    def _begin(self) -> None:
        self._disposition = ""

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value.decode("utf-8", "replace")
        self._header_name = self._header_value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition.encode("utf-8").decode("latin-1"))
        name, filename = options.get(b"name"), options.get(b"filename")
        if name is None:
            raise _malformed("a part has no name")
        if len(self.form.parts) >= MAX_PARTS:
            raise _malformed(f"it has more than {MAX_PARTS} parts")
        path = self._folder / str(len(self.form.parts))
        self.form.parts.append(
            Part(name.decode("utf-8", "replace"), None if filename is None else filename.decode("utf-8", "replace"), path)
        )

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        index = len(self.form.parts) - 1
        self._gathered.append((index, data[start:end]))
        self.waiting += end - start
        part = self.form.parts[index]
        if part.filename is None and part.size + self.waiting > MAX_FIELD and self._field_size(index) > MAX_FIELD:
            raise _malformed(f"the field {part.name[:60]!r} is longer than {MAX_FIELD:,} bytes")

    def _field_size(self, index: int) -> int:
        return self.form.parts[index].size + sum(len(data) for i, data in self._gathered if i == index)

    def _on_end(self) -> None:
        self._complete = True


def _malformed(why: str) -> Refused:
    return Refused(
        f"The multipart body cannot be read: {why}.", code=ErrorCode.MALFORMED_BODY, hint="Was it cut off? Let your HTTP library build it."
    )
