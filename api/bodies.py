"""Bodies of JSON or YAML: taken whole, checked for what they say they are, read in the handler's thread."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from contract.document import YAML_TYPES, parse_mapping
from contract.errors import ErrorCode, InvalidSpec, Refused


@dataclass(frozen=True)
class Body:
    raw: bytes
    content_type: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    def mapping(self) -> dict[str, Any]:
        """The body as a mapping; Refused (400) when it is not even JSON or YAML."""
        return storable(parse_mapping(self.raw, self.content_type))


async def _document(request: Request) -> Body:
    content_type = request.headers.get("content-type", "application/json")
    kind = content_type.split(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")) and kind not in YAML_TYPES:
        raise Refused(
            f"Bodies of type {kind} are not read here.",
            status=415,
            code=ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            hint="Send JSON with `Content-Type: application/json`, or YAML with `Content-Type: application/yaml`.",
        )
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused("Compressed bodies are not read here.", status=415, code=ErrorCode.UNSUPPORTED_MEDIA_TYPE, hint="Send it plain.")
    return Body(await request.body(), content_type)


Document = Annotated[Body, Depends(_document)]


def storable(value: dict[str, Any]) -> dict[str, Any]:
    """Refuses text no database keeps: zero characters and halves of surrogate pairs."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, dict):
            for key, inner in part.items():
                waiting += [(place, key), (f"{place}.{key}".lstrip("."), inner)]
        elif isinstance(part, list):
            waiting += [(f"{place}.{i}".lstrip("."), inner) for i, inner in enumerate(part)]
        elif isinstance(part, str) and ("\0" in part or _broken(part)):
            place = place.encode("ascii", "replace").decode().replace("\0", "?")
            raise InvalidSpec(
                f"{place or 'the spec'}: text with characters that cannot be stored",
                param=place or None,
                hint="Remove \\u0000 and lone surrogates.",
            )
    return value


def _broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
