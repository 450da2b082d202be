"""What a checked spec comes to: sizes, and on the machines of the workers that are alive time, memory and disk."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.references import Network
from api.rows import Seen
from contract.forecast import Facts, Forecast, asked_live, teacher_requests, wall
from contract.machine import Disk, Estimate, Machine, Where
from contract.model import ModelConfig
from contract.spec import FromLayers, JobSpec, RemoteTeacher, TaskTeachers
from models.base import now
from models.service import SILENCE, Worker

WRITES = "texts that networks write themselves take as long as they come out"
ANSWERS = "a remote teacher answers as fast as it does"
FETCHED = "shows when a worker has fetched it"


@dataclass(frozen=True)
class Parts:
    """A spec's networks and rows, as far as they are known at the door."""

    spec: JobSpec
    seen: Seen
    left: int | None  # rows trained on, copies included
    networks: dict[str, Network]
    student: ModelConfig | None
    parameters: dict[str, int | None]
    steps: int | None

    @property
    def teachers(self) -> dict[str, Network]:
        return {field: network for field, network in self.networks.items() if field.startswith("teacher")}


def estimated(session: Session, parts: Parts) -> Estimate:
    configs = {"student": parts.student, **{field: network.config for field, network in parts.teachers.items()}}
    facts, reason = _facts(parts)
    found = Estimate(
        parameters={name: count for name, count in parts.parameters.items() if name == "student" or parts.spec.teacher is not None},
        vocabulary={name: config.text.vocabulary for name, config in configs.items() if config is not None and config.text is not None},
        train_rows=parts.left,
        validation_rows=parts.seen.held_out,
        test_rows=parts.seen.measured,
        runs=len(parts.spec.runs()),
        steps=parts.steps,
        teacher_requests=_requests(parts),
        notes=_notes(parts),
    )
    machine = _slowest(session)
    if facts is None or machine is None:
        reason = reason or "no live worker has measured its machine yet; one does once it is idle (POTSTILL_PROBE)"
        return found.model_copy(update={"reason": reason})
    return found.model_copy(update=_figures(parts.spec, facts, *machine))


def _figures(spec: JobSpec, facts: Facts, where: Where, machine: Machine) -> dict[str, object]:
    every = spec.runs()
    arms = {run.arm: Forecast(run.spec, facts, machine) for run in every}  # seeds take as long as each other
    seconds = {arm: one.seconds for arm, one in arms.items()}
    disks = {arm: one.disk for arm, one in arms.items()}
    longest = arms[max(seconds, key=lambda arm: seconds[arm])]
    asks = max(one.teacher for one in arms.values())  # the first run asks, the others find the answers
    outputs = max(disk.teacher_outputs for disk in disks.values())
    students, checkpoints = sum(disks[run.arm].students for run in every), sum(disks[run.arm].checkpoints for run in every)
    return {
        "tokens_per_row": longest.tokens,
        "step_seconds": longest.step if spec.kind.trains else None,
        "run_seconds": max(seconds.values()),
        "teacher_seconds": asks if spec.teacher is not None else None,
        "seconds": asks + wall([seconds[run.arm] for run in every], where.slots),
        "memory": max((one.memory for one in arms.values()), key=lambda memory: memory.total),
        "disk": Disk(total=students + checkpoints + outputs, students=students, checkpoints=checkpoints, teacher_outputs=outputs),
        "machine": where,
    }


def _facts(parts: Parts) -> tuple[Facts | None, str | None]:
    """What a forecast needs, or what of it is missing."""
    spec, seen = parts.spec, parts.seen
    teachers = [network.config for network in parts.teachers.values() if network.config is not None]
    if seen.train is None or parts.left is None or seen.measured is None:
        return None, f"data: what it is {FETCHED}"
    if len(teachers) < len(parts.teachers):
        return None, f"teacher: what it is {FETCHED}"
    if parts.student is None:
        return None, f"student: what it is {FETCHED}"
    if seen.row_bytes is None:
        return None, "data: how long its texts are was not counted when it was uploaded; delete it and upload it again to have it counted"
    if any(run.spec.shown.on_policy or run.spec.hears == "text" for run in spec.runs()):
        return None, WRITES
    if isinstance(spec.teacher, RemoteTeacher):
        return None, ANSWERS
    facts = Facts(parts.student, teachers, parts.left, seen.held_out or 0, seen.measured, seen.row_bytes)
    return facts, None


def _requests(parts: Parts) -> int | None:
    text = parts.student.text if parts.student is not None else None
    longest = parts.spec.data.max_length or (text.max_length if text is not None else None)
    return teacher_requests(parts.spec, parts.left, parts.seen.measured, parts.seen.row_bytes, longest)


def _notes(parts: Parts) -> list[str]:
    spec, found = parts.spec, []
    if spec.new_tokenizer is not None:
        found.append("a new tokenizer knows fewer tokens where the texts give no more; the student is then smaller")
    known = {"student": parts.student, **{field: network.config for field, network in parts.teachers.items()}}
    bounded = [name for name, config in known.items() if config is not None and config.of_library]
    if bounded:
        found.append(f"{', '.join(bounded)}: of a network known by its number of weights alone, time and memory are at most these")
    if isinstance(spec.student, FromLayers):
        found.append("student: counted as large as the network whose layers it takes")
    if isinstance(spec.teacher, RemoteTeacher):
        requests = _requests(parts)
        count = "a number that shows when a worker has the rows" if requests is None else f"about {requests:,}"
        found.append(f"teacher: {count} requests to {spec.teacher.endpoint}, unless its answers are kept")
    if spec.lora is not None:
        found.append("student.lora: counted as if every weight were trained; it takes less")
    if isinstance(spec.teacher, TaskTeachers):
        found.append("teacher: each is counted as if asked of all tasks' rows")
    if spec.training.early_stopping is not None:
        found.append("training.early_stopping may end it sooner")
    if asked_live(spec) and spec.teacher is not None:
        found.append("the teacher is asked in every step")
    return found


def _slowest(session: Session) -> tuple[Where, Machine] | None:
    """Of the live workers that have measured; where none has, nothing can be said."""
    alive = session.scalars(select(Worker).where(Worker.last_heartbeat_at > now(-SILENCE))).all()
    known = [(worker, Machine.model_validate(worker.machine)) for worker in alive if worker.machine is not None]
    if not known:
        return None
    worker, machine = min(known, key=lambda one: (one[1].flops, one[0].id))
    where = Where(
        worker=worker.id,
        host=worker.host,
        processor=machine.processor,
        device=machine.device,
        threads=machine.threads,
        slots=sum(each.slots for each in alive),
        capacity_bytes=max((each.capacity_bytes for _, each in known if each.capacity_bytes is not None), default=None),
    )
    return where, machine
