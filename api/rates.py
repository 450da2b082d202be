"""How often somebody may ask: requests of each key, and failed attempts of each address, counted by the minute."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeVar

import structlog
from limits import RateLimitItemPerMinute
from limits.storage import RedisStorage, Storage
from limits.strategies import FixedWindowRateLimiter

from api.counters import Counters
from contract.errors import RateLimited

log = structlog.get_logger("potstill.api")
WINDOW = 60  # seconds
COUNT_SECONDS = 0.25  # how long a Redis may take to count
AWAY_SECONDS = 10.0  # how long a Redis that did not answer is left alone
T = TypeVar("T")


class Standing(NamedTuple):
    """How somebody stands with a limit, as draft-ietf-httpapi-ratelimit-headers writes it."""

    policy: str
    quota: int
    remaining: int
    reset: int  # seconds until the window ends
    exceeded: bool

    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={WINDOW}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset}',
        }


class Rates:
    """0 for a limit: none. Counts are in the broker's Redis where there is one, so that all processes count together. While it is away
    everybody is let through: a service that answers nobody because it cannot count would be the worse failure."""

    def __init__(self, broker_url: str, timeout: float, per_key: int, failures: int, counters: Counters | None = None) -> None:
        shared = broker_url.startswith(("redis://", "rediss://"))
        self._counter = FixedWindowRateLimiter(_redis(broker_url, timeout) if shared else counters or Counters())
        self._turn: AbstractContextManager[object] = nullcontext() if shared else threading.Lock()
        self._limits = {"key": per_key, "failures": failures}
        self._away_until, self._lock = float("-inf"), threading.Lock()

    def request(self, key_id: str) -> Standing | None:
        """Counts one request of a key; None where nobody counts."""
        return self._count("key", key_id)

    def failure(self, address: str) -> Standing | None:
        """Counts one failed attempt to come in."""
        return self._count("failures", address)

    def failures(self, address: str) -> Standing | None:
        """How an address stands with its failed attempts."""
        return self._asked(lambda: self._standing("failures", address)) if self._limits["failures"] else None

    def _count(self, policy: str, whose: str) -> Standing | None:
        def count() -> Standing:
            taken = self._counter.hit(self._item(policy), whose)
            return self._standing(policy, whose)._replace(exceeded=not taken)

        return self._asked(count) if self._limits[policy] else None

    def _standing(self, policy: str, whose: str) -> Standing:
        stats = self._counter.get_window_stats(self._item(policy), whose)
        reset = min(max(0, round(stats.reset_time - time.time())), WINDOW)
        return Standing(policy, self._limits[policy], max(0, stats.remaining), reset, exceeded=stats.remaining <= 0)

    def _item(self, policy: str) -> RateLimitItemPerMinute:
        return RateLimitItemPerMinute(self._limits[policy], namespace=f"potstill-{policy}")

    def _asked(self, ask: Callable[[], T]) -> T | None:
        if time.monotonic() < self._away_until:
            return None
        try:
            with self._turn:
                found = ask()
        except Exception as error:  # noqa: BLE001 - each kind of storage has its own errors
            with self._lock:
                if self._away_until == float("-inf"):  # said once for each outage
                    log.warning("requests are not counted: Redis does not answer", reason=f"{type(error).__name__}: {error}")
                self._away_until = time.monotonic() + AWAY_SECONDS
            return None
        self._away_until = float("-inf")
        return found


def _redis(url: str, timeout: float) -> Storage:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # Asked once, and not for long: somebody waits for an answer that could do without a count. Its own three tries would take seconds.
    timeout = min(timeout, COUNT_SECONDS)
    return RedisStorage(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0))  # type: ignore[arg-type]


def refuse(standing: Standing | None) -> None:
    """Raises RateLimited where the limit is reached."""
    if standing is None or not standing.exceeded:
        return
    what, setting, advice = {
        "key": ("requests with this key", "POTSTILL_RATE_LIMIT_PER_MINUTE", "A stream follows a job in one request. "),
        "failures": ("attempts with wrong keys from this address", "POTSTILL_FAILED_LOGINS_PER_MINUTE", ""),
    }[standing.policy]
    raise RateLimited(
        f"There were more than {standing.quota:,} {what} within a minute.",
        hint=f"Ask again in {max(1, standing.reset)} s. {advice}The operator sets {setting}.",
        headers={"Retry-After": str(max(1, standing.reset))},
    )
