"""`potstill run`: the engine in a folder that stays, run again after whatever ended it."""

import io
import json
import shutil
from pathlib import Path

import pytest
import typer
from engine_runs import SMALL, digest

from contract.errors import ErrorCode, JobError, PotstillError
from distill import checkpoint, finish
from distill.manifest import verify
from potstill.cli import engine as command

TRAINING = SMALL["training"] | {"checkpoint_every_seconds": 0, "keep": {"last": 2, "best": 1}}


@pytest.fixture
def local(tmp_path, monkeypatch):
    """local(**changes) runs SMALL, with a checkpoint at every step, into the same folder."""
    monkeypatch.setenv("POTSTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)

    def run(out=tmp_path / "out", **changes):
        (tmp_path / "spec.json").write_text(json.dumps(SMALL | {"training": TRAINING} | changes))
        command.run(str(tmp_path / "spec.json"), out, as_json=True)
        return out

    return run


def steps(out):
    return sorted(int(path.name) for path in (out / "checkpoints").iterdir())


def test_checkpoints_that_fall_out_of_retention_are_deleted(local, monkeypatch):
    """A run of days would fill the disk with them. At no moment are there more than are kept, and the one just written."""
    most, real = [], checkpoint.save

    def save(folder, *given):
        real(folder, *given)
        most.append(len(list(folder.parent.iterdir())))

    monkeypatch.setattr(checkpoint, "save", save)
    out = local()
    assert len(most) == 18
    assert max(most) == 4
    assert {17, 18} <= set(steps(out))
    assert len(steps(out)) <= 3
    for step in steps(out):
        verify(out / "checkpoints" / str(step))


@pytest.mark.parametrize("damaged", [False, True])
def test_it_goes_on_after_a_stop_and_drops_what_it_would_have_dropped(local, tmp_path, monkeypatch, damaged):
    expected = local(tmp_path / "undisturbed")
    monkeypatch.setattr(command.threading.Event, "is_set", lambda self: (tmp_path / "out" / "checkpoints" / "9").exists())
    with pytest.raises(typer.Exit):
        local()
    monkeypatch.undo()
    monkeypatch.setenv("POTSTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    out = tmp_path / "out"
    assert 9 in steps(out)
    if damaged:
        (out / "checkpoints" / "9" / "model.safetensors").write_bytes(b"")
    local()
    assert steps(out) == steps(expected)
    assert digest(out / "student" / "model.safetensors") == digest(expected / "student" / "model.safetensors")


def test_a_full_disk_says_how_to_go_on_without_a_service(local, tmp_path, monkeypatch):
    def full(*_):
        raise JobError("full", code=ErrorCode.DISK_FULL, hint="Free some space, then `potstill resume`.")

    with monkeypatch.context() as patch:
        patch.setattr(finish, "trained", full)
        with pytest.raises(JobError) as caught:
            local()
    assert caught.value.hint == "Free some space, then run the same command: it goes on from the last good checkpoint."
    assert digest(local() / "student" / "model.safetensors") == digest(local(tmp_path / "other") / "student" / "model.safetensors")


def test_it_ends_with_all_that_a_watcher_is_told(tmp_path, teacher, monkeypatch, capsys):
    """Verdict, arms, and what the diagnosis warns of, as `watch` has them."""
    monkeypatch.setenv("POTSTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    asked = {"kind": "distill", "teacher": {"path": str(teacher)}, "recipe": {"name": "hinton", "temperature": 0.05}}
    (tmp_path / "spec.json").write_text(json.dumps(SMALL | asked | {"evaluation": {"control": True}}))
    command.run(str(tmp_path / "spec.json"), tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    verdict, *below = capsys.readouterr().out.splitlines()
    assert verdict == f"✓ finished    {report['verdict']}"
    warned = report["diagnosis"]["warnings"]
    assert warned and below[-len(warned) :] == [f"! warning     {warning}" for warning in warned]
    assert [row.split()[0] for row in below[: -len(warned)]] == ["ARM", "teacher", "student", "control"]


@pytest.mark.parametrize("at", ["student", "report.json"])
def test_killed_between_the_last_moves_it_can_be_run_again(local, monkeypatch, at):
    """The student was in its place and the report was not: the second student must not land inside the first."""
    real = shutil.move

    def move(source, target):
        if Path(target).name == at:
            raise KeyboardInterrupt
        return real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(command.shutil, "move", move)
        with pytest.raises(KeyboardInterrupt):
            local()
    out = local()
    assert sorted(path.name for path in (out / "student").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (out / "report.json").exists()
    assert not (out / "result").exists()


def test_the_common_report_of_several_runs_is_whole_or_not_there(local, monkeypatch):
    """It says that all is finished: half of one would leave a folder that can neither be used nor run again."""
    real = Path.write_text

    def half(path, text):
        real(path, text[:100])
        raise OSError(28, "No space left on device")

    several = {"evaluation": {"seeds": 2}, "training": TRAINING | {"epochs": 1, "checkpoint_every_seconds": 300}}
    with monkeypatch.context() as patch:
        patch.setattr(command.Path, "write_text", lambda path, text: (half if path.parent.name == "out" else real)(path, text))
        with pytest.raises(OSError, match="No space left"):
            local(**several)
    out = local(**several)
    assert json.loads((out / "report.json").read_text())["verdict"]
    assert sorted(path.name for path in out.iterdir()) == ["report.json", "runs", "student"]


def test_runs_of_another_spec_are_not_put_together(local, tmp_path):
    """Half of the seeds trained for 3 epochs, half for 4 would still make one verdict."""
    out = local(evaluation={"seeds": 2}, training=SMALL["training"] | {"epochs": 1})
    (out / "report.json").unlink()
    shutil.rmtree(out / "runs" / "model-43")
    local(evaluation={"seeds": 2}, training=SMALL["training"] | {"epochs": 1}, name="another name")
    (out / "report.json").unlink()
    with pytest.raises(PotstillError, match="holds a finished run of another spec"):
        local(evaluation={"seeds": 2}, training=SMALL["training"] | {"epochs": 2})


def test_a_spec_may_come_from_standard_input(tmp_path, monkeypatch):
    monkeypatch.setenv("POTSTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    monkeypatch.setattr(command.sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(SMALL).encode())))
    command.run("-", tmp_path / "out", as_json=True)
    assert (tmp_path / "out" / "report.json").exists()
