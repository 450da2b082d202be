"""A BERT's layers as a DistilBERT: without token types and pooler, everything else where it was (Sanh et al. 2019, section 3)."""

import re
from typing import Any

from torch import Tensor

from contract.errors import ErrorCode, InvalidSpec

LAYER = r"bert\.encoder\.layer\.(\d+)\."
# What BERT calls it → what DistilBERT does. Names that are not here are the same in both, or the other has no such thing.
NAMES = {
    r"bert\.embeddings\.(word_embeddings|position_embeddings|LayerNorm)\.": r"distilbert.embeddings.\1.",
    LAYER + r"attention\.self\.(q|k|v)(?:uery|ey|alue)\.": r"distilbert.transformer.layer.\1.attention.\2_lin.",
    LAYER + r"attention\.output\.dense\.": r"distilbert.transformer.layer.\1.attention.out_lin.",
    LAYER + r"attention\.output\.LayerNorm\.": r"distilbert.transformer.layer.\1.sa_layer_norm.",
    LAYER + r"intermediate\.dense\.": r"distilbert.transformer.layer.\1.ffn.lin1.",
    LAYER + r"output\.dense\.": r"distilbert.transformer.layer.\1.ffn.lin2.",
    LAYER + r"output\.LayerNorm\.": r"distilbert.transformer.layer.\1.output_layer_norm.",
    r"cls\.predictions\.transform\.dense\.": "vocab_transform.",
    r"cls\.predictions\.transform\.LayerNorm\.": "vocab_layer_norm.",
    r"cls\.predictions\.decoder\.": "vocab_projector.",
}
LEFT_OUT = re.compile(r"bert\.embeddings\.token_type|bert\.embeddings\.position_ids|bert\.pooler\.|cls\.predictions\.bias")
NEW = ("pre_classifier.", "classifier.")  # it has a head of its own for classes of whole texts


def settings(bert: Any, layers: int) -> dict[str, Any]:
    """What transformers' config of a DistilBERT takes, from a BERT's."""
    if bert.model_type != "bert":
        raise InvalidSpec(
            f"student.arch: a DistilBERT is made of a bert's layers, and that network is a {bert.model_type}.",
            code=ErrorCode.DOES_NOT_FIT,
            param="student.arch",
            hint="Leave this out: the student is then of its teacher's own kind.",
        )
    return {
        "vocab_size": bert.vocab_size,
        "pad_token_id": bert.pad_token_id,
        "max_position_embeddings": bert.max_position_embeddings,
        "n_layers": layers,
        "n_heads": bert.num_attention_heads,
        "dim": bert.hidden_size,
        "hidden_dim": bert.intermediate_size,
        "dropout": bert.hidden_dropout_prob,
        "attention_dropout": bert.attention_probs_dropout_prob,
        "activation": bert.hidden_act,
        "initializer_range": bert.initializer_range,
    }


def put(weights: dict[str, Tensor], into: Any, classifies: bool) -> None:
    """Fills a DistilBERT with a BERT's weights. classifies: whole texts, for which its head is another."""
    found = {_called(name): tensor for name, tensor in weights.items() if not LEFT_OUT.match(name)}
    if classifies:
        found = {name: tensor for name, tensor in found.items() if not name.startswith(NEW)}
    missing, unexpected = into.load_state_dict(found, strict=False)
    assert not unexpected and all(classifies and name.startswith(NEW) for name in missing), (missing, unexpected)


def _called(name: str) -> str:
    for theirs, ours in NAMES.items():
        found, count = re.subn(f"^{theirs}", ours, name)
        if count:
            return found
    return name
