"""Jobs of several runs: control arm and seeds, one report, one teacher pass, and what happens to the runs happens to the job."""

from pathlib import Path
from typing import Any

import pytest
from servers import until

from potstill import Client
from potstill.errors import JobFailed
from potstill.job import Job

TASK: dict[str, Any] = {"task": "image-classification", "data": {"train": "digits", "test": "digits", "max_train_samples": 300}}
TRAINING: dict[str, Any] = {"epochs": 20, "optimizer": {"lr": 5e-3}}


@pytest.fixture(scope="module")
def teacher(client: Client) -> str:
    spec = {**TASK, "kind": "train", "student": {"arch": "mlp", "hidden": [128]}, "training": TRAINING}
    return client.jobs.submit({**spec, "data": {"train": "digits", "test": "digits"}}).wait(timeout=60).id


def student(teacher: str, **more: Any) -> dict[str, Any]:
    return {
        **TASK,
        "kind": "distill",
        "teacher": {"job": teacher},
        "student": {"arch": "mlp", "hidden": [24]},
        "training": TRAINING,
        **more,
    }


def weights(client: Client, job_id: str) -> str:
    return next(a.sha256 for a in client.jobs.artifacts(job_id) if a.path == "student/model.safetensors")


def runs(client: Client, job: Job) -> list[Job]:
    return list(client.jobs.list(parent=job.id))


def test_alpha_zero_is_the_control_arm_is_training_alone(client: Client, teacher: str) -> None:
    """The same weights bit for bit, or the comparison would measure something besides the teacher."""
    recipe = {"name": "hinton", "alpha": 0}
    job = client.jobs.submit(student(teacher, recipe=recipe, evaluation={"control": True})).wait(timeout=60)
    alone = client.jobs.submit({**TASK, "kind": "train", "student": {"arch": "mlp", "hidden": [24]}, "training": TRAINING}).wait(timeout=60)
    found = {weights(client, run.id) for run in runs(client, job)} | {weights(client, job.id), weights(client, alone.id)}
    assert len(found) == 1
    assert job.report is not None
    assert job.report["gain"]["mean"] == 0.0


def test_seeds_and_control_make_one_report_with_one_teacher_pass(client: Client, teacher: str, tmp_path: Path) -> None:
    job = client.jobs.submit(student(teacher, evaluation={"control": True, "seeds": 4}))
    assert job.status == "waiting"
    assert len(runs(client, job)) == 8
    assert job.id in [each.id for each in client.jobs.list()]
    assert not {run.id for run in runs(client, job)} & {each.id for each in client.jobs.list()}  # children are listed with parent= only
    job.wait(timeout=120)
    report = job.report
    assert report is not None
    assert report["seeds"] == [42, 43, 44, 45]
    for arm in ("student", "control"):
        assert len(report["arms"][arm]["metrics"]["accuracy"]["values"]) == 4
    of_student, of_control = (report["arms"][arm]["metrics"]["accuracy"]["values"] for arm in ("student", "control"))
    assert report["gain"]["values"] == pytest.approx([s - c for s, c in zip(of_student, of_control, strict=True)])
    assert report["teacher_outputs"]["passes"] <= 1  # the test above may have made it
    assert job.progress.step == job.progress.total_steps == 8 * 20 * 5
    said = [event.message for event in client.jobs.events(job.id)]
    assert sum("succeeded" in message and "seed" in message for message in said) == 8
    series = {(one.arm, one.seed) for one in client.jobs.metrics(job.id, name="train/loss")}
    assert len(series) == 8
    assert weights(client, job.id) in {weights(client, run.id) for run in runs(client, job)}
    card = (job.pull(tmp_path / "student") / "README.md").read_text()
    assert report["verdict"] in card
    assert "One run" not in card


def test_a_failed_run_fails_the_job_keeps_the_rest_and_is_repeated_alone(client: Client, teacher: str) -> None:
    long = {**TRAINING, "epochs": 60}
    job = client.jobs.submit(student(teacher, training=long, evaluation={"control": True, "seeds": 3}))
    victim = runs(client, job)[0]
    victim.cancel()
    with pytest.raises(JobFailed) as caught:
        job.wait(timeout=120)
    assert caught.value.code == "run_failed"
    assert victim.id in str(caught.value)
    job.refresh()
    assert job.report is not None
    assert job.report["missing_runs"] == [{"arm": "control", "seed": 44, "reason": "it ended cancelled"}]
    again = job.retry().wait(timeout=120)
    assert len(runs(client, again)) == 1  # the others' results were taken over
    assert again.report is not None
    assert len(again.report["gain"]["values"]) == 3


def test_cancel_half_way_reports_what_there_is(client: Client, teacher: str) -> None:
    job = client.jobs.submit(student(teacher, training={**TRAINING, "epochs": 100}, evaluation={"control": True, "seeds": 10}))
    until(lambda: sum(run.status == "succeeded" for run in runs(client, job)) >= 3, seconds=60)
    job.cancel()
    until(lambda: job.refresh().status == "cancelled", seconds=15)
    assert all(run.status in ("succeeded", "cancelled") for run in runs(client, job))
    assert job.report is not None
    assert "runs have no result" in job.report["verdict"]


def test_pause_resume_and_priority_reach_the_runs(client: Client, teacher: str) -> None:
    job = client.jobs.submit(student(teacher, training={**TRAINING, "epochs": 400}, evaluation={"seeds": 4}))
    until(lambda: any(run.status == "running" for run in runs(client, job)))
    job.pause()
    assert job.refresh().status == "paused"
    until(lambda: all(run.status in ("paused", "succeeded") for run in runs(client, job)), seconds=15)
    job.update(priority=5)
    left = [run for run in runs(client, job) if run.status == "paused"]
    assert left, "all runs ended before the pause: give them more epochs"
    assert {run.view.priority for run in left} == {5}, "what has ended stays as it was"
    job.resume()
    job.wait(timeout=120)
    job.delete()
    assert runs(client, job) == []
