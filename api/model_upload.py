"""Files of a model that somebody sends → a Model row. Weights as safetensors, all else as text; never pickle."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.orm import Session

from api import form_fields
from api.bodies import storable
from api.form_fields import Fields, shown
from api.idempotency import Created
from api.multipart import Form, Part
from api.quotas import Quotas
from api.safetensors import invalid, read_header
from contract.document import parse_mapping
from contract.errors import ErrorCode, InvalidData, Refused
from contract.model import CONFIG, INDEX, TEXTS, TOKENIZERS, WEIGHTS, ModelConfig, belongs, holds_weights
from contract.registry import TASKS
from contract.shapes import input_shape
from models.ids import new_id
from models.results import Model

FLOATS = frozenset({"F32", "F16", "BF16", "F64"})
BUFFERS = frozenset({"running_mean", "running_var", "num_batches_tracked"})  # of batch normalisation: saved, but no parameters


@dataclass(frozen=True)
class Content:
    """An accepted model: its bytes are stored, its row is not."""

    files: dict[str, Part]
    fields: Fields
    config: ModelConfig


def prepare(received: Form, keep: Callable[[Part], None]) -> Content:
    fields, files = form_fields.fields(received), _by_name(form_fields.files(received))
    config = _check(files)
    for part in files.values():
        keep(part)
    return Content(files, fields, config)


def store(session: Session, project_id: str, quotas: Quotas, content: Content) -> Created:
    size = sum(part.size for part in content.files.values())
    quotas.room_for_bytes(session, project_id, size)
    row = Model(
        id=new_id("mdl"),
        project_id=project_id,
        name=content.fields.name or content.config.arch,
        task=content.config.task,
        config=content.config.model_dump(mode="json"),
        files={name: {"sha256": part.sha256, "size_bytes": part.size} for name, part in content.files.items()},
        parameters=content.config.parameters,
        size_bytes=size,
        meta=dict(content.fields.metadata),
    )
    session.add(row)
    session.flush()
    return Created(201, row.view(), f"/v1/models/{row.id}")


def _by_name(parts: list[Part]) -> dict[str, Part]:
    """The parts by file name; only files a model may have, each once, weights and config among them."""
    found: dict[str, Part] = {}
    for part in parts:
        name = shown(part.filename or "")
        if not belongs(name):
            raise _refused(
                f"{name!r} is no file of a model here", f"Send {WEIGHTS}, {CONFIG} and, if you like, {', '.join(TEXTS)}; never pickles."
            )
        if name in found:
            raise _refused(f"{name} was sent twice", "Send each file once.")
        found[name] = part
    for name, there in ((WEIGHTS, any(map(holds_weights, found))), (CONFIG, CONFIG in found)):
        if not there:
            raise _refused(f"{name} is missing", f"With curl: -F file=@{WEIGHTS} -F file=@{CONFIG}")
    return found


def _check(files: dict[str, Part]) -> ModelConfig:
    """The config, once the files are what they say and the weights are those of the network it describes."""
    for name, part in files.items():
        if not holds_weights(name):
            _text(part.path, name)
    config = _config(files[CONFIG].path)
    tensors = [tensor for name in _weight_files(files) for tensor in read_header(files[name].path)]
    weights = [tensor for tensor in tensors if tensor.name.rpartition(".")[2] not in BUFFERS]
    odd = next((tensor for tensor in weights if tensor.dtype not in FLOATS), None)
    if odd is not None and not config.of_library:
        raise invalid(f"tensor {odd.name[:60]!r} holds {odd.dtype}; weights are {', '.join(sorted(FLOATS))}")
    if config.text is not None and not any(name in files for name in TOKENIZERS):
        raise _refused("a network that reads text needs its tokenizer", "Send tokenizer.json too, as save_pretrained writes it.")
    count = sum(tensor.values for tensor in weights if tensor.dtype in FLOATS)
    if config.of_library:
        return config.model_copy(update={"weights": count})
    if count != config.parameters:
        raise invalid(f"it holds {count:,} weights, and the {config.arch} described in {CONFIG} has {config.parameters:,}")
    return config


def _weight_files(files: dict[str, Part]) -> list[str]:
    """The one file of weights, or all those that the index of several names."""
    there = sorted(filter(holds_weights, files))
    if there == [WEIGHTS]:
        return there
    try:
        named = sorted(set(parse_mapping(files[INDEX].path.read_bytes())["weight_map"].values()))
    except (KeyError, TypeError, AttributeError, Refused):
        raise _refused(f"weights in several files need {INDEX}, which says what is where", "Send it too, or save them as one.") from None
    if named != there:
        raise _refused(f"{INDEX} names {', '.join(map(str, named))[:200]}, and {', '.join(there)[:200]} came", "Send exactly those.")
    return there


def _config(path: Path) -> ModelConfig:
    try:
        config = ModelConfig.read(storable(parse_mapping(path.read_bytes())))
        flaw = config.flaw()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise invalid(f"{place}: {first['msg']}", CONFIG) from None
    except Refused as error:
        raise invalid(error.detail.removeprefix("The body is ").rstrip("."), CONFIG) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise invalid(str(error)[:300], CONFIG) from None
    if not config.of_library:
        _ours(config)
    if flaw:
        raise invalid(flaw, CONFIG)
    if len(set(config.classes)) != len(config.classes):
        raise invalid("classes: one is named twice", CONFIG)
    return config


def _ours(config: ModelConfig) -> None:
    if config.task not in TASKS:
        raise invalid(f"task: {config.task[:60]!r} is not one of {', '.join(TASKS)}", CONFIG)
    if TASKS[config.task].reads == "text":
        return
    shape = tuple(config.shape)
    if any(size < 1 or size > 2**24 for size in shape) or input_shape(config.task, shape) != shape:
        raise invalid(f"shape: {config.shape} is not what {config.task} sees", CONFIG)


def _text(path: Path, name: str) -> None:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise invalid("it is not UTF-8 text", name) from None
    if "\0" in text:
        raise invalid("it holds binary data", name)


def _refused(why: str, hint: str) -> InvalidData:
    return InvalidData(f"file: {why}.", code=ErrorCode.INVALID_MODEL, param="file", hint=hint)
