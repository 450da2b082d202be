"""What a job leaves behind: metrics, checkpoints, artifacts with ranges, the student as a tar."""

import base64
import hashlib
import io
import math
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from real_service import Api

BYTES = bytes(range(256)) * 1200  # 300 KiB


@pytest.fixture
def job(api: Api, train: dict[str, Any]) -> str:
    return str(api.submit(train)["id"])


@pytest.fixture
def weights(api: Api, job: str) -> dict[str, Any]:
    """The artifact of a finished job's weights."""
    api.hand.done(job, BYTES)
    listed = api.get(f"/v1/jobs/{job}/artifacts").json()["data"]
    return next(one for one in listed if one["path"] == "student/model.safetensors")


def test_metrics_are_series(api: Api, job: str) -> None:
    claim = api.hand.claim(job)
    api.hand.points(claim, "train/loss", [3.0, 2.0, 1.0])
    api.hand.points(claim, "validation/accuracy", [0.5])
    api.hand.points(claim, "validation/accuracy", [0.7], arm="control", seed=7)

    def read(query: str = "") -> list[dict[str, Any]]:
        answer = api.get(f"/v1/jobs/{job}/metrics{query}")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])

    assert [(one["name"], one["arm"], one["seed"], one["total_points"]) for one in read()] == [
        ("train/loss", "model", 42, 3),
        ("validation/accuracy", "control", 7, 1),
        ("validation/accuracy", "model", 42, 1),
    ]
    points = read("?name=train/loss")[0]["points"]
    assert [point[:2] for point in points] == [[1, 3.0], [2, 2.0], [3, 1.0]] and points[0][2].endswith("Z")
    assert len(read("?arm=control")) == 1 and len(read("?seed=42")) == 2 and read("?name=train") == []
    assert [point[0] for point in read("?name=train/loss&after_step=1")[0]["points"]] == [2, 3]
    for query, param in [
        ("?max_points=3", "max_points"),
        ("?seed=x", "seed"),
        ("?seed=99999999999999999999", "seed"),
        ("?name=%00", "name"),
    ]:
        api.refused(api.get(f"/v1/jobs/{job}/metrics{query}"), 422, "invalid_parameter", param)


@pytest.mark.parametrize("most", [4, 5, 10, 99, 1000])
def test_thinning_keeps_every_peak_and_dip(api: Api, job: str, most: int) -> None:
    values = [math.sin(i / 17) for i in range(2000)]
    values[777], values[1333] = 50.0, -50.0
    api.hand.points(api.hand.claim(job), "train/loss", values)
    series = api.get(f"/v1/jobs/{job}/metrics?max_points={most}").json()["data"][0]
    kept = [(step, value) for step, value, _ in series["points"]]
    assert series["total_points"] == 2000 and len(kept) <= most
    assert kept == sorted(kept) and set(kept) <= {(i + 1, value) for i, value in enumerate(values)}
    assert kept[0][0] == 1 and kept[-1][0] == 2000
    assert max(value for _, value in kept) == 50.0 and min(value for _, value in kept) == -50.0
    whole = api.get(f"/v1/jobs/{job}/metrics").json()["data"][0]
    assert len(whole["points"]) == 2000 and api.get(f"/v1/jobs/{job}/metrics?max_points=5000").json()["data"][0] == whole


def test_checkpoints_with_their_files(api: Api, job: str) -> None:
    claim = api.hand.claim(job)
    first = api.hand.checkpoint(claim, 10)
    for step in (20, 100):
        api.hand.checkpoint(claim, step, dropped=(10,) if step == 100 else ())
    page = api.get(f"/v1/jobs/{job}/checkpoints").json()
    assert [one["step"] for one in page["data"]] == [100, 20] and page["has_more"] is False
    newest = page["data"][0]
    assert set(newest) == {"step", "arm", "seed", "metrics", "size_bytes", "artifacts", "created_at"}
    assert newest["metrics"] == {"validation/accuracy": 0.5}
    paths = {one["id"]: one for one in api.get(f"/v1/jobs/{job}/artifacts").json()["data"]}
    assert {paths[id_]["path"] for id_ in newest["artifacts"]} == {"checkpoints/100/model.safetensors", "checkpoints/100/state.json"}
    assert sum(paths[id_]["size_bytes"] for id_ in newest["artifacts"]) == newest["size_bytes"] and paths.keys() != set(first)
    one = api.get(f"/v1/jobs/{job}/checkpoints?limit=1").json()
    assert one["has_more"] is True
    two = api.get(f"/v1/jobs/{job}/checkpoints?limit=1&after={one['last_id']}").json()
    assert [c["step"] for c in two["data"]] == [20] and two["has_more"] is False
    assert api.get(f"/v1/jobs/{job}/checkpoints?limit=1&before={two['first_id']}").json()["data"] == one["data"]
    api.refused(api.get(f"/v1/jobs/{job}/checkpoints?after=7"), 422, "invalid_parameter", "after")


def test_an_artifact_whole(api: Api, weights: dict[str, Any]) -> None:
    assert set(weights) == {"id", "path", "kind", "size_bytes", "sha256", "created_at"}
    path = f"/v1/artifacts/{weights['id']}"
    answer = api.get(path)
    assert answer.status_code == 200 and answer.content == BYTES
    digest = hashlib.sha256(BYTES)
    assert weights["sha256"] == digest.hexdigest() and weights["size_bytes"] == len(BYTES)
    head = api.http.head(path)
    assert head.status_code == 200 and head.content == b""
    for headers in (answer.headers, head.headers):
        assert headers["etag"] == f'"{digest.hexdigest()}"'
        assert headers["content-length"] == str(len(BYTES)) and headers["accept-ranges"] == "bytes"
        assert headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        assert headers["content-disposition"] == 'attachment; filename="model.safetensors"'
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, len(BYTES)),
        ("bytes=-100", len(BYTES) - 100, len(BYTES)),
        ("bytes=300000-999999999", 300000, len(BYTES)),
        ("bytes=-999999999", 0, len(BYTES)),
        ("BYTES=5-9", 5, 10),
    ],
)
def test_ranges(api: Api, weights: dict[str, Any], asked: str, start: int, stop: int) -> None:
    path = f"/v1/artifacts/{weights['id']}"
    for answer in (api.get(path, headers={"Range": asked}), api.http.head(path, headers={"Range": asked})):
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(BYTES)}"
        assert answer.headers["content-length"] == str(stop - start)
        assert answer.content == (BYTES[start:stop] if answer.request.method == "GET" else b"")


@pytest.mark.parametrize("asked", [f"bytes={len(BYTES)}-", "bytes=999999999-", "bytes=-0", "bytes=9999999999999999999-"])
def test_ranges_beyond_the_end(api: Api, weights: dict[str, Any], asked: str) -> None:
    answer = api.get(f"/v1/artifacts/{weights['id']}", headers={"Range": asked})
    api.refused(answer, 416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(BYTES)}"


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=-", "bytes=9-5", "bytes=a-b", "rows=1-2", "bytes=0-1,5-6", "nonsense", "bytes=" + "9" * 50 + "-"]
)
def test_ranges_that_are_none_give_all(api: Api, weights: dict[str, Any], asked: str) -> None:
    answer = api.get(f"/v1/artifacts/{weights['id']}", headers={"Range": asked})
    assert answer.status_code == 200 and answer.content == BYTES


def test_conditions(api: Api, weights: dict[str, Any]) -> None:
    path, etag = f"/v1/artifacts/{weights['id']}", f'"{weights["sha256"]}"'
    for tags in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = api.get(path, headers={"If-None-Match": tags})
        assert answer.status_code == 304 and answer.content == b"" and answer.headers["etag"] == etag
        assert "content-length" not in answer.headers or answer.headers["content-length"] == str(len(BYTES))
    assert api.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    part = {"Range": "bytes=10-19"}
    assert api.get(path, headers={**part, "If-Range": etag}).content == BYTES[10:20]
    for other in ('"other"', f"W/{etag}", "Sat, 21 Nov 2026 00:00:00 GMT"):
        answer = api.get(path, headers={**part, "If-Range": other})
        assert answer.status_code == 200 and answer.content == BYTES


def test_a_download_goes_on_where_it_broke(api: Api, weights: dict[str, Any]) -> None:
    path = f"/v1/artifacts/{weights['id']}"
    with api.http.stream("GET", path) as answer:
        begun = next(answer.iter_bytes(1000))
    rest = api.get(path, headers={"Range": f"bytes={len(begun)}-", "If-Range": answer.headers["etag"]})
    assert begun + rest.content == BYTES


def test_bytes_that_are_gone_are_said_so(api: Api, weights: dict[str, Any]) -> None:
    stored = next(path for path in api.running.files() if path.name == weights["sha256"])
    stored.write_bytes(BYTES[:-1])
    api.refused(api.get(f"/v1/artifacts/{weights['id']}"), 500, "internal_error")
    stored.unlink()
    api.refused(api.get(f"/v1/artifacts/{weights['id']}"), 500, "internal_error")


def test_the_student_is_a_tar(api: Api, job: str, tmp_path: Path) -> None:
    body = api.refused(api.get(f"/v1/jobs/{job}/student"), 409, "student_not_ready")
    assert "queued" in body["detail"] and body["hint"] == f"potstill watch {job}"
    api.hand.done(job, BYTES)
    answer = api.get(f"/v1/jobs/{job}/student")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/x-tar"
    assert answer.headers["content-length"] == str(len(answer.content))
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        assert tar.getnames() == ["student/README.md", "student/config.json", "student/model.safetensors"]
        weights = tar.extractfile("student/model.safetensors")
        assert weights is not None and weights.read() == BYTES
    subprocess.run(["tar", "x"], input=answer.content, cwd=tmp_path, check=True)
    assert (tmp_path / "student" / "model.safetensors").read_bytes() == BYTES
    again = api.get(f"/v1/jobs/{job}/student")
    assert again.content == answer.content
    etag = answer.headers["etag"]
    assert api.get(f"/v1/jobs/{job}/student", headers={"If-None-Match": etag}).status_code == 304
    head = api.http.head(f"/v1/jobs/{job}/student")
    assert head.headers["content-length"] == str(len(answer.content)) and head.content == b""


def test_there_is_no_student_of_a_failure_or_a_measurement(api: Api, job: str, train: dict[str, Any]) -> None:
    failed = api.submit(train)["id"]
    api.hand.fail(failed)
    assert api.refused(api.get(f"/v1/jobs/{failed}/student"), 409, "student_not_ready")["hint"] == f"potstill show {failed}"
    api.hand.done(job)
    evaluate = api.submit({"kind": "evaluate", "task": train["task"], "data": train["data"], "student": {"job": job}})["id"]
    api.hand.done(evaluate)
    api.refused(api.get(f"/v1/jobs/{evaluate}/student"), 404, "artifact_not_found")


def test_a_finished_job_shows_its_report(api: Api, job: str) -> None:
    report = api.hand.finish(api.hand.claim(job))
    view = api.get(f"/v1/jobs/{job}").json()
    assert view["report"] == report and view["model"].startswith("mdl_")
    assert view["started_at"] and view["finished_at"] and view["attempt"] == 1
    kept = next(one for one in api.get(f"/v1/jobs/{job}/artifacts").json()["data"] if one["path"] == "report.json")
    download = api.get(f"/v1/artifacts/{kept['id']}")
    assert download.json() == report and download.headers["content-type"] == "application/json"
