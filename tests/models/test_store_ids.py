"""Ids: a prefix and a UUIDv7, so that sorting by id is sorting by creation."""

import re
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import models
from models.ids import new_id


def test_an_id_is_a_prefix_and_the_hex_of_a_uuid_of_version_7():
    found = new_id("job")
    assert re.fullmatch(r"job_[0-9a-f]{32}", found)
    parsed = uuid.UUID(hex=found.removeprefix("job_"))
    assert parsed.version == 7
    assert abs((parsed.int >> 80) / 1000 - time.time()) < 5


def test_ids_sort_by_creation_also_within_a_millisecond():
    made = [new_id("job") for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_of_many_threads_are_distinct_and_each_threads_own_are_in_order():
    made: list[list[str]] = [[] for _ in range(8)]
    threads = [threading.Thread(target=lambda mine=mine: mine.extend(new_id("job") for _ in range(2_000))) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({one for mine in made for one in mine}) == 16_000


def test_an_id_of_another_process_made_later_sorts_later():
    before = new_id("job")
    time.sleep(0.002)
    code = "from models.ids import new_id; print(new_id('job'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(models.__file__).parent.parent)
    time.sleep(0.002)
    assert before < done.stdout.strip() < new_id("job")
