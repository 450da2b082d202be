"""`schema`: what a spec may hold, for editors."""

import json
from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    JOB = "job"
    SWEEP = "sweep"


def schema(document: Annotated[Document, typer.Argument(help="Of a job spec, or of a sweep.")] = Document.JOB) -> None:
    """Print the JSON schema of a spec; needs no service. Above a spec the line `# yaml-language-server: $schema=FILE` makes editors
    complete and check it."""
    from contract.schema import SCHEMAS

    print(json.dumps(SCHEMAS[document](), indent=1, ensure_ascii=False))
