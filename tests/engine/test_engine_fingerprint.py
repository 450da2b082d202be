"""What decides the bits of a result, and what a resume says when it changed."""

import json

import pytest
import torch
from engine_runs import digest, small
from safetensors.torch import load_file, save_file

from contract.events import Finished, Resumed
from distill import device, loop, rng
from distill.device import fingerprint, threads

SPEC = small(student={"arch": "mlp", "hidden": [8], "dropout": 0.3})
CPU = torch.device("cpu")


@pytest.fixture
def saved(engine):
    """The checkpoint of step 7, to change."""
    return engine.run(SPEC, stop_after=7).checkpoint(7)


def rewritten(folder, name, content):
    """A file of the checkpoint with other content, or gone for None, and the manifest in order."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if content is None:
        (folder / name).unlink()
        del manifest["files"][name]
    else:
        content(folder / name)
        manifest["files"][name] = digest(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def resumed(engine, folder):
    ran = engine.run(SPEC, resume=[folder])
    assert isinstance(ran.outcome, Finished)
    (event,) = ran.of(Resumed)
    assert event.step == 7
    return event.inexact, ran.weights


def test_a_cpu_is_known_by_what_its_libraries_choose_their_kernels_by():
    found = fingerprint(CPU)
    assert found["vectors"] == torch.backends.cpu.get_cpu_capability()
    assert found["device_name"].split()[0] in ("x86_64", "aarch64", "arm64")
    assert found["onednn"] in torch.__config__.show()
    assert found["blas"]
    assert json.loads(json.dumps(found)) == found  # it travels in a checkpoint


INTEL = """processor\t: 0
cpu family\t: 6
model\t\t: 207
model name\t: Intel(R) Xeon(R) Processor
stepping\t: 2

"""
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (INTEL + INTEL.replace("207", "1"), "Intel(R) Xeon(R) Processor 6 207"),
        (ARM, "0x41 0xd40"),
        ("", ""),
        ("nonsense\n", ""),
        (None, ""),
    ],
    ids=["intel", "arm", "empty", "nonsense", "no such file"],
)
def test_the_processors_name_where_the_system_tells_it(tmp_path, monkeypatch, content, name):
    """Virtual machines all have one name for it, so the model's number counts. Elsewhere than on Linux there is no such file."""
    monkeypatch.setattr(device, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(device.platform, "machine", lambda: "somewhat")
    if content is not None:
        (tmp_path / "cpuinfo").write_text(content)
    assert fingerprint(CPU)["device_name"] == f"somewhat {name}".strip()


def test_the_same_machine_is_exact(engine, saved):
    assert resumed(engine, saved) == (None, engine.run(SPEC).weights)


def test_a_small_network_is_trained_by_one_thread_however_many_there_are(engine, saved):
    """To share so little out takes longer than to do it; and other numbers of threads change no bit."""
    with threads(2):
        assert resumed(engine, saved) == (None, engine.run(SPEC).weights)
        assert torch.get_num_threads() == 2
    assert [device.paying_threads(CPU, work) for work in (0, device.SHARED - 1)] == [1, 1]
    with threads(2):
        assert device.paying_threads(CPU, device.SHARED) == device.paying_threads(torch.device("cuda"), 0) == 2


def test_another_number_of_threads_is_said(engine, saved, monkeypatch):
    """Two threads sum in another order than one: the run goes on, and the job will be marked resumed_inexactly."""
    monkeypatch.setattr(device, "SHARED", 0)
    with threads(2):
        assert resumed(engine, saved)[0] == "threads 1 → 2"


@pytest.mark.parametrize("part", ["torch", "device_name", "vectors", "blas", "mkl", "onednn"])
def test_so_is_whatever_else_changed_from_what_to_what(engine, saved, monkeypatch, part):
    was = fingerprint(CPU)[part]
    monkeypatch.setattr(loop, "fingerprint", lambda device, bf16: fingerprint(device, bf16) | {part: "another"})
    assert resumed(engine, saved)[0] == f"{part} {was} → another"


def test_two_changes_are_both_said(engine, saved, monkeypatch):
    monkeypatch.setattr(loop, "fingerprint", lambda device, bf16: fingerprint(device, bf16) | {"blas": "x", "vectors": "y"})
    assert str(resumed(engine, saved)[0]).count(" → ") == 2


def test_a_fingerprint_that_says_less_or_more_is_another(engine, saved):
    """Of a version that did not know the vector instructions, or knew something else."""

    def change(path):
        document = json.loads(path.read_text())
        del document["identity"]["fingerprint"]["vectors"]
        document["identity"]["fingerprint"]["phase"] = "full moon"
        path.write_text(json.dumps(document))

    rewritten(saved, "state.json", change)
    assert resumed(engine, saved)[0] == f"vectors None → {fingerprint(CPU)['vectors']}, phase full moon → None"


@pytest.mark.parametrize("name", ["torch", "numpy", "numpy_position"])
def test_a_missing_random_state_is_said(engine, saved, name):
    def change(path):
        save_file({key: value for key, value in load_file(path).items() if key != name}, path)

    rewritten(saved, "rng.safetensors", change)
    assert resumed(engine, saved)[0] == f"the random state of {name.split('_')[0]} is missing"


def test_without_any_random_state_it_goes_on_from_one_of_its_own(engine, saved):
    """The same whenever it is resumed."""
    rewritten(saved, "rng.safetensors", None)
    torch.manual_seed(1)
    first = resumed(engine, saved)
    torch.manual_seed(2)
    assert resumed(engine, saved) == first
    assert first[0] == "the random state of torch is missing, the random state of numpy is missing"
    assert first[1] != engine.run(SPEC).weights


def test_what_is_missing_starts_from_a_seed_of_its_own():
    """Not from the run's, whose first numbers were drawn already."""
    torch.manual_seed(1)
    restore, missing = rng.prepared({}, None, seed=5)
    assert (missing[0], missing[-2:]) == ("torch", ["numpy", "python"])
    assert torch.initial_seed() == 1
    restore()
    assert torch.initial_seed() == 5


def test_python_s_state_counts_too(engine, saved):
    def change(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"python_random": None}))

    rewritten(saved, "state.json", change)
    assert resumed(engine, saved)[0] == "the random state of python is missing"
