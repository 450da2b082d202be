"""`report_to` in a real service: files that a tracker's own reader takes, and a tracker that hangs beside a run that does not."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import TINY, Service

from potstill.errors import PotstillError


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """A server that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, silent: str) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("home"), POTSTILL_MLFLOW_TRACKING_URI=silent)
    yield running
    assert running.stop() == 0


def test_a_run_is_mirrored_and_one_tracker_that_hangs_is_a_warning(service: Service, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with service.client() as client:
        assert next(iter(client.workers.list())).trackers == ["tensorboard", "mlflow", "wandb"]
        job = client.jobs.submit({**TINY, "report_to": ["mlflow", "tensorboard"]}).wait(timeout=120)
        assert any("mlflow was too slow" in said for said in job.view.warnings)
        kinds = {artifact.kind for artifact in job.artifacts()}
        assert "tensorboard" in kinds and "wandb" not in kinds
        folder = job.pull(tmp_path / "curves", kind="tensorboard")
        found = EventAccumulator(str(folder / "tensorboard"))
        found.Reload()
        (series,) = job.metrics(name="train/loss")
        assert [point.step for point in found.Scalars("train/loss")] == [step for step, _, _ in series.points]
        assert found.Tensors("verdict/text_summary")[0].tensor_proto.string_val[0].decode() == job.report["verdict"]


def test_a_job_of_several_runs_is_mirrored_with_all_of_them(service: Service) -> None:
    with service.client() as client:
        job = client.jobs.submit({**TINY, "evaluation": {"seeds": 2}, "report_to": ["tensorboard"]}).wait(timeout=180)
        runs = list(client.jobs.list(parent=job.id))
        assert len(runs) == 2
        for one in [job, *runs]:
            assert [artifact.kind for artifact in one.artifacts()].count("tensorboard") == 1


def test_what_no_worker_has_is_refused_by_name(service: Service) -> None:
    known = r"report_to\.0: 'trackio' is not one of mlflow, tensorboard, wandb"
    with service.client() as client, pytest.raises(PotstillError, match=known):
        client.jobs.submit({**TINY, "report_to": ["trackio"]})
