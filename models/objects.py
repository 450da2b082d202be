"""An object store as fsspec sees it, with our errors: it does not answer (`Unavailable`), or will not have us (`StoreRefused`). Large files
go in parts, and one whose sending was cut off goes on with the parts that are there."""

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial, wraps
from pathlib import Path
from typing import Any

from contract.errors import PotstillError, StoreRefused, Unavailable

PART = 16 << 20  # bytes sent at a time
MOST_PARTS = 10_000  # of one object, in S3
AT_ONCE = 6
TRIES = 3
OURS = (errno.ENOSPC, errno.EDQUOT)  # of this machine's disk, whatever the store
# What S3 says of what will not change by itself, besides what s3fs makes a PermissionError or FileNotFoundError.
REFUSALS = {
    "AllAccessDisabled", "AuthorizationHeaderMalformed", "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidBucketName",
    "InvalidToken", "PermanentRedirect", "RequestTimeTooSkewed", "SignatureDoesNotMatch",
}  # fmt: skip
OURS_TO_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}(\.safetensors)?$")  # the end of a key that is one of ours
LIBRARIES = {"botocore", "aiobotocore", "aiohttp", "gcsfs", "adlfs", "google", "azure"}
KEYLESS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError", "UnauthorizedSSOTokenError"}


class Objects:
    """Its methods are fsspec's; names are `bucket/key`."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs
        self._clients: dict[int, Any] = {}  # by process: a fork must not share connections

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._fs, name)
        return _told(found) if callable(found) else found

    def put_file(self, source: str, target: str) -> None:
        """Whole or not at all. S3 compares a checksum, which its library sends along, with what arrived of every part."""
        with telling():
            if not self.speaks_s3:
                self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                self._fs.put_file(source, target)
                return
            bucket, key, _ = self._fs.split_path(target)
            size = Path(source).stat().st_size
            if size > PART:
                self._whole(Path(source), size, {"Bucket": bucket, "Key": key})
            else:
                self._send("put_object", Bucket=bucket, Key=key, Body=Path(source).read_bytes())

    def unfinished(self, root: str, older: float) -> Iterator[tuple[int, Callable[[], None]]]:
        """Of our sendings that were cut off and not gone on with for so many seconds: their bytes, and what forgets them."""
        if not self.speaks_s3:
            return
        bucket, prefix, _ = self._fs.split_path(f"{root}/")
        with telling():
            for found in self._fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix).get("Uploads") or ():
                place = {"Bucket": bucket, "Key": found["Key"], "UploadId": found["UploadId"]}
                if not OURS_TO_NAME.search(found["Key"]):
                    continue
                try:
                    parts = self._there(place).values()
                except FileNotFoundError:  # it has come to its end meanwhile
                    continue
                last = max([found["Initiated"], *(part["LastModified"] for part in parts)])
                if (datetime.now(UTC) - last).total_seconds() >= older:
                    yield sum(part["Size"] for part in parts), partial(self._forget, place)

    def _forget(self, place: dict[str, Any]) -> None:
        with suppress(FileNotFoundError):
            self.call_s3("abort_multipart_upload", **place)

    def get_file(self, source: str, target: str) -> None:
        more = {"chunksize": PART, "max_concurrency": AT_ONCE} if self.speaks_s3 else {}  # s3fs' own hold half a gigabyte
        with telling():
            self._fs.get_file(source, target, **more)

    def _send(self, call: str, **given: Any) -> Any:
        """What has bytes in it goes out by the thread that asks: s3fs sends those of all threads from one."""
        from s3fs.errors import translate_boto_error

        method = getattr(self._client, call)
        try:
            return method(**self._fs._get_s3_method_kwargs(method, **given))
        except Exception as error:  # noqa: BLE001 - raised again, as s3fs would
            told = translate_boto_error(error)  # the same one, where the store gave no answer
            raise told from (error if told is not error else None)

    @property
    def _client(self) -> Any:
        """botocore's own, made as s3fs makes its asynchronous one, which is the same library's."""
        found = self._clients.get(os.getpid())
        if found is None:
            from botocore import UNSIGNED
            from botocore.config import Config
            from botocore.session import Session

            fs = self._fs
            fs.connect()  # or it does not know yet what its calls take
            keys = {"aws_access_key_id": fs.key, "aws_secret_access_key": fs.secret, "aws_session_token": fs.token} if not fs.anon else {}
            named = {name: value for name, value in {**keys, "endpoint_url": fs.endpoint_url}.items() if value is not None}
            signed = {"signature_version": UNSIGNED} if fs.anon else {}
            config = Config(**{**fs._prepare_config_kwargs(), "max_pool_connections": AT_ONCE, **signed})
            found = Session(**fs.kwargs).create_client("s3", config=config, **{"use_ssl": fs.use_ssl, **named, **fs.client_kwargs})
            self._clients = {os.getpid(): found}
        return found

    @property
    def speaks_s3(self) -> bool:
        return hasattr(self._fs, "call_s3")

    def _whole(self, source: Path, size: int, place: dict[str, Any]) -> None:
        """Two that send the same bytes send parts of one object: who comes second finds that it is there, or begins anew."""
        for _ in range(TRIES):
            try:
                return self._in_parts(source, size, dict(place))
            except FileNotFoundError as error:
                if error.filename is not None or "upload" not in str(error):  # the file here, or the bucket
                    raise
                with suppress(FileNotFoundError):
                    if self._fs.info(f"{place['Bucket']}/{place['Key']}")["size"] == size:
                        return None
        raise Unavailable("The artifact store lost what was sent in parts.", hint="Nothing is lost here; try again in a moment.")

    def _in_parts(self, source: Path, size: int, place: dict[str, Any]) -> None:
        """The key is a name of the content: parts that another sending left are those of this one, where their MD5 is the same."""
        step = max(PART, -(-size // MOST_PARTS))
        begun = self._fs.call_s3("list_multipart_uploads", Bucket=place["Bucket"], Prefix=place["Key"]).get("Uploads") or ()
        begin = partial(self._fs.call_s3, "create_multipart_upload", **place, **self._checksum)
        upload = next((found for found in reversed(begun) if found["Key"] == place["Key"]), None) or begin() | self._checksum
        place["UploadId"] = upload["UploadId"]
        told = ("ETag", "ChecksumCRC32") if upload.get("ChecksumAlgorithm") == "CRC32" else ("ETag",)
        there = self._there(place)

        def sent(number: int) -> dict[str, Any]:
            first = (number - 1) * step
            length = min(step, size - first)
            with source.open("rb") as file:
                file.seek(first)
                body = file.read(length)
            part = there.get(number)
            if part is None or part["ETag"] != f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"':  # which is what S3 calls a part
                part = self._send("upload_part", **place, PartNumber=number, Body=body)
            return {"PartNumber": number} | {name: part[name] for name in told if name in part}

        with ThreadPoolExecutor(AT_ONCE) as pool:
            parts = list(pool.map(sent, range(1, -(-size // step) + 1)))
        self._fs.call_s3("complete_multipart_upload", **place, MultipartUpload={"Parts": parts})

    @property
    def _checksum(self) -> dict[str, str]:
        """Said beforehand, as S3's own clients do: else the store makes one more of the whole. Old stores know none; a variable says so."""
        wanted = self._client.meta.config.request_checksum_calculation == "when_supported"
        return {"ChecksumAlgorithm": "CRC32"} if wanted else {}

    def _there(self, place: dict[str, Any]) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        marker = 0
        while True:
            told = self._fs.call_s3("list_parts", **place, PartNumberMarker=marker)
            found |= {part["PartNumber"]: part for part in told.get("Parts") or ()}
            if not told.get("IsTruncated"):
                return found
            marker = told["NextPartNumberMarker"]


@contextmanager
def telling() -> Iterator[None]:
    """What a store's libraries raise, as one of ours; FileNotFoundError stays, and what is wrong with this machine."""
    try:
        yield
    except PotstillError:
        raise
    except FileNotFoundError as error:
        if "bucket does not exist" in str(error) or "NoSuchBucket" in str(error):
            raise _refused("its bucket does not exist") from error
        raise
    except PermissionError as error:
        if error.filename is not None:
            raise
        raise _refused(f"it will not have these keys ({error})") from error
    except OSError as error:
        if error.filename is not None or error.errno in OURS:  # of a file here
            raise
        if _code(error) in REFUSALS:
            raise _refused(str(error)) from error
        raise _away(error) from error
    except Exception as error:
        if type(error).__name__ in KEYLESS:
            raise _refused(f"it was given no keys ({error})") from error
        if type(error).__module__.partition(".")[0] in LIBRARIES:
            raise (_refused(str(error)) if _code(error) in REFUSALS else _away(error)) from error
        raise


def _code(error: BaseException | None) -> str | None:
    """What S3 called it, by the library's answer behind the exception."""
    while error is not None:
        answer = getattr(error, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code"))
        error = error.__cause__ or error.__context__
    return None


def _told(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def asked(*given: Any, **named: Any) -> Any:
        with telling():
            return call(*given, **named)

    return asked


def _refused(why: str) -> StoreRefused:
    hint = "The operator should look at POTSTILL_ARTIFACTS_URL and the store's own variables, and start the process again."
    return StoreRefused(f"The artifact store refuses: {why}.", hint=hint)


def _away(error: Exception) -> Unavailable:
    return Unavailable(f"The artifact store does not answer: {error}", hint="Nothing is lost; try again in a moment.")
