"""What goes wrong arrives as the exception it was, and only what may be repeated is."""

import socket
from pathlib import Path

import httpx2
import pytest
from fake_service import KEY, Handler, Service, ended, job

import potstill
from contract.errors import Conflict, ErrorCode, InvalidSpec, NotFound, PotstillError, Unauthorized, Unavailable
from potstill.client import Client
from potstill.errors import ConnectionFailed, JobCancelled, JobFailed, WaitTimeout

SPEC = {"kind": "train", "task": "image-classification", "name": "digits"}


def unavailable(handler: Handler) -> None:
    raise Unavailable("The database is restarting.")


def cut(handler: Handler) -> None:
    handler.hang_up()


def test_problems_come_back_as_the_class_that_was_raised(service: Service, client: Client) -> None:
    with pytest.raises(InvalidSpec) as spec:
        client.jobs.submit({"kind": "train"})
    assert (spec.value.code, spec.value.param, spec.value.hint, spec.value.request_id) == ("invalid_spec", "task", "Add `task`.", "req_1")
    with pytest.raises(NotFound) as absent:
        client.jobs.get("job_x")
    assert absent.value.code == ErrorCode.JOB_NOT_FOUND
    with pytest.raises(Conflict):
        client.jobs.cancel(service.add(ended("failed")))


def test_no_key_says_where_it_was_looked_for(service: Service, tmp_path: Path) -> None:
    with Client(service.url) as client, pytest.raises(Unauthorized) as error:
        client.jobs.page()
    assert str(tmp_path / "home" / "key") in str(error.value.hint)
    assert "authorization" not in service.requests[-1][3]


def test_key_file_of_up_is_found(service: Service, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text(KEY + "\n")
    with Client(service.url) as client:
        assert client.jobs.page().data == []


def test_key_that_no_header_can_carry_is_refused_here() -> None:
    with pytest.raises(Unauthorized):
        Client("http://127.0.0.1:1", "psk_\nX-Other: 1")


@pytest.mark.parametrize("trouble", [unavailable, cut])
def test_reads_and_creations_are_tried_again(service: Service, client: Client, trouble: object) -> None:
    service.first["GET /v1/jobs"].extend([trouble, trouble])
    assert client.jobs.page().data == []
    service.first["POST /v1/jobs"].append(trouble)
    client.jobs.submit(SPEC)
    keys = [headers["idempotency-key"] for _, _, _, headers, _ in service.asked("POST", "/v1/jobs")]
    assert len(keys) == 2
    assert keys[0] == keys[1] != ""


def test_steering_is_not_repeated_on_its_own(service: Service, client: Client) -> None:
    """Somebody may have resumed the job in between: a second `pause` of ours would undo that."""
    id_ = service.add(job())
    service.first[f"POST /v1/jobs/{id_}/pause"].append(cut)
    with pytest.raises(ConnectionFailed):
        client.jobs.pause(id_)
    assert len(service.asked("POST", f"/v1/jobs/{id_}/pause")) == 1


def test_uploads_repeat_the_same_bytes(service: Service, client: Client, tmp_path: Path) -> None:
    """The service compares the body with the first one sent under the key; a new multipart boundary would be another body."""
    table = tmp_path / "t.csv"
    table.write_text("x,label\n1,a\n")
    service.first["POST /v1/datasets"].append(unavailable)
    assert client.datasets.upload(table, name="tiny").name == "tiny"
    first, second = service.asked("POST", "/v1/datasets")
    assert first[4] == second[4]
    assert b"1,a" in second[4]


def test_retry_after_is_obeyed_when_short_and_passed_on_when_long(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("potstill.transport.time.sleep", waits.append)
    body = PotstillError("Slowly.", status=429, code="rate_limited").problem("/v1/jobs", "req_1").model_dump()
    service.first["GET /v1/jobs"].extend(
        [lambda h: h.answer(body, 429, Retry_After="7"), lambda h: h.answer(body, 429, Retry_After="3600")]
    )
    with pytest.raises(PotstillError) as error:
        client.jobs.page()
    assert (waits, error.value.status) == ([7.0], 429)


def test_own_request_still_in_flight_is_waited_for(service: Service, client: Client) -> None:
    def in_flight(handler: Handler) -> None:
        raise Conflict("Still being answered.", code=ErrorCode.IDEMPOTENCY_IN_FLIGHT)

    service.first["POST /v1/jobs"].append(in_flight)
    assert client.jobs.submit(SPEC).name == "digits"


def test_patience_has_an_end(service: Service, client: Client) -> None:
    service.first["GET /v1/jobs"].extend([unavailable] * 9)
    with pytest.raises(Unavailable):
        client.jobs.page()
    assert len(service.requests) == 4


def test_nobody_there_names_the_address_and_the_cure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with Client(url) as client, pytest.raises(ConnectionFailed) as error:
            client.jobs.page()
    assert url in str(error.value)
    assert "potstill up" in str(error.value.hint)


@pytest.mark.parametrize("url", ["localhost:8400", "ftp://host", "http://", "nonsense"])
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConnectionFailed) as error:
        Client(url)
    assert "http://127.0.0.1:8400" in str(error.value.hint)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx2.Response(200, html="<h1>Welcome</h1>"), "text/html: that is not Potstill's API"),
        (httpx2.Response(404, json={"detail": "Not Found"}), "that is not Potstill's API"),
        (httpx2.Response(200, json={"jobs": []}), "is no Page"),
        (httpx2.Response(200, json=[1]), "is no Page"),
        (httpx2.Response(301, headers={"location": "https://here.example"}), "points to https://here.example"),
        (httpx2.Response(422, json={"code": "x", "detail": "y", "errors": 7}), "that is not Potstill's API"),
    ],
)
def test_somebody_elses_answer_is_recognised(answer: httpx2.Response, said: str) -> None:
    with (
        Client("http://other.example", transport=httpx2.MockTransport(lambda _: answer)) as client,
        pytest.raises(ConnectionFailed) as error,
    ):
        client.jobs.page()
    assert said in str(error.value)


def test_a_proxys_gateway_error_is_unavailability() -> None:
    calls: list[int] = []

    def proxy(request: httpx2.Request) -> httpx2.Response:
        calls.append(1)
        return httpx2.Response(503, html="<h1>503</h1>")

    with Client("http://h.example", transport=httpx2.MockTransport(proxy)) as client, pytest.raises(Unavailable):
        client.jobs.page()
    assert len(calls) == 4


def test_what_json_cannot_hold_is_refused_before_it_is_sent(service: Service, client: Client) -> None:
    for value in (float("nan"), object()):
        with pytest.raises(InvalidSpec):
            client.jobs.submit(SPEC | {"metadata": value})
    assert service.requests == []


def test_ids_cannot_leave_their_place_in_the_path(service: Service, client: Client) -> None:
    with pytest.raises(NotFound):
        client.jobs.get("../keys")
    assert service.requests[-1][1] == "/v1/jobs/../keys"  # the server saw it quoted: one segment


def test_wait_raises_how_a_job_ended(service: Service, client: Client) -> None:
    error = {"code": "diverged", "message": "The loss became NaN.", "hint": "Lower the learning rate."}
    failed = client.jobs.get(service.add(ended("failed", 1, error=error)))
    with pytest.raises(JobFailed) as failure:
        failed.wait()
    assert (failure.value.code, failure.value.hint, failure.value.job.id) == ("diverged", "Lower the learning rate.", failed.id)
    with pytest.raises(JobCancelled):
        client.jobs.get(service.add(ended("cancelled", 2))).wait()
    assert client.jobs.get(service.add(ended("succeeded", 3))).wait().report is not None
    with pytest.raises(WaitTimeout):
        client.jobs.get(service.add(job(4))).wait(timeout=0.15)


def test_wait_survives_a_restart_of_the_service(service: Service, client: Client) -> None:
    waiting = client.jobs.get(service.add(job()))
    path = f"GET /v1/jobs/{waiting.id}"
    service.first[path].append(lambda handler: handler.answer(service.jobs[waiting.id]))
    service.first[path].extend([cut] * 9)
    service.jobs[waiting.id] = ended("succeeded")
    assert waiting.wait(timeout=5).status == "succeeded"


def test_everything_is_importable_from_the_top() -> None:
    assert set(potstill.__all__) <= set(dir(potstill))
    for name in potstill.__all__:
        assert getattr(potstill, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = potstill.nothing
