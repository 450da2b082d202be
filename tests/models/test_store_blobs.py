"""Bytes under their hash: whole or not there, in a folder and in any store fsspec knows."""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from s3fs import S3FileSystem

from models.blobs import CHUNK, Blobs, DamagedError, anew, sha256_of


@pytest.fixture(params=["file", "memory", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Blobs]:
    if request.param == "file":
        yield Blobs((tmp_path / "artifacts").as_uri())
        return
    if request.param == "s3":
        S3FileSystem.clear_instance_cache()
        for name, value in request.getfixturevalue("object_store_server").environment.items():
            monkeypatch.setenv(name, value)
        yield Blobs(f"s3://potstill/{uuid.uuid4().hex}")
        return
    root = f"memory://{uuid.uuid4().hex}"
    yield Blobs(root)
    fsspec.filesystem("memory").rm(root, recursive=True) if fsspec.filesystem("memory").exists(root) else None


@pytest.fixture
def local(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "artifacts").as_uri())


def everything(blobs: Blobs) -> set[str]:
    return {path.rsplit("/", 1)[1] for path in blobs.fs.find(blobs.root)} if blobs.fs.exists(blobs.root) else set()


def delete(blobs: Blobs, sha256: str) -> None:
    aside = blobs.lay_aside(sha256)
    if aside is not None:
        blobs.discard(aside)


def flip_a_bit(blobs: Blobs, sha256: str) -> None:
    """As a disk does: the same size, another byte. In place, so that a link elsewhere would see it too."""
    with Path(blobs.path(sha256)).open("r+b") as file:
        file.seek(17)
        byte = file.read(1)[0]
        file.seek(17)
        file.write(bytes([byte ^ 4]))


def test_what_is_put_comes_back_under_its_hash(blobs, source, tmp_path):
    sha256, size = blobs.put(source)
    content = source.read_bytes()
    assert (sha256, size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert blobs.exists(sha256, size)
    assert not blobs.exists(sha256, size + 1)
    blobs.fetch(sha256, tmp_path / "deep" / "er" / "copy")
    assert (tmp_path / "deep" / "er" / "copy").read_bytes() == content
    with blobs.open(sha256) as file:
        assert file.read() == content


def test_an_empty_file_is_a_blob_too(blobs, tmp_path):
    (tmp_path / "empty").touch()
    sha256, size = blobs.put(tmp_path / "empty")
    assert (size, blobs.exists(sha256, 0)) == (0, True)
    assert b"".join(blobs.read_range(sha256, 0, 0)) == b""


def test_the_hash_may_be_known_already(blobs, source):
    assert blobs.put(source, sha256_of(source)) == blobs.put(source)


def test_putting_the_same_twice_is_putting_it_once(blobs, source, tmp_path):
    shutil.copy(source, tmp_path / "other")
    assert blobs.put(source) == blobs.put(tmp_path / "other") == blobs.put(source)
    assert everything(blobs) == {sha256_of(source)}


@pytest.mark.parametrize(("start", "stop"), [(0, 7000), (0, 1), (3, 10), (6999, 7000), (5, 5), (6000, 9000), (7000, 8000)])
def test_a_range_is_these_bytes_and_no_others(blobs, source, start, stop):
    sha256, _ = blobs.put(source)
    assert b"".join(blobs.read_range(sha256, start, stop)) == source.read_bytes()[start:stop]


def test_a_long_range_comes_in_chunks(blobs, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(os.urandom(2 * CHUNK + 17))
    sha256, size = blobs.put(big)
    chunks = list(blobs.read_range(sha256, 5, size))
    assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK, 12]
    assert b"".join(chunks) == big.read_bytes()[5:]


def test_a_deleted_blob_is_gone_and_deleting_it_again_is_no_error(blobs, source, tmp_path):
    sha256, size = blobs.put(source)
    delete(blobs, sha256)
    assert not blobs.exists(sha256, size)
    assert everything(blobs) == set()
    delete(blobs, sha256)
    delete(blobs, "0" * 64)
    with pytest.raises(FileNotFoundError):
        blobs.fetch(sha256, tmp_path / "copy")
    with pytest.raises(FileNotFoundError):
        blobs.open(sha256)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["source"]
    assert blobs.put(source) == (sha256, size)


def test_what_is_fetched_outlives_the_blob(blobs, source, tmp_path):
    sha256, _ = blobs.put(source)
    blobs.fetch(sha256, tmp_path / "copy")
    delete(blobs, sha256)
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


def test_what_was_put_outlives_its_source(blobs, source, tmp_path):
    content = source.read_bytes()
    sha256, size = blobs.put(source)
    source.unlink()
    assert blobs.exists(sha256, size)
    blobs.fetch(sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_fetching_again_leaves_the_file_that_is_there(blobs, source, tmp_path):
    sha256, _ = blobs.put(source)
    for _ in range(2):
        blobs.fetch(sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As between two file systems."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that stops halfway."""
    no_links(monkeypatch)

    def half(source: object, target: object, **_: object) -> None:
        Path(str(target)).write_bytes(Path(str(source)).read_bytes()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", half)


def test_blobs_are_copied_where_they_cannot_be_linked(local, source, tmp_path, monkeypatch):
    no_links(monkeypatch)
    sha256, size = local.put(source)
    local.fetch(sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert everything(local) == {sha256}
    assert local.exists(sha256, size)


def test_a_put_that_stops_halfway_leaves_no_half_blob_and_no_rest(local, source, monkeypatch):
    """The disk that is full stays as full as it was, and the next try finds nothing that looks like the blob."""
    with monkeypatch.context() as patched:
        full_disk(patched)
        with pytest.raises(OSError, match="No space left"):
            local.put(source)
    assert everything(local) == set()
    sha256, size = local.put(source)
    assert local.exists(sha256, size)


def test_a_fetch_that_stops_halfway_leaves_no_half_file(local, source, tmp_path, monkeypatch):
    """The next fetch would take it for the whole."""
    sha256, _ = local.put(source)
    with monkeypatch.context() as patched:
        full_disk(patched)
        with pytest.raises(OSError, match="No space left"):
            local.fetch(sha256, tmp_path / "out" / "copy")
    assert list((tmp_path / "out").iterdir()) == []
    local.fetch(sha256, tmp_path / "out" / "copy")
    assert (tmp_path / "out" / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("moment", ["before the rename", "at the sync"])
def test_a_process_that_dies_while_it_puts_leaves_no_half_blob(local, source, moment, monkeypatch):
    """Nothing of ours runs any more after a kill -9, not even a `finally`."""

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        patched.setattr(*((Path, "replace") if moment == "before the rename" else (os, "fsync")), die)
        with pytest.raises(Killed):
            local.put(source)
    sha256, size = sha256_of(source), source.stat().st_size
    assert not local.exists(sha256, size)
    assert sha256 not in everything(local)
    assert local.put(source) == (sha256, size)
    assert local.exists(sha256, size)


def test_a_blob_of_the_wrong_size_is_put_again(blobs, source):
    """A store without renames may have been left with half of it."""
    sha256, size = sha256_of(source), source.stat().st_size
    path = f"{blobs.root}/{sha256[:2]}/{sha256}"
    blobs.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    blobs.fs.pipe_file(path, source.read_bytes()[:100])
    assert not blobs.exists(sha256, size)
    blobs.put(source)
    assert blobs.exists(sha256, size)
    with blobs.open(sha256) as file:
        assert file.read() == source.read_bytes()


def test_the_bytes_are_on_the_disk_before_the_name_is(local, source, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda self, target: (steps.append("rename"), replace(self, target))[1])
    local.put(source)
    assert steps == ["fsync", "rename", "fsync"]


def test_a_damaged_blob_is_replaced_when_its_bytes_are_stored_again(local, source, tmp_path):
    shutil.copy(source, tmp_path / "again")
    sha256, size = local.put(source)
    flip_a_bit(local, sha256)
    assert local.exists(sha256, size), "it cannot be seen from outside"
    assert local.put(tmp_path / "again") == (sha256, size)
    assert sha256_of(Path(local.path(sha256))) == sha256
    assert everything(local) == {sha256}


def test_a_damaged_blob_is_not_handed_out_where_nobody_verifies_it_later(local, source, tmp_path):
    sha256, _ = local.put(source)
    flip_a_bit(local, sha256)
    with pytest.raises(DamagedError, match=sha256[:12]):
        local.fetch(sha256, tmp_path / "out" / "copy")
    assert list((tmp_path / "out").iterdir()) == []
    local.fetch(sha256, tmp_path / "out" / "copy", verify=False)
    assert (tmp_path / "out" / "copy").stat().st_size == source.stat().st_size


def test_a_damaged_blob_of_a_remote_store_is_not_handed_out_either(tmp_path, source):
    blobs = Blobs(f"memory://{uuid.uuid4().hex}")
    sha256, size = blobs.put(source)
    blobs.fs.pipe_file(blobs.path(sha256), b"x" * size)
    with pytest.raises(DamagedError):
        blobs.fetch(sha256, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_blob_laid_aside_is_out_of_its_place_and_comes_back(blobs, source):
    sha256, _ = blobs.put(source)
    aside = blobs.lay_aside(sha256)
    assert not blobs.fs.exists(blobs.path(sha256))
    blobs.bring_back(aside)
    assert blobs.fs.exists(blobs.path(sha256))
    assert not blobs.fs.exists(aside)
    assert everything(blobs) == {sha256}
    blobs.bring_back(aside)
    blobs.discard(aside)


@pytest.mark.parametrize("ask", ["exists", "open", "fetch"])
def test_whoever_asks_for_a_blob_that_is_laid_aside_finds_it(blobs, source, tmp_path, ask):
    """A row refers to it, or nobody would ask; and the process that was to bring it back may be dead."""
    sha256, size = blobs.put(source)
    aside = blobs.lay_aside(sha256)
    if ask == "exists":
        assert blobs.exists(sha256, size)
    elif ask == "open":
        with blobs.open(sha256) as file:
            assert file.read() == source.read_bytes()
    else:
        blobs.fetch(sha256, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    blobs.discard(aside)
    assert blobs.exists(sha256, size)


def test_two_who_lay_the_same_bytes_aside_do_not_share_a_name(blobs, source, tmp_path):
    """Else the first would throw away what the second had moved there after looking."""
    shutil.copy(source, tmp_path / "again")
    sha256, size = blobs.put(source)
    first = blobs.lay_aside(sha256)
    blobs.put(tmp_path / "again")
    second = blobs.lay_aside(sha256)
    blobs.discard(first)
    blobs.bring_back(second)
    assert blobs.exists(sha256, size)


def test_what_comes_back_does_not_replace_what_was_put_meanwhile(local, source, tmp_path):
    shutil.copy(source, tmp_path / "again")
    sha256, _ = local.put(source)
    flip_a_bit(local, sha256)
    aside = local.lay_aside(sha256)
    local.put(tmp_path / "again")
    local.bring_back(aside)
    assert sha256_of(Path(local.path(sha256))) == sha256 == sha256_of(tmp_path / "again")


def test_a_file_that_is_made_again_does_not_change_what_was_stored(local, source):
    """It is a second name of the stored bytes: whoever repeats a write must not write into them."""
    before = source.read_bytes()
    sha256, _ = local.put(source)
    anew(source).write_bytes(b"other")
    assert Path(local.path(sha256)).read_bytes() == before and source.read_bytes() == b"other"
