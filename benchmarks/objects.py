"""`python -m benchmarks.objects`: files into an object store and out again, as a worker does it, beside the store's own client.

Both move the same bytes over the loopback to and from one server that speaks S3 (moto's, in a process of its own), in turn, round
by round; who begins changes with each, and the processor time of this process is counted apart. Ours is `Blobs.put` and
`Blobs.fetch`, with the SHA-256 that a blob is named and checked by; theirs is boto3's `upload_file` and `download_file` as they
come. The server is as slow for one as for the other, and the most of it.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import boto3
from botocore.exceptions import EndpointConnectionError

from benchmarks import figures
from benchmarks.service import until
from benchmarks.stored import free_port
from models.blobs import Blobs

SIZES = {64: 8, 256: 3}  # MiB, and rounds
BUCKET = "potstill"


Spent = tuple[float, float]  # seconds on the clock, and of this process on a core
T = TypeVar("T")


def spent(do: Callable[[], T]) -> tuple[Spent, T]:
    began, used = time.monotonic(), time.process_time()
    found = do()
    return (time.monotonic() - began, time.process_time() - used), found


class Contest:
    def __init__(self, folder: Path) -> None:
        self.folder, self.client = folder, boto3.client("s3")
        self.blobs = Blobs(f"s3://{BUCKET}/blobs")

    def round(self, size: int, first: int) -> dict[str, Spent]:
        """Seconds of each, by who and what."""
        source = self.folder / "source"
        source.write_bytes(os.urandom(1 << 20) * size)
        found: dict[str, Spent] = {}
        contestants: list[tuple[str, Callable[[Path, dict[str, Spent]], None]]] = [("ours", self._ours), ("theirs", self._theirs)]
        for _, run in contestants[first:] + contestants[:first]:
            run(source, found)
        return found

    def _ours(self, source: Path, found: dict[str, Spent]) -> None:
        target = self.folder / "ours"
        found["ours up"], (sha256, _) = spent(lambda: self.blobs.put(source))
        found["ours down"], _ = spent(lambda: self.blobs.fetch(sha256, target))
        self.blobs.discard(self.blobs.path(sha256))
        _same(source, target)

    def _theirs(self, source: Path, found: dict[str, Spent]) -> None:
        target = self.folder / "theirs"
        found["theirs up"], _ = spent(lambda: self.client.upload_file(str(source), BUCKET, "theirs"))
        found["theirs down"], _ = spent(lambda: self.client.download_file(BUCKET, "theirs", str(target)))
        self.client.delete_object(Bucket=BUCKET, Key="theirs")
        _same(source, target)


def _same(source: Path, target: Path) -> None:
    subprocess.run(["cmp", source, target], check=True)
    target.unlink()


def main() -> None:
    port = free_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _there(server))
        with tempfile.TemporaryDirectory() as folder:
            contest = Contest(Path(folder))
            contest.round(32, 0)  # connections, pools and code are there
            rows = [_row(contest, size, rounds) for size, rounds in SIZES.items()]
    finally:
        server.kill()
    figures.write("objects", "python -m benchmarks.objects", rows=rows)


def _there(server: "subprocess.Popen[bytes]") -> bool:
    if server.poll() is not None:
        raise RuntimeError("moto_server did not start: pip install 'potstill[dev]'")
    try:
        boto3.client("s3").create_bucket(Bucket=BUCKET)
    except EndpointConnectionError:
        return False
    return True


def _row(contest: Contest, size: int, rounds: int) -> dict[str, Any]:
    found = [contest.round(size, number % 2) for number in range(rounds)]
    row: dict[str, Any] = {"mib": size, "rounds": rounds}
    for what in ("up", "down"):
        ratios = [one[f"theirs {what}"][0] / one[f"ours {what}"][0] for one in found]
        sides = {who: [one[f"{who} {what}"] for one in found] for who in ("ours", "theirs")}
        row[what] = {
            **{who: round(size / median(seconds for seconds, _ in times), 1) for who, times in sides.items()},
            **{f"{who}_cpu_ms": round(1000 * median(used for _, used in times) / size, 2) for who, times in sides.items()},
            "ratio": round(median(ratios), 2),
            "ratios": sorted(round(ratio, 2) for ratio in ratios),
        }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
