"""Several jobs at once, all or none, that refer to each other by @name."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field
from sqlalchemy.orm import Session

from api.admission import check, store
from api.references import Lookup
from contract.base import Sent
from contract.check import checked
from contract.errors import ErrorCode, FieldError, InvalidSpec
from contract.spec import JobSpec, ModelRef
from models.ids import new_id
from models.job import Job


class Batch(Sent):
    """The body of POST /v1/jobs/batch."""

    jobs: list[dict[str, Any]] = Field(min_length=1, max_length=100, description="Job specs; `@name` refers to another of them.")


def parse(value: dict[str, Any]) -> list[tuple[dict[str, Any], JobSpec]]:
    """The specs as sent and as checked models, their names and references settled as far as the batch alone tells."""
    sent = checked(Batch, value).jobs
    specs = [checked(JobSpec, one, ("jobs", i)) for i, one in enumerate(sent)]
    _order(specs)
    return list(zip(sent, specs, strict=True))


def submit(session: Session, project_id: str, members: list[tuple[dict[str, Any], JobSpec]], traceparent: str | None) -> list[Job]:
    """Stores what others need first; answers in the order sent."""
    specs = [spec for _, spec in members]
    ids = [new_id("job") for _ in members]
    by_name = {f"@{spec.name}": id_ for spec, id_ in zip(specs, ids, strict=True) if spec.name is not None}
    look = Lookup(session, project_id, lock=True, called={id_: name for name, id_ in by_name.items()})
    stored: dict[int, Job] = {}
    for i in _order(specs):
        with _inside(i):
            spec = _with_ids(specs[i], by_name)
            stored[i] = store(session, project_id, members[i][0], check(look, spec), traceparent, ids[i])
    return [stored[i] for i in range(len(members))]


def _order(specs: list[JobSpec]) -> list[int]:
    """Indexes, each after those it refers to. Refuses names given twice, names nobody has, and circles."""
    by_name: dict[str, int] = {}
    for i, spec in enumerate(specs):
        if spec.name is not None and by_name.setdefault(spec.name, i) != i:
            raise _wrong(i, "name", f"{spec.name!r} is the name of jobs.{by_name[spec.name]} already", "Names are unique in a batch.")
    order: list[int] = []
    for i in range(len(specs)):
        _visit(i, specs, by_name, order, [])
    return order


def _visit(i: int, specs: list[JobSpec], by_name: dict[str, int], order: list[int], path: list[int]) -> None:
    if i in order:
        return
    for field, ref in specs[i].refs().items():
        if ref.job is None or not ref.job.startswith("@"):
            continue
        needed = by_name.get(ref.job[1:])
        if needed is None:
            close = difflib.get_close_matches(ref.job[1:], by_name, n=1, cutoff=0.5)
            hint = f"Did you mean @{close[0]}?" if close else f"Named in this batch: {', '.join('@' + name for name in by_name) or 'none'}."
            raise _wrong(i, f"{field}.job", f"no job of this batch is called {ref.job[1:]!r}", hint, ErrorCode.JOB_NOT_FOUND)
        if needed == i or needed in path:
            circle = [*path[path.index(needed) :], i, needed] if needed in path else [i, i]
            raise _wrong(i, f"{field}.job", f"the jobs wait for each other: {' → '.join(f'@{specs[j].name}' for j in circle)}")
        _visit(needed, specs, by_name, order, [*path, i])
    order.append(i)


def _with_ids(spec: JobSpec, by_name: dict[str, str]) -> JobSpec:
    changed: dict[str, ModelRef] = {
        field: ref.model_copy(update={"job": by_name[ref.job]})
        for field, ref in spec.refs().items()
        if ref.job is not None and ref.job in by_name
    }
    return spec.with_refs(changed)


@contextmanager
def _inside(i: int) -> Iterator[None]:
    """Errors of one member name their place in the batch."""
    try:
        yield
    except InvalidSpec as error:
        place = f"jobs.{i}"
        param = f"{place}.{error.param}" if error.param else place
        errors = [FieldError(pointer=f"/jobs/{i}{one.pointer}", message=one.message) for one in error.errors]
        raise InvalidSpec(f"{place}.{error.detail}", code=error.code, param=param, hint=error.hint, errors=errors) from error


def _wrong(i: int, field: str, detail: str, hint: str | None = None, code: str = ErrorCode.INVALID_SPEC) -> InvalidSpec:
    return InvalidSpec(f"jobs.{i}.{field}: {detail}", code=code, param=f"jobs.{i}.{field}", hint=hint)
