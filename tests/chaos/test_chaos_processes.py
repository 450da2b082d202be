"""The fast set: a few seeded trials of each fault of processes. `make chaos` runs hundreds."""

from pathlib import Path

import pytest
from chaos_faults import fast

# `orphans`, `host_restart` and `mixture` are in the long set only: tests/e2e kills workers and hosts, too, and parts of mixtures are here.
HERE = ["worker_kill", "trainer_kill", "trainer_oom", "crash_loop", "zombie", "chains", "upgrade"]
LIMIT = 20.0  # seconds to recover on a busy machine, with a lease of 3; the figures belong to the long set


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", HERE)
def test_no_promise_is_broken(name: str, tmp_path: Path) -> None:
    trials = fast(name, tmp_path)
    assert all(seconds < LIMIT for trial in trials for seconds in trial.recovery_seconds), trials
