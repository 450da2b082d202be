"""The pages in a real Chromium: live, drawn, usable by keyboard and without scripts, nothing for axe to complain about."""

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from servers import Service, until

from potstill import Client

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)"), pytest.mark.timeout(900)]
# Headless, as root in a container, and silent: a browser's own housekeeping is no request of ours.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 240.0  # seconds for what takes two on an idle machine: who builds this has other tests running beside
TASK: dict[str, Any] = {"task": "image-classification", "data": {"train": "digits", "validation": 0.1, "max_train_samples": 300}}


@pytest.fixture(scope="module")
def jobs(client: Client) -> dict[str, str]:
    """A service with something of everything: jobs that succeeded, failed and wait, a parent, a sweep."""
    small = {"arch": "mlp", "hidden": [16]}
    teacher = client.jobs.submit({**TASK, "kind": "train", "name": "teacher", "student": small, "training": {"epochs": 5}}).wait(PATIENCE)
    distil = {
        **TASK,
        "kind": "distill",
        "teacher": {"job": teacher.id},
        "student": {"arch": "mlp", "hidden": [4]},
        "training": {"epochs": 5},
    }
    student = client.jobs.submit({**distil, "name": "student", "evaluation": {"control": True, "seeds": 2}}).wait(PATIENCE)
    rates = {"name": "sgd", "lr": 1e6}
    failed = client.jobs.submit({**TASK, "kind": "train", "name": "fails", "student": small, "training": {"epochs": 9, "optimizer": rates}})
    sweep = client.sweeps.submit({"name": "sizes", "job": distil, "space": {"student": [{"arch": "mlp", "hidden": [n]} for n in (2, 8)]}})
    client.sweeps.wait(sweep.id, PATIENCE)
    until(lambda: failed.refresh().status.final, PATIENCE, "the failure")
    return {"teacher": teacher.id, "student": student.id, "failed": failed.id, "sweep": sweep.id}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Tab:
    """A page of a browser that is logged in; what it asked for and complained about."""

    def __init__(self, chromium: Any, service: Service, client: Client, **options: Any) -> None:
        self.context, self.url = chromium.new_context(**options), service.url
        self.context.set_default_timeout(1000 * PATIENCE)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(client.keys.login_link())

    def go(self, path: str) -> Any:
        return self.page.goto(self.url + path)


@pytest.fixture
def tab(chromium: Any, service: Service, client: Client) -> Iterator[Tab]:
    made = Tab(chromium, service, client)
    yield made
    made.context.close()


def paths(jobs: dict[str, str]) -> list[str]:
    tabs = [f"/jobs/{jobs['student']}?tab={name}" for name in ("overview", "metrics", "logs", "disagreements", "events")]
    more = [f"/jobs/{jobs['teacher']}?tab={name}" for name in ("checkpoints", "files", "reproduce")]
    compare = f"/compare?job={jobs['teacher']}&job={jobs['student']}&all=1"
    lists = ["/", "/?status=failed", "/sweeps", f"/sweeps/{jobs['sweep']}", "/models", "/datasets", "/new", "/system", "/keys"]
    return [*tabs, *more, f"/jobs/{jobs['failed']}", compare, *lists]


def test_the_link_that_up_prints_lets_in(chromium: Any, service: Service) -> None:
    link = re.search(r"http://\S+/login\?once=[\w-]+", service.process.said())
    assert link is not None, service.process.said()
    context = chromium.new_context()
    page = context.new_page()
    page.goto(link[0])
    assert page.url == f"{service.url}/" and page.title() == "Jobs · Potstill"
    page.goto(link[0])
    assert "used already" in page.inner_text("main")
    context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_nothing_to_complain_about(chromium: Any, service: Service, client: Client, jobs: dict[str, str], scheme: str, width: int) -> None:
    """Every page: axe finds nothing, nothing is asked for elsewhere, the console is silent, nothing is wider than the window."""
    from axe_playwright_python.sync_playwright import Axe

    tab = Tab(chromium, service, client, color_scheme=scheme, viewport={"width": width, "height": 900})
    for path in paths(jobs):
        assert tab.go(path).status == 200, path
        found = [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in Axe().run(tab.page).response["violations"]]
        assert found == [], path
        assert tab.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
    assert tab.complaints == []
    assert {url.split("/")[2] for url in tab.asked if not url.startswith("data:")} == {service.url.split("/")[2]}
    tab.context.close()


def test_charts_are_drawn_and_stay_inside(tab: Tab, jobs: dict[str, str]) -> None:
    for path, most in ((f"/jobs/{jobs['student']}", 4), (f"/sweeps/{jobs['sweep']}", 1)):
        tab.go(path)
        tab.page.wait_for_selector(".chart .main-svg")
        for chart in tab.page.query_selector_all(".chart"):
            box, frame = chart.query_selector(".main-svg").bounding_box(), chart.bounding_box()
            assert box["height"] > 100 and box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
        assert 1 <= len(tab.page.query_selector_all(".chart")) <= most
        assert tab.page.query_selector("figure details table") or "sweep" in path


def test_a_running_job_is_followed_to_its_verdict(tab: Tab, client: Client) -> None:
    """Nobody reloads the page: the step rises, and at the end the report stands there."""
    from playwright.sync_api import expect

    spec = {**TASK, "kind": "train", "name": "watched", "student": {"arch": "mlp", "hidden": [64]}, "training": {"epochs": 1500}}
    job = client.jobs.submit(spec)
    tab.go(f"/jobs/{job.id}")
    said = tab.page.locator("[data-said]")
    expect(said).to_contain_text("step", timeout=1000 * PATIENCE)
    expect(said).not_to_have_text(said.inner_text(), timeout=1000 * PATIENCE)
    tab.page.wait_for_selector(".verdict", timeout=1000 * PATIENCE)
    assert tab.page.inner_text(".verdict").startswith("One run: accuracy")
    assert tab.complaints == []


def test_a_log_goes_on_while_it_is_read(tab: Tab, client: Client) -> None:
    """Each event of the run comes to the end of the open page, and the clock of the run goes on."""
    from playwright.sync_api import expect

    spec = {**TASK, "kind": "train", "name": "logged", "student": {"arch": "mlp", "hidden": [64]}, "training": {"epochs": 100_000}}
    job = client.jobs.submit(spec)
    until(lambda: (job.refresh().view.progress.step or 0) > 0, PATIENCE, "the first steps")
    tab.go(f"/jobs/{job.id}?tab=events")
    tab.page.evaluate("window.here = true")
    rows, clock = tab.page.locator("[data-log] tr"), tab.page.locator("[data-elapsed]")
    before, seconds = rows.count(), clock.inner_text()
    expect(rows.nth(before + 1)).to_be_visible(timeout=1000 * PATIENCE)
    assert [cell.inner_text() for cell in rows.last.locator("td").all()][2] == "metrics"
    expect(clock).not_to_have_text(seconds, timeout=1000 * PATIENCE)
    assert tab.page.evaluate("window.here"), "without its having been loaded again"
    job.cancel()
    tab.page.wait_for_selector(".under .badge.cancelled", timeout=1000 * PATIENCE)
    assert tab.complaints == []


def test_a_list_with_something_unfinished_renews_itself(tab: Tab, client: Client) -> None:
    spec = {**TASK, "kind": "train", "name": "listed", "student": {"arch": "mlp", "hidden": [8]}, "training": {"epochs": 300}}
    client.jobs.submit(spec)
    tab.go("/?name=listed")
    tab.page.wait_for_selector("td .badge.succeeded", timeout=1000 * PATIENCE)
    assert tab.complaints == []


def test_without_scripts_everything_can_be_done(chromium: Any, service: Service, client: Client, jobs: dict[str, str]) -> None:
    tab = Tab(chromium, service, client, java_script_enabled=False)
    page = tab.page
    tab.go("/new?example=Train+a+teacher")
    page.fill("textarea", page.input_value("textarea").replace("epochs: 30", "epochs: 100000"))
    page.click("text=Submit")
    assert page.inner_text("h1") == "digits-teacher"
    page.click("text=Cancel")
    job_id = page.url.rsplit("/", 1)[1]
    until(lambda: client.jobs.get(job_id).status.final, PATIENCE, "the end")
    page.reload()
    assert "cancelled" in page.inner_text(".under")
    tab.go(f"/jobs/{jobs['student']}")
    assert page.is_visible("figure summary") and not page.is_visible(".chart")
    page.click("figure summary")
    assert page.is_visible("figure table")
    tab.context.close()


def test_by_keyboard_alone(tab: Tab, jobs: dict[str, str]) -> None:
    page = tab.page
    tab.go("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "New job", "the first thing behind the navigation"
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('href')"))
    assert f"/jobs/{jobs['student']}" in reached
    page.focus(f"a[href='/jobs/{jobs['student']}']")
    page.keyboard.press("Enter")
    page.wait_for_selector(".verdict")
    assert page.inner_text("h1") == "student"


def test_the_theme_that_was_chosen_stays(tab: Tab) -> None:
    tab.go("/")
    before = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.page.click("[data-theme-toggle]")
    after = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert before != after
    tab.go("/system")
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == after


def test_a_form_writes_while_it_is_filled_in(tab: Tab, jobs: dict[str, str]) -> None:
    from playwright.sync_api import expect

    page = tab.page
    tab.go("/new")
    page.click("text=Fill in a form")
    page.select_option("[name='kind']", "distill")
    page.wait_for_selector("[name='teacher.job']")
    page.select_option("[name='task']", "image-classification")
    page.fill("[name='data.train']", "digits")
    page.fill("[name='teacher.job']", jobs["teacher"])
    page.select_option("[name='student.arch']", "mlp")
    page.wait_for_selector("[name='student.hidden']")
    page.fill("[name='student.hidden']", "[4]")
    expect(page.locator("#spec")).to_have_value(re.compile(r"hidden: \[4\]"), timeout=1000 * PATIENCE)
    page.wait_for_selector("#verdict.good")
    page.click("text=The same by curl, Python, CLI")
    expect(page.locator("#way-Python")).to_contain_text(f"'teacher': {{'job': '{jobs['teacher']}'}}", timeout=1000 * PATIENCE)
    assert tab.complaints == []


def test_a_spec_is_checked_while_it_is_written(tab: Tab) -> None:
    tab.go("/new")
    tab.page.wait_for_selector("#verdict.good")
    tab.page.fill("textarea", "kind: train\ntask: image-clasification\n")
    tab.page.wait_for_selector("#verdict.bad")
    assert "image-classification" in tab.page.inner_text("#verdict")
    assert tab.complaints == []
