"""How a trained network is written for other programs, and which cannot be."""

from typing import Literal

from pydantic import Field

from contract.base import Sent

MOST_PARAMETERS = 500_000_000  # a file of ONNX holds 2 GiB at most, and a parameter takes four bytes


class Export(Sent):
    """What an `export` job writes."""

    format: Literal["onnx"] = Field(default="onnx", description="ONNX, which onnxruntime runs without PyTorch: `model.onnx`.")
    quantize: Literal["int8", "none"] = Field(
        default="int8", description="int8: beside it the same network with weights of 8 bits, `model.int8.onnx`. none: only the one file."
    )
    tolerance: float = Field(
        default=1e-3,
        gt=0,
        le=1,
        description="How far a logit of `model.onnx` may be from the network's own, as a share of the largest logit or, where that is "
        "below 1, at all; the job fails beyond it. What int8 changes is measured and told.",
    )


def unwritable(task: str, parameters: int | None) -> tuple[str, str] | None:
    """Why a network cannot be written as ONNX, and what to do; None where nothing is known against it."""
    if task == "seq2seq":
        return "a network of seq2seq writes word by word, in a loop of its own that is no single graph", "Open it with transformers."
    if parameters is not None and parameters > MOST_PARAMETERS:
        said = f"it has {parameters:,} parameters, and a file of ONNX holds at most {MOST_PARAMETERS:,}"
        return said, "Distil it into a smaller one first."
    return None
