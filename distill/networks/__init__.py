"""Students and teachers: built from a spec, saved as safetensors + config.json, loaded back."""

from distill.networks.build import build, count_parameters, logits_of, scaled
from distill.networks.files import digest, load, load_config, save, weight_bytes
from distill.networks.reading import LibraryNetwork, TextNetwork, compute_again, rows_for, said_of, worth_of
from distill.networks.student import student

__all__ = [
    "LibraryNetwork", "TextNetwork", "build", "compute_again", "count_parameters", "digest", "load", "load_config", "logits_of", "rows_for",
    "said_of", "save", "scaled", "student", "weight_bytes", "worth_of",
]  # fmt: skip
