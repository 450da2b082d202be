"""Teacher outputs are computed once for the same teacher and rows, and never taken for those of others."""

import fcntl
import json
import os
import shutil

import pytest
import torch
from engine_runs import SMALL, Counted, outputs_of, small
from safetensors.torch import load_file, save_file

from contract.check import parse_spec
from distill import cache
from distill import teacher as teacher_module
from distill.data import Split, load
from distill.inputs import Inputs
from distill.networks import load as load_network
from distill.networks import save as save_network
from distill.teacher import infer


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(teacher_module, "infer", found := Counted())
    return found


@pytest.fixture
def rows(tmp_path):
    spec = small()
    return load(spec, Inputs.local(spec, tmp_path)).train


def files(cache):
    """What the cache keeps; the locks beside it hold nothing."""
    found = sorted(path for path in cache.rglob("*") if path.is_file())
    assert all(path.stat().st_size == 0 for path in found if path.suffix == ".lock")
    return [path for path in found if path.suffix != ".lock"]


def test_built_then_hit_and_both_are_what_the_teacher_says_live(tmp_path, teacher, rows, counted):
    network, outputs = outputs_of(teacher, tmp_path)
    built = outputs(rows)
    hit = outputs(rows)
    again = outputs_of(teacher, tmp_path)[1](rows)  # another job
    assert [built.built.how, hit.built.how, again.built.how] == ["built", "hit", "hit"]
    assert counted.rows == [90]
    live = infer(network.network, network.config, rows)
    one_by_one = infer(network.network, network.config, rows, list(torch.arange(len(rows)).split(1)))
    for found in (built, hit, again):
        assert found.logits.dtype == torch.float32
        assert found.logits.equal(live)
        torch.testing.assert_close(found.logits, one_by_one, rtol=1e-6, atol=1e-5)
    assert built.summary() == {"mode": "cached", "cache": "built", "rows": 90, "bytes": 3600}


def test_a_sweep_pays_for_one_teacher_pass(engine, teacher, counted):
    """Many students, seeds, recipes and epochs: each row of train and of test goes through the teacher once."""
    reports = []
    for seed, hidden in enumerate([[4], [8], [8, 8], [16]]):
        recipe = {"name": "hinton", "temperature": 1.0 + seed}
        spec = small(teacher, student={"arch": "mlp", "hidden": hidden}, recipe=recipe, training={"seed": seed, "epochs": 1 + seed})
        reports.append(engine.run(spec).report)
    assert counted.rows == [90, 360]
    assert [report["teacher_outputs"]["cache"] for report in reports] == ["built", "hit", "hit", "hit"]
    assert len({report["arms"]["teacher"]["metrics"]["loss"]["mean"] for report in reports}) == 1


def test_a_resumed_run_reads_what_the_first_attempt_built(engine, teacher, counted):
    spec = small(teacher)
    cut = engine.run(spec, stop_after=4)
    engine.run(spec, resume=cut.checkpoints)
    assert counted.rows == [90, 360]


def test_the_key_changes_with_any_weight_of_the_teacher(tmp_path, teacher, rows, counted):
    outputs_of(teacher, tmp_path / "cache")[1](rows)
    network, config = load_network(teacher)
    with torch.no_grad():
        network[-1].bias[0] += 1e-3
    save_network(network, config, tmp_path / "other")
    found = outputs_of(tmp_path / "other", tmp_path / "cache")[1](rows)
    assert found.built.how == "built"
    assert found.logits.equal(infer(network, config, rows))


def test_the_key_changes_with_how_the_teacher_reads_its_inputs(tmp_path, teacher, rows, counted):
    """The same weights behind another divisor are another function."""
    outputs_of(teacher, tmp_path / "cache")[1](rows)
    other = shutil.copytree(teacher, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["input"]["divide"] = 8.0
    (other / "config.json").write_text(json.dumps(config))
    assert outputs_of(other, tmp_path / "cache")[1](rows).built.how == "built"


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: Split(rows.features.flip(0), rows.labels),
        lambda rows: Split(rows.features[:-1], rows.labels[:-1]),
        lambda rows: Split(torch.cat([rows.features[:-1], rows.features[-1:] ^ 1]), rows.labels),
        lambda rows: Split(rows.features.float(), rows.labels),
    ],
    ids=["order", "one row less", "one pixel", "number type"],
)
def test_the_key_changes_with_the_rows(tmp_path, teacher, rows, counted, change):
    """Keyed by position, shuffled or cut rows would be taught by the outputs of strangers."""
    network, outputs = outputs_of(teacher, tmp_path)
    outputs(rows)
    changed = change(rows)
    found = outputs(changed)
    assert found.built.how == "built"
    assert found.logits.equal(infer(network.network, network.config, changed))


def test_the_key_does_not_change_with_labels_names_or_paths(tmp_path, teacher, rows, counted):
    """The teacher never sees labels; a copied model is the same model."""
    outputs_of(teacher, tmp_path / "cache")[1](rows)
    copy = shutil.copytree(teacher, tmp_path / "elsewhere")
    (copy / "README.md").write_text("another card")
    found = outputs_of(copy, tmp_path / "cache")[1](Split(rows.features.clone(), rows.labels.flip(0)))
    assert found.built.how == "hit"


def test_neither_seed_nor_recipe_nor_job_order_makes_another_key(engine, teacher, counted):
    """The cache is the same set of files whichever job came first."""
    specs = [small(teacher, training={"seed": seed}, data={"max_train_samples": rows}) for seed in (1, 2) for rows in (50, 100)]
    for spec in specs:
        engine.run(spec)
    first = [path.name for path in files(engine.cache)]
    engine.cache = engine.home / "another"
    for spec in reversed(specs):
        engine.run(spec)
    assert [path.name for path in files(engine.cache)] == first
    assert len(first) == 3  # two sets of training rows, one of test rows


TEARS = {
    "empty": lambda whole: b"",
    "one byte": lambda whole: whole[:1],
    "half": lambda whole: whole[: len(whole) // 2],
    "zeros": lambda whole: bytes(len(whole)),
    "braces": lambda whole: b"{" * len(whole),
    "its second half never reached the disk": lambda whole: whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2),
    "one bit": lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
}


@pytest.mark.parametrize("tear", TEARS.values(), ids=TEARS)
def test_a_torn_file_is_built_again(tmp_path, teacher, rows, counted, tear):
    """A power cut may leave anything under the final name; it must never stop a job, let alone teach it."""
    _, outputs = outputs_of(teacher, tmp_path)
    expected = outputs(rows).logits
    (path,) = files(tmp_path)
    path.write_bytes(tear(path.read_bytes()))
    found = outputs(rows)
    assert found.built.how == "built"
    assert found.logits.equal(expected)
    assert outputs(rows).built.how == "hit"


@pytest.mark.parametrize("wrong", [{"logits": torch.zeros(89, 10)}, {"other": torch.zeros(90, 10)}, {"logits": torch.zeros(90, 3)}])
def test_a_file_of_another_shape_is_built_again(tmp_path, teacher, rows, wrong):
    _, outputs = outputs_of(teacher, tmp_path)
    expected = outputs(rows).logits
    (path,) = files(tmp_path)
    save_file(wrong, path)
    assert outputs(rows).logits.equal(expected)
    assert load_file(path)["logits"].equal(expected)


@pytest.mark.parametrize("end", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "killed"])
def test_a_failed_write_leaves_nothing_behind(tmp_path, teacher, rows, monkeypatch, end):
    """Half a file under a temporary name, once for each crash, would fill the disk."""

    def half(tensors, path, **_):
        path.write_bytes(b"half")
        raise end

    network, outputs = outputs_of(teacher, tmp_path)
    network.warn = str
    with monkeypatch.context() as patch:
        patch.setattr(cache, "save_file", half)
        if isinstance(end, KeyboardInterrupt):  # whoever is killed cleans nothing up
            patch.setattr(cache.shutil, "rmtree", lambda *_, **__: None)
            with pytest.raises(KeyboardInterrupt):
                outputs(rows)
            assert len(files(tmp_path)) == 1
        else:
            outputs(rows)
            assert files(tmp_path) == []
    assert outputs(rows).built.how == "built"
    assert len(files(tmp_path)) == 1
    assert list(tmp_path.rglob(".*")) == []


def test_outputs_can_be_trained_on(tmp_path, teacher, rows):
    """Tensors made in inference mode cannot enter autograd: the first backward pass would fail, but only when built and not when hit."""
    _, outputs = outputs_of(teacher, tmp_path)
    for found in (outputs(rows), outputs(rows)):
        assert not found.logits.is_inference()
        assert not found.logits.requires_grad
        student = torch.zeros(90, 10, requires_grad=True)
        (student - found.logits).square().mean().backward()


def test_a_teacher_is_asked_once_even_when_no_term_listens(engine, teacher, counted):
    """The report compares with the teacher whatever the objective, so its outputs on the test rows are always wanted."""
    spec = parse_spec(SMALL | {"kind": "distill", "teacher": {"path": str(teacher)}, "objective": [{"loss": "cross_entropy"}]})
    assert engine.run(spec).report["agreement"]["mean"] > 0
    assert counted.rows == [90, 360]


def test_a_hit_counts_as_use(tmp_path, teacher, rows):
    """Where the cache is full, what was not used for longest goes first."""
    outputs = outputs_of(teacher, tmp_path)[1]
    outputs(rows)
    (kept,) = files(tmp_path)
    os.utime(kept, (0, 0))
    outputs(rows)
    assert kept.stat().st_mtime > 1e9


def test_who_helps_waits_for_nobody_and_what_it_made_counts_for_whom_it_helped(tmp_path, teacher, rows, monkeypatch):
    """Ninety rows in nine parts."""
    monkeypatch.setattr(teacher_module, "BATCH", 10)
    monkeypatch.setattr(teacher_module, "PART", 0)

    def share(attempt, waits=True):
        return (
            teacher_module.Teacher(teacher, cache.Cache(tmp_path, None, attempt, waits), torch.device("cpu"), pytest.fail)
            .outputs(rows)
            .built.share
        )

    assert share("job_1/1", waits=False) == 1
    assert [share(attempt) for attempt in ("job_1/1", "job_1/2", "")] == [1, 0, 0]
    path = next(tmp_path.rglob("*.safetensors"))
    path.unlink()
    with path.with_suffix(".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(cache.ElsewhereError):
            share("job_1/1", waits=False)
    assert not path.exists()
    assert share("job_2/1") == pytest.approx(1 / 9)
    assert share("job_1/1") == pytest.approx(8 / 9)
