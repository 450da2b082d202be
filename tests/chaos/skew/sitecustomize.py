"""Python's clocks, wrong by CHAOS_SKEW seconds; for machines without a C compiler."""

import datetime
import os
import time

_SKEW = int(os.environ.get("CHAOS_SKEW", "0"))
_time, _time_ns, _datetime = time.time, time.time_ns, datetime.datetime


class _Skewed(_datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return _datetime.now(tz) + datetime.timedelta(seconds=_SKEW)


time.time = lambda: _time() + _SKEW
time.time_ns = lambda: _time_ns() + _SKEW * 10**9
datetime.datetime = _Skewed  # type: ignore[misc]
