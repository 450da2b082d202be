"""What operators see: /metrics of a real service, and the dashboard and rules that are made for it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from real_service import Api

from models.job import Job

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "potstill.json").read_text())
RULES: list[dict[str, Any]] = [rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]] + [rule["expr"] for rule in RULES]
SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
USED = re.compile(r"\b(potstill_\w+)(?:\{([^}]*)\})?")


def scraped(api: Api) -> dict[tuple[str, str], float]:
    return {(name, labels): float(value) for name, labels, value in SERIES.findall(api.get("/metrics").text)}


@pytest.fixture
def busy(api: Api, train: dict[str, Any]) -> Api:
    """A service in which everything there is to count has happened."""
    api.hand.report_in("wrk_test")
    api.hand.done(api.submit(train)["id"])
    api.hand.fail(api.submit(train)["id"])
    claim = api.hand.claim(api.submit(train)["id"])
    with api.running.database.write() as session:
        session.get_one(Job, claim.job_id).progress = {"steps_per_second": 20.0}
    api.submit(train)
    return api


def test_rows_are_counted_as_they_are(busy: Api) -> None:
    found = scraped(busy)
    for name in ("potstill_jobs", "potstill_jobs_total"):
        assert found[name, 'status="succeeded"'] == found[name, 'status="queued"'] == 1
    assert found["potstill_queue_depth", ""] == 1
    assert 0 <= found["potstill_queue_oldest_seconds", ""] < 60
    assert found["potstill_worker_slots", 'state="busy"'] == found["potstill_worker_slots", 'state="free"'] == 1
    assert found["potstill_workers", 'state="hearing"'] == 1 and found["potstill_workers", 'state="deaf"'] == 0
    assert found["potstill_step_seconds_count", ""] >= 1
    with busy.running.database.write() as session:
        session.execute(sa.update(Job).where(Job.status == "running").values(want_devices=2))
    found = scraped(busy)
    assert (found["potstill_worker_slots", 'state="busy"'], found["potstill_worker_slots", 'state="free"']) == (2, 0)


def test_each_ending_is_counted_once_however_often_somebody_looks(busy: Api, train: dict[str, Any]) -> None:
    name = "potstill_job_duration_seconds_count"
    before = scraped(busy)[name, 'kind="train",status="succeeded"']
    assert scraped(busy)[name, 'kind="train",status="succeeded"'] == before
    busy.hand.done(busy.submit(train)["id"])
    for _ in range(3):
        assert scraped(busy)[name, 'kind="train",status="succeeded"'] == before + 1


def test_no_label_names_a_job(busy: Api) -> None:
    text = busy.get("/metrics").text
    ids = [job["id"] for job in busy.get("/v1/jobs").json()["data"]]
    assert len(ids) == 4 and not any(id_ in text for id_ in ids)
    assert len(text.splitlines()) < 5000, "one series for each route, method, status and bucket, and no more"


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_dashboard_and_rules_ask_for_is_there(busy: Api, expression: str) -> None:
    """Every metric by its name, and every label that is compared, with values that can come."""
    found = scraped(busy)
    for name, labels in USED.findall(expression):
        series = [labels_ for known, labels_ in found if known == name]
        assert series, f"{name} is not in /metrics"
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', labels):
            if label == "job":  # Prometheus' own
                continue
            values = {match for one in series for match in re.findall(rf'{label}="([^"]*)"', one)}
            assert values, f"{name} has no label {label}"
            if operator == "=":
                assert value in values, f"{name} never has {label}={value}"
    for label in {word for group in re.findall(r"by \(([^)]*)\)", expression) for word in group.split(", ")} - {"job", "instance", "le"}:
        assert any(f'{label}="' in labels for (name, labels) in found if name in expression), f"nothing in it has the label {label}"


def test_the_dashboard_has_what_grafana_wants() -> None:
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time", "refresh"} <= DASHBOARD.keys()
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert names == {"datasource", "job"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["title"] and panel["type"] in ("stat", "timeseries") and panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        assert set(re.findall(r"\$(\w+)", " ".join(target["expr"] for target in panel["targets"]))) <= names
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, f"{panel['title']} lies over another panel"
        taken |= cells


def test_every_alert_has_a_line_on_what_to_do() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert scrape["rule_files"] == ["alerts.yml"] and scrape["scrape_configs"][0]["job_name"] == "potstill"
    page = (DEPLOY.parent / "docs" / "how-to" / "watch-a-deployment.md").read_text()
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"]
        assert f"| `{rule['alert']}` |" in page
