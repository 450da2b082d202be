"""The fast set: a few seeded trials of each fault of servers, networks and clocks. `make chaos` runs hundreds."""

from pathlib import Path

import pytest
from chaos_faults import fast

# `postgres` alone is in the long set only: `everything` strikes it too, and starting four workers twice is most of a minute.
HERE = ["redis", "doorbells", "everything", "locked", "ambiguity", "api_kill", "partition", "clocks"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", HERE)
def test_no_promise_is_broken(name: str, tmp_path: Path) -> None:
    fast(name, tmp_path)
