"""LoRA through the peft library: adapters put into a transformer, and at the end added to its weights, so that what is handed out is a
network like any other."""

from pathlib import Path
from typing import Any

from torch import nn

from contract.errors import ErrorCode, InvalidSpec, JobError
from contract.lora import Lora
from contract.registry.tasks import LANGUAGE
from distill.networks.reading import LibraryNetwork

ADAPTER = "adapter"  # folder beside the merged weights
# What the libraries' attention calls the layers that make queries and values; of GPT-2 one layer makes both, and keys.
QUERIES_AND_VALUES = {"query", "value", "q_proj", "v_proj", "q_lin", "v_lin", "query_proj", "value_proj", "q", "v", "c_attn"}
PLACE = "student.lora"


def need() -> None:
    """JobError where the library is not installed here."""
    try:
        import peft  # noqa: F401
    except ImportError:
        raise JobError(
            "This worker cannot train with LoRA: it lacks the package peft.",
            code=ErrorCode.PACKAGE_MISSING,
            hint="Where the worker runs: pip install 'potstill[lora]'. Then `potstill retry`.",
        ) from None


def adapt(network: nn.Module, asked: Lora, task: str) -> None:
    """Puts adapters into the network, whose A are drawn from torch's random state and whose B are 0, and freezes all else but a head for
    classes, tags or spans. InvalidSpec where the layers asked for are not there, or narrower than the rank."""
    need()
    from peft import LoraConfig, inject_adapter_in_model

    assert isinstance(network, LibraryNetwork), "contract.lora.unadaptable is asked before"
    inner: Any = network.inner
    layers = _layers(inner)
    chosen = _chosen(layers, asked)
    for name in chosen:
        if (narrow := min(layers[name])) < asked.rank:
            raise InvalidSpec(
                f"{PLACE}.rank: {name} is {narrow} wide, and a rank of {asked.rank} would be no lower one.",
                code=ErrorCode.DOES_NOT_FIT,
                param=f"{PLACE}.rank",
                hint=f"At most {narrow}; 8 is usual.",
            )
    head = _head(inner, task)
    turned = any(not isinstance(inner.get_submodule(name), nn.Linear) for name in chosen)  # GPT-2's matrices stand the other way round
    settings = LoraConfig(
        r=asked.rank,
        lora_alpha=asked.alpha,  # type: ignore[arg-type]
        lora_dropout=asked.dropout,
        target_modules=chosen,
        fan_in_fan_out=turned,
    )
    inject_adapter_in_model(settings, inner)
    for name in head:
        inner.get_submodule(name).requires_grad_(True)


def merge(network: nn.Module, folder: Path, task: str) -> None:
    """Adds what the adapters learned to the weights, and takes them out; before that they go, with the head, to `folder` as peft writes
    them."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    assert isinstance(network, LibraryNetwork)
    inner: Any = network.inner
    head = _head(inner, task)
    learned = {f"base_model.model.{name}": tensor for name, tensor in get_peft_model_state_dict(inner).items()}
    learned |= {f"base_model.model.{of}.{name}": tensor for of in head for name, tensor in inner.get_submodule(of).state_dict().items()}
    settings = inner.peft_config["default"]
    settings.modules_to_save, settings.inference_mode = head or None, True
    settings.base_model_name_or_path = None  # a path of this machine at most
    folder.mkdir(parents=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in learned.items()}, folder / "adapter_model.safetensors")
    settings.save_pretrained(folder)
    for name, layer in list(inner.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            inner.set_submodule(name, layer.get_base_layer())
    del inner.peft_config
    network.requires_grad_(True)


def _layers(inner: nn.Module) -> dict[str, tuple[int, int]]:
    """The layers that could be adapted: of each the sizes of its matrix."""
    output: Any = inner.get_output_embeddings()  # type: ignore[operator]
    return {
        name: (layer.weight.shape[0], layer.weight.shape[1])
        for name, layer in inner.named_modules()
        if (isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D") and layer is not output
    }


def _chosen(layers: dict[str, tuple[int, int]], asked: Lora) -> list[str]:
    wanted = asked.targets or sorted(QUERIES_AND_VALUES)
    found = {target: [name for name in layers if name == target or name.endswith(f".{target}")] for target in wanted}
    missing = [target for target in wanted if not found[target]]
    if (asked.targets and missing) or not any(found.values()):
        there = ", ".join(sorted({name.rpartition(".")[2] for name in layers}))
        said = f"it has no layer called {', '.join(missing)}" if asked.targets else "its queries and values are called as nobody knows"
        raise InvalidSpec(
            f"{PLACE}.targets: {said}.", code=ErrorCode.DOES_NOT_FIT, param=f"{PLACE}.targets", hint=f"Its layers are called {there}."
        )
    return sorted({name for names in found.values() for name in names})


def _head(inner: Any, task: str) -> list[str]:
    """What stands above the pre-trained layers and was made for the task; of a language model nothing, it was trained with the rest."""
    if task in LANGUAGE:
        return []
    return [name for name, part in inner.named_children() if name != inner.base_model_prefix and any(True for _ in part.parameters())]
