"""What of a part has to be run: results are kept for the same spec that follows networks of the same bytes."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.results import store
from benchmarks.results.store import Record
from potstill.specs import load

EXAMPLES = Path(__file__).parents[2] / "examples"
Uploads = Mapping[str, Callable[[Path], Path]]  # what the specs call a dataset or model → the file or folder of it; given a scratch folder


class Part(NamedTuple):
    """examples/<name>/<spec>.yaml for each of `specs`, none of which may refer to one that comes later."""

    name: str
    specs: tuple[str, ...]
    uploads: Uploads


class Plan(NamedTuple):
    """A part's specs by job name; `pending` are without result, `again` have one but are needed by those."""

    part: Part
    specs: dict[str, Record]
    pending: set[str]
    again: set[str]


def plan(part: Part) -> Plan:
    specs = {f"{part.name}-{name}": load(EXAMPLES / part.name / f"{name}.yaml") for name in part.specs}
    kept: dict[str, Record] = {}
    for name, spec in specs.items():
        found = store.read(name)
        of = {ref: kept[ref]["weights_sha256"] for ref in refs(spec) & set(kept)}
        if found is not None and found["spec"] == spec and found["of"] == of:
            kept[name] = found
    pending = set(specs) - set(kept)
    needed = set(pending)
    for name in reversed(specs):
        needed |= refs(specs[name]) if name in needed else set()
    return Plan(part, specs, pending, needed - pending)


def filled(spec: Record, ids: Mapping[str, str]) -> Record:
    """The spec with what its placeholders stand for."""
    text = json.dumps(spec)
    for placeholder, found in ids.items():
        text = text.replace(json.dumps(placeholder), json.dumps(found))
    return dict(json.loads(text))


def refs(spec: Record) -> set[str]:
    """The jobs that a spec follows, as it names them: `{job: "@name"}`."""
    return set(re.findall(r'"@([^"]+)"', json.dumps(spec)))
