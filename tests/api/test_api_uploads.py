"""Datasets and models: what is taken, what is refused, and that a refusal leaves nothing behind."""

import gzip
import json
import pickle
import socket
import struct
from typing import Any

import numpy as np
import pytest
from real_service import UPLOAD_LIMIT, Api, until
from worker_hand import npz, safetensors, sha256

CSV = "a,b,label\n" + "".join(f"{i},{i * 0.5},{'yes' if i % 2 else 'no'}\n" for i in range(12))
CONFIG: dict[str, Any] = {
    "arch": "mlp",
    "hidden": [3],
    "task": "tabular-classification",
    "shape": [4],
    "classes": ["no", "yes"],
    "input": {"subtract": 0, "divide": [1, 1, 2, 1]},
}
WEIGHTS = safetensors({"0.weight": [3, 4], "0.bias": [3], "2.weight": [2, 3], "2.bias": [2]})


def upload(api: Api, filename: str, content: bytes | str, **data: str) -> Any:
    return api.http.post("/v1/datasets", files={"file": (filename, content)}, data=data)


def upload_model(api: Api, weights: bytes = WEIGHTS, config: Any = None, **files: bytes) -> Any:
    parts = {"model.safetensors": weights, "config.json": json.dumps(CONFIG if config is None else config).encode(), **files}
    return api.http.post("/v1/models", files=[("file", part) for part in parts.items()], data={"name": "mine"})


def test_a_csv_becomes_a_dataset(api: Api) -> None:
    answer = upload(api, "rows.csv", CSV)
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{dataset['id']}"
    assert dataset["id"].startswith("ds_") and dataset["object"] == "dataset"
    assert (dataset["name"], dataset["format"], dataset["size_bytes"], dataset["sha256"]) == (
        "rows.csv",
        "csv",
        len(CSV),
        sha256(CSV.encode()),
    )
    assert dataset["splits"] == {"train": {"rows": 12}} and dataset["classes"] == ["no", "yes"]
    assert [(column["name"], column["shape"]) for column in dataset["columns"]] == [("a", []), ("b", []), ("label", [])]
    assert api.get(answer.headers["location"]).json() == dataset
    assert api.get("/v1/datasets").json()["data"] == [dataset]


def test_the_same_bytes_are_the_same_dataset(api: Api, other: Api) -> None:
    first = upload(api, "rows.csv", CSV, name="mine", metadata='{"a": "b"}')
    assert first.json()["name"] == "mine" and first.json()["metadata"] == {"a": "b"}
    again = upload(api, "renamed.csv", CSV)
    assert again.status_code == 200 and again.json() == first.json() and again.headers["location"] == first.headers["location"]
    theirs = upload(other, "rows.csv", CSV)
    assert theirs.status_code == 201 and theirs.json()["id"] != first.json()["id"]
    assert len(api.running.files()) == 1
    assert api.http.delete(f"/v1/datasets/{first.json()['id']}").status_code == 204
    assert other.get(f"/v1/datasets/{theirs.json()['id']}/preview").status_code == 200
    assert other.http.delete(f"/v1/datasets/{theirs.json()['id']}").status_code == 204
    assert api.running.files() == set() and api.rows()["datasets"] == 0


def test_packed_files_and_archives(api: Api) -> None:
    packed = upload(api, "rows.csv.gz", gzip.compress(CSV.encode(), mtime=0)).json()
    assert packed["format"] == "csv.gz" and packed["splits"] == {"train": {"rows": 12}}
    archive = npz(x_train=np.zeros((9, 4, 4), np.uint8), y_train=np.arange(9) % 3, x_test=np.ones((3, 4, 4), np.uint8), y_test=np.arange(3))
    images = upload(api, "rows.npz", archive).json()
    assert images["splits"] == {"train": {"rows": 9}, "test": {"rows": 3}} and images["classes"] == ["0", "1", "2"]
    lines = upload(api, "rows.jsonl", "\n".join(json.dumps({"text": 1.5, "label": i % 2}) for i in range(4))).json()
    assert lines["format"] == "jsonl" and lines["classes"] == ["0", "1"]


def test_a_preview_shows_the_first_rows(api: Api) -> None:
    packed = upload(api, "rows.csv.gz", gzip.compress(CSV.encode())).json()["id"]
    preview = api.get(f"/v1/datasets/{packed}/preview?limit=2").json()
    assert preview == {"split": "train", "columns": ["a", "b", "label"], "rows": [[0, 0.0, "no"], [1, 0.5, "yes"]]}
    archive = npz(x_train=np.zeros((9, 4, 4), np.uint8), y_train=np.arange(9) % 3, x_test=np.ones((3, 4, 4), np.uint8), y_test=np.arange(3))
    images = upload(api, "rows.npz", archive).json()["id"]
    preview = api.get(f"/v1/datasets/{images}/preview?split=test").json()
    assert len(preview["rows"]) == 3 and preview["split"] == "test"
    body = api.refused(api.get(f"/v1/datasets/{images}/preview?split=dev"), 422, "invalid_parameter", "split")
    assert "train, test" in body["hint"]
    assert len(api.running.files()) == 2


BAD_FILES: list[tuple[str, str, bytes]] = [
    ("empty csv", "rows.csv", b""),
    ("empty npz", "rows.npz", b""),
    ("empty jsonl", "rows.jsonl", b""),
    ("empty gz", "rows.csv.gz", b""),
    ("header only", "rows.csv", b"a,b\n"),
    ("ragged", "rows.csv", b"a,b\n1,2\n3\n"),
    ("binary as csv", "rows.csv", bytes(range(256)) * 10),
    ("csv as npz", "rows.npz", CSV.encode()),
    ("npz as csv", "rows.csv", npz(x=np.zeros((3, 2)), y=np.arange(3))),
    ("truncated npz", "rows.npz", npz(x=np.zeros((30, 2)), y=np.arange(30))[:-40]),
    ("truncated gz", "rows.csv.gz", gzip.compress(CSV.encode())[:-12]),
    ("plain as gz", "rows.csv.gz", CSV.encode()),
    ("pickled npz", "rows.npz", npz(x=np.array([{"a": 1}, object()], dtype=object), y=np.arange(2))),
    ("pickle", "rows.npz", pickle.dumps({"x": [1, 2]})),
    ("unknown ending", "rows.exe", CSV.encode()),
    ("no ending", "rows", CSV.encode()),
    ("not JSON", "rows.jsonl", b'{"a": 1}\n{"a": \n'),
    ("NaN", "rows.npz", npz(x=np.array([[1.0], [np.nan]]), y=np.arange(2))),
    ("zero in a label", "rows.jsonl", b'{"a": 1, "label": "x\\u0000y"}\n{"a": 2, "label": "z"}\n'),
    ("half a character", "rows.jsonl", b'{"a": 1, "label": "x\\ud800"}\n{"a": 2, "label": "z"}\n'),
    ("zip bomb", "rows.csv.gz", gzip.compress(b"1,1\n" * 25_000_000, 6)),
]


@pytest.mark.parametrize(("name", "content"), [case[1:] for case in BAD_FILES], ids=[case[0] for case in BAD_FILES])
def test_a_file_that_cannot_be_used_leaves_nothing(api: Api, name: str, content: bytes) -> None:
    before = api.state()
    body = api.refused(upload(api, name, content), 422, "invalid_data", "file")
    assert body["hint"]
    assert api.state() == before


def test_forms_that_are_wrong(api: Api) -> None:
    before = api.state()
    http = api.http
    assert (
        api.refused(http.post("/v1/datasets", files={"fiel": ("rows.csv", CSV)}), 422, "unknown_field", "fiel")["hint"]
        == "Did you mean `file`?"
    )
    api.refused(http.post("/v1/datasets", files={"name": (None, "x")}), 422, "invalid_data", "file")
    api.refused(http.post("/v1/datasets", files={"file": (None, CSV)}), 422, "invalid_data", "file")
    api.refused(http.post("/v1/datasets", files=[("file", ("a.csv", CSV)), ("file", ("b.csv", CSV))]), 422, "invalid_data", "file")
    api.refused(upload(api, "rows.csv", CSV, name="two\nlines"), 422, "invalid_spec", "name")
    api.refused(upload(api, "rows.csv", CSV, metadata='{"a": 1}'), 422, "invalid_spec", "metadata.a")
    api.refused(upload(api, "rows.csv", CSV, metadata="{"), 422, "invalid_data", "metadata")
    api.refused(http.post("/v1/datasets", json={"file": "x"}), 415, "unsupported_media_type")
    api.refused(http.post("/v1/datasets", content=b"a,b\n"), 415, "unsupported_media_type")
    form = {"Content-Type": "multipart/form-data; boundary=xyz"}
    whole = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="rows.csv"\r\n\r\n' + CSV.encode() + b"\r\n--xyz--\r\n"
    for cut in (whole[:-12], whole[:60], b"", b"nonsense", whole.replace(b'name="file"; ', b"")):
        api.refused(http.post("/v1/datasets", content=cut, headers=form), 400, "malformed_body")
    api.refused(http.post("/v1/datasets", content=whole, headers={"Content-Type": "multipart/form-data"}), 400, "malformed_body")
    assert api.state() == before
    assert http.post("/v1/datasets", content=whole, headers=form).status_code == 201


@pytest.mark.parametrize("filename", ["../../../etc/rows.csv", "C:\\Users\\me\\rows.csv", "/rows.csv"])
def test_a_path_in_a_file_name_means_nothing(api: Api, filename: str) -> None:
    assert upload(api, filename, CSV).json()["name"] == "rows.csv"


def test_an_upload_that_is_too_large_leaves_nothing(api: Api) -> None:
    before = api.state()
    body = api.refused(upload(api, "rows.csv", b"x" * (UPLOAD_LIMIT + 1)), 413, "payload_too_large")
    assert "POTSTILL_MAX_UPLOAD_BYTES" in body["hint"]
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="rows.csv"\r\n\r\n'
    chunks = [head, *[b"x" * 100_000] * (UPLOAD_LIMIT // 100_000 + 2)]
    response = api.http.post("/v1/datasets", content=iter(chunks), headers={"Content-Type": "multipart/form-data; boundary=b"})
    api.refused(response, 413, "payload_too_large")
    assert api.state() == before


def test_a_sender_who_hangs_up_leaves_nothing(api: Api) -> None:
    before = api.state()
    host, port = api.running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.secret}\r\nContent-Length: 2000000\r\n"
        connection.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n")
        connection.sendall(b'--b\r\nContent-Disposition: form-data; name="file"; filename="rows.csv"\r\n\r\n' + b"x" * 1_500_000)
        until(lambda: len(api.running.files()) == 1)
    until(lambda: api.state() == before)


def test_a_model_is_uploaded_and_teaches(api: Api) -> None:
    answer = upload_model(api, **{"README.md": b"# card"})
    assert answer.status_code == 201, answer.text
    model = answer.json()
    assert answer.headers["location"] == f"/v1/models/{model['id']}"
    assert model["id"].startswith("mdl_") and (model["name"], model["task"], model["job"]) == ("mine", "tabular-classification", None)
    assert model["parameters"] == 23 and model["config"]["hidden"] == [3] and model["size_bytes"] > len(WEIGHTS)
    assert api.get(answer.headers["location"]).json() == model and api.get("/v1/models").json()["data"] == [model]
    rows = "a,b,c,d,label\n" + "".join(f"{i},{i},{i},{i},{'yes' if i % 2 else 'no'}\n" for i in range(12))
    dataset = upload(api, "rows.csv", rows).json()["id"]
    spec = {
        "kind": "distill",
        "task": "tabular-classification",
        "data": {"train": dataset, "validation": 0.5},
        "student": {"arch": "logistic"},
        "teacher": {"model": model["id"]},
    }
    assert api.post("/v1/jobs/validate", spec).json()["estimate"]["parameters"] == {"student": 10, "teacher": 23}
    job = api.submit(spec)["id"]
    api.refused(api.http.delete(f"/v1/models/{model['id']}"), 409, "in_use")
    api.post(f"/v1/jobs/{job}/cancel")
    assert api.http.delete(f"/v1/models/{model['id']}").status_code == 204
    api.refused(api.get(f"/v1/models/{model['id']}"), 404, "model_not_found")
    assert len(api.running.files()) == 1


def test_a_job_s_model_is_listed(api: Api, train: dict[str, Any]) -> None:
    job = api.submit(train)["id"]
    api.hand.done(job)
    model = api.get("/v1/models").json()["data"][0]
    assert model["job"] == job and model["config"]["arch"] == "mlp" and model["id"] == api.get(f"/v1/jobs/{job}").json()["model"]


def header(**entries: Any) -> bytes:
    packed = json.dumps(entries).encode()
    return struct.pack("<Q", len(packed)) + packed


BAD_WEIGHTS: dict[str, bytes] = {
    "empty": b"",
    "short": b"\x01\x02",
    "pickle": pickle.dumps({"w": [1.0]}, protocol=4),
    "torch zip": b"PK\x03\x04" + bytes(200),
    "length beyond the file": struct.pack("<Q", 10**12) + b"{}",
    "no JSON": struct.pack("<Q", 8) + b"notjson!",
    "a list": struct.pack("<Q", 2) + b"[]",
    "cut off": WEIGHTS[:-1],
    "something appended": WEIGHTS + b"\0",
    "a gap": header(w={"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}) + bytes(8),
    "overlap": header(a={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, b={"dtype": "F32", "shape": [1], "data_offsets": [2, 6]})
    + bytes(6),
    "a lying shape": header(w={"dtype": "F32", "shape": [1000], "data_offsets": [0, 4]}) + bytes(4),
    "a negative shape": header(w={"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}) + bytes(4),
    "an unknown type": header(w={"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}) + bytes(4),
    "integers": safetensors({"w": [23]}, "I32"),
    "no tensors": header(),
    "another network": safetensors({"w": [22]}),
    "a name twice": struct.pack("<Q", 107)
    + (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}')[:107].ljust(107)
    + bytes(8),
}


@pytest.mark.parametrize("weights", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_weights_that_are_none(api: Api, weights: bytes) -> None:
    before = api.state()
    body = api.refused(upload_model(api, weights), 422, "invalid_model", "file")
    assert body["hint"]
    assert api.state() == before


def test_a_pickle_is_called_one(api: Api) -> None:
    assert "pickle" in upload_model(api, BAD_WEIGHTS["pickle"]).json()["detail"]
    assert "pickle" in upload_model(api, BAD_WEIGHTS["torch zip"]).json()["detail"]


@pytest.mark.parametrize(
    "config",
    [
        {},
        [],
        {**CONFIG, "arch": "resnet"},
        {**CONFIG, "hiden": [3]},
        {**CONFIG, "hidden": ["3"]},
        {**CONFIG, "hidden": [4]},
        {**CONFIG, "task": "cooking"},
        {**CONFIG, "shape": []},
        {**CONFIG, "shape": [4, 1]},
        {**CONFIG, "shape": [-4]},
        {**CONFIG, "shape": [10**12]},
        {**CONFIG, "classes": ["a"]},
        {**CONFIG, "classes": ["a", "a"]},
        {**CONFIG, "classes": ["a", "b\0"]},
        {**CONFIG, "input": {"divide": 0}},
        {**CONFIG, "input": {"divide": [1, 2]}},
        {**CONFIG, "input": {"times": 2}},
        {**CONFIG, "arch": "cnn", "channels": [2], "hidden": 3},
    ],
)
def test_configs_that_describe_no_such_network(api: Api, config: Any) -> None:
    before = api.state()
    api.refused(upload_model(api, config=config), 422, "invalid_model", "file")
    assert api.state() == before


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "run.py", "../config.json.bak", "config.yaml"])
def test_files_a_model_does_not_have(api: Api, name: str) -> None:
    before = api.state()
    body = api.refused(upload_model(api, **{name: b"x"}), 422, "invalid_model", "file")
    assert "pickle" in body["hint"]
    assert api.state() == before


def test_parts_of_a_model_that_are_missing_or_binary(api: Api) -> None:
    for parts in (
        [("model.safetensors", WEIGHTS)],
        [("config.json", json.dumps(CONFIG))],
        [("model.safetensors", WEIGHTS), ("config.json", json.dumps(CONFIG)), ("config.json", json.dumps(CONFIG))],
        [("model.safetensors", WEIGHTS), ("config.json", "{")],
        [("model.safetensors", WEIGHTS), ("config.json", b"\xff\xfe{}")],
        [("model.safetensors", WEIGHTS), ("config.json", json.dumps(CONFIG)), ("README.md", pickle.dumps([1]))],
        [("model.safetensors", WEIGHTS), ("config.json", json.dumps(CONFIG)), ("vocab.txt", b"a\0b")],
    ):
        api.refused(api.http.post("/v1/models", files=[("file", part) for part in parts]), 422, "invalid_model", "file")
    assert api.state()[0]["models"] == 0 and api.running.files() == set()
