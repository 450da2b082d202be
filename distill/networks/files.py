"""A network as files: model.safetensors, config.json and a card that says how to use them. Never pickle."""

import json
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from contract.errors import ErrorCode, JobError
from contract.model import ModelConfig
from distill.networks.build import build

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def save(network: nn.Module, config: ModelConfig, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config.model_dump(mode="json"), indent=2) + "\n")


def load(folder: Path | str) -> tuple[nn.Sequential, ModelConfig]:
    """The network in evaluation mode and its config. JobError when the files are not what they should be."""
    folder = Path(folder)
    config = load_config(folder)
    try:
        network = build(config.architecture, tuple(config.shape), len(config.classes))
        network.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError:
        raise _invalid(folder, f"{WEIGHTS} is missing") from None
    except (SafetensorError, RuntimeError) as error:
        raise _invalid(folder, str(error).splitlines()[0]) from None
    return network.eval(), config


def load_config(folder: Path) -> ModelConfig:
    try:
        config = ModelConfig.model_validate_json((folder / CONFIG).read_text())
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
    config = json.dumps(load_config(folder).model_dump(mode="json"), sort_keys=True)
    return sha256((folder / WEIGHTS).read_bytes() + config.encode()).hexdigest()


def _invalid(folder: Path, why: str) -> JobError:
    return JobError(
        f"{folder.name} is not a model Potstill can load: {why}.",
        code=ErrorCode.INVALID_MODEL,
        hint="A model is a folder with model.safetensors and config.json as a job's student has them.",
    )
