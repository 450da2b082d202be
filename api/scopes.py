"""What a request needs: one table for the API and for the pages, asked where a key or a cookie is looked at and nowhere else."""

import re
from typing import NamedTuple

from contract.errors import Forbidden
from contract.scope import Scope


class _Rule(NamedTuple):
    methods: str
    path: re.Pattern[str]
    needs: Scope


_READS, _WRITES = "GET HEAD OPTIONS", "POST PUT PATCH DELETE"
# The first that fits; what fits none needs `submit`.
TABLE = (
    _Rule(f"{_READS} {_WRITES}", re.compile(r"(/v1)?/(keys|audit)(\W.*)?", re.DOTALL), Scope.ADMIN),
    _Rule(_READS, re.compile(r".*"), Scope.READ),
    _Rule("POST", re.compile(r"/v1/(jobs|sweeps)/validate|/new/check|/logout"), Scope.READ),
)


def needed(method: str, path: str) -> Scope:
    return next((rule.needs for rule in TABLE if method in rule.methods.split() and rule.path.fullmatch(path)), Scope.SUBMIT)


def allows(held: Scope, method: str, path: str) -> bool:
    return held.allows(needed(method, path))


def refuse_beyond(held: Scope, method: str, path: str) -> None:
    """Raises Forbidden, naming the scope that is missing, in words and as RFC 6750 has it."""
    scope = needed(method, path)
    if not held.allows(scope):
        raise Forbidden(
            f"This needs the scope `{scope}`, and the key has {', '.join(f'`{one}`' for one in held.held())}.",
            hint=f"Use a key with that scope; somebody with `admin` makes one: potstill keys create NAME --scope {scope}",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )
