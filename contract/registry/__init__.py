"""What can be asked for: tasks, losses, recipes, architectures and built-in datasets, with parameters, meaning and paper.

A choice is one pydantic class: its fields are its parameters, its docstring and ABOUT its documentation. `distill` holds the
code behind each; a test matches the two lists.
"""

from contract.registry.architectures import Cnn, Logistic, Mlp, Resnet
from contract.registry.chain_recipes import BornAgain, SelfKd, Takd, WellRead
from contract.registry.choices import ARCHITECTURES, Architecture
from contract.registry.datasets import BUILTINS, Builtin
from contract.registry.inner import (
    AttentionKl,
    AttentionMse,
    AttentionTransfer,
    Cosine,
    EmbeddingMse,
    FeatureHint,
    HiddenMse,
    Pkd,
    Rkd,
    ValueRelation,
)  # fmt: skip
from contract.registry.losses import (
    Adversarial,
    Clm,
    CrossEntropy,
    Jsd,
    Kl,
    LogitMse,
    Mlm,
    PolicyGradient,
    ReverseKl,
    SingleStepKl,
    SkewKl,
    SoftCrossEntropy,
)  # fmt: skip
from contract.registry.methods import RECIPES, Recipe, RecipeName
from contract.registry.objective import LOSSES, Term
from contract.registry.recipes import DistilBert, Hinton, LogitMseRecipe, SeqKd, TangBilstm
from contract.registry.tasks import TASKS, Task, TaskName
from contract.registry.texts import T5, Bert, Bilstm, Distilbert, Gpt2, Gru, Llama, Lstm, Qwen2, Roberta, Textcnn

__all__ = [
    "ARCHITECTURES",
    "BUILTINS",
    "LOSSES",
    "RECIPES",
    "T5",
    "TASKS",
    "Adversarial",
    "Architecture",
    "AttentionKl",
    "AttentionMse",
    "AttentionTransfer",
    "Bert",
    "Bilstm",
    "BornAgain",
    "Builtin",
    "Clm",
    "Cnn",
    "Cosine",
    "CrossEntropy",
    "DistilBert",
    "Distilbert",
    "EmbeddingMse",
    "FeatureHint",
    "Gpt2",
    "Gru",
    "HiddenMse",
    "Hinton",
    "Jsd",
    "Kl",
    "Llama",
    "Logistic",
    "LogitMse",
    "LogitMseRecipe",
    "Lstm",
    "Mlm",
    "Mlp",
    "Pkd",
    "PolicyGradient",
    "Qwen2",
    "Recipe",
    "RecipeName",
    "Resnet",
    "ReverseKl",
    "Rkd",
    "Roberta",
    "SelfKd",
    "SeqKd",
    "SingleStepKl",
    "SkewKl",
    "SoftCrossEntropy",
    "Takd",
    "TangBilstm",
    "Task",
    "TaskName",
    "Term",
    "Textcnn",
    "ValueRelation",
    "WellRead",
]  # fmt: skip
