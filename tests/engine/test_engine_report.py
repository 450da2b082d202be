"""The report of a run has the shape the contract fixes, and its figures follow from each other."""

import json
import math

import numpy as np
import pytest
import torch
from engine_runs import Engine, small
from sklearn.metrics import precision_recall_fscore_support

from contract.evidence import RunResult, best_seed, combine, pack_bits, statistic, unpack_bits
from distill.data.builtin import digits
from distill.data.load import load as load_data
from distill.device import threads
from distill.inputs import Inputs
from distill.networks import load
from distill.spent import Spent
from distill.teacher import infer

STATISTIC = {"mean", "std", "ci95", "values"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, teacher):
    """One job of each kind, and the fixture's teacher measured by itself."""
    engine = Engine(tmp_path_factory.mktemp("reports"))
    with threads(1):
        trained = engine.run(small())
        return {
            "train": trained,
            "distill": engine.run(small(teacher)),
            "evaluate": engine.run(small(kind="evaluate", student={"path": str(trained.student)})),
            "teacher": engine.run(small(kind="evaluate", student={"path": str(teacher)})),
        }


def check_statistic(found, count=1):
    assert found.keys() == STATISTIC
    assert len(found["values"]) == count
    assert found["mean"] == pytest.approx(sum(found["values"]) / count)
    assert found["std"] == 0.0
    if found["ci95"] is not None:
        low, high = found["ci95"]
        assert low <= found["mean"] <= high


def check_arm(arm):
    assert {"metrics", "parameters", "size_bytes", "latency_ms", "rows_per_second"} <= arm.keys()
    assert arm["metrics"].keys() == {"accuracy", "loss", "f1", "mcc", "calibration_error"}
    for metric in arm["metrics"].values():
        check_statistic(metric)
        assert metric["ci95"] is not None  # of one seed: over rows
    assert arm["latency_ms"].keys() == {"batch", "threads", "p50"}
    assert (arm["latency_ms"]["batch"], arm["latency_ms"]["threads"]) == (1, 1)
    assert arm["latency_ms"]["p50"] > 0
    assert arm["rows_per_second"].keys() == {"batch", "value"}
    assert arm["rows_per_second"]["batch"] == 64


@pytest.mark.parametrize("kind", ["train", "evaluate", "distill"])
def test_every_report_has_the_contracts_head_and_arms(runs, kind):
    report = runs[kind].report
    assert (report["metric"], report["higher_is_better"], report["split"], report["rows"]) == ("accuracy", True, "test", 360)
    assert set(report["arms"]) == ({"teacher", "student"} if kind == "distill" else {"model"})
    for arm in report["arms"].values():
        check_arm(arm)


@pytest.mark.parametrize("kind", ["train", "evaluate", "distill"])
def test_it_is_json_that_any_reader_can_read_and_the_file_is_the_event(runs, kind):
    """No NaN, no infinity, and what was announced is what lies on the disk."""
    ran = runs[kind]
    text = (ran.folder / "result" / "report.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == ran.report


def test_a_distilled_student_is_compared_with_its_teacher(runs):
    report = runs["distill"].report
    teacher, student = report["arms"]["teacher"], report["arms"]["student"]
    for name in ("agreement", "retained"):
        check_statistic(report[name])
    assert report["retained"]["mean"] == pytest.approx(student["metrics"]["accuracy"]["mean"] / teacher["metrics"]["accuracy"]["mean"])
    assert report["compression"] == pytest.approx(teacher["parameters"] / student["parameters"])
    assert report["speedup"] == pytest.approx(teacher["latency_ms"]["p50"] / student["latency_ms"]["p50"])
    assert report["teacher_outputs"].items() >= {"mode": "cached", "cache": "built", "rows": 90, "bytes": 3600}.items()
    assert teacher["parameters"] == 64 * 32 + 32 + 32 * 10 + 10


def test_the_teachers_arm_is_what_an_evaluate_job_measures(runs):
    """The same rows, the same metric: a teacher must not look worse beside its student than alone."""
    assert runs["distill"].report["arms"]["teacher"]["metrics"] == runs["teacher"].report["arms"]["model"]["metrics"]


def test_evaluating_a_trained_model_gives_its_own_report_again(runs):
    assert runs["evaluate"].report["arms"]["model"]["metrics"] == runs["train"].report["arms"]["model"]["metrics"]
    assert runs["evaluate"].outcome.model is None


def test_agreement_is_a_share_of_rows_with_an_interval_over_them(runs):
    """One seed: the contract promises an interval over rows, and a share of rows has one."""
    found = runs["distill"].report["agreement"]
    assert found["mean"] * 360 == pytest.approx(round(found["mean"] * 360))
    low, high = found["ci95"]
    assert 0 <= low < found["mean"] < high <= 1


def test_without_a_control_arm_nothing_is_claimed(runs):
    """A student that beats nothing has not shown that the teacher helped."""
    report = runs["distill"].report
    assert (report["gain"], report["gap_recovered"]) == (None, None)
    assert report["gap_recovered_reason"] == "no control arm was run"
    assert "it cannot be told what the teacher added" in report["verdict"]


@pytest.mark.parametrize("kind", ["train", "evaluate", "distill"])
def test_one_seed_is_called_one_run(runs, kind):
    """One seed proves nothing here: the sentence has to begin with it."""
    assert runs[kind].report["verdict"].startswith("One run: ")
    assert "\n" not in runs[kind].report["verdict"]


def test_rows_that_were_right_add_up_to_the_accuracy(runs):
    """They are what pairs two runs row by row."""
    for kind, arm in [("train", "model"), ("distill", "teacher"), ("distill", "student")]:
        found = runs[kind].report["arms"][arm]
        assert sum(unpack_bits(found["rows_right"], 360)) == round(360 * found["metrics"]["accuracy"]["mean"])


def test_the_figures_of_each_class_are_scikit_learns(runs, teacher, tmp_path):
    """Of what the files handed out say of the rows."""
    rows = load_data(small(), Inputs.local(small(), tmp_path)).test
    for arm, folder in (("student", runs["distill"].student), ("teacher", teacher)):
        said = infer(*load(folder), rows).argmax(1)
        right = dict(zip(("precision", "recall", "f1"), precision_recall_fscore_support(rows.labels, said, zero_division=0), strict=False))
        for name, values in right.items():
            found = [row["arms"][arm][name] for row in runs["distill"].report["per_class"]]
            assert found == pytest.approx(values.tolist())
    told = [(row["class"], row["rows"]) for row in runs["distill"].report["per_class"]]
    assert told == [(str(digit), int((rows.labels == digit).sum())) for digit in range(10)]


def test_gains_of_a_class_are_paired_by_seed():
    """Two seeds: of the first class F1 rises by 1/3 and 1/2, of the second by 1/5 and 1/2."""

    def one(*counts):
        return {
            "metrics": {"accuracy": statistic([0.5])},
            "parameters": 1,
            "latency_ms": {"p50": 1.0},
            "by_class": [list(row) for row in counts],
        }

    head = {"metric": "accuracy", "higher_is_better": True, "split": "test", "rows": 4, "rows_sha256": "x", "validation": None}
    more = {"agreement": {"mean": 0.5}, "compression": 2.0, "teacher_outputs": {"mode": "live"}}
    with_teacher = [(("a", 2, 2, 2), ("b", 2, 2, 2)), (("a", 2, 2, 1), ("b", 2, 2, 1))]
    alone = [(("a", 2, 1, 1), ("b", 2, 3, 2)), (("a", 2, 2, 0), ("b", 2, 2, 0))]
    runs = []
    for seed in (0, 1):
        arms = {"teacher": one(("a", 2, 2, 2), ("b", 2, 2, 2)), "student": one(*with_teacher[seed])}
        runs.append(RunResult("student", seed, {**head, **more, "arms": arms, "mean_kl": 0.1 + 0.2 * seed}))
        runs.append(RunResult("control", seed, {**head, "arms": {"model": one(*alone[seed])}}))
    report = combine(runs)
    first, second = report["per_class"]
    assert first["gain"]["values"] == pytest.approx([1 / 3, 1 / 2]) and second["gain"]["values"] == pytest.approx([1 / 5, 1 / 2])
    assert first["gain"]["ci95"] == pytest.approx(statistic([1 / 3, 1 / 2])["ci95"])
    assert first["arms"]["control"] == pytest.approx({"recall": 1 / 4, "precision": 1 / 2, "f1": 1 / 3})
    assert report["mean_kl"] == pytest.approx(0.2)
    assert "per_class" in combine(runs[:1]) and "gain" not in combine(runs[:1])["per_class"][0]


def test_what_training_took_is_told_of_who_was_trained(runs):
    for kind, arms in {"train": {"model": True}, "evaluate": {"model": False}, "distill": {"student": True, "teacher": False}}.items():
        for arm, trained in arms.items():
            spent = runs[kind].report["arms"][arm].get("training")
            assert (spent is not None) == trained
            assert not trained or (spent["seconds"] > 0 and spent["peak_memory"] > 50e6)


def test_memory_that_was_held_before_the_training_is_not_its_own():
    held = torch.ones(75_000_000)  # 300 MB
    del held
    spent = Spent(torch.device("cpu"), step=10)
    before = spent.told(20)["peak_memory"]
    held = torch.ones(75_000_000)
    del held
    assert 250e6 < spent.told(20)["peak_memory"] - before < 350e6
    assert spent.told(10) is None, "of no step nothing is known"
    assert spent.told(30)["seconds"] > spent.told(20)["seconds"] * 0.7


def test_size_is_that_of_the_file(runs):
    size = (runs["train"].student / "model.safetensors").stat().st_size
    assert runs["train"].report["arms"]["model"]["size_bytes"] == size
    assert runs["distill"].report["arms"]["student"]["size_bytes"] == size


def test_a_teacher_that_is_never_right_divides_nothing_by_zero(engine, teacher, npz):
    """Accuracy 0 has no share to retain: null, and a report all the same."""
    features, labels = digits()["test"]
    ran = engine.run(small(kind="evaluate", student={"path": str(teacher)}))
    wrong = np.flatnonzero(~np.array(unpack_bits(ran.report["arms"]["model"]["rows_right"], 360), dtype=bool))
    assert len(wrong) > 3
    # Rows that this teacher gets wrong, as a test set of their own.
    path = npz(x_train=features[wrong], y_train=labels[wrong])
    spec = small(teacher, data={"test": {"path": path, "split": "train"}})
    report = engine.run(spec).report
    assert report["arms"]["teacher"]["metrics"]["accuracy"]["mean"] == 0.0
    assert report["retained"] is None
    assert math.isfinite(report["agreement"]["mean"])


def test_a_report_on_validation_rows_says_so(engine, npz):
    path = npz(x_train=np.random.default_rng(0).random((40, 4)), y_train=np.arange(40) % 2)
    data = {"train": {"path": path}, "max_train_samples": None, "validation": 0.25}
    report = engine.run(small(task="tabular-classification", data=data)).report
    assert (report["split"], report["rows"]) == ("validation", 10)
    assert "10 validation rows" in report["verdict"]


@pytest.mark.parametrize(
    ("metric", "values", "said"),
    [
        ("accuracy", (0.90, 0.80, 0.70), "Distillation helped: +10.0 points (95 % +9.0 to +11.0), 50 % of the gap recovered."),
        (
            "perplexity",
            (10.0, 20.0, 30.0),
            "Distillation helped: +10.00 less perplexity (95 % +9.90 to +10.10), 50 % of the gap recovered.",
        ),
        ("perplexity", (10.0, 30.0, 20.0), "Distillation hurt: -10.00 less perplexity (95 % -10.10 to -9.90)."),
    ],
)
def test_the_verdict_counts_in_the_units_of_its_metric(metric, values, said):
    """Three seeds whose gains differ by so much that the interval is as wide as said, by Student's t with two degrees of freedom."""
    higher = metric == "accuracy"
    half = 0.01 if higher else 0.1
    spread = half / 4.3027 * 3**0.5
    reports = []
    for arm, middle in (("student", values[1]), ("control", values[2])):
        for seed, shift in enumerate((-spread, 0.0, spread)):
            value = middle + (shift if arm == "student" else 1e-9 * seed)  # were they equal to the digit, they would say nothing
            measured = {"metrics": {metric: statistic([value])}, "parameters": 1, "latency_ms": {"p50": 1.0}, "rows_right": None}
            teacher = {
                "metrics": {metric: statistic([values[0]])},
                "parameters": 2,
                "latency_ms": {"p50": 2.0},
                "rows_right": None,
            }
            arms = {"teacher": teacher, "student": measured} if arm == "student" else {"model": measured}
            head = {"metric": metric, "higher_is_better": higher, "split": "test", "rows": 10, "rows_sha256": "x", "validation": None}
            more = {"agreement": {"mean": 0.5}, "compression": 2.0, "teacher_outputs": {"mode": "live"}, "mean_kl": 0.1}
            reports.append(RunResult(arm, seed, {**head, **more, "arms": arms}))
    assert combine(reports)["verdict"].endswith(said)


def test_a_gain_that_the_rows_at_hand_alone_show_says_so():
    """All seeds gain the same two rows of twenty, or nearly: other seeds would, too; other rows might not."""
    reports = []
    for seed in range(4):
        for arm, right in (("student", [True] * (12 + seed % 2) + [False] * (8 - seed % 2)), ("control", [True] * 10 + [False] * 10)):
            measured = {"metrics": {"accuracy": statistic([sum(right) / 20])}, "parameters": 1, "latency_ms": {"p50": 1.0}}
            measured["rows_right"] = pack_bits(right)
            teacher = {**measured, "metrics": {"accuracy": statistic([0.9])}, "rows_right": None}
            arms = {"teacher": teacher, "student": measured} if arm == "student" else {"model": measured}
            head = {"metric": "accuracy", "higher_is_better": True, "split": "test", "rows": 20, "rows_sha256": "x", "validation": None}
            more = {"agreement": {"mean": 0.5}, "compression": 2.0, "teacher_outputs": {"mode": "live"}, "mean_kl": 0.1}
            reports.append(RunResult(arm, seed, {**head, **more, "arms": arms}))
    report = combine(reports)
    assert report["gain"]["ci95"][0] > 0 > report["gain"]["ci95_rows"][0]
    assert "Distillation helped: +12.5 points (95 % +7.9 to +17.1)" in report["verdict"]
    assert report["verdict"].endswith("These are few test rows: counting their draw, too, it is +12.5 points (95 % -2.2 to +27.2).")


def test_seeds_that_agree_to_the_digit_say_nothing_of_their_spread():
    assert statistic([0.02, 0.02])["ci95"] is None
    assert statistic([0.02, 0.02], (0.01, 0.03))["ci95"] == [0.01, 0.03]


@pytest.mark.parametrize(
    ("metric", "validation", "handed_out"),
    [
        ("chrf", [{"loss": 0.9}, {"loss": 0.1}], 43),
        ("f1", [{"loss": 0.9, "accuracy": 0.9}, {"loss": 0.1, "accuracy": 0.1}], 43),
        ("accuracy", [{"loss": 0.9, "accuracy": 0.9}, {"loss": 0.1, "accuracy": 0.1}], 42),
        ("accuracy", [None, None], 42),
    ],
)
def test_what_is_not_measured_during_training_is_judged_by_the_loss(metric, validation, handed_out):
    runs = [
        RunResult("student", seed, {"metric": metric, "higher_is_better": True, "validation": found})
        for seed, found in zip((42, 43), validation, strict=True)
    ]
    assert best_seed(runs) == handed_out
