"""A tiny Potstill on an ephemeral port: answers as docs/contract says, and breaks off where a test tells it to."""

import hashlib
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from contract.document import parse_mapping
from contract.errors import Conflict, ErrorCode, InvalidSpec, NotFound, PotstillError, Unauthorized
from contract.wire import JobView

KEY = "psk_right"
START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def _arm(accuracy: float, parameters: int, size: int, latency: float) -> dict[str, Any]:
    measured = {"mean": accuracy, "std": 0.0, "ci95": [accuracy - 0.02, accuracy + 0.02], "values": [accuracy]}
    speed = {"batch": 1, "threads": 1, "p50": latency}
    return {"metrics": {"accuracy": measured}, "parameters": parameters, "size_bytes": size, "latency_ms": speed}


REPORT = {
    "metric": "accuracy",
    "higher_is_better": True,
    "split": "test",
    "rows": 360,
    "arms": {"teacher": _arm(0.96, 2400, 9800, 0.2), "student": _arm(0.93, 600, 2600, 0.1), "control": {}},
    "verdict": "One run: student accuracy 0.9300, 97 % of the teacher.",
}


class Outcome(NamedTuple):
    """Of one command."""

    code: int
    out: str
    err: str


def job_id(number: int) -> str:
    return f"job_{number:032x}"


def job(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A job as the service shows it."""
    wanted = {"training": {"epochs": 40, "seed": number}, "objective": [{"loss": "kl"}]}
    view = {"id": job_id(number), "kind": "distill", "name": f"digits-{number}", "status": "queued", "priority": 0, "attempt": 0}
    view |= {"spec": {}, "resolved_spec": wanted, "depends_on": [], "progress": {}, "latest": {}, "warnings": [], "metadata": {}}
    view |= {"created_at": START + timedelta(seconds=number)}
    return JobView.model_validate(view | changes).model_dump(mode="json")


def ended(status: str, number: int = 1, **changes: Any) -> dict[str, Any]:
    times = {"started_at": START, "finished_at": START + timedelta(seconds=4.1)}
    if status == "succeeded":
        changes = {"report": REPORT, "model": "mdl_" + "0" * 32} | changes
    return job(number, status=status, **times, **changes)


def event(seq: int, type_: str = "log", message: str = "", **data: Any) -> dict[str, Any]:
    level = data.pop("level", "info")
    return {"seq": seq, "type": type_, "level": level, "message": message, "data": data, "created_at": "2026-11-21T09:00:00.000000Z"}


class Cut:
    """In a list of things to send: break the connection here, `after` bytes of the next thing were sent."""

    def __init__(self, after: int = 0) -> None:
        self.after = after


class Service(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[tuple[str, str, dict[str, list[str]], Any, bytes]] = []  # method, path, query, headers, body
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.streams: dict[str, deque[list[Any]]] = defaultdict(deque)  # what each next stream of a job sends
        self.files: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.blobs: dict[str, bytes] = {}
        self.cuts: dict[str, deque[int]] = defaultdict(deque)  # artifact → break after so many bytes, one for each request
        self.others: dict[str, dict[str, dict[str, Any]]] = {"datasets": {}, "models": {}, "keys": {}}
        self.first: dict[str, deque[Callable[[Handler], None]]] = defaultdict(deque)  # "METHOD path" → answers before the real ones

    def add(self, view: dict[str, Any]) -> str:
        self.jobs[view["id"]] = view
        return str(view["id"])

    def add_file(self, id_: str, path: str, content: bytes, kind: str = "student", **changes: Any) -> str:
        artifact = f"art_{len(self.blobs):032x}"
        self.blobs[artifact] = content
        view = {"id": artifact, "path": path, "kind": kind, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        self.files[id_].append(view | {"created_at": START.isoformat()} | changes)
        return artifact

    def asked(self, method: str, path: str) -> list[tuple[str, str, dict[str, list[str]], Any, bytes]]:
        return [request for request in self.requests if request[:2] == (method, path)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def log_message(self, *_: Any) -> None:
        return

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError):  # the client left, or a test cut the connection
            self.close_connection = True

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.route, self.query = unquote(parts.path), parse_qs(parts.query)
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.requests.append((self.command, self.route, self.query, self.headers, self.body))
        try:
            prepared = self.server.first[f"{self.command} {self.route}"]
            if prepared:
                prepared.popleft()(self)
                return
            if self.route.startswith("/v1") and self.headers.get("authorization") != f"Bearer {KEY}":
                given = "authorization" in self.headers
                raise Unauthorized("This key is not valid.", code=ErrorCode.INVALID_KEY if given else ErrorCode.MISSING_KEY)
            self._route()
        except PotstillError as error:
            body = error.problem(self.route, "req_1").model_dump(mode="json")
            self.answer(body, error.status, **{"Content-Type": "application/problem+json"})

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def answer(self, body: Any, status: int = 200, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(raw))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(raw)

    def hang_up(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(2)
        self.connection.close()
        raise ConnectionError

    def _route(self) -> None:
        match [self.command, *self.route.strip("/").split("/")]:
            case [_, "livez" | "readyz"]:
                self.answer({"status": "ok"})
            case [_, "openapi.json"]:
                self.answer({"info": {"title": "Potstill", "version": "0.1.0"}})
            case ["POST", "v1", "jobs"]:
                self._submit(parse_mapping(self.body))
            case ["POST", "v1", "jobs", "batch"]:
                queued = [self.server.add(job(len(self.server.jobs) + 1, name=spec["name"])) for spec in json.loads(self.body)["jobs"]]
                self._list([self.server.jobs[id_] for id_ in queued], 202)
            case ["POST", "v1", "jobs", "validate"]:
                valid = "task" in parse_mapping(self.body)
                errors = [] if valid else [{"pointer": "/task", "message": "this field is required"}]
                resolved = {"data": {"train": {"dataset": "digits"}}} if valid else None
                estimate = {"parameters": {"student": 610, "teacher": 2410}, "train_rows": 1437, "steps": 2000} if valid else None
                self.answer({"valid": valid, "errors": errors, "warnings": [], "resolved_spec": resolved, "estimate": estimate})
            case ["GET", "v1", "jobs"]:
                wanted = self.query.get("status")
                self._list([j for j in reversed(self.server.jobs.values()) if not wanted or j["status"] in wanted])
            case [_, "v1", "jobs", id_, *rest]:
                self._job(self._known(self.server.jobs, id_, ErrorCode.JOB_NOT_FOUND), rest)
            case ["GET", "v1", "artifacts", id_]:
                self._bytes(id_)
            case ["POST", "v1", "datasets" | "models" as kind]:
                self._upload(kind)
            case ["POST", "v1", "keys"]:
                asked = json.loads(self.body)
                key: dict[str, Any] = {
                    "id": "key_" + "1" * 32,
                    "name": asked["name"],
                    "scopes": asked.get("scopes", ["read", "submit"]),
                    "prefix": "psk_abc",
                    "project": "default",
                    "created_at": START.isoformat(),
                    "metadata": {},
                }
                self.server.others["keys"][key["id"]] = key
                self.answer(key | {"secret": "psk_abcdef"}, 201)
            case ["POST", "v1", "keys", id_, "rotate"]:
                self.answer(self._known(self.server.others["keys"], id_, ErrorCode.KEY_NOT_FOUND) | {"secret": "psk_rotated"})
            case ["GET", "v1", "datasets" | "models" | "keys" as kind]:
                self._list(list(self.server.others[kind].values()))
            case ["GET", "v1", "datasets", _, "preview"]:
                self.answer({"split": "train", "columns": ["x", "label"], "rows": [[1.5, "a"], [2.5, "b"]]})
            case [method, "v1", "datasets" | "models" | "keys" as kind, id_]:
                found = self._known(self.server.others[kind], id_, ErrorCode.NOT_FOUND)
                if method == "DELETE":
                    del self.server.others[kind][id_]
                self.answer(found if method == "GET" else None, 200 if method == "GET" else 204)
            case ["GET", "v1", "workers"]:
                worker = {"id": "w1", "host": "h", "version": "0.1.0", "devices": ["cpu"], "slots": 2, "running": [], "alive": True}
                self._list([worker | {"last_heartbeat_at": START.isoformat()}])
            case ["GET", "v1", "recipes"]:
                parameter = {"name": "alpha", "required": False, "default": 0.7, "meaning": "Weight of the teacher.", "schema": {}}
                self._list([{"name": "hinton", "meaning": "The classic.", "formula": "", "paper": "2015", "parameters": [parameter]}])
            case _:
                raise NotFound(f"There is no {self.route}.")

    @staticmethod
    def _known(things: dict[str, dict[str, Any]], id_: str, code: ErrorCode) -> dict[str, Any]:
        if id_ not in things:
            raise NotFound(f"There is no {id_}.", code=code, hint="Look again.")
        return things[id_]

    def _list(self, items: list[dict[str, Any]], status: int = 200) -> None:
        """A keyset page: `after` names the last item of the page before."""
        after, limit = self.query.get("after", [None])[0], int(self.query.get("limit", ["20"])[0])
        ids = [str(item.get("id", item.get("seq"))) for item in items]
        start = ids.index(after) + 1 if after in ids else 0
        page, names = items[start : start + limit], ids[start : start + limit]
        more = start + limit < len(items)
        self.answer(
            {
                "object": "list",
                "data": page,
                "first_id": names[0] if names else None,
                "last_id": names[-1] if names else None,
                "has_more": more,
            },
            status,
        )

    def _submit(self, spec: dict[str, Any]) -> None:
        if "task" not in spec:
            raise InvalidSpec("task: this field is required", param="task", hint="Add `task`.")
        new = job(len(self.server.jobs) + 1, name=spec.get("name", "unnamed"), spec=spec)
        self.answer(self.server.jobs[self.server.add(new)], 202, Location=f"/v1/jobs/{new['id']}")

    def _job(self, found: dict[str, Any], rest: list[str]) -> None:
        id_, final = found["id"], found["status"] in ("succeeded", "failed", "cancelled")
        match [self.command, *rest]:
            case ["GET"]:
                self.answer(found)
            case ["PATCH"]:
                found.update(json.loads(self.body))
                self.answer(found)
            case ["DELETE"]:
                if self.query.get("dry_run") == ["true"]:
                    self.answer({"freed_bytes": 12_300_000, "files": 7})
                    return
                if not final:
                    raise Conflict(f"{id_} is {found['status']} and cannot be deleted.", hint="Cancel it first.")
                del self.server.jobs[id_]
                self.answer(None, 204)
            case ["POST", "cancel" | "pause" | "resume" as verb]:
                if final:
                    raise Conflict(f"{id_} is {found['status']} and cannot be {verb}led.")
                found["status"] = {"cancel": "cancelled", "pause": "paused", "resume": "queued"}[verb]
                self.answer(found)
            case ["POST", "retry"]:
                again = job(len(self.server.jobs) + 1, retry_of=id_)
                self.answer(self.server.jobs[self.server.add(again)], 202)
            case ["GET", "events"]:
                kinds = self.query.get("type")
                after = int(self.query.get("after", ["0"])[0])
                self.query.pop("after", None)
                self._list([e for e in self.server.events[id_] if e["seq"] > after and (kinds is None or e["type"] in kinds)])
            case ["GET", "events", "stream"]:
                self._stream(id_)
            case ["GET", "metrics"]:
                points = [[step, 1.0 / step, "2026-11-21T09:00:00Z"] for step in range(1, 21)]
                self.answer({"data": [{"name": "train/loss", "arm": "student", "seed": 42, "points": points, "total_points": 20}]})
            case ["GET", "artifacts"]:
                self._list(self.server.files[id_])
            case _:
                raise NotFound(f"There is no {self.route}.")

    def _stream(self, id_: str) -> None:
        """Chunked, as uvicorn sends it: the prepared script of this connection, or all events and then `done`."""
        script = self.server.streams[id_]
        after = int(self.headers.get("last-event-id") or 0)
        items = script.popleft() if script else [*(e for e in self.server.events[id_] if e["seq"] > after), self.server.jobs[id_]]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        cut = None
        for item in items:
            if isinstance(item, Cut):
                cut = item.after
                if not cut:
                    self.hang_up()
                continue
            if isinstance(item, threading.Event):
                item.wait(10)
                continue
            name = "done" if "status" in item else item.get("type")
            text = (
                ": keep-alive\n\n"
                if not item
                else f"event: {name}\nid: {item.get('seq', '')}\ndata: {json.dumps(item, ensure_ascii=False)}\n\n"
            )
            raw = text.encode()[:cut]
            self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
            self.wfile.flush()
            if cut is not None:
                self.hang_up()
        self.wfile.write(b"0\r\n\r\n")

    def _bytes(self, id_: str) -> None:
        content = self.server.blobs[id_]
        tag = next(f'"{a["sha256"]}"' for files in self.server.files.values() for a in files if a["id"] == id_)
        status, start, headers = 200, 0, {"ETag": tag, "Content-Type": "application/octet-stream"}
        wanted = self.headers.get("range")
        if wanted and self.headers.get("if-range", tag) == tag:
            status, start = 206, int(wanted.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cuts = self.server.cuts[id_]
        if not cuts:
            self.answer(content[start:], status, **headers)
            return
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content) - start)}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[start : start + cuts.popleft()])
        self.hang_up()

    def _upload(self, kind: str) -> None:
        message = BytesParser().parsebytes(b"Content-Type: " + self.headers["content-type"].encode() + b"\r\n\r\n" + self.body)
        parts = message.get_payload()
        assert isinstance(parts, list)
        files = [part for part in parts if part.get_filename()]
        name = next(
            (p.get_payload() for p in parts if p.get_param("name", header="content-disposition") == "name"), files[0].get_filename()
        )
        size = sum(len(part.get_payload(decode=True)) for part in files)
        common = {"name": name, "size_bytes": size, "created_at": START.isoformat(), "metadata": {}}
        if kind == "datasets":
            columns = [{"name": "x", "type": "float64", "shape": []}, {"name": "label", "type": "string", "shape": []}]
            new = {
                "id": "ds_" + "1" * 32,
                "format": "csv",
                "sha256": "0" * 64,
                "splits": {"train": {"rows": 2}},
                "columns": columns,
                "classes": ["a", "b"],
            }
        else:
            new = {
                "id": "mdl_" + "1" * 32,
                "task": "image-classification",
                "job": None,
                "config": {"files": sorted(str(f.get_filename()) for f in files)},
                "parameters": 600,
            }
        self.server.others[kind][new["id"]] = new | common
        self.answer(new | common, 201)


def broken(_: Handler) -> None:
    """An answer of a service with a mistake in it."""
    raise PotstillError("Something broke.")
