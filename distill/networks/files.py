"""A network as files: model.safetensors, config.json and a card that says how to use them. Never pickle."""

import json
from hashlib import file_digest, sha256
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from contract.errors import ErrorCode, JobError
from contract.model import ModelConfig
from contract.shapes import DataShape
from distill.networks import library
from distill.networks.build import build
from distill.networks.reader import Reader
from distill.networks.reading import LibraryNetwork, TextNetwork

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def save(network: nn.Module, config: ModelConfig, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(network, LibraryNetwork):
        library.save(network, config, folder)
        return
    if isinstance(network, TextNetwork):
        network.reader.save(folder)
        network = network.inner
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config.model_dump(mode="json", exclude_none=True), indent=2) + "\n")


def load(folder: Path | str, task: str | None = None, made_for: DataShape | None = None) -> tuple[nn.Module, ModelConfig]:
    """The network in evaluation mode and its config. Not being for `task` and such rows, one of transformers gets a new head.
    JobError when the files are not what they should be."""
    folder = Path(folder)
    config = load_config(folder)
    if config.of_library:
        network, config = library.opened(folder, config, task or config.task or "text-classification", made_for or config.made_for)
        return network.eval(), config
    try:
        shape = (config.text.vocabulary,) if config.text else tuple(config.shape)
        inner = build(config.architecture, shape, len(config.classes), config.made_for.answers == "tags")
        inner.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError:
        raise _invalid(folder, f"{WEIGHTS} is missing") from None
    except (SafetensorError, RuntimeError) as error:
        raise _invalid(folder, str(error).splitlines()[0]) from None
    return (TextNetwork(inner, Reader.load(folder), config.text) if config.text else inner).eval(), config


def load_config(folder: Path) -> ModelConfig:
    try:
        config = ModelConfig.read(json.loads((folder / CONFIG).read_text()))
        flaw = config.flaw()
    except FileNotFoundError:
        raise _invalid(folder, f"{CONFIG} is missing") from None
    except (ValidationError, ValueError) as error:
        raise _invalid(folder, f"{CONFIG}: {str(error).splitlines()[0]}") from None
    if flaw:
        raise _invalid(folder, f"{CONFIG}: {flaw}")
    return config


def digest(folder: Path) -> str:
    """Hash of weights and config, which together say what the network computes."""
    config = json.dumps(json.loads((folder / CONFIG).read_text()), sort_keys=True)
    found = sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            found.update(file_digest(file, "sha256").digest())
    return sha256(found.digest() + config.encode()).hexdigest()


def weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _invalid(folder: Path, why: str) -> JobError:
    return JobError(
        f"{folder.name} is not a model Potstill can load: {why}.",
        code=ErrorCode.INVALID_MODEL,
        hint="A model is a folder with model.safetensors and config.json as a job's student has them.",
    )
