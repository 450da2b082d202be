"""Students and teachers: built from a spec, saved as safetensors + config.json, loaded back."""

from distill.networks.build import build, count_parameters, scaled
from distill.networks.files import digest, load, load_config, save

__all__ = ["build", "count_parameters", "digest", "load", "load_config", "save", "scaled"]
