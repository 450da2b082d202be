"""Sessions: what is committed is durable, readers do not block, and a database that is away is Unavailable and nothing else."""

import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from store_world import S, World, at_once

from contract.errors import PotstillError, Unavailable
from models import mounts
from models.ids import new_id
from models.job import Job
from models.project import Project
from models.session import Database, loads

on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("store", ["postgres"], indirect=True)


@on_sqlite
@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 30_000)])
def test_every_connection_to_sqlite_is_set_up(world, pragma, value):
    """synchronous=FULL: an acknowledged submission survives the power cut."""
    with world.database.read() as one, world.database.read() as two, world.database.write() as three:
        assert [session.scalar(sa.text(f"PRAGMA {pragma}")) for session in (one, two, three)] == [value] * 3


def test_a_block_is_committed_at_its_end_and_rolled_back_on_an_exception(world):
    job_id = world.submit()
    with world.database.write() as session:
        session.get(Job, job_id).name = "kept"
    with pytest.raises(ZeroDivisionError), world.database.write() as session:
        session.get(Job, job_id).name = "lost"
        session.flush()
        raise ZeroDivisionError
    assert world.job(job_id).name == "kept"


def test_a_reader_sees_nothing_of_a_writer_that_has_not_committed_and_waits_for_nobody(world):
    job_id = world.submit()
    with world.database.write() as writer:
        writer.get(Job, job_id).name = "not yet"
        writer.flush()
        started = time.monotonic()
        assert world.job(job_id).name == "a job"
        assert time.monotonic() - started < 5
    assert world.job(job_id).name == "not yet"


def test_writers_that_read_before_they_write_never_collide(world):
    """Eight increments at once. With SQLite's default, a read lock that becomes a write lock raises `database is locked`."""
    job_id = world.submit()

    def increment() -> None:
        for _ in range(5):
            with world.database.write() as session:
                job = session.scalar(sa.select(Job).where(Job.id == job_id).with_for_update())
                job.priority += 1

    assert at_once(*[increment] * 8) == [None] * 8
    assert world.job(job_id).priority == 40


def test_rows_stay_readable_after_the_session_is_over(world):
    job = world.job(world.submit(world.submit()))
    assert (job.status, len(job.needs), job.view().status) == (S.WAITING, 1, S.WAITING)


def test_a_mistake_of_ours_is_not_called_an_outage(world):
    with pytest.raises(sa.exc.IntegrityError), world.database.write() as session:
        session.add(Project(id=new_id("prj"), name=world.project_id))
    world.database.ping()


def kill_connections(world: World) -> None:
    """What a restart of the server does to everybody's connections."""
    engine = sa.create_engine(world.database.engine.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        mine = "datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"))
    engine.dispose()


@on_postgres
def test_a_connection_lost_in_a_transaction_is_unavailable_and_the_next_one_works(world):
    job_id = world.submit()
    with pytest.raises(Unavailable, match="The database did not answer") as caught, world.database.write() as session:
        session.get(Job, job_id).name = "lost"
        session.flush()
        kill_connections(world)
        session.execute(sa.text("SELECT 1"))
    error = caught.value
    assert (error.status, error.code, error.headers) == (503, "unavailable", {"Retry-After": "2"})
    assert error.hint
    assert world.job(job_id).name == "a job"


@on_postgres
def test_a_connection_lost_at_the_commit_is_unavailable(world):
    job_id = world.submit()
    with pytest.raises(Unavailable), world.database.write() as session:
        session.get(Job, job_id).name = "who knows"
        session.flush()
        kill_connections(world)
    assert world.job(job_id).name == "a job"


@on_postgres
def test_connections_lost_while_idle_are_replaced_without_anybody_noticing(world):
    for _ in range(3):
        at_once(*[world.database.ping] * 4)
        kill_connections(world)
        assert at_once(*[world.database.ping] * 4) == [None] * 4


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_server_that_is_not_there_is_unavailable(kind):
    database = Database("postgresql://postgres@127.0.0.1:1/nothing?connect_timeout=3")
    with pytest.raises(Unavailable, match="did not answer"), getattr(database, kind)() as session:
        session.execute(sa.text("SELECT 1"))
    with pytest.raises(Unavailable):
        database.ping()
    database.dispose()


def test_a_socket_that_is_not_there_is_unavailable(tmp_path):
    database = Database(f"postgresql://postgres@/postgres?host={tmp_path}")
    with pytest.raises(Unavailable, match="did not answer"):
        database.ping()
    database.dispose()


def test_a_missing_table_is_our_mistake_and_no_outage(empty_url):
    """Asking again in a few seconds would not help."""
    database = Database(empty_url)
    with pytest.raises(sa.exc.DBAPIError), database.read() as session:
        session.get(Job, "job_0")
    database.ping()
    database.dispose()


@on_postgres
def test_a_database_that_is_not_there_is_unavailable(world):
    url = sa.make_url(world.url).set(database="no_such_database")
    database = Database(url.render_as_string(hide_password=False))
    with pytest.raises(Unavailable, match="no_such_database"):
        database.ping()
    database.dispose()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_urls_as_people_write_them(scheme):
    database = Database(f"{scheme}://me@somewhere/db")
    assert database.dialect == "postgresql"
    assert database.engine.dialect.driver == "psycopg"


def test_a_sqlite_file_is_made_with_its_folder(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'a' / 'b' / 'potstill.db'}")
    database.ping()
    database.dispose()
    assert (tmp_path / "a" / "b" / "potstill.db").exists()


def test_a_file_that_is_no_database_is_an_error_and_stays_as_it_is(tmp_path):
    path = tmp_path / "potstill.db"
    path.write_text("my diary " * 1000)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(PotstillError, match="cannot be used: file is not a database"):
        database.ping()
    database.dispose()
    assert path.read_text() == "my diary " * 1000


def test_many_threads_share_the_pool(world):
    ids: list[str] = []
    lock = threading.Lock()

    def submit() -> None:
        for _ in range(3):
            job_id = world.submit()
            with lock:
                ids.append(job_id)

    assert at_once(*[submit] * 16) == [None] * 16
    assert len(set(ids)) == 48
    with world.database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Job)) == 48


def open_new_files(folder: Path, count: int, barrier: Any, told: Any) -> None:
    """In a process of its own: opens the same new files as others, at the same moments."""
    failed = []
    for i in range(count):
        database = Database(f"sqlite:///{folder / f'{i}.db'}")
        barrier.wait(60)
        try:
            database.ping()
        except Exception as error:  # noqa: BLE001 - it is the result
            failed.append(str(error))
        database.dispose()
    told.put(failed)


def test_many_processes_may_open_a_new_file_at_once(tmp_path):
    """SQLite answers `database is locked` to all but one that make it a WAL file, and does not wait as it does otherwise."""
    context = multiprocessing.get_context("fork")
    barrier, told = context.Barrier(6), context.Queue()
    processes = [context.Process(target=open_new_files, args=(tmp_path, 120, barrier, told)) for _ in range(6)]
    for process in processes:
        process.start()
    assert [told.get(timeout=120) for _ in processes] == [[]] * 6
    for process in processes:
        process.join(10)


TABLE = """\
22 28 0:20 / /proc rw,nosuid - proc proc rw
28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
31 28 0:45 / /home rw,relatime shared:2 - nfs4 server:/home rw,vers=4.2
32 31 259:3 / /home/me/disk rw,relatime - xfs /dev/sdb1 rw
33 28 0:46 / /mnt/with\\040space rw - fuse.sshfs me@there:/ rw,user_id=0
34 28 0:47 / /share rw master:5 propagate_from:2 - cifs //server/share rw
35 28 0:48 / /twice rw - ext4 /dev/sdc1 rw
36 28 0:49 / /twice rw - lustre 10.0.0.1@tcp:/scratch rw
37 28 0:50 / /layers rw - overlay overlay rw
38 28 0:51 / /usb rw - fuseblk /dev/sdd1 rw
39 28 0:52 / /host rw - 9p host rw,trans=virtio
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/potstill/potstill.db", None),
        ("/home/me/.potstill/potstill.db", "nfs4"),
        ("/homeless/potstill.db", None),
        ("/home/me/disk/potstill.db", None),
        ("/mnt/with space/potstill.db", "fuse.sshfs"),
        ("/mnt/without/potstill.db", None),
        ("/share/a/b/potstill.db", "cifs"),
        ("/twice/potstill.db", "lustre"),
        ("/layers/potstill.db", None),
        ("/usb/potstill.db", None),
        ("/host/potstill.db", None),
    ],
)
def test_the_mount_a_file_is_on_says_whether_that_is_a_network(path, kind):
    assert mounts.network_filesystem(Path(path), TABLE) == kind


def test_a_link_to_a_network_is_followed(tmp_path):
    (tmp_path / "link").symlink_to("/home/me")
    assert mounts.network_filesystem(tmp_path / "link" / "potstill.db", TABLE) == "nfs4"


def test_without_a_mount_table_every_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "absent")
    assert mounts.network_filesystem(Path("/home/me")) is None


def test_sqlite_on_a_network_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    table = tmp_path / "mountinfo"
    table.write_text(f"28 1 259:2 / / rw - ext4 /dev/sda rw\n31 28 0:45 / {tmp_path} rw - nfs4 server:/home rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    with pytest.raises(PotstillError) as caught:
        Database(f"sqlite:///{tmp_path / 'home' / 'potstill.db'}")
    assert f"{tmp_path / 'home'}: that is on a network file system (nfs4)" in caught.value.detail
    assert "POTSTILL_DATABASE_URL" in (caught.value.hint or "")
    assert "--home" in (caught.value.hint or "")
    assert not (tmp_path / "home").exists()
    Database("sqlite://").dispose()
    Database("postgresql://somewhere/db").dispose()


def test_json_of_columns_is_read_also_where_the_quick_reader_refuses_it():
    assert loads('{"a": [1, 0.1, null, NaN], "b": "\\u00e9"}') == {"a": [1, 0.1, None, pytest.approx(float("nan"), nan_ok=True)], "b": "é"}
    assert loads('"half a character: \\ud800"') == "half a character: \ud800"
    with pytest.raises(ValueError):
        loads("{")


@on_postgres
def test_a_server_that_will_not_write_for_now_is_away(world):
    """As a standby that has not taken over yet, or one whose disk is full."""
    job_id = world.submit()
    with pytest.raises(Unavailable, match="read-only"), world.database.write() as session:
        session.execute(sa.text("SET TRANSACTION READ ONLY"))
        session.get(Job, job_id).name = "lost"
        session.flush()
