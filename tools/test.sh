#!/usr/bin/env bash
# All tests. What is watched by the clock runs with a core to itself; what only computes fills the other one meanwhile, at the lowest
# priority. Then the rest, which computes or waits, shares both. What failed is asked once more, alone, and fails if it fails again.
set -uo pipefail
tests=("$1/python" -m pytest -q)
unset PYTHONDONTWRITEBYTECODE  # hundreds of processes import the same: compiled once, and not by each

alone=(tests/api/test_api_process.py tests/e2e/test_exits.py tests/e2e/test_killed_workers.py tests/e2e/test_deaf_workers.py
  tests/e2e/test_up.py tests/e2e/test_damaged_store.py tests/e2e/test_preflight.py)
computing=(tests/engine tests/contract tests/datafiles)
together=(tests/chaos tests/e2e tests/docs tests/deploy tests/api tests/client tests/models tests/worker)
left=("${together[@]}" "${alone[@]/#/--ignore=}" --ignore=tests/chaos/test_chaos_torchrun.py)  # that is of `make chaos`

remember() { echo "cache_dir=.pytest_cache/$1"; }  # a set's failures
again() {
  echo "Failed beside others; once more, alone:"
  "${tests[@]}" --maxfail 1 --last-failed --last-failed-no-failures none -o "$@"
}

# A session of its own, because Linux shares the processor between sessions first, where nobody's niceness counts but the session's.
lowest='{ echo 19 >/proc/self/autogroup; } 2>/dev/null; exec nice -n 19 "$@"'

said=$(mktemp)
setsid bash -c "$lowest" _ "${tests[@]}" -o "$(remember computing)" "${computing[@]}" -n 2 --dist loadfile >"$said" 2>&1 &
beside=$!
trap 'kill "$beside" 2>/dev/null; rm -f "$said"' EXIT
trap 'exit 130' INT TERM
"${tests[@]}" -o "$(remember alone)" "${alone[@]}" && first=0 || first=$?
wait "$beside" && second=0 || second=$?
cat "$said"
"${tests[@]}" -o "$(remember together)" "${left[@]}" -n 3 --dist worksteal && third=0 || third=$?

# Each set is run whatever became of the others: who waits so long wants to know all. 1: tests failed.
[ "$first" != 1 ] || { again "$(remember alone)" "${alone[@]}" && first=0; }
[ "$second" != 1 ] || { again "$(remember computing)" "${computing[@]}" && second=0; }
[ "$third" != 1 ] || { again "$(remember together)" "${left[@]}" && third=0; }
[ "$first$second$third" = 000 ]
