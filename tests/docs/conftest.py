"""One service that all pages talk to, as a reader's own would be: its home is ~/.potstill."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_session import RECEIVER_PORT
from servers import Service


@pytest.fixture(scope="session")
def docs_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reader")


@pytest.fixture(scope="session")
def docs_service(docs_home: Path) -> Iterator[Service]:
    service = Service(docs_home / ".potstill", slots=2, POTSTILL_WEBHOOK_HOSTS=f"*, 127.0.0.1:{RECEIVER_PORT}")
    yield service
    service.stop()
