"""What can be asked for: tasks, losses, recipes, architectures and built-in datasets, with parameters, meaning and paper.

A choice is one pydantic class: its fields are its parameters, its docstring and ABOUT its documentation. `distill` holds the
code behind each; a test matches the two lists.
"""

from contract.registry.architectures import ARCHITECTURES, Architecture, Cnn, Logistic, Mlp, Resnet
from contract.registry.datasets import BUILTINS, Builtin
from contract.registry.losses import LOSSES, CrossEntropy, Kl, LogitMse, SoftCrossEntropy, Term
from contract.registry.recipes import RECIPES, Hinton, LogitMseRecipe, Recipe
from contract.registry.tasks import TASKS, Task

__all__ = [
    "ARCHITECTURES", "BUILTINS", "LOSSES", "RECIPES", "TASKS",
    "Architecture", "Builtin", "Cnn", "CrossEntropy", "Hinton", "Kl", "Logistic", "LogitMse", "LogitMseRecipe", "Mlp",
    "Recipe", "Resnet", "SoftCrossEntropy", "Task", "Term",
]  # fmt: skip
