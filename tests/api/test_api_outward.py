"""Where addresses that people write may lead: patterns, every kind of address that is not public, names that change their mind."""

import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from receiver import receiving

from api.post import Post
from api.settings import Settings
from outward.judge import NotAllowedError, NotSentError, Outward, patterns

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = "93.184.215.14"
NOT_PUBLIC = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "0.0.0.0", "0.1.2.3",
    "192.0.2.1", "198.18.0.1", "224.0.1.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "::1", "::", "fe80::1", "fd00::1",
    "fd00:ec2::254", "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001::1", "2001:db8::1", "100::1",
]  # fmt: skip
NEVER = ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "0.0.0.0", "224.0.0.1", "ff02::1"]


def outward(allowed: str, *addresses: str) -> Outward:
    """Whose name server knows these addresses for every name."""

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return Outward(allowed, resolve if addresses else socket.getaddrinfo)


def refused(door: Outward, url: str) -> str:
    with pytest.raises(NotAllowedError) as caught:
        place = door.place(url)
        door.addresses(place.host, place.port)
    return str(caught.value)


def allowed(door: Outward, url: str) -> bool:
    place = door.place(url)
    return bool(door.addresses(place.host, place.port))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_by_default_no_address_that_is_not_public_is_sent_to(address: str) -> None:
    assert "not on the public internet" in refused(outward("*", address), "https://hooks.example.com/")
    assert "not on the public internet" in refused(outward("*", PUBLIC, address), "https://hooks.example.com/"), "one of several is enough"
    literal = f"[{address}]" if ":" in address else address
    assert refused(outward("*"), f"https://{literal}/")


@pytest.mark.parametrize("url", ["https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/", "https://localhost/"])
def test_other_spellings_of_loopback_are_loopback(url: str) -> None:
    assert "not on the public internet" in refused(outward("*"), url)


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c", f"64:ff9b::{0x5DB8:x}:{0xD70E:x}"])
def test_public_addresses_are_sent_to(address: str) -> None:
    assert allowed(outward("*", address), "https://hooks.example.com/") and allowed(
        outward("*", address), "https://hooks.example.com:8443/"
    )


@pytest.mark.parametrize("address", NEVER)
def test_what_is_the_machines_own_business_no_setting_opens(address: str) -> None:
    refused(outward("hooks.internal", address), "http://hooks.internal/")


@pytest.mark.parametrize(
    ("setting", "url", "address", "fits"),
    [
        ("hooks.internal:8443", "http://hooks.internal:8443/a", "10.0.0.1", True),
        ("hooks.internal:8443", "https://HOOKS.internal.:8443/a", "10.0.0.1", True),
        ("hooks.internal:8443", "http://hooks.internal/", "10.0.0.1", False),
        ("hooks.internal:8443", "http://hooks.internal:5432/", "10.0.0.1", False),
        ("hooks.internal", "http://hooks.internal/", "10.0.0.1", True),
        ("hooks.internal", "https://hooks.internal/", "10.0.0.1", True),
        ("hooks.internal", "http://hooks.internal:6379/", "10.0.0.1", False),
        ("*.example.com", "https://a.b.example.com/", PUBLIC, True),
        ("*.example.com", "https://example.com/", PUBLIC, False),
        ("*.example.com", "https://evilexample.com/", PUBLIC, False),
        ("*.example.com", "https://example.com.evil.org/", PUBLIC, False),
        ("*.example.com", "https://a.example.com/", "10.0.0.1", False),
        ("*.example.com", "http://a.example.com/", PUBLIC, False),
        ("*.example.com:8443", "https://a.example.com/", PUBLIC, False),
        ("*, 127.0.0.1:9000", "http://127.0.0.1:9000/", "127.0.0.1", True),
        ("*, 127.0.0.1:9000", "http://127.0.0.1:9001/", "127.0.0.1", False),
        ("*, [::1]:9000", "http://[::1]:9000/", "::1", True),
        ("*, [::1]:9000", "http://[0:0::1]:9000/", "::1", True),
        ("", "https://hooks.example.com/", PUBLIC, False),
    ],
)
def test_what_a_setting_allows(setting: str, url: str, address: str, fits: bool) -> None:
    door = outward(setting, address)
    if fits:
        assert allowed(door, url)
    else:
        refused(door, url)


@pytest.mark.parametrize("word", ["https://a.example.com", "a.example.com/b", "a.*.com", "*example.com", "a:b", "::1", "**", "a b:"])
def test_a_setting_that_says_nothing_clear_stops_the_start(word: str) -> None:
    with pytest.raises(ValueError, match="is no host: write hooks"):
        Settings(webhook_hosts=word)
    assert patterns(" a.example.com , *.b.org ")


def test_a_name_is_looked_up_once_and_the_connection_goes_where_it_led() -> None:
    asked: list[str] = []
    with receiving() as receiver:

        def resolve(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if len(asked) == 1 else "169.254.169.254", port))]

        door = Outward(f"hooks.test:{receiver.server_port}", resolve)
        status = anyio.run(Post(door).send, f"http://hooks.test:{receiver.server_port}/ok", {}, b"{}")
        assert status == 200 and asked == ["hooks.test"]
        assert receiver.received[0].headers["host"] == f"hooks.test:{receiver.server_port}"
        with pytest.raises(NotSentError, match="not on the public internet"):
            anyio.run(Post(door).send, f"http://hooks.test:{receiver.server_port}/ok", {}, b"{}")
        assert len(receiver.received) == 1


def test_where_one_of_several_addresses_is_dead_the_next_is_tried() -> None:
    with receiving() as receiver:
        door = outward(f"hooks.test:{receiver.server_port}", "127.0.0.9", "127.0.0.1")
        assert anyio.run(Post(door).send, f"http://hooks.test:{receiver.server_port}/ok", {}, b"{}") == 200


def test_tls_is_with_the_name_not_with_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is asked for and checked by the name, though the connection goes to a bare address."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hooks.test"]
    make += ["-addext", "subjectAltName=DNS:hooks.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda _socket, name, _context: names.append(name)  # type: ignore[assignment]
    with receiving() as receiver:
        receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
        port = receiver.server_port
        assert anyio.run(Post(outward(f"hooks.test:{port}", "127.0.0.1")).send, f"https://hooks.test:{port}/ok", {}, b"{}") == 200
        assert names == ["hooks.test"]
        with pytest.raises(NotSentError, match="certificate"):
            anyio.run(Post(outward(f"other.test:{port}", "127.0.0.1")).send, f"https://other.test:{port}/ok", {}, b"{}")
        assert len(receiver.received) == 1


REBINDING = """
import socket, struct, sys, threading
import anyio
from outward.judge import NotSentError, Outward
from api.post import Post

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
answers = iter(["93.184.215.14"] + ["127.0.0.1"] * 100)

def serve():
    while True:
        question, sender = server.recvfrom(512)
        end = question.index(b"\\0", 12) + 5
        wants_ipv4 = question[end - 4 : end - 2] == b"\\0\\1"
        head = question[:2] + b"\\x81\\x80\\0\\1" + struct.pack(">H", wants_ipv4) + b"\\0\\0\\0\\0" + question[12:end]
        record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4" + socket.inet_aton(next(answers)) if wants_ipv4 else b""
        server.sendto(head + record, sender)

threading.Thread(target=serve, daemon=True).start()
prey = socket.create_server(("127.0.0.1", 443))
prey.settimeout(1)
door = Outward("*")
print(door.check("https://rebind.test/hook", "url"))
try:
    print(anyio.run(Post(door).send, "https://rebind.test/hook", {}, b"{}"))
except NotSentError as error:
    print(error)
try:
    prey.accept()
    print("connected")
except TimeoutError:
    print("nobody came")
"""


def test_a_name_server_that_says_public_first_and_loopback_then_gains_nothing(tmp_path: Path) -> None:
    """A real name server, asked by the system's own resolver, in a network of its own."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    alone = ["unshare", "-Urmn", "sh", "-c", 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"', str(resolv)]
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs leave for a network of its own (unshare -Urmn, ip)")
    done = subprocess.run([*alone, sys.executable, "-c", REBINDING], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout.splitlines() == [
        "https://rebind.test/hook",
        "rebind.test leads to an address that is not on the public internet",
        "nobody came",
    ], done.stderr
