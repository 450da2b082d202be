"""An object store by its own server: large files in parts that a second try goes on with, and what it will not have, said."""

import hashlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from s3fs import S3File, S3FileSystem
from servers import ObjectStore, until
from store_hammer import dataset
from store_world import World

from contract.errors import PotstillError, StoreRefused, Unavailable
from models import cleaning, objects, orphans
from models.blobs import AHEAD, Blobs, DamagedError
from models.settings import StoreSettings

PART = 5 << 20  # the smallest that S3 takes


@pytest.fixture
def server(object_store_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    S3FileSystem.clear_instance_cache()
    for name, value in object_store_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(objects, "PART", PART)
    return object_store_server


@pytest.fixture
def blobs(server: ObjectStore) -> Blobs:
    return Blobs("s3://potstill/artifacts")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(3 * PART + 12345))
    return path


def uploads(blobs: Blobs) -> list[str]:
    return [found["Key"] for found in blobs.fs.call_s3("list_multipart_uploads", Bucket="potstill").get("Uploads") or ()]


def counted(blobs: Blobs, monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[str]:
    """Every call to the store from now on; the connection is lost at the part of that number."""
    calls: list[str] = []

    def counting(ask: Callable[..., object]) -> Callable[..., object]:
        def call(name: str, **given: object) -> object:
            if stop_after is not None and calls.count("upload_part") == stop_after:
                raise ConnectionResetError("the cable was pulled")
            calls.append(name)
            return ask(name, **given)

        return call

    for where, what in ((blobs.fs._fs, "call_s3"), (blobs.fs, "_send")):
        monkeypatch.setattr(where, what, counting(getattr(where, what)))
    return calls


def test_a_large_file_goes_in_parts_and_comes_back(blobs: Blobs, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(blobs, monkeypatch)
    sha256, size = blobs.put(large)
    assert calls.count("upload_part") == 4 and uploads(blobs) == []
    assert (sha256, size) == (hashlib.sha256(large.read_bytes()).hexdigest(), 3 * PART + 12345)
    blobs.fetch(sha256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert b"".join(blobs.read_range(sha256, PART - 3, 2 * PART)) == large.read_bytes()[PART - 3 : 2 * PART]
    calls.clear()
    assert blobs.put(large) == (sha256, size)
    assert "upload_part" not in calls, "what is there is not sent again"


@pytest.mark.parametrize("wanted", [True, False])
def test_the_store_is_told_beforehand_what_parts_are_checked_by(
    blobs: Blobs, large: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    """Unless the variable for stores that know no checksums says not to."""
    if not wanted:
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    said: dict[str, dict[str, Any]] = {}
    ask = blobs.fs._fs.call_s3

    def call(name: str, **given: Any) -> object:
        said[name] = given
        return ask(name, **given)

    monkeypatch.setattr(blobs.fs._fs, "call_s3", call)
    blobs.put(large)
    assert said["create_multipart_upload"].get("ChecksumAlgorithm") == ("CRC32" if wanted else None)
    assert all(("ChecksumCRC32" in part) is wanted for part in said["complete_multipart_upload"]["MultipartUpload"]["Parts"])


def test_a_sending_that_was_cut_off_goes_on_with_the_parts_that_are_there(
    blobs: Blobs, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "AT_ONCE", 1)
    with monkeypatch.context() as cut:
        counted(blobs, cut, stop_after=2)
        with pytest.raises(Unavailable, match="does not answer: the cable was pulled"):
            blobs.put(large)
    assert len(uploads(blobs)) == 1 and not blobs.exists(hashlib.sha256(large.read_bytes()).hexdigest(), large.stat().st_size)
    calls = counted(blobs, monkeypatch)
    sha256, _ = blobs.put(large)
    assert calls.count("upload_part") == 2 and "create_multipart_upload" not in calls
    assert uploads(blobs) == []
    blobs.fetch(sha256, tmp_path / "back")


def test_a_process_killed_while_it_sends_leaves_nothing_half(blobs: Blobs, large: Path, tmp_path: Path) -> None:
    large.write_bytes(os.urandom(20 * PART))
    code = "import sys; from models import objects; from models.blobs import Blobs; from pathlib import Path; objects.PART = 5 << 20; "
    code += "Blobs('s3://potstill/artifacts').put(Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, str(large)])
    until(lambda: uploads(blobs), what="the beginning")
    time.sleep(0.2)
    process.kill()
    process.wait()
    sha256 = hashlib.sha256(large.read_bytes()).hexdigest()
    if uploads(blobs):  # it had not come to its end
        assert not blobs.exists(sha256, large.stat().st_size)
    blobs.put(large)
    blobs.fetch(sha256, tmp_path / "back")
    assert uploads(blobs) == []


def test_what_was_never_gone_on_with_is_forgotten_after_a_day(
    blobs: Blobs, world: World, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "AT_ONCE", 1)
    with monkeypatch.context() as cut:
        counted(blobs, cut, stop_after=2)
        with pytest.raises(Unavailable):
            blobs.put(large)
    settings = StoreSettings(home=tmp_path / "home")

    def collected(dry_run: bool) -> dict[str, tuple[int, int]]:
        found = cleaning.collect(world.database, blobs, settings, dry_run=dry_run)
        return {one.what: (one.count, one.size_bytes) for one in found if one.count}

    with monkeypatch.context() as young:
        young.setattr(orphans, "CUT_OFF_SECONDS", 60.0)
        assert collected(False) == {} and len(uploads(blobs)) == 1
    monkeypatch.setattr(orphans, "CUT_OFF_SECONDS", 0.0)
    for dry_run in (True, False):
        assert collected(dry_run) == {"half-written files": (1, 2 * PART)}
    assert uploads(blobs) == [] and collected(False) == {}


def test_sendings_of_others_are_not_ours_to_forget(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = ["artifacts-of-others/ab/" + "ab" * 32, "artifacts/ab/backup.tar", "else"]
    for key in foreign:
        blobs.fs.call_s3("create_multipart_upload", Bucket="potstill", Key=key)
    assert list(blobs.fs.unfinished(blobs.root, 0)) == []
    assert sorted(uploads(blobs)) == sorted(foreign)


def test_two_that_send_the_same_bytes_both_come_to_their_end(blobs: Blobs, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one's end takes the upload away from under the second."""
    other, once = Blobs("s3://potstill/artifacts"), []
    ask = blobs.fs._send

    def call(name: str, **given: object) -> object:
        if name == "upload_part" and not once:
            once.append(monkeypatch.setattr(blobs.fs, "_send", ask))
            assert other.put(large)[1] == large.stat().st_size
            raise FileNotFoundError("The specified multipart upload does not exist.")  # as S3 says it; moto fails with 500
        return ask(name, **given)

    monkeypatch.setattr(objects, "AT_ONCE", 1)
    monkeypatch.setattr(blobs.fs, "_send", call)
    sha256, size = blobs.put(large)
    assert once and blobs.exists(sha256, size) and uploads(blobs) == []


def test_a_file_that_is_gone_here_is_not_the_stores_doing(
    blobs: Blobs, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it lies in a folder called uploads."""
    (tmp_path / "uploads").mkdir()
    file = large.rename(tmp_path / "uploads" / "large")
    ask = blobs.fs._fs.call_s3

    def call(name: str, **given: object) -> object:
        if name == "create_multipart_upload":
            file.unlink()
        return ask(name, **given)

    monkeypatch.setattr(blobs.fs._fs, "call_s3", call)
    with pytest.raises(FileNotFoundError, match="uploads/large"):
        blobs.put(file)


@pytest.mark.parametrize("code", ["AuthorizationHeaderMalformed", "InvalidToken", "PermanentRedirect"])
def test_what_will_not_change_by_itself_is_a_refusal(blobs: Blobs, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "no"}}, "HeadObject")

    def call(*_given: object, **_named: object) -> object:
        raise OSError(5, "no") from error

    monkeypatch.setattr(blobs.fs._fs, "info", call)
    with pytest.raises(StoreRefused):
        blobs.exists("ab" * 32, 1)


def test_what_is_wrong_on_this_machine_is_not_the_stores_doing(blobs: Blobs, there: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file") as told:
        blobs.fetch(there, tmp_path / "file" / "back")
    assert not isinstance(told.value, Unavailable)


def test_a_part_of_a_large_file_is_not_much_more(blobs: Blobs, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256, _ = blobs.put(large)
    asked = []
    fetch = S3File._fetch_range
    monkeypatch.setattr(S3File, "_fetch_range", lambda self, start, end: (asked.append(end - start), fetch(self, start, end))[1])
    assert b"".join(blobs.read_range(sha256, 7, 17)) == large.read_bytes()[7:17]
    assert 0 < sum(asked) <= 2 * AHEAD


def test_changed_bytes_are_found_out(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("these")
    sha256, _ = blobs.put(tmp_path / "source")
    blobs.fs.call_s3("put_object", Bucket="potstill", Key=blobs.path(sha256).partition("/")[2], Body=b"those")
    with pytest.raises(DamagedError):
        blobs.fetch(sha256, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.fixture
def there(blobs: Blobs, tmp_path: Path) -> str:
    (tmp_path / "source").write_text("bytes")
    return blobs.put(tmp_path / "source")[0]


ASKED = {
    "put": lambda blobs, _, folder: blobs.put(folder / "other"),
    "fetch": lambda blobs, sha256, folder: blobs.fetch(sha256, folder / "back"),
    "open": lambda blobs, sha256, _: list(blobs.read_range(sha256, 0, 5)),
    "exists": lambda blobs, sha256, _: blobs.exists(sha256, 5),
    "lay aside": lambda blobs, sha256, _: blobs.lay_aside(sha256),
}


@pytest.mark.parametrize("what", ASKED)
def test_keys_that_are_refused_are_said_to_be_and_cost_no_bytes(
    blobs: Blobs, server: ObjectStore, there: str, tmp_path: Path, what: str
) -> None:
    (tmp_path / "other").write_text("more")
    server.refuse()
    with pytest.raises(StoreRefused, match=r"The artifact store refuses: it will not have these keys") as told:
        ASKED[what](blobs, there, tmp_path)
    assert told.value.code == "store_refused" and "POTSTILL_ARTIFACTS_URL" in str(told.value.hint)
    server.refuse(False)
    assert b"".join(blobs.read_range(there, 0, 5)) == b"bytes"
    assert not (tmp_path / "back").exists()


def test_a_bucket_that_is_not_there_is_no_missing_file(server: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("more")
    for what in ("put", "fetch", "exists"):
        with pytest.raises(StoreRefused, match="its bucket does not exist"):
            ASKED[what](Blobs("s3://nobodys/artifacts"), "ab" * 32, tmp_path)


def test_without_any_keys(server: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    S3FileSystem.clear_instance_cache()
    (tmp_path / "other").write_text("more")
    with pytest.raises(StoreRefused):
        Blobs("s3://potstill/artifacts").put(tmp_path / "other")


def test_a_store_that_is_gone_is_asked_again_later(blobs: Blobs, server: ObjectStore, there: str, tmp_path: Path) -> None:
    server.kill()
    with pytest.raises(Unavailable, match="The artifact store does not answer") as told:
        blobs.exists(there, 5)
    assert not isinstance(told.value, StoreRefused)
    server.start()
    (tmp_path / "source").write_text("bytes")
    assert blobs.put(tmp_path / "source")[0] == there


def test_a_link_gives_the_bytes_without_us_for_a_while(server: ObjectStore, blobs: Blobs, there: str) -> None:
    assert blobs.link(there) is None, "unless wanted, none"
    address = Blobs("s3://potstill/artifacts", linked_for=60).link(there, ResponseContentType="text/plain")
    assert address is not None and address.startswith(server.url)
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.read() == b"bytes" and answer.headers["content-type"].startswith("text/plain")


def test_what_was_fetched_once_is_there_without_the_store(server: ObjectStore, blobs: Blobs, there: str, tmp_path: Path) -> None:
    near = Blobs("s3://potstill/artifacts", nearby=tmp_path / "copies")
    near.fetch(there, tmp_path / "one")
    server.kill()
    near.fetch(there, tmp_path / "two")
    assert (tmp_path / "two").read_text() == "bytes"
    with pytest.raises(Unavailable):
        near.fetch(there, tmp_path / "three", verify=False)  # of what is read once no copy is kept, nor looked for


def test_a_copy_that_a_disk_changed_is_fetched_anew(blobs: Blobs, there: str, tmp_path: Path) -> None:
    near = Blobs("s3://potstill/artifacts", nearby=tmp_path / "copies")
    near.fetch(there, tmp_path / "one")
    (tmp_path / "one").write_text("rotten")  # a second name of the copy
    near.fetch(there, tmp_path / "two")
    near.fetch(there, tmp_path / "three")
    assert {(tmp_path / name).read_text() for name in ("two", "three")} == {"bytes"}


def test_copies_and_shelf_are_bounded_and_what_was_used_last_stays(server: ObjectStore, blobs: Blobs, world: World, tmp_path: Path) -> None:
    settings = StoreSettings(home=tmp_path / "home", copies_bytes=25, shelf_bytes=25, artifacts_url="s3://potstill/artifacts")
    near = Blobs(settings.artifacts(), nearby=settings.copies_folder())
    known = []
    with world.database.write() as session:
        for letter in "abc":
            (tmp_path / letter).write_text(letter * 10)
            known.append(near.put(tmp_path / letter)[0])
            session.add(dataset(world.project_id, known[-1], 10))
            near.shelve(f"{letter * 64}.safetensors", tmp_path / letter)
            time.sleep(1.1)  # moto tells seconds
    for age, sha256 in zip((3, 1, 2), known, strict=True):
        near.fetch(sha256, tmp_path / sha256)
        copy = settings.copies_folder() / sha256[:2] / sha256
        os.utime(copy, (time.time() - age * 100,) * 2)
        (tmp_path / sha256).unlink()  # as the folder of an attempt goes
    near.fetch(known[0], tmp_path / "again")
    (tmp_path / "again").unlink()
    for dry_run in (True, False):
        found = cleaning.collect(world.database, near, settings, dry_run=dry_run)
        told = {one.what: (one.count, one.size_bytes) for one in found if one.count}
        assert told == {"shared teacher outputs beyond shelf_bytes": (1, 10), "copies beyond copies_bytes": (1, 10)}
    left = {path.name for path in settings.copies_folder().rglob("*") if path.is_file()}
    assert left == {known[0], known[1]}
    shelf = {letter: near.unshelve(f"{letter * 64}.safetensors", tmp_path / f"{letter}-back") for letter in "abc"}
    assert shelf == {"a": False, "b": True, "c": True}
    assert (tmp_path / "b-back").read_text() == "b" * 10


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PotstillError, match=r"POTSTILL_ARTIFACTS_URL: gs cannot be read here"):
        Blobs("gs://bucket/artifacts")


def test_a_store_that_goes_away_between_parts_is_told_of_and_not_waited_for(
    blobs: Blobs, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the library raises it, from the client that sends: without an answer there is nothing to translate."""
    gone = EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    def upload_part(**_given: object) -> object:
        raise gone

    blobs.put(large.with_name("small") if large.with_name("small").write_bytes(b"x") else large)  # the client is there
    monkeypatch.setattr(blobs.fs._client, "upload_part", upload_part)
    with pytest.raises(Unavailable, match="does not answer: Could not connect"):
        blobs.put(large)


def test_the_client_that_sends_is_told_what_s3fs_is_told(server: ObjectStore, tmp_path: Path) -> None:
    fs = S3FileSystem(
        client_kwargs={"region_name": "eu-north-1"},
        config_kwargs={"s3": {"addressing_style": "path"}},
        s3_additional_kwargs={"ServerSideEncryption": "AES256"},
        skip_instance_cache=True,
    )
    found = objects.Objects(fs)
    (tmp_path / "small").write_bytes(b"some")
    found.put_file(str(tmp_path / "small"), "potstill/some")
    config = found._client.meta.config
    assert config.region_name == "eu-north-1" and config.s3["addressing_style"] == "path"
    assert found.call_s3("head_object", Bucket="potstill", Key="some")["ServerSideEncryption"] == "AES256"
