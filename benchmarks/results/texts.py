"""The section on SST-2: a pre-trained encoder teaches small readers of text."""

from benchmarks.results.rows import Row, gains, needed
from benchmarks.results.words import percent, table

SST2 = {
    "sst2-lstm": "LSTM 128, `kl`",
    "sst2-bilstm-kl": "BiLSTM 128, `kl`",
    "sst2-bilstm-tang": "BiLSTM 128, `logit_mse` (Tang)",
    "sst2-bert-2x128": "BERT 2×128, `kl`",
    "sst2-bert-2x128-mse": "BERT 2×128, `logit_mse`",
    "sst2-three-layers": "three of the teacher's six layers, `kl`",
}


SIZES = ["student", "parameters", "of the teacher's accuracy kept", "times smaller", "times faster, one sentence"]


def sst2(jobs: list[Row]) -> str:
    teacher = needed("sst2-teacher")
    model = teacher["report"]["arms"]["model"]
    sizes = teacher["dataset"]["rows"]
    return f"""
## SST-2: a pre-trained encoder teaches LSTMs, small BERTs and half of itself

Teacher: all-MiniLM-L6-v2 (six layers of 384, {model["parameters"] / 1e6:.1f} M parameters), taught on {sizes["train"]:,} sentences by a
`train` job of {teacher["spec"]["training"]["epochs"]} epochs in {teacher["seconds"]:.0f} s: {percent(model["metrics"]["accuracy"])} % of
{teacher["report"]["rows"]:,} test sentences right. `kl` is `hinton` with T = 4 and α = 0.7. Each student alone has the same tokenizer,
initial weights, row order and budget; the student of the teacher's layers starts from them alone, too.

{gains(jobs)}

{table(SIZES, [_size(job) for job in jobs])}

Specs and commands: [examples/sst2](../examples/sst2).
"""


def _size(job: Row) -> list[str]:
    arms, kept = job.report["arms"], job.report["retained"]
    speed = arms["teacher"]["latency_ms"]["p50"] / arms["student"]["latency_ms"]["p50"]
    return [
        job.label,
        f"{arms['student']['parameters'] / 1e6:.2f} M",
        f"{100 * kept['mean']:.1f} %",
        f"{job.report['compression']:.1f}",
        f"{speed:.1f}",
    ]
