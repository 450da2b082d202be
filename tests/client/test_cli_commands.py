"""Every command against a service: what it prints where, with which exit code, and that --json is JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_service import Outcome, Service, broken, ended, event, job, job_id

from contract.errors import PotstillError
from potstill.cli.output import secret

Run = Callable[..., Outcome]


def test_submit_prints_the_id_alone_on_stdout(potstill: Run, spec: str) -> None:
    done = potstill("submit", spec)
    assert (done.code, done.out) == (0, job_id(1) + "\n")
    assert "queued" in done.err
    assert f"next: potstill watch {job_id(1)}" in done.err


def test_several_specs_are_read_before_one_is_sent(potstill: Run, spec: str, service: Service) -> None:
    assert potstill("submit", spec, "absent.yaml").code == 1
    assert service.jobs == {}
    assert potstill("submit", spec, spec).out.split() == [job_id(1), job_id(2)]
    assert potstill("submit", "--batch", spec, spec).out.split() == [job_id(3), job_id(4)]
    assert len(service.asked("POST", "/v1/jobs/batch")) == 1


def test_of_several_specs_none_is_queued_where_one_is_wrong(potstill: Run, spec: str, service: Service) -> None:
    """Mended and submitted once more, the others would run twice."""
    Path("bad.yaml").write_text("kind: train\n")
    done = potstill("submit", spec, "bad.yaml")
    assert (done.code, done.out, service.jobs) == (1, "", {})
    assert "invalid     bad.yaml" in done.err and "/task: this field is required" in done.err and "nothing was queued" in done.err


def test_a_secret_that_was_lost_on_the_way_is_no_success() -> None:
    assert secret("psk_a", "The key", "") == "psk_a"
    with pytest.raises(PotstillError, match="its secret was in an answer that did not arrive") as caught:
        secret(None, "The key key_1", "Have it another one: potstill keys rotate key_1")
    assert "rotate key_1" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [("succeeded", 0, "97 % of the teacher"), ("failed", 5, "no reason was given"), ("cancelled", 6, "cancelled")],
)
def test_watch_ends_with_the_jobs_own_exit_code(potstill: Run, service: Service, spec: str, status: str, code: int, said: str) -> None:
    service.streams[job_id(1)].append([event(1, "status", "accepted", to="queued"), ended(status)])
    done = potstill("submit", spec, "--watch")
    assert done.code == code
    assert said in done.out + done.err
    service.jobs[job_id(1)] = ended(status)
    assert potstill("watch", "last").code == code
    assert potstill("watch", "last", "--json").code == code


def test_watching_several_ends_with_the_first_bad_code(potstill: Run, service: Service, spec: str) -> None:
    service.streams[job_id(1)].append([ended("succeeded", 1)])
    service.streams[job_id(2)].append([ended("cancelled", 2)])
    assert potstill("submit", "-w", spec, spec).code == 6


def test_plain_progress_goes_to_stderr_and_the_verdict_to_stdout(potstill: Run, service: Service) -> None:
    id_ = service.add(job())
    step = {
        "step": 500,
        "total_steps": 2000,
        "steps_per_second": 910.4,
        "eta_seconds": 61.0,
        "metrics": {"train/loss": 0.41234, "validation/accuracy": 0.9},
    }
    service.streams[id_].append(
        [
            event(1, "status", "accepted", to="queued"),
            event(2, "status", "running", to="running"),
            event(3, "phase", "training", phase="training"),
            *(event(seq, "metrics", "step 500 of 2,000", **step) for seq in range(4, 90)),
            event(90, "warning", "the gradient is large", level="warning"),
            ended("succeeded"),
        ]
    )
    done = potstill("watch", id_)
    verdict, *below = done.out.splitlines()
    assert verdict.startswith("✓ succeeded   4.1 s · One run")
    assert [row.split()[0] for row in below] == ["ARM", "teacher", "student"]  # the control has nothing to tell
    assert "training    25% · step 500/2,000 · 910 it/s · ETA 1:01 · loss 0.412   validation accuracy 0.900" in done.err
    assert done.err.count("step 500") == 1  # at most one line every two seconds
    assert "the gradient is large" in done.err
    assert "\x1b" not in done.err + done.out


def test_failure_tells_cause_hint_and_the_last_ten_lines(potstill: Run, service: Service) -> None:
    error = {"code": "diverged", "message": "The loss became NaN.", "hint": "Lower the learning rate."}
    id_ = service.add(ended("failed", error=error))
    service.events[id_] = [event(seq, "log", f"line {seq}") for seq in range(1, 31)]
    done = potstill("watch", id_)
    assert done.code == 5
    said = done.err[done.err.index("✗") :].splitlines()
    assert "4.1 s · diverged: The loss became NaN." in said[0]
    assert "Lower the learning rate." in said[1]
    assert [line.strip() for line in said[2:12]] == [f"line {seq}" for seq in range(21, 31)]
    assert f"potstill logs {id_}" in said[12]


def test_nothing_a_service_says_reaches_the_terminal_as_a_command(potstill: Run, service: Service) -> None:
    evil = "\x1b[2J\x9b31m\u202e[red]x[/red]\r"
    id_ = service.add(ended("failed", name="n" + evil[4:], error={"code": "diverged", "message": evil, "hint": evil}))
    service.events[id_] = [event(1, "log", evil), event(2, "warning", evil)]
    for command in (
        ["jobs"],
        ["show", id_],
        ["watch", id_],
        ["logs", id_],
        ["logs", "-f", id_],
        ["jobs", "--json"],
        ["logs", "--json", id_],
    ):
        done = potstill(*command)
        for mark in ("\x1b", "\x9b", "\u202e", "\r"):
            assert mark not in done.out + done.err
    assert "[red]x[/red]" in potstill("logs", id_).out  # brackets are text, not rich's markup


def test_watch_timeout(potstill: Run, service: Service) -> None:
    id_ = service.add(job())
    service.streams[id_].extend([[event(1)]] * 99)
    done = potstill("watch", id_, "--timeout", "0.2")
    assert (done.code, "has not finished within 0.2 s" in done.err) == (7, True)
    assert "is queued" in done.err, "where nothing comes yet, what it waits for is said"


def test_ctrl_c_detaches_and_says_so(potstill: Run, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("potstill.job.follow", interrupted)
    id_ = service.add(job())
    for command in ("watch", "logs -f"):
        done = potstill(*command.split(), id_)
        assert done.code == 130
        assert f"detached; the job goes on — potstill {command} {id_}" in done.err


def test_logs_by_type_and_followed(potstill: Run, service: Service) -> None:
    id_ = service.add(ended("succeeded"))
    service.events[id_] = [
        event(1, "status", "accepted"),
        event(2, "log", "one\ntwo"),
        event(3, "metrics", "m"),
        event(4, "warning", "w", level="warning"),
    ]
    lines = potstill("logs", id_).out.splitlines()
    assert [line[10:] for line in lines] == ["one", "two", "warning: w"]
    assert potstill("logs", "-f", id_).out.splitlines() == lines
    assert [json.loads(line)["seq"] for line in potstill("logs", id_, "--type", "status", "--json").out.splitlines()] == [1]


def test_streams_are_ndjson_and_end_with_the_job(potstill: Run, service: Service, spec: str) -> None:
    service.streams[job_id(1)].append([event(1), event(2), ended("succeeded")])
    lines = [json.loads(line) for line in potstill("submit", spec, "--watch", "--json").out.splitlines()]
    assert [line.get("object", line.get("seq")) for line in lines] == ["job", 1, 2, "job"]
    assert lines[-1]["status"] == "succeeded"


def test_validate(potstill: Run, spec: str) -> None:
    good = potstill("validate", spec)
    assert (good.code, good.out) == (0, "✓ valid       spec.yaml\n")
    assert "validated   digits · 1,437 rows · teacher 2.4 k → student 610 parameters · 2,000 steps" in good.err
    Path("bad.yaml").write_text("kind: train\n")
    bad = potstill("validate", "bad.yaml")
    assert bad.code == 1
    assert "/task: this field is required" in bad.err
    bad = potstill("validate", "bad.yaml", "--json")
    assert (bad.code, json.loads(bad.out)["valid"]) == (1, False)


def test_jobs_show_compare_metrics(potstill: Run, service: Service) -> None:
    for number in range(1, 31):
        service.add(ended("succeeded", number))
    some = potstill("jobs", "-n", "25")
    listed = some.out.splitlines()
    assert (len(listed), some.err) == (26, "there are more; -n 250 shows older ones\n")
    assert [len((found := potstill("jobs", "-n", many)).out.splitlines()) for many in ("30", "31")] == [31, 31] and found.err == ""
    assert listed[1].split()[:4] == [job_id(30), "digits-30", "distill", "succeeded"]
    assert len(json.loads(potstill("jobs", "--json").out)) == 20
    assert potstill("jobs", "--status", "failed").out == ""
    shown = potstill("show", job_id(3)).out
    assert "student  0.9300      0.9100 to 0.9500  600         2.6 kB  0.1 ms" in shown
    assert json.loads(potstill("show", "last", "--json").out)["id"] == job_id(30)
    compared = potstill("compare", job_id(1), job_id(2)).out
    assert "training.seed       1" in compared
    assert "training.epochs" not in compared  # the same in both
    assert json.loads(potstill("compare", "--all", "--json", job_id(1), job_id(2)).out)["parameters"]["training.epochs"] == [40, 40]
    assert potstill("compare", job_id(1)).code == 2
    assert "train/loss  student  42    20      0.05" in potstill("metrics", "last").out
    assert json.loads(potstill("metrics", "last", "--json").out)[0]["total_points"] == 20


def test_steering(potstill: Run, service: Service) -> None:
    id_ = service.add(job())
    assert "paused" in potstill("pause", id_).err
    assert "queued" in potstill("resume", id_).err
    assert json.loads(potstill("cancel", id_, "--json").out)["status"] == "cancelled"
    refused = potstill("rm", service.add(job(2)))
    assert (refused.code, "Cancel it first." in refused.err) == (1, True)
    service.jobs[id_] = ended("cancelled")
    assert potstill("retry", id_, "--fresh").out == job_id(3) + "\n"
    assert service.requests[-1][2] == {"fresh": ["true"]}
    assert potstill("rm", id_, "--dry-run").out == f"✓ would free  12.3 MB in 7 files · {id_}\n"
    assert id_ in service.jobs
    assert potstill("rm", id_).code == 0
    assert id_ not in service.jobs


def test_pull(potstill: Run, service: Service) -> None:
    id_ = service.add(ended("succeeded"))
    service.add_file(id_, "student/config.json", b"{}")
    done = potstill("pull", id_)
    assert (done.code, done.out) == (0, "digits-1-00000001\n")
    assert Path("digits-1-00000001/config.json").read_bytes() == b"{}"
    assert json.loads(potstill("pull", "last", "here", "--json").out) == {
        "job": id_,
        "path": "here",
        "files": ["student/config.json"],
        "bytes": 2,
    }
    service.others["models"]["mdl_1"] = {
        "id": "mdl_1",
        "name": "m",
        "task": "t",
        "job": id_,
        "config": {},
        "parameters": 6,
        "size_bytes": 1,
        "metadata": {},
    } | {"created_at": "2026-11-21T09:00:00Z"}
    assert potstill("models", "pull", "mdl_1", "there").out == "there\n"


def test_things(potstill: Run, service: Service) -> None:
    Path("t.csv").write_text("x,label\n1,a\n")
    id_ = potstill("datasets", "add", "t.csv", "--name", "tiny").out.strip()
    assert f"{id_}  tiny  csv" in potstill("datasets", "ls").out
    assert "label   string" in potstill("datasets", "show", id_).out
    assert json.loads(potstill("datasets", "show", id_, "--json").out)["preview"]["rows"] == [[1.5, "a"], [2.5, "b"]]
    assert potstill("datasets", "rm", id_).code == 0
    assert json.loads(potstill("datasets", "ls", "--json").out) == []
    Path("m").mkdir()
    Path("m/config.json").write_text("{}")
    Path("m/pytorch_model.bin").write_bytes(b"PK")
    refused = potstill("models", "push", "m")
    assert refused.code == 1 and "pickles" in refused.err
    Path("m/model.safetensors").write_bytes(b"")
    model = potstill("models", "push", "m").out.strip()
    assert model in potstill("models", "ls").out
    assert 'config.files  ["config.json", "model.safetensors"]' in potstill("models", "show", model).out
    assert potstill("models", "pull", model).code == 1
    assert potstill("keys", "create", "ci", "--scope", "read", "--expires", "90d").out == "psk_abcdef\n"
    assert json.loads(service.requests[-1][4]) == {"name": "ci", "scopes": ["read"], "expires_in_seconds": 90 * 86_400}
    assert "read  " in potstill("keys", "ls").out and "  valid" in potstill("keys", "ls").out
    service.others["keys"]["key_" + "1" * 32]["expires_at"] = "2020-01-01T00:00:00Z"
    assert "2020-01-01 00:00  expired" in potstill("keys", "ls").out
    wrong = potstill("keys", "create", "ci", "--expires", "soon")
    assert (wrong.code, "write it like 90d" in " ".join(wrong.err.split())) == (2, True)
    key = json.loads(potstill("keys", "ls", "--json").out)[0]
    assert key["secret"] is None
    assert potstill("keys", "rotate", key["id"], "--grace", "0").out == "psk_rotated\n"
    assert json.loads(service.requests[-1][4]) == {"grace_seconds": 0}
    assert potstill("keys", "rotate", key["id"]).code == 0
    assert json.loads(service.requests[-1][4]) == {"grace_seconds": 3600}
    assert potstill("keys", "revoke", key["id"]).code == 0
    assert "hinton  The classic." in potstill("recipes").out
    assert "alpha      0.7      Weight of the teacher." in potstill("recipes", "hinton").out
    missing = potstill("recipes", "nothing")
    assert (missing.code, "Known here: hinton." in missing.err) == (1, True)


def test_doctor(potstill: Run, service: Service) -> None:
    well = potstill("doctor")
    assert well.code == 0
    assert "✓ workers     1 alive, 2 slots" in well.out
    checks = {check["name"]: check for check in map(json.loads, potstill("doctor", "--json").out.splitlines())}
    assert checks["key"]["ok"] is True
    wrong = potstill("--key", "psk_wrong", "doctor")
    assert (wrong.code, "✗ key" in wrong.out) == (4, True)
    lost = potstill("--url", "http://127.0.0.1:1", "doctor")
    assert (lost.code, "Nothing answers at http://127.0.0.1:1" in lost.out) == (1, True)


def test_auth_and_errors(potstill: Run, service: Service) -> None:
    assert potstill("--key", "psk_wrong", "jobs").code == 4
    failed = potstill("show", "job_x", "--json")
    assert failed.code == 1
    assert json.loads(failed.err)["error"]["code"] == "job_not_found"
    service.first["GET /v1/jobs"].append(broken)
    assert "under req_1" in potstill("jobs").err


def test_usage_errors_are_2(potstill: Run) -> None:
    for wrong in (["submit"], ["jobs", "--limit", "many"], ["nonsense"], ["show"], ["jobs", "--metadata", "novalue"], []):
        assert potstill(*wrong).code == 2
    assert "Did you mean 'watch'" in potstill("wacth", "x").err


def test_unreadable_specs_are_one_line(potstill: Run) -> None:
    Path("list.yaml").write_text("- a\n")
    for name, said in (("absent.yaml", "No such file"), (".", "Is a directory"), ("list.yaml", "list.yaml: The YAML holds a list")):
        done = potstill("submit", name)
        assert done.code == 1
        assert said in done.err.splitlines()[0]
        assert "Traceback" not in done.err


def test_what_a_job_takes_is_told_before_it_runs(potstill: Run, service: Service, spec: str) -> None:
    parts = dict.fromkeys(("weights", "gradients", "optimizer", "activations", "rows", "teacher"), 0)
    machine = {"worker": "wrk_1", "host": "here", "processor": "a processor", "device": "cpu", "threads": 1, "slots": 2}
    estimate = {
        "parameters": {"student": 610}, "train_rows": 1437, "validation_rows": 0, "test_rows": 360, "runs": 6, "steps": 2000,
        "run_seconds": 3.41, "teacher_seconds": 0.2, "seconds": 10.4, "machine": machine, "notes": ["a bound"],
        "memory": {"total": 420_000_000, "process": 420_000_000, **parts},
        "disk": {"total": 1_200_000, "students": 1_200_000, "checkpoints": 0, "teacher_outputs": 0},
    }  # fmt: skip
    found = {"valid": True, "errors": [], "warnings": [], "resolved_spec": {"name": "small"}, "estimate": estimate}
    takes = "· takes       about 10.4 s · 6 runs of up to 3.4 s on 2 slots · the teacher's pass 0.2 s · here, cpu"
    for command, told in (
        ("validate", [takes, "· needs       420.0 MB of memory for each run · 1.2 MB of disk", "· note        a bound"]),
        ("submit", [takes]),
    ):
        service.first["POST /v1/jobs/validate"].append(lambda handler: handler.answer(found))
        said = potstill(command, spec).err.splitlines()
        assert [line for line in said if line.startswith("· ")] == told
    unknown = {**estimate, "seconds": None, "memory": None, "disk": None, "machine": None, "notes": [], "reason": "nobody has measured"}
    for command, told in (("validate", ["· takes       not known: nobody has measured"]), ("submit", [])):
        service.first["POST /v1/jobs/validate"].append(lambda handler: handler.answer(found | {"estimate": unknown}))
        assert [line for line in potstill(command, spec).err.splitlines() if line.startswith("· ")] == told
