"""The pages as any browser gets them: who is let in, what other sites cannot do, that nothing written by people becomes markup."""

import ast
import html
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import yaml
from real_service import Api

from models.ids import new_id
from models.service import Worker

EVIL = "<script>alert('x')</script>"
HERE = {"Sec-Fetch-Site": "none"}  # as a browser says of an address that somebody opened
ALL = ("/", "/sweeps", "/models", "/datasets", "/new", "/system", "/keys", "/compare")


@pytest.fixture
def browser(api: Api) -> Iterator[httpx2.Client]:
    """Logged in by a link, as somebody at the terminal is."""
    with anonymous(api) as http:
        link = api.post("/v1/login-links").json()
        assert link["object"] == "login_link" and link["expires_in_seconds"] == 600
        arrived = http.get(link["path"], headers=HERE)
        assert (arrived.status_code, arrived.headers["location"]) == (303, "/")
        cookie = arrived.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "psk_" not in cookie
        http.headers["Origin"] = api.running.url
        yield http


def anonymous(api: Api) -> httpx2.Client:
    return httpx2.Client(base_url=api.running.url, headers={"Accept": "text/html"}, timeout=20, trust_env=False)


@pytest.mark.parametrize("path", ALL)
def test_every_page_wants_a_login_and_then_answers(api: Api, browser: httpx2.Client, path: str) -> None:
    with anonymous(api) as stranger:
        sent_away = stranger.get(path)
        assert (sent_away.status_code, sent_away.headers["location"]) == (303, "/login")
    page = browser.get(path)
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "script-src" not in policy
    assert page.headers["x-content-type-options"] == "nosniff" and page.headers["cache-control"] == "no-store"
    outside = re.findall(r'(?:src|href|action)="(?!/|#)([^"]+)"', page.text)
    assert outside == [], "a page asks for nothing from elsewhere"
    assert not re.search(r"<script(?![^>]*(src=|application/json))", page.text) and " onclick" not in page.text


def test_a_link_works_once(api: Api) -> None:
    path = api.post("/v1/login-links").json()["path"]
    with anonymous(api) as http:
        assert http.get(path, headers=HERE).status_code == 303
        http.cookies.clear()
        again = http.get(path, headers=HERE)
        assert again.status_code == 403 and "used already" in again.text and "set-cookie" not in again.headers
        assert http.get("/login?once=" + "x" * 40, headers=HERE).status_code == 403
        assert http.get("/login?once=../../etc", headers=HERE).status_code == 403


def test_a_link_that_nobody_opened_here_lets_nobody_in(api: Api) -> None:
    """Previews of messages fetch links, and another site could log somebody in as somebody else: both get a button."""
    path = api.post("/v1/login-links").json()["path"]
    with anonymous(api) as http:
        for look in (
            lambda: http.head(path, headers=HERE),
            lambda: http.get(path),
            lambda: http.get(path, headers={"Sec-Fetch-Site": "cross-site"}),
        ):
            seen = look()
            assert seen.status_code == 200 and "set-cookie" not in seen.headers
        once = re.search(r'name="once" value="([^"]+)"', seen.text)
        assert once is not None
        assert http.post("/login", data={"once": once[1]}, headers={"Origin": "https://evil.example"}).status_code == 403
        pressed = http.post("/login", data={"once": once[1]}, headers={"Origin": api.running.url})
        assert pressed.status_code == 303 and "set-cookie" in pressed.headers


def test_a_key_lets_in_by_the_form_and_never_by_the_address(api: Api) -> None:
    with anonymous(api) as http:
        for name in ("key", "once", "q"):
            refused = http.get("/login", params={name: api.secret})
            assert refused.status_code == 400 and api.secret not in refused.text and "histories" in refused.text
        http.headers["Origin"] = api.running.url
        assert http.post("/login", data={"key": "psk_wrong"}).status_code == 403
        assert http.post("/login", data={}).status_code == 403
        assert http.post("/login", data={"key": api.secret}).status_code == 303
        assert http.get("/").status_code == 200
        assert http.post("/logout").status_code == 303
        assert http.get("/").headers["location"] == "/login"


def test_with_the_key_its_sessions_end(api: Api, browser: httpx2.Client) -> None:
    assert browser.get("/").status_code == 200
    assert browser.post(f"/keys/{api.key_id}/revoke").status_code == 303
    assert browser.get("/").headers["location"] == "/login"
    assert browser.get("/v1/jobs").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": None, "Sec-Fetch-Site": "cross-site"},
        {"Origin": None, "Sec-Fetch-Site": "same-site"},
        {"Origin": None},
    ],
)
def test_other_sites_cannot_act(api: Api, browser: httpx2.Client, train: dict[str, Any], headers: dict[str, str | None]) -> None:
    """The cookie is there, as if a browser had sent it along."""
    job_id = api.submit(train)["id"]
    del browser.headers["Origin"]
    sent = {name: value for name, value in headers.items() if value is not None}
    for path in (f"/jobs/{job_id}/cancel", f"/jobs/{job_id}/delete", "/keys", f"/keys/{api.key_id}/revoke", "/new", "/logout"):
        assert browser.post(path, data={"name": "x", "spec": "kind: train"}, headers=sent).status_code == 403, path
    assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"
    assert len(api.get("/v1/keys").json()["data"]) == 1
    assert browser.get("/").status_code == 200


def test_the_cookie_reads_the_api_and_changes_nothing_there(api: Api, browser: httpx2.Client, train: dict[str, Any]) -> None:
    job_id = api.submit(train)["id"]
    assert browser.get(f"/v1/jobs/{job_id}").json()["id"] == job_id
    assert browser.post(f"/v1/jobs/{job_id}/cancel").status_code == 401
    assert browser.delete(f"/v1/jobs/{job_id}").status_code == 401
    assert browser.get("/v1/jobs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 401
    cookie = browser.cookies["potstill_session"]
    with anonymous(api) as beside:  # cookies belong to all ports of a host: other programs' are among them
        sent = {"Cookie": f'prefs={{"a":1}}; odd; potstill_session={cookie}'}
        assert beside.get("/v1/jobs", headers=sent).status_code == 200 == beside.get("/", headers=sent).status_code


def test_nothing_of_another_project_is_seen(api: Api, other: Api, browser: httpx2.Client, train: dict[str, Any]) -> None:
    theirs = other.submit({**train, "name": "somebody else's"})["id"]
    absent = browser.get(f"/jobs/job_{'0' * 32}")
    found = browser.get(f"/jobs/{theirs}")
    assert found.status_code == absent.status_code == 404
    assert found.text.replace(theirs, "") == absent.text.replace(f"job_{'0' * 32}", "")
    assert browser.post(f"/jobs/{theirs}/cancel").status_code == 404
    assert "somebody" not in browser.get("/").text + browser.get(f"/compare?job={theirs}&job={theirs}").text


def test_what_people_write_stays_text(api: Api, browser: httpx2.Client, train: dict[str, Any]) -> None:
    job_id = api.submit({**train, "name": f"evil {EVIL}", "metadata": {"a": f"{EVIL} \u202e"}})["id"]
    claim = api.hand.claim(job_id)
    api.hand.say(claim, f"said {EVIL}")
    api.hand.points(claim, f"validation/{EVIL}", [0.1, 0.2])
    pages = [
        browser.get(path).text
        for path in ("/", f"/jobs/{job_id}", f"/jobs/{job_id}?tab=metrics", f"/jobs/{job_id}?tab=logs", f"/?name={EVIL}")
    ]
    pages.append(browser.post("/new", data={"spec": f"kind: '</textarea>{EVIL}'"}).text)
    for page in pages:
        assert EVIL not in page and "</textarea><script" not in page
    assert "&lt;script&gt;" in pages[0] and "\\u003cscript" in pages[2]


def test_buttons_do_what_they_say(api: Api, browser: httpx2.Client, train: dict[str, Any]) -> None:
    job_id = api.submit(train)["id"]
    for action, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        answer = browser.post(f"/jobs/{job_id}/{action}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{job_id}")
        assert api.get(f"/v1/jobs/{job_id}").json()["status"] == status
    refused = browser.post(f"/jobs/{job_id}/pause")
    assert refused.status_code == 409 and "cannot be paused" in refused.text
    again = browser.post(f"/jobs/{job_id}/retry").headers["location"].removeprefix("/jobs/")
    assert api.get(f"/v1/jobs/{again}").json()["retry_of"] == job_id
    assert browser.post(f"/jobs/{job_id}/delete").status_code == 409, "its retry goes on from its checkpoint"
    assert browser.post(f"/jobs/{again}/cancel").status_code == 303
    assert browser.post(f"/jobs/{job_id}/delete").headers["location"] == "/"
    assert browser.get(f"/jobs/{job_id}").status_code == 404
    assert browser.get(f"/jobs/{again}/cancel").status_code == 405, "a link does nothing"


def test_a_job_written_on_the_page(api: Api, browser: httpx2.Client) -> None:
    checked = browser.post("/new/check", data={"spec": "kind: train\ntask: image-classification\ndata: {train: digts}"}).json()
    assert checked["valid"] is False and any("student" in error for error in checked["errors"])
    wrong = browser.post("/new", data={"spec": "kind: [train"})
    assert wrong.status_code == 400 and "not valid YAML" in wrong.text and "kind: [train" in wrong.text
    shown = browser.get("/new").text
    spec = re.search(r"<textarea[^>]*>(.*?)</textarea>", shown, re.DOTALL)
    assert spec is not None
    checked = browser.post("/new/check", data={"spec": spec[1]}).json()
    assert checked["valid"] is True
    assert checked["forecast"][0] == "630 steps" and checked["forecast"][1].startswith("not known: no live worker has measured")
    made = browser.post("/new", data={"spec": spec[1]})
    assert made.status_code == 303
    assert api.get("/v1" + made.headers["location"]).json()["name"] == "digits-teacher"


def written(page: str) -> Any:
    spec = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert spec is not None
    return yaml.safe_load(html.unescape(spec[1]))


def test_a_form_writes_the_spec(api: Api, browser: httpx2.Client) -> None:
    """Its fields, their defaults and choices are the schema's; a choice brings its own parameters; what nobody knows is left out."""
    filled = {
        "kind": "distill", "task": "image-classification", "data.train": "digits", "student.arch": "mlp", "student.hidden": "[32]",
        "recipe.name": "hinton", "recipe.temperature": "2", "training.optimizer.lr": " 5e-3 ", "evaluation.control": "true", "name": "a: b",
        "data.validation": "", "nothing.of.this": "1", "metadata": "x",
    }  # fmt: skip
    page = browser.get("/new", params=filled).text
    assert written(page) == {
        "kind": "distill", "name": "a: b", "task": "image-classification", "data": {"train": "digits"},
        "student": {"arch": "mlp", "hidden": [32]}, "recipe": {"name": "hinton", "temperature": 2}, "training": {"optimizer": {"lr": 5e-3}},
        "evaluation": {"control": True},
    }  # fmt: skip
    fields = dict(re.findall(r'<input name="([\w.]+)" value="[^"]*" placeholder="([^"]*)"', page))
    assert fields["training.optimizer.lr"] == "0.001" and fields["recipe.alpha"] == "0.7" and "teacher.job" in fields
    assert all(f"<option>{name}</option>" in page for name in ("evaluate", "seq2seq", "resnet", "minilm"))
    train = browser.get("/new", params={"kind": "train"}).text
    assert "teacher.job" not in train and "recipe.name" not in train and "student.hidden" not in train


def test_another_jobs_spec_as_a_new_one(api: Api, other: Api, browser: httpx2.Client, train: dict[str, Any]) -> None:
    job = api.submit(train)
    assert written(browser.get(f"/new?job={job['id']}").text) == job["spec"]
    assert browser.get(f"/new?job={other.submit(train)['id']}").status_code == 404


def test_the_same_for_a_terminal_and_a_program(api: Api, browser: httpx2.Client, train: dict[str, Any]) -> None:
    ways = browser.post("/new/check", data={"spec": yaml.safe_dump(train)}).json()["ways"]
    sent = re.fullmatch(r".*\.submit\((.*)\)\njob\.wait\(\)", ways["Python"], re.DOTALL)
    assert sent is not None and ast.literal_eval(sent[1]) == train
    for way in ("curl", "CLI"):
        assert yaml.safe_load(ways[way].partition("<<'SPEC'\n")[2].removesuffix("SPEC")) == train
    assert f"{api.running.url}/v1/jobs" in ways["curl"] and ways["CLI"].startswith("potstill submit - --watch")
    page = html.unescape(browser.get("/new").text)
    assert "potstill submit - --watch <<'SPEC'\nkind: train" in page


def test_jobs_beside_it_are_called_by_their_names(api: Api, browser: httpx2.Client, train: dict[str, Any]) -> None:
    teacher = api.submit({**train, "name": "a good teacher"})
    student = api.submit({**train, "kind": "distill", "teacher": {"job": teacher["id"]}, "recipe": {"name": "hinton"}})
    page = browser.get(f"/jobs/{student['id']}").text
    assert f'waits for <a href="/jobs/{teacher["id"]}">a good teacher</a>' in page and "It starts once" in page


def test_how_full_it_is(api: Api, browser: httpx2.Client) -> None:
    assert re.search(r"<strong>0 B</strong>\s*<span>kept for this project", browser.get("/system").text)
    rows = "text,label\n" + "some words,a\nother words,b\n" * 40
    assert api.post("/v1/datasets", files={"file": ("rows.csv", rows.encode())}).status_code == 201
    page = browser.get("/system").text
    assert f"<strong>{len(rows) / 1000:.1f} kB</strong>" in page and re.search(r"<strong>[\d.]+ [GT]B</strong>\s*<span>free", page)


def test_keys_are_made_shown_once_and_revoked(api: Api, browser: httpx2.Client) -> None:
    made = browser.post("/keys", data={"name": "laptop"})
    secret = re.search(r"psk_[0-9A-Za-z]{49}", made.text)
    assert secret is not None and "laptop" in made.text
    assert secret[0] not in browser.get("/keys").text
    with httpx2.Client(base_url=api.running.url, headers={"Authorization": f"Bearer {secret[0]}"}, trust_env=False) as theirs:
        assert theirs.get("/v1/jobs").status_code == 200
        key_id = next(key["id"] for key in api.get("/v1/keys").json()["data"] if key["name"] == "laptop")
        assert browser.post(f"/keys/{key_id}/revoke").status_code == 303
        assert theirs.get("/v1/jobs").status_code == 401
    for name in ("", "x" * 101, "a\nb"):
        assert browser.post("/keys", data={"name": name}).status_code == 422


def test_errors_are_pages_for_browsers_and_problems_for_the_rest(api: Api, browser: httpx2.Client) -> None:
    page = browser.get("/nothing")
    assert page.status_code == 404 and page.headers["content-type"].startswith("text/html")
    problem = browser.get("/nothing", headers={"Accept": "application/json"})
    assert problem.status_code == 404 and problem.headers["content-type"] == "application/problem+json"
    assert browser.get("/?after=nobody").status_code == 422
    assert browser.get("/?name=%00").status_code == 422
    for method, path in (("PUT", "/v1/jobs"), ("POST", "/livez"), ("DELETE", "/docs")):
        refused = api.http.request(method, path, headers={"Accept": "text/html"})
        assert refused.status_code == 405 and refused.headers["allow"], (method, path)
    assert "Did you mean /v1/jobs?" in api.http.get("/v1/jobz", headers={"Accept": "text/html"}).text
    large = browser.post("/new", data={"spec": "#" * 70_000 + "\nkind: train"})
    assert large.status_code == 413
    assert browser.get("/jobs/x?tab=nothing").status_code == 404
    for path in ("/static/../__init__.py", "/static/..%2f__init__.py", "/static/%2e%2e/visitor.py"):
        assert browser.get(path).status_code == 404
    plotly = browser.get("/static/plotly.min.js")
    assert plotly.status_code == 200 and len(plotly.content) > 1_000_000 and "immutable" in plotly.headers["cache-control"]


def test_a_long_list_turns_its_pages(api: Api, browser: httpx2.Client, train: dict[str, Any]) -> None:
    for i in range(60):
        api.submit({**train, "name": f"job number {i:02}"})
    first = browser.get("/").text
    assert "job number 59" in first and "job number 10" in first and "job number 09" not in first
    older = re.search(r'href="(/\?after=[^"]+)"', first)
    assert older is not None
    last = browser.get(older[1]).text
    assert "job number 09" in last and "Newest" in last and "Older" not in last
    filtered = re.search(r'href="(/\?after=[^"]+)"', browser.get("/?name=job&status=queued").text)
    assert filtered is not None and filtered[1].endswith("&amp;name=job&amp;status=queued")
    one = browser.get("/?name=number+33").text
    assert "job number 33" in one and "job number 34" not in one
    assert "No job fits" in browser.get("/?status=failed").text


def test_the_reference_is_open_and_asks_for_nothing_elsewhere(api: Api) -> None:
    with anonymous(api) as http:
        page = http.get("/docs")
    assert page.status_code == 200 and "POST /v1/sweeps" in page.text and "http" not in re.sub(r"<code>.*?</code>", "", page.text)


def test_the_page_of_the_system_names_what_jobs_can_ask_a_worker_for(api: Api, browser: httpx2.Client) -> None:
    with api.running.database.write() as session:
        session.add(Worker(id=new_id("wrk"), host="far", version="1", devices=["cuda:0"], slots=1, labels=["a100", "<eu>"]))
    assert "<td>cuda:0, a100, &lt;eu&gt;</td>" in browser.get("/system").text
