"""What came in a form: which fields there may be, one file or several, and names fit to be shown."""

import difflib
import re

from pydantic import Field

from api.multipart import Form, Part
from contract.base import Metadata, Sent
from contract.check import checked
from contract.document import parse_json
from contract.errors import ErrorCode, InvalidData, Refused
from contract.spec import UNPRINTABLE, Name

KNOWN = ("file", "name", "metadata")
_UNPRINTABLE = re.compile(f"[{UNPRINTABLE}]")


class Fields(Sent):
    """The parts of an upload that are no files."""

    name: Name | None = None
    metadata: Metadata = Field(default={})


def fields(form: Form) -> Fields:
    found: dict[str, object] = {}
    for part in form.parts:
        if part.name not in KNOWN:
            close = difflib.get_close_matches(part.name, KNOWN, n=1, cutoff=0.5)
            hint = f"Did you mean `{close[0]}`?" if close else f"Known here: {', '.join(KNOWN)}."
            name = shown(part.name)
            raise InvalidData(f"{name}: this field is not known", code=ErrorCode.UNKNOWN_FIELD, param=name, hint=hint)
        if part.name == "file":
            continue
        if part.name in found:
            raise InvalidData(f"{part.name}: given twice", param=part.name)
        found[part.name] = _metadata(part.value) if part.name == "metadata" else part.value
    return checked(Fields, found)


def _metadata(text: str) -> object:
    try:
        return parse_json(text.encode())
    except Refused as error:
        why = error.detail.removeprefix("The body is ").rstrip(".")
        raise InvalidData(f"metadata: it is {why}", param="metadata", hint='Send a mapping of texts: {"team": "vision"}') from None


def files(form: Form) -> list[Part]:
    """The `file` parts; at least one."""
    found = [part for part in form.parts if part.name == "file"]
    if not found:
        raise InvalidData("file: this part is required", param="file", hint="With curl: -F file=@rows.csv")
    for part in found:
        if not part.filename:
            raise InvalidData(
                "file: this part holds text, not a file", param="file", hint="With curl an @ stands before the path: -F file=@rows.csv"
            )
    return found


def one_file(form: Form) -> Part:
    found = files(form)
    if len(found) > 1:
        raise InvalidData(f"file: {len(found)} files were sent, and one is a dataset", param="file", hint="Send them one by one.")
    return found[0]


def shown(filename: str) -> str:
    """The last part of a path, without control characters, short enough for its column."""
    return _UNPRINTABLE.sub("?", filename.replace("\\", "/").rsplit("/", 1)[-1])[-255:]
