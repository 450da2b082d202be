"""A key's secret: how it is made, kept, and known to be mistyped or guessable without asking anybody."""

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "psk_"
DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase  # without - and _: a double click selects all of it
RANDOM, CHECK = 43, 6  # 256 bits; 32 bits
# No common way to make a key of one's own (hex, base64, a UUID) is as long, so the length tells which ones have a checksum.
LENGTH = len(PREFIX) + RANDOM + CHECK
SHORTEST = 24  # characters of a key that an operator chose
WRITTEN = re.compile(rf"{PREFIX}[^\s/]{{{SHORTEST - len(PREFIX)},}}")  # in the middle of something else
WORDS = ("changeme", "password", "secret", "example", "potstill", "default", "letmein", "qwerty", "12345678", "abcdefgh")


def new_secret() -> str:
    body = PREFIX + "".join(secrets.choice(DIGITS) for _ in range(RANDOM))
    return body + _checksum(body)


def secret_hash(secret: str) -> str:
    """Keys carry 256 random bits, so one plain SHA-256 is enough; there is nothing to guess and nothing to salt."""
    return hashlib.sha256(secret.encode()).hexdigest()


def without_secrets(text: str) -> str:
    """What may be kept of a text in which somebody wrote a key."""
    return WRITTEN.sub(f"{PREFIX}…", text)


def mistyped(secret: str) -> bool:
    """Whether it has the length of keys made here and not their checksum. Those that operators chose, or that were made before
    there were checksums, are of other lengths."""
    return len(secret) == LENGTH and _checksum(secret[:-CHECK]) != secret[-CHECK:]


def flaw(secret: str) -> str | None:
    """Why `secret` cannot be a key that an operator chose or kept; None where it can."""
    if not secret.startswith(PREFIX) or len(secret) < SHORTEST:
        return f"a key is {PREFIX} and at least {SHORTEST - len(PREFIX)} random characters"
    return f"it has the {LENGTH} characters of keys made here, and their checksum is wrong" if mistyped(secret) else None


def weak(secret: str) -> bool:
    """Whether somebody might guess it: too short, a well-known word, few different characters, or one piece again and again."""
    if len(secret) == LENGTH and not mistyped(secret):
        return False
    body = secret.removeprefix(PREFIX)
    known = any(word in body.lower() for word in WORDS)
    return len(secret) < SHORTEST or known or len(set(body)) < 8 or re.fullmatch(r"(.+?)\1+", body) is not None


def _checksum(body: str) -> str:
    """CRC-32 in base 62, as in GitHub's tokens: it finds slips, and lets scanners recognise a leaked key."""
    value, found = zlib.crc32(body.encode()), ""
    for _ in range(CHECK):
        value, digit = divmod(value, len(DIGITS))
        found = DIGITS[digit] + found
    return found
