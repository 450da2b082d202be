"""Counts of this process alone, where no Redis counts for all."""

import time

from limits.storage import Storage


class Counters(Storage):
    """What `limits` counts in, for one thread at a time. Its own MemoryStorage starts a thread at nearly every request, to forget counts
    that are over; here they are forgotten while counting, once in the time that a count lasts."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, tuple[int, float]] = {}  # and when each begins anew, by the clock
        self._forget_at = 0.0

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        if now >= self._forget_at:
            self._counts = {name: (count, end) for name, (count, end) in self._counts.items() if end > now}
            self._forget_at = now + expiry
        count, end = self._counts.get(key, (0, 0.0))
        if end <= now:
            count, end = 0, now + expiry
        self._counts[key] = count + amount, end
        return count + amount

    def get(self, key: str) -> int:
        count, end = self._counts.get(key, (0, 0.0))
        return count if end > time.time() else 0

    def get_expiry(self, key: str) -> float:
        return max(time.time(), self._counts.get(key, (0, 0.0))[1])

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._counts)
        self._counts.clear()
        return count

    def clear(self, key: str) -> None:
        self._counts.pop(key, None)

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError
