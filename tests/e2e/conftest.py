"""A service of two slots and its client, for a module whose tests leave it running. Who needs another kind has a `service` of its own."""

from collections.abc import Iterator

import pytest
from servers import Service

from potstill import Client


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("home"), slots=2)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with service.client() as found:
        yield found
