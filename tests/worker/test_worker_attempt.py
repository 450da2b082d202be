"""The end of an attempt: nothing of it stays on the disk, whatever its other thread is still at."""

import threading
from multiprocessing import Pipe
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from store_world import World

from contract.events import CheckpointSaved
from models.blobs import Blobs
from models.claims import LeaseLostError
from worker import attempt as attempt_module
from worker.attempt import Attempt
from worker.settings import Settings

CHECKPOINTS = 60


def test_nothing_is_left_of_one_whose_news_still_come(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints that others replaced are removed by the thread that hears of them; the folder must not be removed beside it."""
    claim = world.run()
    for number in range(10):
        settings = Settings(home=tmp_path / str(number))
        attempt = Attempt(settings, world.database, Blobs((tmp_path / "artifacts").as_uri()), ForkServerContext(), claim, None)
        for step in range(CHECKPOINTS):
            (attempt.folder / "checkpoints" / str(step)).mkdir(parents=True)
            (attempt.folder / "checkpoints" / str(step) / "model.safetensors").write_bytes(b"weights")
        events, trainer = Pipe(duplex=False)
        for step in range(1, CHECKPOINTS):
            folder = str(attempt.folder / "checkpoints" / str(step))
            trainer.send_bytes(CheckpointSaved(step=step, folder=folder, dropped=[step - 1]).model_dump_json().encode())
        trainer.close()

        def lose() -> None:
            raise LeaseLostError("another worker has it")

        monkeypatch.setattr(attempt, "_guarded", lose)
        attempt._drain = threading.Thread(target=attempt_module._drain, args=(events, attempt._backlog))
        attempt._drain.start()
        attempt.run()
        assert not attempt.folder.exists()
