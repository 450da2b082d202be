"""What `submit` accepts → the mapping that is sent. The service checks it: one judge, one set of messages."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from pydantic import BaseModel

from contract.errors import PotstillError

if TYPE_CHECKING:
    from contract.spec import JobSpec

Spec = Union[str, os.PathLike[str], Mapping[str, Any], "JobSpec"]


def load(spec: Spec) -> dict[str, Any]:
    """A path of a YAML or JSON file, a mapping or a JobSpec, as a mapping. OSError when the file cannot be read."""
    if isinstance(spec, BaseModel):
        return spec.model_dump(mode="json", exclude_unset=True)
    if isinstance(spec, Mapping):
        return dict(spec)
    path = Path(spec)
    return parse(path.read_bytes(), str(path), "application/json" if path.suffix.lower() == ".json" else "application/yaml")


def parse(raw: bytes, name: str, content_type: str = "application/yaml") -> dict[str, Any]:
    """The mapping in `raw`; an error names the file."""
    from contract.document import parse_mapping

    try:
        return parse_mapping(raw, content_type)
    except PotstillError as error:
        body = "The body "  # parse_mapping speaks to whoever sent a request
        said = f" {error.detail[len(body) :]}" if error.detail.startswith(body) else f": {error.detail}"
        raise type(error)(f"{name}{said}", code=error.code, hint=error.hint) from None
