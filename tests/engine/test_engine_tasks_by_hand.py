"""Several tasks as a person without a service meets them: `potstill run`, chains, the report's tables, one row's answers, and refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
from engine_runs import Engine
from engine_tasks import alone, sources, tasks, write_tasks
from engine_texts import STUDENTS, texts

import potstill.cli.engine as command
from contract.chains import links
from contract.errors import InvalidData, InvalidSpec
from contract.spec import JobSpec
from distill.predict import probabilities, read_row
from potstill.cli.predict import _columns, _refuse_unknown, _show
from potstill.cli.report import report_table


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tasks(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, paths: dict[str, Path]) -> dict[str, Path]:
    engine = Engine(tmp_path_factory.mktemp("taught"))
    return {name: engine.run(alone(paths, name)).student for name in paths}


def by_hand(spec: JobSpec, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("POTSTILL_HOME", str(folder / "home"))
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    (folder / "spec.json").write_text(spec.model_dump_json(exclude_none=True))
    command.run(str(folder / "spec.json"), folder / "out", as_json=True)
    found: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text())
    return found


def test_a_run_tells_the_figures_of_each_task(
    tmp_path: Path, paths: dict[str, Path], taught: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tasks(paths, taught, recipe="bam", data={"sampling": 0.75}, evaluation={"control": True, "seeds": 2, "compare": ["mt_dnn_kd"]})
    report = by_hand(spec, tmp_path, monkeypatch)
    assert list(report["arms"]) == ["teacher", "student", "control", "mt_dnn_kd"]
    for arm in report["arms"].values():
        assert {"accuracy/mood", "accuracy/thing"} <= set(arm["metrics"]) and arm["metrics"]["accuracy/mood"]["ci95"]
    assert len(report["arms"]["student"]["metrics"]["accuracy/thing"]["values"]) == 2
    capsys.readouterr()
    report_table(report)
    shown = capsys.readouterr().out
    mood = next(line for line in shown.splitlines() if "mood" in line)
    assert "TASK" in shown and f"{report['arms']['control']['metrics']['accuracy/mood']['mean']:.4f}" in mood
    assert report["teacher_outputs"]["passes"] == 1 and set(report["teacher_outputs"]["tasks"]) == {"mood", "thing"}


def test_generations_of_several_tasks(
    tmp_path: Path, paths: dict[str, Path], taught: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second generation has one teacher: the first, which knows all tasks."""
    spec = tasks(paths, taught, recipe={"name": "born_again", "generations": 2}, training={"epochs": 1})
    first, last = links(spec)
    assert list(first.refs()) == ["teacher.tasks.mood", "teacher.tasks.thing"] and last.teacher.job == "@born_again-generation-1"
    assert by_hand(spec, tmp_path, monkeypatch)["arms"]["teacher"]["metrics"]["accuracy/mood"]
    with pytest.raises(InvalidSpec, match=r"recipe\.corpus: of several tasks none is the plain text to read"):
        links(tasks(paths, taught, student=STUDENTS["bert"], recipe="well_read"))


def test_a_row_is_answered_for_every_task(
    tmp_path: Path, paths: dict[str, Path], taught: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tasks(paths, taught)
    student = Engine(tmp_path / "engine").run(spec).student
    pair = read_row(f"{paths['mood']}:3", spec.task, _columns(spec, "mood"))
    assert [len(column) for column in pair.texts] == [1, 1] and pair.texts[0] == ["which mood is it ?"]
    for row in (pair, read_row("a hammer", spec.task, _columns(spec, None))):
        said = probabilities(student, row)
        for told in said["tasks"].values():
            assert all(sum(p) == pytest.approx(1) for name, p in told.items() if name != "classes")
        _show("a hammer", {"student": said})
        shown = capsys.readouterr().out
        assert "a hammer · mood" in shown and "a hammer · thing" in shown and "fruit" in shown and "thing/" not in shown
    _refuse_unknown("mood", spec)
    for task, job, hint in (("moods", spec, "mood, thing"), ("mood", alone(paths, "mood"), "it has but one")):
        with pytest.raises(InvalidSpec, match=f"--task: the job has no task {task}") as caught:
            _refuse_unknown(task, job)
        assert hint in caught.value.hint


def of_mood(paths: dict[str, Path], **change: Any) -> dict[str, Any]:
    found = sources(paths)
    return {"train": {"tasks": {**found, "mood": {**found["mood"], **change}}}, "validation": 0.3}


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"columns": {}}, "data.train.tasks.mood.columns.label", "no column is called `label`"),
        ({"columns": {"text": "question", "label": "kinds"}}, "data.train.tasks.mood.columns.label", "there is no column 'kinds'"),
        ({"columns": {"text": "answer", "label": "kind"}}, "data.train.tasks.mood.columns.text", "there is no column 'answer'"),
        ({"split": "dev"}, "data.train.tasks.mood", "there is no split 'dev'"),
        ({"path": "/nowhere.csv"}, "data.train.tasks.mood.path", "there is nothing at /nowhere.csv"),
    ],
    ids=str,
)
def test_what_is_wrong_with_one_source_names_its_task(
    engine: Engine, paths: dict[str, Path], change: dict[str, Any], param: str, said: str
) -> None:
    with pytest.raises((InvalidSpec, InvalidData)) as caught:
        engine.run(tasks(paths, data=of_mood(paths, **change)))
    assert caught.value.param == param and said in caught.value.detail and caught.value.detail.startswith("data.train.tasks.mood")


def test_rows_with_any_number_of_classes_are_no_task(engine: Engine, paths: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_text("".join(json.dumps({"text": f"row {i}", "labels": ["a", "b"][: i % 3]}) + "\n" for i in range(20)))
    data = {"train": {"tasks": {**sources(paths), "mood": {"path": str(path)}}}, "validation": 0.3}
    with pytest.raises(InvalidSpec, match=r"data\.train\.tasks\.mood\.columns\.label: it holds lists"):
        engine.run(tasks(paths, data=data))


def test_teachers_that_do_not_fit_are_named(engine: Engine, paths: dict[str, Path], taught: dict[str, Path]) -> None:
    turned = {"mood": taught["thing"], "thing": taught["mood"]}
    with pytest.raises(InvalidSpec, match=r"teacher\.tasks\.mood: it knows 2 classes \(fruit, tool\); data\.train\.tasks\.mood has 3"):
        engine.run(tasks(paths, turned))
    one = texts(paths["thing"], taught["thing"])
    both = {"mood": taught["mood"], "thing": {"ensemble": [{"path": str(taught["thing"])}, {"path": str(taught["mood"])}]}}
    with pytest.raises(InvalidSpec, match=r"teacher\.tasks\.thing\.ensemble\.1: it knows 3 classes"):
        engine.run(tasks(paths, both))
    other = engine.run(texts(paths["thing"], tokenizer={"vocabulary": 300}, training={"epochs": 1})).student
    both["thing"]["ensemble"][1] = {"path": str(other)}
    with pytest.raises(InvalidSpec, match=r"teacher\.tasks\.thing\.ensemble\.1: its tokenizer is not the first member's"):
        engine.run(tasks(paths, both))
    with pytest.raises(InvalidSpec, match="it knows 5 classes"):  # a network of several tasks teaches none alone
        engine.run(texts(paths["thing"], engine.run(tasks(paths, training={"epochs": 1})).student))
    assert engine.run(one).report["verdict"]
