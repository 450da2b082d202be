"""Networks of the Hugging Face Hub, fetched into its own cache: HF_HOME, HF_TOKEN, HF_HUB_OFFLINE and HF_ENDPOINT mean what they always
mean. Only safetensors, configs and tokenizers are fetched, so there is nothing that could run code."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from contract.errors import ErrorCode, JobError
from contract.spec import JobSpec, ModelRef
from distill.inputs import Inputs

FILES = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json"]
FILES += ["vocab.txt", "vocab.json", "merges.txt", "generation_config.json"]


def with_fetched(spec: JobSpec, inputs: Inputs, tell: Callable[[str], None]) -> Inputs:
    """The inputs with a folder for every network of the Hub that the spec names. JobError saying what is missing, and what to set."""
    found = {field: _fetched(field, ref, tell) for field, ref in spec.refs().items() if ref.hub is not None}
    return replace(inputs, models={**inputs.models, **found}) if found else inputs


def _fetched(field: str, ref: ModelRef, tell: Callable[[str], None]) -> Path:
    from huggingface_hub import constants, errors, snapshot_download
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    disable_progress_bars()
    assert ref.hub is not None
    name = f"{ref.hub} at {ref.revision}" if ref.revision else ref.hub
    try:
        folder = Path(snapshot_download(ref.hub, revision=ref.revision, allow_patterns=FILES))
    except errors.GatedRepoError:
        raise _refused(field, f"{name} is gated", "Accept its terms on its page, and set HF_TOKEN where the worker runs.") from None
    except errors.RevisionNotFoundError:
        raise _refused(f"{field}.revision", f"{ref.hub} has no revision {ref.revision}", "Name a commit, tag or branch it has.") from None
    except errors.RepositoryNotFoundError:
        hint = "Check the name; a private one needs HF_TOKEN where the worker runs."
        raise _refused(field, f"there is no {ref.hub} at {constants.ENDPOINT}", hint) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError) as error:
        offline = constants.HF_HUB_OFFLINE
        why = "HF_HUB_OFFLINE is set" if offline else f"{constants.ENDPOINT} did not answer ({str(error).splitlines()[0][:200]})"
        hint = "Fetch it once with the Hub in reach and the same HF_HOME, or upload its folder: potstill models push DIR."
        raise _refused(field, f"{name} is not in the cache of this machine, and {why}", hint) from None
    if not any(folder.glob("*.safetensors")):
        raise _refused(field, f"{name} has no safetensors", "Weights in pickles are never opened; look for a converted branch.")
    tell(f"{field}: {ref.hub} at commit {folder.name}")
    return folder


def _refused(param: str, why: str, hint: str) -> JobError:
    return JobError(f"{param}: {why}.", code=ErrorCode.INVALID_MODEL, param=param, hint=hint)
