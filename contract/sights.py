"""Have student and teacher what terms look for inside them? What descriptions tell of that before a job is accepted; the engine, which has
the networks, asks again and knows all."""

from collections.abc import Mapping

from contract.model import ModelConfig
from contract.shapes import unfit
from contract.spec import JobSpec


def places(spec: JobSpec) -> list[str]:
    """Where in the spec each of its terms stands."""
    if spec.objective is None:
        return ["recipe"] * len(spec.terms)
    return [f"objective.{i}" for i, term in enumerate(spec.objective) if term.counts]


def check_sights(spec: JobSpec, networks: Mapping[str, ModelConfig | None]) -> None:
    """Raises InvalidSpec at a term that would find nothing. networks: `student` and `teacher`, None where nobody knows yet."""
    for place, term in zip(places(spec), spec.terms, strict=True):
        for number, (whose, config) in enumerate(networks.items()):
            if term.SEES == "logits" or config is None:
                continue
            if term.SEES == "heads" and _without_attention(config):
                raise unfit(place, f"the {whose} has no attention to look at", "Use a transformer, or a term that compares outputs.")
            pairs, depth = getattr(term, "layers", None), _depth(config)
            wrong = [pair[number] for pair in pairs if pair[number] > depth] if isinstance(pairs, list) and depth is not None else []
            if wrong:
                raise unfit(f"{place}.layers", f"the {whose} has no layer {wrong[0]}; it has 1 to {depth}, and 0 before them")


def _without_attention(config: ModelConfig) -> bool:
    return not config.of_library and config.text is not None and not hasattr(config.architecture, "ATTENTIONS")


def _depth(config: ModelConfig) -> int | None:
    """Of a described transformer the number of its layers; of any other network only the engine can tell."""
    told = (config.model_extra or {}).get("layers")
    return told if isinstance(told, int) and hasattr(config.architecture, "ATTENTIONS") else None
