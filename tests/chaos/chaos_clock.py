"""A clock that is wrong by an hour, in one process and those it starts: the C library's, or at least Python's."""

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long skew(void) { const char *s = getenv("CHAOS_SKEW"); return s ? atol(s) : 0; }

int clock_gettime(clockid_t clock, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, t);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) t->tv_sec += skew();
    return result;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
"""


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def skewed(folder: Path, seconds: int) -> dict[str, str]:
    """The environment of a process whose clock is that much ahead. Without a compiler only Python's clocks are wrong."""
    if compiler() is None:
        here = Path(__file__).parent
        path = os.pathsep.join(filter(None, [str(here / "skew"), str(here), os.environ.get("PYTHONPATH")]))
        return {"PYTHONPATH": path, "CHAOS_SKEW": str(seconds)}
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    library = folder / "clock.so"
    if not library.exists():
        source = folder / "clock.c"
        source.write_text(SOURCE)
        subprocess.run([str(compiler()), "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, capture_output=True)
        library.chmod(0o755)
    return {"LD_PRELOAD": str(library), "CHAOS_SKEW": str(seconds)}
