"""What the service keeps besides jobs: datasets, models, keys, workers, and the registry of what can be asked for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from contract.errors import Refused
from contract.wire import AuditAction, AuditView, DatasetView, KeyView, LoginLinkView, ModelView, PreviewView, WorkerView
from potstill.transport import Params, Transport, new_key

Item = TypeVar("Item", bound=BaseModel)

PAGE = 100  # the most the service gives at once
UPLOAD_SECONDS = 600.0  # an uploaded file is read through before it is answered


class Resource:
    def __init__(self, transport: Transport) -> None:
        self.transport = transport


class Listing(BaseModel):
    """Any list, as far as turning its pages needs."""

    data: list[dict[str, Any]]
    last_id: str | int | None = None
    has_more: bool = False


def each(
    transport: Transport, path: str, model: type[Item], params: Params | None = None, cursor: Callable[[Item], str] | None = None
) -> Iterator[Item]:
    """Every item of a list, fetching the next page when the last one is used up."""
    turned: dict[str, Any] = {"limit": PAGE, **(params or {})}
    while True:
        page = transport.read(Listing, transport.call("GET", path, params=turned))
        items = [transport.read(model, item) for item in page.data]
        yield from items
        if not (page.has_more and items):
            return
        turned["after"] = cursor(items[-1]) if cursor else page.last_id


def part(name: str) -> str:
    """One segment of a path, whatever it holds."""
    return quote(name, safe="")


class Datasets(Resource):
    """`client.datasets`."""

    def upload(self, path: str | Path, name: str | None = None) -> DatasetView:
        """An .npz, .csv, .jsonl or .parquet file, also .gz. The same bytes give the same dataset."""
        path = Path(path)
        with path.open("rb") as file:
            body = self.transport.call(
                "POST",
                "/v1/datasets",
                fields={"name": name} if name else {},
                parts=[("file", (path.name, file))],
                idempotency_key=new_key(),
                timeout=UPLOAD_SECONDS,
            )
        return self.transport.read(DatasetView, body)

    def list(self) -> Iterator[DatasetView]:
        return each(self.transport, "/v1/datasets", DatasetView)

    def get(self, dataset_id: str) -> DatasetView:
        return self.transport.read(DatasetView, self.transport.call("GET", f"/v1/datasets/{part(dataset_id)}"))

    def preview(self, dataset_id: str, **params: Any) -> PreviewView:
        """Its first rows."""
        return self.transport.read(PreviewView, self.transport.call("GET", f"/v1/datasets/{part(dataset_id)}/preview", params=params))

    def delete(self, dataset_id: str) -> None:
        self.transport.call("DELETE", f"/v1/datasets/{part(dataset_id)}")


class Models(Resource):
    """`client.models`."""

    def upload(self, folder: str | Path, name: str | None = None) -> ModelView:
        """A folder with model.safetensors, config.json and, for one that reads text, its tokenizer: a job's student, or what
        `save_pretrained` of transformers writes. Other files in it are left out; pickles are never read."""
        from contract.model import belongs, holds_weights

        folder = Path(folder)
        files = sorted(f for f in folder.iterdir() if f.is_file() and belongs(f.name))
        if not any(holds_weights(file.name) for file in files):
            raise Refused(
                f"{folder} has no model.safetensors.",
                hint="Weights in .bin, .pt or .ckpt are pickles, which run code when opened; save them again with save_pretrained.",
            )
        with ExitStack() as stack:
            body = self.transport.call(
                "POST",
                "/v1/models",
                fields={"name": name or folder.resolve().name},
                parts=[("file", (file.name, stack.enter_context(file.open("rb")))) for file in files],
                idempotency_key=new_key(),
                timeout=UPLOAD_SECONDS,
            )
        return self.transport.read(ModelView, body)

    def list(self) -> Iterator[ModelView]:
        return each(self.transport, "/v1/models", ModelView)

    def get(self, model_id: str) -> ModelView:
        return self.transport.read(ModelView, self.transport.call("GET", f"/v1/models/{part(model_id)}"))

    def delete(self, model_id: str) -> None:
        self.transport.call("DELETE", f"/v1/models/{part(model_id)}")


class Keys(Resource):
    """`client.keys`."""

    def create(self, name: str, scopes: Sequence[str] | None = None, expires_in_seconds: int | None = None) -> KeyView:
        """A new key of this key's project, to read and submit with unless `scopes` says otherwise. Its `secret` is in this answer and
        never again."""
        asked = {"name": name, "scopes": scopes and list(scopes), "expires_in_seconds": expires_in_seconds}
        body = {field: value for field, value in asked.items() if value is not None}
        return self.transport.read(KeyView, self.transport.call("POST", "/v1/keys", body=body, idempotency_key=new_key()))

    def rotate(self, key_id: str, grace_seconds: int = 3600) -> KeyView:
        """The key with another `secret`; the old one works for `grace_seconds` more."""
        path, body = f"/v1/keys/{part(key_id)}/rotate", {"grace_seconds": grace_seconds}
        return self.transport.read(KeyView, self.transport.call("POST", path, body=body, idempotency_key=new_key()))

    def login_link(self) -> str:
        """The address that logs one browser in, once, within ten minutes, in this key's name."""
        view = self.transport.read(LoginLinkView, self.transport.call("POST", "/v1/login-links"))
        return self.transport.url + view.path

    def list(self) -> Iterator[KeyView]:
        return each(self.transport, "/v1/keys", KeyView)

    def revoke(self, key_id: str) -> None:
        self.transport.call("DELETE", f"/v1/keys/{part(key_id)}")


class Audit(Resource):
    """`client.audit`."""

    def list(self, actions: Sequence[AuditAction] | None = None) -> Iterator[AuditView]:
        """What was done in this key's project, newest first; needs a key with the scope `admin`."""
        return each(self.transport, "/v1/audit", AuditView, {"action": list(actions)} if actions else None)


class Registry(Resource):
    """`client.registry`: each entry has a name, a one-line meaning, and its parameters."""

    def recipes(self) -> list[dict[str, Any]]:
        return self._entries("recipes")

    def losses(self) -> list[dict[str, Any]]:
        return self._entries("losses")

    def architectures(self) -> list[dict[str, Any]]:
        return self._entries("architectures")

    def tasks(self) -> list[dict[str, Any]]:
        return self._entries("tasks")

    def _entries(self, kind: str) -> list[dict[str, Any]]:
        return self.transport.read(Listing, self.transport.call("GET", f"/v1/{kind}")).data


class Workers(Resource):
    """`client.workers`."""

    def list(self) -> Iterator[WorkerView]:
        return each(self.transport, "/v1/workers", WorkerView)
