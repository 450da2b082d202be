"""What an operator grants to whoever asks remote teachers: which endpoints, with which key, and when to ask again."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import ValidationError

from contract.remote import RemoteTeacher
from outward.access import judge, key_for
from outward.judge import NotAllowedError
from outward.limits import asked_to_wait, backoff, used_up
from worker.settings import Settings

KEYS = {"https://api.example.com/v1": "sk-one", "https://api.example.com": "two", "gpu.internal:8000": "three", "other.example": "four"}


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [
        ("https://api.example.com/v1", "sk-one"),
        ("https://api.example.com/v1/eu", "sk-one"),
        ("https://api.example.com/v10", "two"),
        ("https://api.example.com.evil.example/v1", ""),
        ("http://api.example.com/v1", ""),
        ("http://gpu.internal:8000/v1", "three"),
        ("http://gpu.internal:9000/v1", ""),
        ("https://other.example/v1", "four"),
        ("https://not.other.example/v1", ""),
    ],
)
def test_a_key_goes_to_its_own_address_alone(endpoint: str, key: str) -> None:
    assert key_for(KEYS, endpoint) == key


@pytest.mark.parametrize(
    ("allowed", "endpoint", "is_allowed"),
    [
        ("", "https://api.example.com/v1", False),
        ("https://api.example.com/v1", "https://api.example.com/v1", True),
        ("https://api.example.com/v1", "https://api.example.com/v1/eu", True),
        ("https://api.example.com/v1", "https://api.example.com/v10", False),
        ("https://api.example.com/v1", "http://api.example.com/v1", False),
        ("https://api.example.com/V1", "https://api.example.com/v1", False),
        ("http://gpu.internal:8000/v1/", "http://gpu.internal:8000/v1", True),
        ("gpu.internal:8000", "http://gpu.internal:8000/any/v1", True),
        ("gpu.internal:8000", "http://gpu.internal:8001/v1", False),
        ("*.example.com", "http://api.example.com/v1", False),
        ("*.example.com", "https://api.example.com/v1", True),
    ],
)
def test_endpoints_are_those_that_the_operator_names(allowed: str, endpoint: str, is_allowed: bool) -> None:
    if is_allowed:
        assert judge(allowed).place(endpoint).host
    else:
        with pytest.raises(NotAllowedError):
            judge(allowed).place(endpoint)


def test_the_key_of_an_endpoint_is_in_no_error_and_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = RemoteTeacher(endpoint="https://api.example.com/v1/", model="m")
    monkeypatch.setenv("POTSTILL_TEACHER_KEYS", json.dumps(KEYS))
    settings = Settings()
    access = settings.access(teacher)
    assert access.key == "sk-one" and "sk-one" not in repr(access) and "sk-one" not in repr(settings)
    for wrong in ("sk-secret", '["sk-secret"]', '{"host": 1, "b": "sk-secret"}', '{"host": "sk-secret\\n"}'):
        monkeypatch.setenv("POTSTILL_TEACHER_KEYS", wrong)
        with pytest.raises(ValidationError, match="gives each address or host its key") as caught:
            Settings()
        assert "sk-secret" not in str(caught.value)


def test_what_an_endpoint_says_of_when_to_ask_again() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert asked_to_wait({"retry-after": "7"}) == 7
    assert 85 <= (asked_to_wait({"retry-after": later}) or 0) <= 90
    assert asked_to_wait({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert asked_to_wait({"retry-after": "soon"}) is None and asked_to_wait({}) is None
    assert asked_to_wait({"retry-after-ms": "250", "retry-after": "1"}) == 0.25
    assert used_up({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}) == 360
    assert used_up({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}) == 0.02
    assert used_up({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}) is None
    assert all(0.25 * 2**n <= backoff(n + 1) <= min(30, 0.5 * 2**n) for n in range(6)) and backoff(1000) <= 30
