"""Bytes of a stored file over HTTP: whole, in part, or not again (RFC 9110). Its SHA-256 is its ETag and its digest."""

import base64
import mimetypes
import re
from dataclasses import dataclass
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response, StreamingResponse

from contract.errors import ErrorCode, PotstillError, Refused
from models.blobs import Blobs

RANGE = re.compile(r"bytes=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE)
TYPES = {".md": "text/markdown; charset=utf-8", ".log": "text/plain; charset=utf-8", ".json": "application/json"}


@dataclass(frozen=True)
class File:
    sha256: str
    size: int
    name: str

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    @property
    def media_type(self) -> str:
        ending = "." + self.name.rpartition(".")[2]
        return TYPES.get(ending) or mimetypes.guess_type(self.name)[0] or "application/octet-stream"


def respond(blobs: Blobs, file: File, method: str, request: Headers) -> Response:
    headers = {"ETag": file.etag, "Cache-Control": "private, no-cache"}
    if has_it(request.get("if-none-match"), file.etag):
        return Response(status_code=304, headers=headers)
    headers |= {
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(file.name),
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(file.sha256)).decode()}:",
        "X-Content-Type-Options": "nosniff",
    }
    start, stop, status = 0, file.size, 200
    wanted = request.get("range")
    if wanted is not None and request.get("if-range", file.etag) == file.etag:
        part = _range(wanted, file.size)
        if part is not None:
            (start, stop), status = part, 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    headers["Content-Length"] = str(stop - start)
    if method == "HEAD":
        return Response(None, status, headers, media_type=file.media_type)
    must_exist(blobs, file)
    address = blobs.link(file.sha256, ResponseContentType=file.media_type, ResponseContentDisposition=headers["Content-Disposition"])
    if address is not None:
        return RedirectResponse(address, 307, {"Cache-Control": "no-store"})
    return StreamingResponse(blobs.read_range(file.sha256, start, stop), status, headers, media_type=file.media_type)


def must_exist(blobs: Blobs, file: File) -> None:
    """Never half an artifact: a missing or shortened file is an error before the first byte."""
    if not blobs.exists(file.sha256, file.size):
        raise PotstillError(
            f"The bytes of {file.name} are not in the artifact store.", hint="The operator should look at POTSTILL_ARTIFACTS_URL."
        )


def disposition(name: str) -> str:
    plain = re.sub(r'[^\x20-\x7e]|["\\/]', "_", name)
    return f'attachment; filename="{plain}"' + (f"; filename*=UTF-8''{quote(name, safe='')}" if plain != name else "")


def has_it(if_none_match: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or "*" in tags


def _range(header: str, size: int) -> tuple[int, int] | None:
    """start, stop of one range; None for what may be answered whole: other units, several ranges, nonsense."""
    found = RANGE.fullmatch(header)
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < int(first):
            return None
    if start >= size or start >= stop:
        raise Refused(
            f"The file has {size} bytes; none of those asked for ({header}) exists.",
            status=416,
            code=ErrorCode.RANGE_NOT_SATISFIABLE,
            param="Range",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, stop
