"""Several jobs at once, all or none, that refer to each other by @name."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from pydantic import Field
from sqlalchemy.orm import Session

from api.admission import check, refuse_names_outside_batches
from api.references import Lookup
from contract.base import Sent
from contract.chains import links, made_by_a_recipe
from contract.check import checked
from contract.errors import ErrorCode, FieldError, InvalidSpec
from contract.spec import JobSpec, ModelRef
from models.ids import new_id
from models.job import Job, Origin
from models.making import make
from outward.judge import Outward


class Batch(Sent):
    """The body of POST /v1/jobs/batch."""

    jobs: list[dict[str, Any]] = Field(min_length=1, max_length=100, description="Job specs; `@name` refers to another of them.")


class Member(NamedTuple):
    """A job to store: as it was sent, or as a recipe made it for one that was. place: `jobs.3`, nothing for a job sent alone."""

    sent: dict[str, Any]
    spec: JobSpec
    place: str
    asked: bool  # whether somebody sent it, rather than a recipe


def parse(value: dict[str, Any]) -> list[Member]:
    """The specs as sent and as checked models, their names and references settled as far as the batch alone tells."""
    sent = checked(Batch, value).jobs
    specs = [checked(JobSpec, one, ("jobs", i)) for i, one in enumerate(sent)]
    found = [member for i, (one, spec) in enumerate(zip(sent, specs, strict=True)) for member in _links(one, spec, f"jobs.{i}")]
    _order(found)
    return found


def parse_one(sent: dict[str, Any]) -> list[Member]:
    """A job sent alone, and those that its recipe puts before it."""
    spec = checked(JobSpec, sent)
    refuse_names_outside_batches(spec)
    return _links(sent, spec, "")


def _links(sent: dict[str, Any], spec: JobSpec, place: str) -> list[Member]:
    with _inside(place):
        found = links(spec)
    before = [Member(link.model_dump(mode="json", exclude_none=True), link, place, asked=False) for link in found[:-1]]
    return [*before, Member(sent, found[-1], place, asked=True)]


def submit(session: Session, project_id: str, members: list[Member], origin: Origin, teachers: Outward) -> list[Job]:
    """Stores what others need first. All of them in the order sent, each behind those that its recipe puts before it."""
    ids = [new_id("job") for _ in members]
    by_name = {f"@{member.spec.name}": id_ for member, id_ in zip(members, ids, strict=True) if member.spec.name is not None}
    look = Lookup(session, project_id, teachers, lock=True, called={id_: name for name, id_ in by_name.items()})
    stored: dict[int, Job] = {}
    for i in _order(members):
        with _inside(members[i].place), nullcontext() if members[i].asked else made_by_a_recipe(members[i].spec):
            spec = _with_ids(members[i].spec, by_name)
            good = check(look, spec)
            stored[i] = make(
                session,
                project_id,
                members[i].sent,
                good.spec,
                needs=good.needs,
                warnings=good.warnings,
                origin=origin,
                id_=ids[i],
            )
    return [stored[i] for i in range(len(members))]


def _order(members: list[Member]) -> list[int]:
    """Indexes, each after those it refers to. Refuses names given twice, names nobody has, and circles."""
    by_name: dict[str, int] = {}
    for i, member in enumerate(members):
        name = member.spec.name
        if name is not None and by_name.setdefault(name, i) != i:
            other = members[by_name[name]].place or "one of the jobs that the recipe makes"
            raise _wrong(member, "name", f"{name!r} is the name of {other} already", "Names are unique in a batch.")
    order: list[int] = []
    for i in range(len(members)):
        _visit(i, members, by_name, order, [])
    return order


def _visit(i: int, members: list[Member], by_name: dict[str, int], order: list[int], path: list[int]) -> None:
    if i in order:
        return
    for field, ref in members[i].spec.refs().items():
        if ref.job is None or not ref.job.startswith("@"):
            continue
        needed = by_name.get(ref.job[1:])
        if needed is None:
            close = difflib.get_close_matches(ref.job[1:], by_name, n=1, cutoff=0.5)
            hint = f"Did you mean @{close[0]}?" if close else f"Named in this batch: {', '.join('@' + name for name in by_name) or 'none'}."
            raise _wrong(members[i], f"{field}.job", f"no job of this batch is called {ref.job[1:]!r}", hint, ErrorCode.JOB_NOT_FOUND)
        if needed == i or needed in path:
            circle = [*path[path.index(needed) :], i, needed] if needed in path else [i, i]
            raise _wrong(
                members[i], f"{field}.job", f"the jobs wait for each other: {' → '.join(f'@{members[j].spec.name}' for j in circle)}"
            )
        _visit(needed, members, by_name, order, [*path, i])
    order.append(i)


def _with_ids(spec: JobSpec, by_name: dict[str, str]) -> JobSpec:
    changed: dict[str, ModelRef] = {
        field: ref.model_copy(update={"job": by_name[ref.job]})
        for field, ref in spec.refs().items()
        if ref.job is not None and ref.job in by_name
    }
    return spec.with_refs(changed)


@contextmanager
def _inside(place: str) -> Iterator[None]:
    """Errors of one member name their place in the batch."""
    try:
        yield
    except InvalidSpec as error:
        if not place:
            raise
        param = f"{place}.{error.param}" if error.param else place
        errors = [FieldError(pointer=f"/{place.replace('.', '/')}{one.pointer}", message=one.message) for one in error.errors]
        raise InvalidSpec(f"{place}.{error.detail}", code=error.code, param=param, hint=error.hint, errors=errors) from error


def _wrong(member: Member, field: str, detail: str, hint: str | None = None, code: str = ErrorCode.INVALID_SPEC) -> InvalidSpec:
    param = f"{member.place}.{field}".lstrip(".")
    return InvalidSpec(f"{param}: {detail}", code=code, param=param, hint=hint)
