"""The client: one service, one key, everything the API can do."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from potstill.jobs import Jobs
from potstill.resources import Audit, Datasets, Keys, Models, Registry, Workers
from potstill.sweeps import Sweeps
from potstill.transport import Transport
from potstill.webhooks import Webhooks

if TYPE_CHECKING:
    import httpx2


class Client:
    """A Potstill service.

        with Client() as client:
            job = client.jobs.submit("digits.yaml").wait(timeout=600)
            print(job.report["verdict"], job.pull("./student"))

    `url` and `key` default to POTSTILL_URL and POTSTILL_KEY, then to what `potstill up` left on this machine. `timeout` limits
    the silence of one request, in seconds. `transport` replaces the network (an `httpx2.BaseTransport`), for tests.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, timeout: float = 30.0, transport: "httpx2.BaseTransport | None" = None
    ) -> None:
        self.transport = Transport(url, key, timeout=timeout, transport=transport)
        self.jobs = Jobs(self.transport)
        self.sweeps = Sweeps(self.transport)
        self.datasets = Datasets(self.transport)
        self.models = Models(self.transport)
        self.webhooks = Webhooks(self.transport)
        self.keys = Keys(self.transport)
        self.audit = Audit(self.transport)
        self.registry = Registry(self.transport)
        self.workers = Workers(self.transport)

    @property
    def url(self) -> str:
        return self.transport.url

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
