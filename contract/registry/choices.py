"""All architectures, and the union a spec chooses from."""

from typing import Annotated

from pydantic import Field

from contract.registry.architectures import Cnn, Logistic, Mlp, Resnet, _Architecture
from contract.registry.texts import T5, Bert, Bilstm, Distilbert, Gpt2, Gru, Llama, Lstm, Qwen2, Roberta, Textcnn

ARCHITECTURES: tuple[type[_Architecture], ...] = (
    Logistic, Mlp, Cnn, Resnet, Lstm, Bilstm, Gru, Textcnn, Bert, Roberta, Distilbert, Gpt2, Llama, Qwen2, T5,
)  # fmt: skip
Architecture = Annotated[
    Logistic | Mlp | Cnn | Resnet | Lstm | Bilstm | Gru | Textcnn | Bert | Roberta | Distilbert | Gpt2 | Llama | Qwen2 | T5,
    Field(discriminator="arch"),
]
