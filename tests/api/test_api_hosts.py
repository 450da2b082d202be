"""Names the service answers to, sites that may write, keys in addresses, and what each answer forbids a browser."""

import logging
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from real_service import SETTINGS, Api, Running, problem, start, until
from servers import CLI, free_port
from structlog.testing import capture_logs

import migrations
from api.settings import Settings
from models.session import Database

REBOUND = [
    "evil.example",
    "evil.example:8400",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "192.168.1.5",
    "[::ffff:c0a8:105]",
    "a b",
    "",
]


def with_host(running: Running, host: str, path: str = "/livez", **headers: str) -> httpx2.Response:
    return httpx2.get(running.url + path, headers={"Host": host, **headers}, trust_env=False, verify=False)


@pytest.mark.parametrize("host", REBOUND)
@pytest.mark.parametrize("path", ["/v1/jobs", "/", "/login", "/livez", "/metrics", "/static/page.js"])
def test_a_name_that_was_made_to_lead_here_is_no_name_of_ours(api: Api, host: str, path: str) -> None:
    """DNS rebinding: the browser thinks that it talks to evil.example, key and cookie or not."""
    refused = with_host(api.running, host, path, Authorization=f"Bearer {api.secret}")
    if refused.status_code == 400 and not refused.headers["content-type"].startswith("application/problem"):
        assert host in ("", "a b"), "the server itself refuses what is no host at all"
        return
    assert refused.status_code == 421, refused.text
    assert "POTSTILL_ALLOWED_HOSTS" in problem(refused, "wrong_host", "Host")["hint"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:80", "LOCALHOST", "localhost.", "[::1]:8400", "127.1.2.3"])
def test_loopback_names_are_ours(api: Api, host: str) -> None:
    assert with_host(api.running, host).status_code == 200


def serving(tmp_path: Path, **settings: Any) -> Any:
    url = f"sqlite:///{tmp_path / 'potstill.db'}"
    migrations.upgrade(url)
    return start(Settings(home=tmp_path, database_url=url, broker_url="", artifacts_url="", **SETTINGS, **settings))


def test_names_that_were_allowed_and_addresses_where_all_are_listened_on(tmp_path: Path) -> None:
    running, stop = serving(tmp_path, host="0.0.0.0", allowed_hosts="https://Potstill.example.com:443/, api")
    running.url = running.url.replace("0.0.0.0", "127.0.0.1")
    try:
        for host in ("potstill.example.com", "POTSTILL.example.com:443", "api:8400", "192.168.1.5:8400", "[2001:db8::1]"):
            assert with_host(running, host).status_code == 200, host
        for host in ("evil.example", "x.potstill.example.com", "api.evil.example"):
            assert with_host(running, host).status_code == 421, host
    finally:
        stop()


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "file://", "https://", "x" * 5000]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_page_of_another_site_writes_nothing(api: Api, train: dict[str, Any], origin: str, method: str) -> None:
    job = api.submit(train)["id"]
    path = "/v1/jobs" if method in ("POST", "PUT") else f"/v1/jobs/{job}"
    refused = api.http.request(method, path, json=train, headers={"Origin": origin})
    assert problem(refused, "wrong_origin", "Origin")["status"] == 403
    assert [one["id"] for one in api.get("/v1/jobs").json()["data"]] == [job]
    assert api.get("/v1/jobs", headers={"Origin": origin}).status_code == 200, "reading shows a page nothing: there is no CORS"
    assert "access-control-allow-origin" not in api.get("/v1/jobs", headers={"Origin": origin}).headers


def test_the_services_own_pages_write(api: Api, train: dict[str, Any]) -> None:
    for scheme in ("http", "https"):  # TLS may end at a proxy
        origin = api.running.url.replace("http", scheme)
        assert api.post("/v1/jobs", train, headers={"Origin": origin}).status_code == 202
    shown = {"Host": "localhost", "Origin": "https://localhost:443"}
    assert api.post("/v1/jobs", train, headers=shown).status_code == 202


@pytest.mark.parametrize("name", ["key", "api_key", "token", "access_token", "q"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_key_in_an_address_is_refused_and_to_be_rotated(api: Api, name: str, method: str) -> None:
    for headers in ({}, {"Authorization": ""}):
        refused = api.http.request(method, "/v1/jobs", params={name: api.secret}, headers=headers)
        said = problem(refused, "key_in_address", name)
        assert refused.status_code == 400 and "Authorization" in said["hint"] and "rotate" in said["hint"]
        assert api.secret not in refused.text
    nameless = api.http.request(method, f"/v1/jobs?{api.secret}")
    assert problem(nameless, "key_in_address")["status"] == 400 and api.secret not in nameless.text
    if name != "q":
        assert api.get("/v1/jobs", params={name: "anything"}).json()["code"] == "key_in_address"


@pytest.mark.parametrize(
    "address",
    [
        "/v1/jobs/{}",
        "/v1/{}/jobs",
        "/v1/jobs?authorization=Bearer%20{}",
        "/v1/jobs?at=http://{}@elsewhere.example",
        "/livez?x={}",
        "/metrics?x={}",
        "/openapi.json?x={}",
        "/schemas/job.json?x={}",
        "/docs?x={}",
        "/static/{}",
        "/jobs/{}",
        "/jobs?q=+{}",
        "/nothing/{}",
    ],
)
def test_a_key_anywhere_in_an_address_is_refused_and_kept_nowhere(api: Api, address: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))  # the other tests' services are silent
    try:
        with capture_logs() as logged:
            refused = api.get(address.format(api.secret))
            until(lambda: any(line["event"] == "request" for line in logged))
    finally:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    assert (refused.status_code, refused.json()["code"]) == (400, "key_in_address")
    assert api.secret not in refused.text and api.secret not in str(logged)


def test_every_answer_forbids_framing_and_guessing(api: Api, train: dict[str, Any]) -> None:
    job = api.submit(train)["id"]
    api.hand.done(job)
    artifact = api.hand.artifacts(job)[0]
    answers = [
        api.get(path) for path in ("/v1/jobs", f"/v1/artifacts/{artifact}", f"/v1/jobs/{job}/events/stream", "/v1/nothing", "/livez")
    ]
    answers += [
        api.get("/openapi.json"),
        api.get("/login"),
        api.get("/docs"),
        api.get("/static/page.js"),
        api.http.delete(f"/v1/jobs/{job}"),
    ]
    answers.append(httpx2.get(f"{api.running.url}/v1/jobs", trust_env=False))
    for answer in answers:
        where = str(answer.request.url)
        assert answer.headers["x-content-type-options"] == "nosniff", where
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], where
        assert answer.headers["referrer-policy"] in ("no-referrer", "same-origin"), where
        assert answer.headers["cross-origin-resource-policy"] == "same-origin", where
    assert api.get("/v1/jobs").headers["cache-control"] == "no-store" == answers[-1].headers["cache-control"]
    assert answers[1].headers["cache-control"] == "private, no-cache", "bytes may be kept, by whom they were sent to"


# ---- who a proxy speaks for


@pytest.mark.parametrize(("trusted", "seen"), [("", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.7"), ("10.0.0.1", "127.0.0.1")])
def test_forwarded_addresses_are_believed_only_of_proxies_that_were_named(tmp_path: Path, trusted: str, seen: str) -> None:
    running, stop = serving(tmp_path, trusted_proxies=trusted)
    try:
        with running.database.write() as session:
            from models.project import add_key, default_project
            from models.secret import new_secret

            secret = new_secret()
            add_key(session, default_project(session), "test", secret)
        headers = {"Authorization": f"Bearer {secret}", "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        with httpx2.Client(base_url=running.url, headers=headers, trust_env=False) as http:
            assert http.post("/v1/keys", json={"name": "x"}).status_code == 201
            assert http.get("/v1/audit").json()["data"][0]["address"] == seen
            login = http.post("/login", data={"key": secret}, headers={"Sec-Fetch-Site": "same-origin"})
            assert ("; Secure" in login.headers["set-cookie"]) is (seen == "203.0.113.7")
    finally:
        stop()


# ---- listening where strangers are

GUESSABLE = "psk_" + "changeme" * 4


def potstill(home: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POTSTILL_")}
    command = ["timeout", "60", *CLI, *words]
    return subprocess.run(command, env={**kept, "POTSTILL_HOME": str(home), **environment}, capture_output=True, text=True, check=False)


def one_line(refused: "subprocess.CompletedProcess[str]") -> None:
    assert refused.returncode == 2, refused.stderr
    assert "can be guessed" in refused.stderr and "openssl rand -hex 24" in refused.stderr and "Traceback" not in refused.stderr
    assert GUESSABLE not in refused.stderr + refused.stdout


def test_an_api_with_a_guessable_key_listens_on_loopback_alone(tmp_path: Path) -> None:
    port = str(free_port())
    assert potstill(tmp_path, "migrate", POTSTILL_KEY=GUESSABLE).returncode == 0
    one_line(potstill(tmp_path, "api", "--host", "0.0.0.0", "--port", port))
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port))) != 0
    strong = "psk_9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c"
    assert potstill(tmp_path, "migrate", POTSTILL_KEY=strong).returncode == 0
    database = Database(f"sqlite:///{tmp_path / 'potstill.db'}")
    from models.exposure import refuse_guessable

    refuse_guessable(database, "0.0.0.0")
    database.dispose()


def test_up_with_a_guessable_key_listens_on_loopback_alone(tmp_path: Path) -> None:
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text(GUESSABLE)
    one_line(potstill(tmp_path, "up", "--host", "0.0.0.0", "--port", str(free_port())))


@pytest.mark.parametrize("key", ["abc", "psk_short", "psk_" + "A" * 49])
def test_what_is_no_key_is_refused_at_migrate(tmp_path: Path, key: str) -> None:
    refused = potstill(tmp_path, "migrate", POTSTILL_KEY=key)
    assert refused.returncode == 1 and "POTSTILL_KEY cannot be a key" in refused.stderr and key not in refused.stderr
