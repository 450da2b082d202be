"""`evaluation.compare`: other recipes as arms beside the job's own, paired by seed, and what the report says of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_runs import small

from contract import evidence
from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.evidence import RunResult
from potstill.cli import engine as command

BESIDE = {"control": True, "seeds": 3, "compare": ["logit_mse", {"name": "hinton", "temperature": 1.0}, "hinton", "rkd"]}


def test_each_recipe_is_an_arm_of_the_same_student_teacher_and_budget(teacher: Path) -> None:
    spec = small(teacher, evaluation=BESIDE)
    runs = spec.runs()
    arms = ["student", "control", "logit_mse", "hinton", "hinton_2", "rkd"]
    assert [(run.arm, run.seed) for run in runs] == [(arm, seed) for seed in (42, 43, 44) for arm in arms]
    for run in runs:
        assert (run.spec.student, run.spec.data, run.spec.training.seed) == (spec.student, spec.data, run.seed)
        assert run.spec.teacher == (None if run.arm == "control" else spec.teacher)
    assert runs[3].spec.terms[0].temperature == 1.0 and runs[4].spec.terms[0].temperature == 4.0
    assert [term.loss for term in runs[5].spec.terms] == ["cross_entropy", "rkd"]
    assert spec.resolved().model_dump(mode="json")["evaluation"]["compare"][0] == {"name": "logit_mse", "alpha": 1.0}


def report(arm: str, right: list[bool], rows: str = "a") -> dict[str, Any]:
    """As of one run, with the figures that matter here."""
    cost = {"parameters": 10, "size_bytes": 40, "latency_ms": {"p50": 1.0}}

    def one(these: list[bool]) -> dict[str, Any]:
        metric = {"mean": float(np.mean(these)), "ci95": None}
        return {"metrics": {"accuracy": metric}, "rows_right": evidence.pack_bits(these), **cost}

    arms = {"model": one(right)} if arm == "control" else {"teacher": one([True] * len(right)), "student": one(right)}
    head = {"metric": "accuracy", "higher_is_better": True, "split": "test", "rows": len(right), "rows_sha256": rows}
    more = {"agreement": {"mean": 0.5}, "compression": 2.0, "teacher_outputs": {"mode": "live"}}
    return {**head, "arms": arms, **({} if arm == "control" else more)}


def test_the_report_says_how_each_compares(teacher: Path) -> None:
    draw = np.random.default_rng(0)
    shares = {"student": 0.8, "control": 0.7, "logit_mse": 0.9, "rkd": 0.6}
    right = {(arm, seed): (draw.random(400) < share).tolist() for arm, share in shares.items() for seed in (1, 2, 3)}
    runs = [RunResult(arm, seed, report(arm, these)) for (arm, seed), these in right.items()]
    found = evidence.combine(runs)
    assert found is not None and list(found["arms"]) == ["teacher", "student", "control", "logit_mse", "rkd"]
    mean = {key: float(np.mean(these)) for key, these in right.items()}
    for arm in ("logit_mse", "rkd"):
        for against, name in (("control", "gain"), ("student", "against_objective")):
            differences = [mean[arm, seed] - mean[against, seed] for seed in (1, 2, 3)]
            assert found["compared"][arm][name]["values"] == pytest.approx(differences)
            half = 4.3027 * np.std(differences, ddof=1) / np.sqrt(3)
            low, high = np.mean(differences) - half, np.mean(differences) + half
            assert found["compared"][arm][name]["ci95"] == pytest.approx([low, high], abs=1e-6)
    assert "Against it logit_mse: +" in found["verdict"] and ", better." in found["verdict"] and ", worse." in found["verdict"]
    assert found["handed_out_seed"] == 1
    alone = evidence.combine([run for run in runs if run.seed == 1])
    assert alone is not None
    differences = np.array(right["rkd", 1], dtype=int) - np.array(right["student", 1], dtype=int)
    won, lost = ((differences == side).sum() + 1 for side in (1, -1))  # Bonett and Price (2012) add one row to either side
    share, half = (won - lost) / 402, evidence.Z * np.sqrt(won + lost - (won - lost) ** 2 / 402) / 402
    assert alone["compared"]["rkd"]["against_objective"]["ci95"] == pytest.approx([share - half, share + half], abs=1e-6)


def test_an_arm_that_failed_is_told_and_the_others_stay() -> None:
    runs = [RunResult("student", 1, report("student", [True, False])), RunResult("rkd", 1, None, "it ended failed")]
    found = evidence.combine(runs)
    assert (
        found is not None and "compared" not in found and found["missing_runs"] == [{"arm": "rkd", "seed": 1, "reason": "it ended failed"}]
    )


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        ({"compare": ["hintn"]}, r"evaluation\.compare\.0\.name: 'hintn' is not one of"),
        ({"compare": ["hinton", "distilbert"]}, r"evaluation\.compare\.1: distilbert: distilbert is for masked-lm"),
        ({"compare": [{"name": "born_again"}]}, r"evaluation\.compare\.0: born_again is several jobs"),
        ({"compare": "hinton"}, r"evaluation\.compare: input should be a valid list"),
    ],
    ids=str,
)
def test_recipes_that_cannot_be_compared_are_refused_at_their_place(teacher: Path, evaluation: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        small(teacher, evaluation=evaluation)


def test_a_train_job_compares_nothing() -> None:
    with pytest.raises(InvalidSpec, match=r"evaluation\.compare\.0: a train job has no teacher to follow"):
        parse_spec({**small().model_dump(mode="json", exclude_none=True), "evaluation": {"compare": ["hinton"]}})


def test_they_run_without_a_service(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POTSTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    spec = small(teacher, evaluation={"control": True, "compare": ["logit_mse", "rkd"]}, training={"epochs": 1})
    (tmp_path / "spec.json").write_text(spec.model_dump_json(exclude_none=True))
    command.run(str(tmp_path / "spec.json"), tmp_path / "out", as_json=True)
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(found["compared"]) == {"logit_mse", "rkd"} and found["compared"]["rkd"]["gain"]["ci95"]
    assert (tmp_path / "out" / "student" / "model.safetensors").exists()
