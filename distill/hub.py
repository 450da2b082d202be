"""Networks and data of the Hugging Face Hub, fetched into its own cache: HF_HOME, HF_TOKEN, HF_HUB_OFFLINE and HF_ENDPOINT mean what they
always mean. Of networks only safetensors, configs and tokenizers are fetched, of data only tables, so there is nothing that could run code.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from contract.errors import ErrorCode, JobError
from contract.spec import JobSpec, ModelRef, Source
from distill.inputs import DatasetFile, Inputs

FILES = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json"]
FILES += ["vocab.txt", "vocab.json", "merges.txt", "generation_config.json"]

TABLES = (".parquet", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz")
DEFAULT = "default"  # what the Hub calls the only subset of most
CONVERTED = "refs/convert/parquet"  # a branch of every dataset: subset/split/0000.parquet
SPLIT = re.compile(r"(?:^|[/_.-])(train|validation|valid|dev|val|test)(?:[/_.-]|$)")
SAME = {"valid": "validation", "dev": "validation", "val": "validation"}


def with_fetched(spec: JobSpec, inputs: Inputs, tell: Callable[[str], None]) -> Inputs:
    """The inputs with a folder for every network of the Hub that the spec names, and the files of its data. JobError saying what is
    missing, and what to set."""
    models = {field: _network(field, ref, tell) for field, ref in spec.refs().items() if ref.hub is not None}
    sources = {source.key: (field, source) for field, source in spec.sources().items() if source.hub is not None}
    wanted = {"train", "test", *(source.split for source in spec.sources().values() if source.split)}
    datasets = {key: _data(field, source, wanted, tell) for key, (field, source) in sources.items()}
    return replace(inputs, models={**inputs.models, **models}, datasets={**inputs.datasets, **datasets})


def _network(field: str, ref: ModelRef, tell: Callable[[str], None]) -> Path:
    assert ref.hub is not None
    with _refusals(field, ref.hub, ref.revision, ErrorCode.INVALID_MODEL, "upload its folder: potstill models push DIR"):
        folder = _snapshot(ref.hub, ref.revision, "model", FILES)
    if not any(folder.glob("*.safetensors")):
        why, hint = "has no safetensors", "Weights in pickles are never opened; look for a converted branch."
        raise _refused(field, f"{ref.hub} {why}", hint, ErrorCode.INVALID_MODEL)
    tell(f"{field}: {ref.hub} at commit {folder.name}")
    return folder


def _data(field: str, source: Source, wanted: set[str], tell: Callable[[str], None]) -> DatasetFile:
    """wanted: the splits that may be asked for; others need not be read."""
    assert source.hub is not None
    with _refusals(field, source.hub, source.revision, ErrorCode.INVALID_DATA, "upload a file of it: potstill datasets add FILE"):
        if source.revision is not None:
            places = [f"{source.subset}/", f"*/{source.subset}/"] if source.subset else [""]
            folder = _snapshot(source.hub, source.revision, "dataset", [f"{place}*{ending}" for place in places for ending in TABLES])
        else:
            subset = source.subset or DEFAULT
            folder = _snapshot(source.hub, CONVERTED, "dataset", [f"{subset}/*"])
            if not _tables(folder / subset):
                subset = _only_subset(field, source)
                folder = _snapshot(source.hub, CONVERTED, "dataset", [f"{subset}/*"])
            folder = folder / subset
    parts: dict[str, list[Path]] = {}
    for path in _tables(folder):
        if source.revision is not None and source.subset is not None and source.subset not in path.relative_to(folder).parts[:-1]:
            continue  # of another run
        found = SPLIT.search(path.relative_to(folder).as_posix())
        split = path.parent.name if source.revision is None else found[1] if found else "train"
        parts.setdefault(SAME.get(split, split), []).append(path)
    if not parts:
        of = f" of the subset {source.subset}" if source.subset else ""
        why = f"{source.hub} has no files{of} in {', '.join(TABLES)}"
        raise _refused(field, why, "Upload them: potstill datasets add FILE.", ErrorCode.INVALID_DATA)
    tell(f"{field}: {source.hub} at {_commit(folder)}, splits {', '.join(parts)}")
    return DatasetFile(folder, source.hub, {split: files for split, files in parts.items() if split in wanted} or parts)


def _tables(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.name.endswith(TABLES))


def _commit(folder: Path) -> str:
    return next((part for part in folder.parts if re.fullmatch("[0-9a-f]{40}", part)), "an unknown commit")


def _only_subset(field: str, source: Source) -> str:
    """The one there is, where none was named and none is called `default`."""
    from huggingface_hub import HfApi

    assert source.hub is not None
    files = HfApi().list_repo_files(source.hub, repo_type="dataset", revision=CONVERTED)
    names = sorted({name.split("/")[0] for name in files if name.endswith(TABLES)})
    if source.subset is None and len(names) == 1:
        return names[0]
    why = f"{source.hub} has no subset {source.subset}" if source.subset else f"{source.hub} has several subsets"
    raise _refused(f"{field}.subset", f"{why}; there are {', '.join(names[:20])}", "Name one of them.", ErrorCode.INVALID_DATA)


def _snapshot(name: str, revision: str | None, kind: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of what is only looked for
    return Path(snapshot_download(name, revision=revision, repo_type=kind, allow_patterns=patterns))


@contextmanager
def _refusals(field: str, name: str, revision: str | None, code: ErrorCode, otherwise: str) -> Iterator[None]:
    """What the Hub refuses, in words that say what to set."""
    from huggingface_hub import constants, errors

    called = f"{name} at {revision}" if revision else name
    try:
        yield
    except errors.GatedRepoError:
        raise _refused(field, f"{called} is gated", "Accept its terms on its page, and set HF_TOKEN where the worker runs.", code) from None
    except errors.RevisionNotFoundError:
        if revision is None:
            why, hint = f"the Hub has made no Parquet files of {name} yet", "Name a revision of its own, for example main."
            raise _refused(field, why, hint, code) from None
        raise _refused(f"{field}.revision", f"{name} has no revision {revision}", "Name a commit, tag or branch it has.", code) from None
    except errors.RepositoryNotFoundError:
        hint = "Check the name; a private one needs HF_TOKEN where the worker runs."
        raise _refused(field, f"there is no {name} at {constants.ENDPOINT}", hint, code) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError) as error:
        offline = constants.HF_HUB_OFFLINE
        why = "HF_HUB_OFFLINE is set" if offline else f"{constants.ENDPOINT} did not answer ({str(error).splitlines()[0][:200]})"
        hint = f"Fetch it once with the Hub in reach and the same HF_HOME, or {otherwise}."
        raise _refused(field, f"{called} is not in the cache of this machine, and {why}", hint, code) from None


def _refused(param: str, why: str, hint: str, code: ErrorCode) -> JobError:
    return JobError(f"{param}: {why}.", code=code, param=param, hint=hint)
