"""What a project may have and how often a key may ask: refusals that name the limit, what there is, and the cure."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
import structlog
from real_service import SETTINGS, Api, Running, problem, start
from servers import free_port
from servers import redis as redis_at
from structlog.testing import capture_logs
from worker_hand import Hand

import migrations
from api.counters import Counters
from api.quotas import Quotas
from api.rates import Rates, Standing
from api.settings import Settings
from models import claims
from models.audit import AuditEvent
from models.ids import new_id
from models.job import Job
from models.project import Project, add_key
from models.secret import new_secret

Limited = Callable[..., Api]


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Limited]:
    """A service of its own with some limits, and a project in it."""
    opened: list[Callable[[], object]] = []

    def make(**settings: Any) -> Api:
        url = f"sqlite:///{tmp_path / 'potstill.db'}"
        migrations.upgrade(url)
        made = {"home": tmp_path, "database_url": url, "broker_url": "", "artifacts_url": "", **SETTINGS, **settings}
        running, stop = start(Settings(**made))
        opened.append(stop)
        return newcomer(running, opened)

    yield make
    for close in reversed(opened):
        close()


def newcomer(running: Running, opened: list[Callable[[], object]]) -> Api:
    """Somebody with a project and a key."""
    with running.database.write() as session:
        project, secret = Project(id=new_id("prj"), name=new_id("p")), new_secret()
        session.add(project)
        key = add_key(session, project, "test", secret)
    http = httpx2.Client(base_url=running.url, headers={"Authorization": f"Bearer {secret}"}, timeout=20, trust_env=False, verify=False)
    opened.append(http.close)
    return Api(http, running, project.id, key.id, secret, Hand(running.database, running.services.blobs))


@contextmanager
def quotas(api: Api, **limits: int | None) -> Iterator[None]:
    """The service as if it had been started with these."""
    services = api.running.services
    before = services.quotas
    object.__setattr__(services, "quotas", Quotas(**{"queued_jobs": None, "stored_bytes": None, **limits}))
    try:
        yield
    finally:
        object.__setattr__(services, "quotas", before)


# ---- quotas


def test_jobs_that_wait_are_counted_and_one_too_many_is_refused(api: Api, other: Api, train: dict[str, Any]) -> None:
    ids = [api.submit(train)["id"] for _ in range(2)]
    with quotas(api, queued_jobs=3):
        refused = api.refused(
            api.post("/v1/jobs/batch", {"jobs": [train, {**train, "name": "b"}]}), 403, "quota_exceeded", "quota_queued_jobs"
        )
        assert refused["detail"] == "quota_queued_jobs: 2 jobs wait, 2 more were sent, and a project may have 3."
        assert "cancel some" in refused["hint"] and "POTSTILL_QUOTA_QUEUED_JOBS" in refused["hint"]
        api.submit(train)
        api.refused(api.post("/v1/jobs", train), 403, "quota_exceeded")
        other.submit(train)
        api.hand.claim(ids[0])
        api.submit(train)
        api.post(f"/v1/jobs/{ids[1]}/pause")
        api.refused(api.post("/v1/jobs", train), 403, "quota_exceeded")
        api.post(f"/v1/jobs/{ids[1]}/cancel")
        api.submit(train)
        api.refused(api.post(f"/v1/jobs/{ids[1]}/retry"), 403, "quota_exceeded")
        assert api.post("/v1/jobs/validate", train).json()["valid"] is True
    events = api.get("/v1/audit", params={"action": "quota.refused"}).json()["data"]
    assert len(events) == 1, "of four within a minute"
    assert (events[0]["subject"], events[0]["data"]) == ("quota_queued_jobs", {"detail": refused["detail"]})
    assert events[0]["request_id"] == refused["request_id"]


def test_a_sweep_takes_room_for_the_trials_it_begins_with(api: Api, train: dict[str, Any]) -> None:
    sweep = {"job": {**train, "data": {"train": "digits", "validation": 0.1}}, "space": {"training.epochs": [1, 2, 3]}}
    with quotas(api, queued_jobs=2):
        api.refused(api.post("/v1/sweeps", sweep), 403, "quota_exceeded", "quota_queued_jobs")
        assert api.get("/v1/sweeps").json()["data"] == []
    assert api.post("/v1/sweeps", sweep).status_code == 202


def test_bytes_that_are_kept_are_counted(api: Api, train: dict[str, Any]) -> None:
    rows = b"x,label\n" + b"1,a\n2,b\n" * 100
    api.http.post("/v1/datasets", files={"file": ("first.csv", rows)})
    job = api.submit(train)["id"]
    with quotas(api, stored_bytes=2 * len(rows)):
        before = api.running.files()
        other_rows = api.http.post("/v1/datasets", files={"file": ("second.csv", rows + b"3,c\n")})
        refused = api.refused(other_rows, 403, "quota_exceeded", "quota_bytes")
        assert f"{len(rows):,} bytes are kept, {len(rows) + 4:,} more were sent" in refused["detail"] and "Delete" in refused["hint"]
        assert api.running.files() == before, "nothing of it stays"
        assert api.http.post("/v1/datasets", files={"file": ("again.csv", rows)}).status_code == 200, "the same bytes are there already"
        assert api.http.post("/v1/datasets", files={"file": ("small.csv", b"x,label\n1,a\n2,b\n")}).status_code == 201
        api.hand.done(job, weights=b"w" * 2 * len(rows))
        api.refused(api.post("/v1/jobs", train), 403, "quota_exceeded", "quota_bytes")
        api.http.delete(f"/v1/jobs/{job}")
        api.submit(train)


def test_a_page_says_so_and_the_refusal_is_kept(api: Api, make_browser: Callable[[str], httpx2.Client]) -> None:
    browser = make_browser(api.secret)
    spec = {"spec": "kind: train\ntask: image-classification\ndata: {train: digits}\nstudent: {arch: logistic}"}
    with quotas(api, queued_jobs=0):
        shown = browser.post("/new", data=spec)
    assert shown.status_code == 403 and "a project may have 0" in shown.text and "kind: train" in shown.text
    assert len(api.get("/v1/audit", params={"action": "quota.refused"}).json()["data"]) == 1


def test_a_worker_takes_no_more_of_a_project_than_may_run(api: Api, other: Api, train: dict[str, Any]) -> None:
    mine = [api.submit({**train, "priority": 5})["id"] for _ in range(3)]
    theirs = other.submit(train)["id"]

    def claim() -> str | None:
        with api.running.database.write() as session:
            claim = claims.claim(session, "wrk_1", 30, 2)
            return claim.job_id if claim is not None else None

    assert [claim() for _ in range(4)] == [mine[0], mine[1], theirs, None]
    with api.running.database.write() as session:
        session.execute(sa.update(Job).where(Job.id == mine[0]).values(status="failed", worker_id=None))
    assert claim() == mine[2]


@pytest.mark.parametrize("running", ["postgres"], indirect=True)  # SQLite has one writer at a time
def test_two_workers_at_once_do_not_take_one_too_many(api: Api, train: dict[str, Any]) -> None:
    for _ in range(2):
        api.submit(train)
    database = api.running.database
    with database.write() as first:
        assert claims.claim(first, "wrk_1", 30, 1) is not None
        with database.write() as second:
            assert claims.claim(second, "wrk_2", 30, 1) is None
    with database.write() as third:
        assert claims.claim(third, "wrk_2", 30, 1) is None


# ---- rates


def left(response: httpx2.Response) -> tuple[str, int]:
    policy = response.headers["ratelimit-policy"]
    assert re.fullmatch(r'"\w+";q=\d+;w=60', policy)
    found = re.fullmatch(r'"(\w+)";r=(\d+);t=(\d+)', response.headers["ratelimit"])
    assert found is not None and 0 <= int(found[3]) <= 60 and policy.startswith(f'"{found[1]}"')
    return found[1], int(found[2])


def test_each_answer_says_how_many_are_left_and_one_too_many_is_429(limited: Limited, train: dict[str, Any]) -> None:
    api = limited(rate_limit_per_minute=6)
    job = api.submit(train)["id"]
    api.hand.done(job)
    assert left(api.get("/v1/jobs")) == ("key", 4)
    assert left(api.get("/v1/nothing")) == ("key", 3), "errors, too"
    with api.http.stream("GET", f"/v1/jobs/{job}/events/stream") as stream:
        assert left(stream) == ("key", 2) and "event: done" in "".join(stream.iter_text())
    assert left(api.post("/v1/jobs", {})) == ("key", 1)
    assert left(api.get("/v1/jobs")) == ("key", 0)
    refused = api.get("/v1/jobs")
    said = problem(refused, "rate_limited")
    assert refused.status_code == 429 and 1 <= int(refused.headers["retry-after"]) <= 60 and left(refused) == ("key", 0)
    assert "more than 6 requests with this key" in said["detail"] and "POTSTILL_RATE_LIMIT_PER_MINUTE" in said["hint"]
    assert api.get("/livez").status_code == 200
    more = newcomer(api.running, [])
    assert left(more.get("/v1/jobs")) == ("key", 5), "each key has its own"
    more.http.close()


def test_an_address_that_fails_too_often_is_not_looked_up_any_more(limited: Limited) -> None:
    api = limited(failed_logins_per_minute=3)
    url, wrong = api.running.url, {"Authorization": f"Bearer {new_secret()}"}
    for remaining in (2, 1):
        failed = httpx2.get(f"{url}/v1/jobs", headers=wrong, trust_env=False)
        assert failed.status_code == 401 and left(failed) == ("failures", remaining)
    missing = httpx2.get(f"{url}/v1/jobs", trust_env=False)
    assert missing.status_code == 401 and left(missing) == ("failures", 1), "no key is no attempt"
    assert api.get("/v1/jobs").status_code == 200
    form = httpx2.post(f"{url}/login", data={"key": "psk_wrong"}, headers={"Origin": url, "Accept": "text/html"}, trust_env=False)
    assert form.status_code == 403
    for answer in (httpx2.get(f"{url}/v1/jobs", headers=wrong, trust_env=False), api.get("/v1/jobs")):
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
        assert "POTSTILL_FAILED_LOGINS_PER_MINUTE" in problem(answer, "rate_limited")["hint"]
    form = httpx2.post(f"{url}/login", data={"key": api.secret}, headers={"Origin": url, "Accept": "text/html"}, trust_env=False)
    assert form.status_code == 429 and "set-cookie" not in form.headers


def test_no_limit_no_header(limited: Limited) -> None:
    answer = limited(rate_limit_per_minute=0, failed_logins_per_minute=0).get("/v1/jobs")
    assert answer.status_code == 200 and "ratelimit" not in answer.headers


def test_a_window_ends_a_minute_after_it_began_and_counts_that_are_over_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now, threads = 1000.0, threading.active_count()
    monkeypatch.setattr(time, "time", lambda: now)
    counters = Counters()
    rates = Rates("", 1, 2, 2, counters)
    for key in ("a", "b", "c"):
        assert rates.request(key) == Standing("key", 2, 1, 60, exceeded=False)
    now += 20
    assert rates.request("a") == Standing("key", 2, 0, 40, exceeded=False)
    assert rates.request("a") == Standing("key", 2, 0, 40, exceeded=True)
    now += 40
    assert rates.request("a") == Standing("key", 2, 1, 60, exceeded=False)
    assert counters.reset() == 1 and threading.active_count() == threads
    assert rates.request("a") == Standing("key", 2, 1, 60, exceeded=False)


def test_processes_with_one_redis_count_together(redis_server: str) -> None:
    one, two = (Rates(redis_server, 1, 10, 0) for _ in range(2))
    key = new_id("key")
    first, second = one.request(key), two.request(key)
    assert first is not None and second is not None and (first.remaining, second.remaining) == (9, 8)


def test_without_its_redis_everybody_is_let_through_and_it_is_said_once(tmp_path: Path) -> None:
    with redis_at(tmp_path) as url:
        rates = Rates(url, 0.3, 5, 5)
        assert rates.request("key_1") is not None
    kept = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))  # the other tests' services are silent
    started = time.monotonic()
    try:
        with capture_logs() as logs:
            for _ in range(20):
                assert rates.request("key_1") is None and rates.failures("1.2.3.4") is None
    finally:
        structlog.configure(**kept)
    assert time.monotonic() - started < 5, "nobody waits for it"
    assert [entry["event"] for entry in logs] == ["requests are not counted: Redis does not answer"]
    assert Rates(f"redis://127.0.0.1:{free_port()}/0", 0.3, 5, 5).request("key_1") is None, "nor is one needed to start"


def test_what_was_refused_is_in_the_audit_alone(api: Api, train: dict[str, Any]) -> None:
    before = api.rows()
    with quotas(api, queued_jobs=0):
        api.refused(api.post("/v1/jobs", train, headers={"Idempotency-Key": "once"}), 403, "quota_exceeded")
    after = api.rows()
    assert {name for name in after if after[name] != before[name]} == {AuditEvent.__tablename__}
    api.submit(train, headers={"Idempotency-Key": "once"})
