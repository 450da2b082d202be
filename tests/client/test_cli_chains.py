"""Jobs that wait for each other, drawn as a chain: by which command, how long a line, and with which letters."""

import json
from collections.abc import Callable

import pytest
from fake_service import Outcome, Service, broken, ended, job, job_id

Run = Callable[..., Outcome]


def _waiting(service: Service, *statuses: str) -> str:
    """A chain of jobs, each behind the one before."""
    for number, status in enumerate(statuses, 1):
        service.add(job(number, status=status, depends_on=[job_id(number - 1)] if number > 1 else []))
    return job_id(len(statuses))


def test_a_job_that_waits_for_others_is_drawn_behind_them(potstill: Run, service: Service) -> None:
    last = _waiting(service, "succeeded", "running", "waiting")
    drawn = f"· chain       digits-1 {job_id(1)} ✓ → digits-2 {job_id(2)} running → digits-3 {last} waiting"
    assert drawn in potstill("show", last).out.splitlines()
    assert "chain" not in potstill("show", job_id(1)).out
    service.streams[last].append([ended("succeeded", 3, depends_on=[job_id(2)])])
    assert drawn in potstill("watch", last).err.splitlines()
    json.loads(potstill("show", last, "--json").out)


def test_several_that_one_job_needs_stand_together(potstill: Run, service: Service) -> None:
    for number in (1, 2):
        service.add(ended("succeeded", number))
    service.add(job(3, status="failed", depends_on=[job_id(1)]))
    service.add(job(4, status="waiting", depends_on=[job_id(2), job_id(3), job_id(9)]))  # the last was deleted
    drawn = next(line for line in potstill("show", job_id(4)).out.splitlines() if line.startswith("· chain"))
    first, second, third = drawn.removeprefix("· chain       ").split(" → ")
    assert set(first.split(" + ")) == {f"digits-1 {job_id(1)} ✓", f"digits-2 {job_id(2)} ✓", f"{job_id(9)} deleted"}
    assert (second, third) == (f"digits-3 {job_id(3)} ✗", f"digits-4 {job_id(4)} waiting")


def test_of_a_long_chain_the_nearest_are_drawn(potstill: Run, service: Service) -> None:
    last = _waiting(service, *["waiting"] * 40)
    drawn = next(line for line in potstill("show", last).out.splitlines() if line.startswith("· chain"))
    steps = drawn.removeprefix("· chain       ").split(" → ")
    assert steps[0] == f"{job_id(19)} …" and len(steps) == 22
    assert len(service.asked("GET", f"/v1/jobs/{job_id(19)}")) == 0


def test_what_submit_queued_behind_others_is_drawn(potstill: Run, service: Service, spec: str) -> None:
    service.add(job(1, name="digits-alone"))
    chained = job(2, name="digits", status="waiting", depends_on=[job_id(1)])
    service.first["POST /v1/jobs"].append(lambda handler: handler.answer(service.jobs[service.add(chained)], 202))
    done = potstill("submit", spec)
    assert done.out == job_id(2) + "\n"
    assert f"· chain       digits-alone {job_id(1)} queued → digits {job_id(2)} waiting" in done.err.splitlines()


def test_an_id_is_told_even_where_its_chain_cannot_be_drawn(potstill: Run, service: Service, spec: str) -> None:
    chained = job(2, status="waiting", depends_on=[job_id(1)])
    service.first["POST /v1/jobs"].append(lambda handler: handler.answer(service.jobs[service.add(chained)], 202))
    service.first[f"GET /v1/jobs/{job_id(1)}"].extend([broken] * 9)
    done = potstill("submit", spec)
    assert (done.code, done.out, "chain" in done.err) == (0, job_id(2) + "\n", False)


def test_a_recipe_of_several_jobs_is_drawn_before_it_is_submitted(potstill: Run, service: Service, spec: str) -> None:
    found = {"valid": True, "errors": [], "warnings": [], "resolved_spec": {"name": "small"}, "estimate": {}}
    before = [{"name": "small-assistant-1", "teacher": {"job": job_id(1)}}, {"name": "small-assistant-2"}]
    for jobs, drawn in (
        (before, f"teacher {job_id(1)} → small-assistant-1 → small-assistant-2 → small"),
        ([{"name": "small-alone", "teacher": None}], "small-alone → small"),
    ):
        service.first["POST /v1/jobs/validate"].append(lambda handler, jobs=jobs: handler.answer(found | {"jobs_before": jobs}))
        assert f"· chain       {drawn}" in potstill("validate", spec).err.splitlines()


@pytest.mark.parametrize(("columns", "rows"), [(200, 1), (120, 2), (60, 3)])
def test_a_chain_is_broken_before_an_arrow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, rows: int
) -> None:
    from potstill.cli import chain

    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(chain.sys.stdout, "isatty", lambda: True)
    chain._draw([f"{name} {job_id(1)} waiting" for name in ("a", "b", "c")], stderr=False)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == rows and all(line.strip().startswith("→") for line in said[1:])
    assert "".join(line.strip() for line in said).count(job_id(1)) == 3


def test_a_terminal_without_arrows_gets_letters() -> None:
    from potstill.cli.chain import _as_shown

    drawn = "a job_1 ✓ → b job_2 ✗ → job_3 …"
    assert _as_shown(drawn, "ascii") == "a job_1 ok -> b job_2 failed -> job_3 ..."
    assert _as_shown(drawn, "utf-8") == drawn
