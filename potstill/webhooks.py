"""`client.webhooks`: other programs are told when jobs and sweeps end."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contract.wire import DeliveryView, WebhookView
from potstill.resources import Resource, each, part
from potstill.transport import new_key


class Webhooks(Resource):
    """`client.webhooks`."""

    def create(self, url: str, events: Sequence[str] | None = None, *, metadata: Mapping[str, str] | None = None) -> WebhookView:
        """A webhook told of `events`, of every ending when not said. Its `secret` is in this answer and never again."""
        body = _given(url=url, events=list(events) if events is not None else None, metadata=metadata)
        return self.transport.read(WebhookView, self.transport.call("POST", "/v1/webhooks", body=body, idempotency_key=new_key()))

    def list(self) -> Iterator[WebhookView]:
        return each(self.transport, "/v1/webhooks", WebhookView)

    def get(self, webhook_id: str) -> WebhookView:
        return self.transport.read(WebhookView, self.transport.call("GET", _path(webhook_id)))

    def update(self, webhook_id: str, **changes: Any) -> WebhookView:
        """`url`, `events`, `enabled` or `metadata`; what is not named stays."""
        return self.transport.read(WebhookView, self.transport.call("PATCH", _path(webhook_id), body=changes))

    def rotate(self, webhook_id: str) -> WebhookView:
        """A new `secret`, in this answer alone; the old one signs as well for a day."""
        return self.transport.read(WebhookView, self.transport.call("POST", _path(webhook_id, "/rotate")))

    def test(self, webhook_id: str) -> DeliveryView:
        """Sends a `ping`; what came of it stands in `deliveries`, under the same id."""
        body = self.transport.call("POST", _path(webhook_id, "/test"), idempotency_key=new_key())
        return self.transport.read(DeliveryView, body)

    def deliveries(self, webhook_id: str) -> Iterator[DeliveryView]:
        """What it was told, newest first: each message with its tries."""
        return each(self.transport, _path(webhook_id, "/deliveries"), DeliveryView)

    def delete(self, webhook_id: str) -> None:
        self.transport.call("DELETE", _path(webhook_id))


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _path(webhook_id: str, rest: str = "") -> str:
    return f"/v1/webhooks/{part(webhook_id)}{rest}"
