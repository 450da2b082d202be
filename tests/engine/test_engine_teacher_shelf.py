"""What one host's teacher said, another host takes from the shelf; where the shelf fails, it asks its own teacher."""

import shutil

import pytest
import torch
from engine_runs import small

from contract.errors import Unavailable
from distill import teacher as teacher_module
from distill.cache import Cache
from distill.data import load
from distill.inputs import Inputs
from distill.teacher import Teacher


class Folder:
    """A shelf on this disk."""

    def __init__(self, folder):
        self.folder, self.away = folder, False
        folder.mkdir()

    def unshelve(self, name, target):
        if self.away:
            raise Unavailable("The artifact store does not answer: gone")
        if not (self.folder / name).exists():
            return False
        shutil.copy(self.folder / name, target)
        return True

    def shelve(self, name, source):
        if self.away:
            raise Unavailable("The artifact store does not answer: gone")
        shutil.copy(source, self.folder / name)


@pytest.fixture
def shelf(tmp_path):
    return Folder(tmp_path / "shelf")


@pytest.fixture
def asked(tmp_path, teacher, shelf):
    """Asks the teacher from a host: its outputs, and what was warned of."""
    rows = load(small(), Inputs.local(small(), tmp_path)).train

    def ask(host, attempt="", waits=True):
        warned = []
        return Teacher(teacher, Cache(tmp_path / host, shelf, attempt, waits), torch.device("cpu"), warned.append).outputs(rows), warned

    return ask


def test_another_host_finds_it(asked, shelf, tmp_path):
    (built, _), (found, warned) = asked("one"), asked("two")
    assert (built.built.how, found.built.how, warned) == ("built", "hit", [])
    assert found.logits.equal(built.logits)
    shutil.rmtree(shelf.folder)
    shelf.folder.mkdir()
    assert asked("two")[0].built.how == "hit", "it has a copy of its own"


def test_what_is_torn_there_is_made_again_and_mended(asked, shelf):
    built, _ = asked("one")
    (file,) = shelf.folder.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    again, _ = asked("two")
    assert again.built.how == "built" and again.logits.equal(built.logits)
    assert asked("three")[0].built.how == "hit"


def test_a_shelf_that_is_away_is_warned_of_and_costs_no_job(asked, shelf):
    shelf.away = True
    outputs, warned = asked("one")
    assert outputs.built.how == "built"
    assert len(warned) == 1 and "the teacher is asked here" in warned[0]
    assert asked("one")[0].built.how == "hit"


def test_another_host_helps_with_parts_of_a_pass(asked, shelf, monkeypatch):
    """Nine parts; one that neither finds is made where it is needed, and a shelf that goes away is said once."""
    monkeypatch.setattr(teacher_module, "BATCH", 10)
    monkeypatch.setattr(teacher_module, "PART", 0)
    helped, _ = asked("two", "job_1/1", waits=False)
    assert len(list(shelf.folder.iterdir())) == 9
    next(shelf.folder.iterdir()).unlink()
    found, warned = asked("one", "job_1/1")
    assert (found.built.share, warned) == (1, []) and found.logits.equal(helped.logits)
    assert asked("three")[0].built.how == "hit"
    shelf.away = True
    alone, warned = asked("four")
    assert alone.built.share == 1 and len(warned) == 1
