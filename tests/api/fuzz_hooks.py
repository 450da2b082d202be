"""What tests/api/test_api_fuzz.py changes of what is made up."""

import uuid
from typing import Any

import schemathesis


@schemathesis.hook
def map_headers(_: schemathesis.HookContext, headers: Any) -> Any:
    """An answer that is given again names what may be gone by then, and looks as if what was just made were not there."""
    key = headers.get("Idempotency-Key") if headers else None
    if isinstance(key, str) and 0 < len(key) <= 200:
        headers["Idempotency-Key"] = f"{key}{uuid.uuid4()}"
    return headers
