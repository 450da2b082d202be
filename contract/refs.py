"""How a spec names what lies elsewhere: networks that were trained, and repositories of the Hub."""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from contract.base import Sent
from contract.rules import exactly_one, wrong

HUB = r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$"
JOB = r"^(job_[0-9a-f]{32}|@[^\s@]{1,100})$"
MODEL = r"^mdl_[0-9a-f]{32}$"
HubName = Annotated[str, Field(max_length=200, pattern=HUB)]
# Both become parts of paths in the Hub's cache, so neither may lead out of it.
Revision = Annotated[str, Field(max_length=100, pattern=r"^\w[\w-]*([./][\w-]+)*$")]
LocalPath = Annotated[str, Field(min_length=1, max_length=4096, description="A path on this machine; only for the engine alone.")]
JobRef = Annotated[str, Field(pattern=JOB, description="A job's id, or @name inside a batch.")]
ModelId = Annotated[str, Field(pattern=MODEL)]


class ModelRef(Sent):
    """A trained network: the product of a job, a registered model, one of the Hugging Face Hub or (engine alone) a folder."""

    model_config = ConfigDict(json_schema_extra=exactly_one("job", "model", "hub", "path"))

    job: JobRef | None = Field(default=None, description="The job that trained it, job_…; it may still be running. @name inside a batch.")
    model: ModelId | None = Field(default=None, description="A registered model, mdl_….")
    hub: HubName | None = Field(
        default=None, description="A repository of the Hugging Face Hub, org/name: its safetensors, config and tokenizer."
    )
    path: LocalPath | None = Field(default=None, description="A folder with a pulled student; for `potstill run` only.")
    revision: Revision | None = Field(
        default=None, description="Of `hub`: a commit, tag or branch; a commit never changes. `main` when not said."
    )

    @model_validator(mode="after")
    def _one_place(self) -> "ModelRef":
        if sum(value is not None for value in (self.job, self.model, self.hub, self.path)) != 1:
            raise wrong("give exactly one of `job` (job_…), `model` (mdl_…), `hub` (org/name) and `path` (engine alone)")
        if self.revision is not None and self.hub is None:
            raise wrong("only `hub` has revisions; leave this out", at=("revision",))
        return self
