"""An API process that dies at a named point of whatever commits a write, and is started again at once.

`START_API` imports everything, then forks the service as its child; a new one each time the child was killed. So a restart takes
a moment instead of the seconds of an import, and what dies is a whole process that answered real requests.
"""

import os
import secrets

from chaos_points import Plan, passed

START_API = "import chaos_api; chaos_api.serve()"
POINTS = ["before-submission-commit", "after-submission-commit"]


class ApiPlan(Plan):
    def arm_api(self, point: str, times: int) -> None:
        assert point in POINTS, point
        temporary = self.folder / "armed.new"
        temporary.write_text(" ".join([secrets.token_hex(4), point, "1", str(times), "kill"]))
        temporary.replace(self.folder / "armed")


def wrap() -> None:
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    def writes(session: Session) -> bool:
        return bool(session.info.get("wrote") or session.new or session.dirty)

    event.listen(Session, "after_flush", lambda session, _: session.info.update(wrote=True))
    event.listen(Session, "before_commit", lambda session: passed(POINTS[0]) if writes(session) else None)
    event.listen(Session, "after_commit", lambda session: passed(POINTS[1]) if session.info.pop("wrote", False) else None)


def serve() -> None:
    import ctypes
    import signal
    import sys

    import api.main
    import api.serve
    import migrations
    import potstill.cli

    assert api.main and api.serve and migrations
    wrap()
    sys.argv[0] = "potstill"
    while True:
        child = os.fork()
        if child == 0:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it goes with its parent
            potstill.cli.main()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            os._exit(os.waitstatus_to_exitcode(status))
