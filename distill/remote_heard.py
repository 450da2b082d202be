"""What a student hears of a remote teacher, and what it is measured beside: all of it is asked for before the first step, so that an
endpoint that refuses does so before hours of training and not after them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contract.events import LogLine
from contract.evidence import statistic
from contract.model import ModelConfig
from contract.spec import JobSpec
from distill import remote_texts, remote_tokens
from distill.data import Data, Rows, Split, TextSplit
from distill.data.batch import Given
from distill.data.blocks import CausalBlocks
from distill.data.targets import TargetTokens
from distill.evaluate import Measured, bootstrap, perplexity, wilson
from distill.networks import TextNetwork, rows_for
from distill.objectives import Said
from distill.remote import Remote
from distill.remote_texts import RemoteTexts
from distill.remote_tokens import RemoteTokens
from distill.teacher_tokens import TokenOutputs
from distill.written import MEASURED, nearness

UNKNOWN = dict.fromkeys(("parameters", "size_bytes", "latency_ms", "rows_per_second", "peak_memory"))


@dataclass(frozen=True)
class RemoteHeard:
    """outputs: of the training rows; measured: of the test rows, None where nothing of them can be compared."""

    remote: Remote
    outputs: RemoteTokens | RemoteTexts
    measured: RemoteTokens | RemoteTexts | None

    @property
    def soft(self) -> TokenOutputs | None:
        return self.outputs.kept if isinstance(self.outputs, RemoteTokens) else None

    @property
    def tokens(self) -> RemoteTokens | None:
        """What is known of each token of the test rows."""
        return self.measured if isinstance(self.measured, RemoteTokens) else None

    def summary(self) -> dict[str, object]:
        found = self.outputs.kept if isinstance(self.outputs, RemoteTokens) else self.outputs
        return {**found.summary(), **self.remote.summary()}

    def said(self, index: Tensor, _given: Given) -> Said:
        """Of the test blocks `index`."""
        assert self.tokens is not None
        return self.tokens.kept.of(index, _given)

    def arm(self, rows: Rows) -> tuple[Measured, dict[str, Any]]:
        """The teacher's in the report: what was measured, and what it costs, of which from outside nothing is to be seen."""
        return self._measured(rows), {**UNKNOWN, "endpoint": self.remote.asked.endpoint, "model": self.remote.asked.model}

    def _measured(self, rows: Rows) -> Measured:
        nobody = torch.empty(0, dtype=torch.int64)
        if isinstance(self.measured, RemoteTexts):
            assert isinstance(rows, TargetTokens)
            return Measured(nobody, nearness(self.measured.texts, list(rows.written[: len(self.measured.texts)])), None)
        if self.measured is None:
            return Measured(nobody, {}, None)
        losses, top = -self.measured.own.double().numpy(), self.measured.top
        accuracy, loss = (top == self.measured.right).double().mean().item(), float(losses.mean())
        low, high = bootstrap(losses)
        metrics = {
            "perplexity": statistic([perplexity(loss)], (perplexity(low), perplexity(high))),
            "loss": statistic([loss], (low, high)),
            "accuracy": statistic([accuracy], wilson(accuracy, len(losses))),
        }
        return Measured(top, metrics, None)


def heard(
    spec: JobSpec, remote: Remote, train: Split | TextSplit, data: Data, network: nn.Module, config: ModelConfig
) -> tuple[TextSplit, RemoteHeard]:
    """The rows to train on, which hold what it has written where that is heard; and what is known of it."""
    assert isinstance(train, TextSplit) and isinstance(data.test, TextSplit)
    if spec.hears == "text":
        remote.begins(f"{len(train):,} texts to write")
        rows, texts = remote_texts.by_teacher(remote, train, spec.task)
        of_test = data.test.texts[0][:MEASURED]
        found = RemoteHeard(remote, texts, remote_texts.outputs(remote, of_test, spec.task) if spec.task == "seq2seq" else None)
    else:
        assert isinstance(network, TextNetwork)
        blocks = [some for split in (train, data.test) if isinstance(some := rows_for(network, config, split), CausalBlocks)]
        remote.begins(f"{sum(map(len, blocks)):,} blocks of up to {network.reading.max_length:,} tokens")
        asking = remote_tokens.Asking(remote, network.reader, spec.teacher_top_k)
        rows, found = train, RemoteHeard(remote, *(asking.outputs(some) for some in blocks))
    summary = found.summary()
    remote.tell(LogLine(message=f"{remote.usage['requests']:,} answers of {remote.asked.model}, cache: {summary['cache']}", data=summary))
    return rows, found
