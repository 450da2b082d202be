"""The one table of transitions is the one the protocol's page describes."""

import pytest

from contract.status import ACTIVE, FINAL, TRANSITIONS, JobStatus

# The page's sentences, one line each: from, to.
PAGE = """
waiting → queued; queued → running; running → succeeded, failed
waiting → failed
running → cancelling; cancelling → cancelled
running → pausing; pausing → paused; paused → queued, waiting
queued, waiting → paused
queued, waiting, paused → cancelled
running → queued
pausing → cancelling
pausing, cancelling → succeeded, failed
"""
# What the code allows besides, each with its reason.
BESIDES = {
    ("waiting", "cancelling"): "a parent whose runs have to stop first",
    ("paused", "cancelling"): "a parent whose runs have to stop first",
    ("queued", "failed"): "a job whose inputs are gone before a worker takes it",
    ("running", "paused"): "a full disk pauses the job without anybody asking",
}


def pairs(text: str) -> set[tuple[str, str]]:
    found = set()
    for sentence in text.replace("\n", ";").split(";"):
        if sentence.strip():
            before, after = sentence.split("→")
            found |= {(one.strip(), other.strip()) for one in before.split(",") for other in after.split(",")}
    return found


def test_the_table_allows_what_the_page_says_and_nothing_without_a_reason():
    allowed = {(str(before), str(after)) for before, afters in TRANSITIONS.items() for after in afters}
    assert pairs(PAGE) - allowed == set()
    assert allowed - pairs(PAGE) == set(BESIDES)


def test_every_status_has_its_line():
    assert set(TRANSITIONS) == set(JobStatus)
    assert {str(status) for status in JobStatus} == {
        "waiting", "queued", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled"
    }  # fmt: skip


def test_final_is_final():
    assert {str(status) for status in FINAL} == {"succeeded", "failed", "cancelled"}
    assert all(not TRANSITIONS[status] for status in FINAL)
    assert all(TRANSITIONS[status] for status in set(JobStatus) - FINAL)


def test_writes_of_a_run_are_accepted_while_it_runs_or_has_been_asked_to_stop():
    assert {str(status) for status in ACTIVE} == {"running", "pausing", "cancelling"}


@pytest.mark.parametrize("status", JobStatus)
def test_a_status_knows_what_it_is(status):
    assert status.final == (status in FINAL)
    assert status.active == (status in ACTIVE)
    assert status not in TRANSITIONS[status]
    assert str(status) == status.value


def test_every_status_can_be_reached_and_left():
    reached, edge = {JobStatus.WAITING}, {JobStatus.WAITING}
    while edge:
        edge = {after for before in edge for after in TRANSITIONS[before]} - reached
        reached |= edge
    assert reached == set(JobStatus)
