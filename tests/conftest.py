"""Servers and data that more than one folder of tests needs."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import ObjectStore, object_store, postgres, redis

pytest_plugins = ["stores"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a real Postgres that these tests own. Not below pytest's folder: as root the server is another user's, and each
    pytest that starts elsewhere on the machine closes that folder to others."""
    with tempfile.TemporaryDirectory(prefix="potstill-postgres-", ignore_cleanup_errors=True) as folder, postgres(Path(folder)) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def object_store_server() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data sets; it stays out of the project because licences differ."""
    folder = os.environ.get("POTSTILL_TEST_DATA")
    if folder is None:
        if os.environ.get("POTSTILL_REQUIRE_TEST_DATA"):
            pytest.fail("POTSTILL_TEST_DATA must be set here")
        pytest.skip("POTSTILL_TEST_DATA does not name a folder with mnist/mnist.npz and others")
    return Path(folder)
