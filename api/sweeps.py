"""The door for sweeps: every trial that can be known beforehand passes the door for jobs before one is stored."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from api import admission, lookup
from api.admission import Checked
from api.references import Lookup, total
from contract.chains import links
from contract.check import checked, parse_spec
from contract.errors import FieldError, InvalidSpec
from contract.registry import TASKS
from contract.spec import JobSpec
from contract.sweep import Range, SweepSpec, Tpe, Values, label
from contract.wire import ValidateView
from models import sweeping
from models.ids import new_id
from models.job import Origin
from models.proposals import propose
from models.sweep import Sweep
from outward.judge import Outward


@dataclass(frozen=True)
class Asked:
    """A sweep as it was sent and as it was understood, with every trial that can be known beforehand, and the values that a search may
    come to, each beside the others' of the first trial."""

    sent: dict[str, Any]
    spec: SweepSpec
    trials: list[tuple[Values, JobSpec]]
    ends: list[tuple[Values, JobSpec]]

    @property
    def metric(self) -> str:
        return self.spec.metric or ("accuracy" if TASKS[self.trials[0][1].task].labelled else "loss")


def parse(sent: dict[str, Any]) -> Asked:
    """Raises InvalidSpec naming the field, of the sweep or of the job that some values make."""
    spec = checked(SweepSpec, sent)
    known = spec.search.parallel if isinstance(spec.search, Tpe) else spec.trials
    values = propose(spec, True, [], min(known, spec.trials))  # what has no result yet has no direction
    return Asked(sent, spec, [(v, _job(spec, v)) for v in values], [(v, _job(spec, v)) for v in _ends(spec, values[0])])


def _ends(spec: SweepSpec, values: Values) -> list[Values]:
    if not isinstance(spec.search, Tpe):
        return []
    sides = {field: [d.low, d.high] if isinstance(d, Range) else d for field, d in spec.space.items()}
    return [{**values, field: value} for field, options in sides.items() for value in options]


def _job(spec: SweepSpec, values: Values) -> JobSpec:
    try:
        job = parse_spec(spec.filled(values))
        _refuse_unsearchable(spec, job)
        return job
    except InvalidSpec as error:
        raise _placed(error, spec, values) from None


def _refuse_unsearchable(spec: SweepSpec, job: JobSpec) -> None:
    if spec.metric == "perplexity" and TASKS[job.task].answers != "tokens":
        raise InvalidSpec(f"space.metric: {job.task} has no perplexity", param="space.metric", hint="Use accuracy or loss.")
    if not job.kind.trains:
        raise InvalidSpec(f"kind: {job.kind.a} job trains nothing that could be better", param="kind", hint="Use train or distill.")
    if len(links(job)) > 1:
        raise InvalidSpec(
            f"recipe: {job.recipe.name if job.recipe else ''} is several jobs, and a trial is one",
            param="recipe",
            hint="Sweep over a recipe of one job, `hinton` say, and submit the chain with what you find.",
        )
    if not job.data.validation:
        raise InvalidSpec(
            "data.validation: a sweep chooses by rows that are held out, and there are none",
            param="data.validation",
            hint="Hold some out, 0.1 say: chosen by the test rows, the best would look better than it is.",
        )
    if spec.halving is not None and len(job.runs()) > 1:
        raise InvalidSpec(
            "evaluation: a trial that may be stopped early is one run; this one has several",
            param="evaluation",
            hint="Leave out seeds, control and compare, and submit the best with them afterwards.",
        )


def _placed(error: InvalidSpec, spec: SweepSpec, values: Values) -> InvalidSpec:
    """The same error, named by where it stands in the sweep: in the space, or in the job."""
    param = error.param or ""
    if param == "space.metric":
        return InvalidSpec(error.detail.removeprefix("space."), code=error.code, param="metric", hint=error.hint)
    if param.startswith("space."):
        return error
    field = next((f for f in spec.space if param == f or param.startswith(f"{f}.") or f.startswith(f"{param}.")), None)
    place = f"space.{field}" if field is not None else f"job.{param}".rstrip(".")
    told = f"{place}: the trial with {label(values)} cannot be: {error.detail}" if field is not None else f"job.{error.detail}"
    found = [FieldError(pointer=f"/space/{field}" if field is not None else f"/job{e.pointer}", message=e.message) for e in error.errors]
    return InvalidSpec(told, code=error.code, param=place, hint=error.hint, errors=found)


def check(session: Session, project_id: str, asked: Asked, teachers: Outward, *, lock: bool) -> list[Checked]:
    """The trials with what they refer to; InvalidSpec where one of them, or one that a search may come to, could not be."""
    look = Lookup(session, project_id, teachers, lock=lock)
    found = []
    for values, job in (*asked.trials, *asked.ends):
        try:
            found.append(admission.check(look, job))
        except InvalidSpec as error:
            raise _placed(error, asked.spec, values) from None
    return found[: len(asked.trials)]


def submit(session: Session, project_id: str, asked: Asked, origin: Origin, teachers: Outward) -> tuple[Sweep, list[str]]:
    """Stores the sweep and its first trials, all or none; ids of the jobs a worker could take now."""
    begin = sweeping.at_once(asked.spec)
    found = check(session, project_id, asked, teachers, lock=True)[:begin]
    sweep = Sweep(
        id=new_id("swp"),
        project_id=project_id,
        name=asked.spec.name or asked.trials[0][1].name or "sweep",
        spec=asked.sent,
        metric=asked.metric,
        planned=asked.spec.trials,
        **origin._asdict(),
        meta=dict(asked.spec.metadata),
    )
    session.add(sweep)
    session.flush()
    due = []
    for (values, _), good in zip(asked.trials, found, strict=False):  # the rest follows as these end
        job = sweeping.try_values(session, sweep, values, asked.spec.filled(values), good.spec, good.needs, good.warnings)
        due += lookup.due(session, job)
    return sweep, due


def verdict(session: Session, project_id: str, sent: dict[str, Any], teachers: Outward) -> ValidateView:
    """What submitting would say, without submitting: the first trial in full, and what all of the first together come to."""
    try:
        asked = parse(sent)
        found = check(session, project_id, asked, teachers, lock=False)
    except InvalidSpec as error:
        return admission.invalid(error)
    steps = total([good.parts.steps for good in found])
    sizes = [size for good in found if (size := good.parts.parameters["student"]) is not None]
    estimate = {
        "trials": asked.spec.trials,
        "steps": round(steps * asked.spec.trials / len(found)) if steps is not None else None,
        "parameters": {"smallest": min(sizes), "largest": max(sizes)} if sizes else None,
    }
    return ValidateView(
        valid=True,
        errors=[],
        warnings=list(dict.fromkeys(warning for good in found for warning in good.warnings)),
        resolved_spec=found[0].spec.resolved().model_dump(mode="json"),
        estimate=estimate,
    )
