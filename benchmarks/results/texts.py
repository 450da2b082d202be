"""The sections on text: what each teacher is, what its students gained, and what they cost."""

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.results import store
from benchmarks.results.rows import Row, gains, needed, rows
from benchmarks.results.store import Record
from benchmarks.results.words import percent, table, wrapped

__all__ = ["found", "sections"]


FIGURES = {"accuracy": "{} % right", "f1": "F1 {} %", "chrf": "chrF {}", "perplexity": "perplexity {}"}


class Section(NamedTuple):
    """`about` is told of the teacher's record."""

    part: str
    title: str
    about: Callable[[Record], str]
    labels: dict[str, str]  # example → label
    digits: int = 1


def _teacher(record: Record) -> str:
    """Its size, schooling and figure."""
    report = record["report"]
    model, metric = report["arms"]["model"], report["metric"]
    figure = percent(model["metrics"][metric], 1, 1 if metric == "perplexity" else 100)
    epochs = record["spec"]["training"]["epochs"]
    said = FIGURES[metric].format(figure)
    return f"{model['parameters'] / 1e6:.2f} M parameters, {epochs} epochs, {said} on {report['rows']:,} test rows"


def _sst2(teacher: Record) -> str:
    return f"""
Teacher: all-MiniLM-L6-v2 (six layers of 384) on {teacher["dataset"]["rows"]["train"]:,} sentences of film reviews:
{_teacher(teacher)}. `kl` is `hinton` with T = 4 and α = 0.7. Each student alone has the same tokenizer, initial weights, row order and
budget; the student of the teacher's layers starts from them alone, too."""


def _rte(teacher: Record) -> str:
    return f"""
Pairs of texts: does the second follow from the first? {teacher["dataset"]["rows"]["train"]:,} pairs, {teacher["report"]["rows"]} to measure
on, so the intervals are wide. Teacher: all-MiniLM-L6-v2, {_teacher(teacher)}. The student starts from three of its six layers."""


def _questions(teacher: Record) -> str:
    return f"""
Extractive question answering: AG News' headlines with a name taken out, which is to be found in the beginning of the article
([cloze.py](../benchmarks/results/cloze.py)). Teacher: all-MiniLM-L6-v2 on {teacher["spec"]["data"]["max_train_samples"]:,} questions,
{_teacher(teacher)}. The student starts from three of its six layers, alone as well."""


def _wikitext(teacher: Record) -> str:
    student = needed("wikitext-student")["spec"]
    return f"""
Teacher: all-MiniLM-L6-v2, taught to guess masked words on WikiText-2's validation file (the training file is not at hand):
{_teacher(teacher)}. Student: its layers {student["student"]["layers"]}, with the triple loss as published (`recipe: distilbert`: 5 · kl at
T = 2 + 2 · mlm + cosine), beside the same layers with masked words alone; both see the first {student["data"]["max_train_samples"]:,}
lines, {student["training"]["epochs"]} epochs. Measured is the perplexity of masked words held out.

{{gains}}

{_news()}"""


def _news() -> str:
    """The share of the teacher that is left after fine-tuning on AG News."""
    records = {name: store.read(f"wikitext-news-{name}") for name in ("teacher", "student", "alone")}
    if None in records.values():
        return ""
    accuracy = {name: dict(record["report"]["arms"]["model"]["metrics"]["accuracy"]) for name, record in records.items() if record}
    whole = accuracy["teacher"]["mean"]
    called = {"teacher": "the teacher itself", "student": "distilled", "alone": "masked words alone"}
    lines = [(called[name], percent(found), f"{100 * found['mean'] / whole:.1f} %") for name, found in accuracy.items()]
    first = records["teacher"] or {}
    return f"""Then each was fine-tuned on {first["spec"]["data"]["max_train_samples"]:,} rows of AG News without a teacher, by
{len(first["runs"])} seeds of fine-tuning each, and measured on {first["report"]["rows"]:,}:

{table(["network", "accuracy, %", "of the teacher's"], lines)}"""


def _shakespeare(teacher: Record) -> str:
    return f"""
Next-word prediction, tiny Shakespeare, the last tenth held out. Teacher: a GPT-2 of four layers of 192, {_teacher(teacher)}. Student: two
layers of 112; `kl` at T = 2 with weight 0.7 on the teacher's 64 likeliest tokens and the mass of the rest, beside `clm` with 0.3."""


def _translation(teacher: Record) -> str:
    return f"""
English messages of four web applications into French, {teacher["dataset"]["rows"]["train"]:,} pairs from gettext catalogues
([catalogues.py](../benchmarks/results/catalogues.py)); very little for a network that knows no language before. Teacher: a T5 of three
and three layers of 192, {_teacher(teacher)}. Student: two and two layers of 96, which learns what its teacher writes (`seq_kd`); alone it
learns the catalogues' own translations."""


def _arguments(teacher: Record) -> str:
    return f"""
A tag for each word, in docstrings of Python's own library: does it name an argument of the function? (Most do not: saying so of every
word is right in about nine of ten.) Teacher: a BiLSTM of two layers of 128, {_teacher(teacher)}. Student: one layer of 16; `hinton` with
T = 2 and α = 0.7."""


SST2 = {
    "lstm": "LSTM 128, `kl`",
    "bilstm-kl": "BiLSTM 128, `kl`",
    "bilstm-tang": "BiLSTM 128, `logit_mse` (Tang)",
    "bert-2x128": "BERT 2×128, `kl`",
    "bert-2x128-mse": "BERT 2×128, `logit_mse`",
    "three-layers": "three of the teacher's six layers, `kl` and `hidden_mse`",
}
THREE = {"three-layers": "three of the teacher's six layers, `kl`"}
SECTIONS = (
    Section("sst2", "SST-2: a pre-trained encoder teaches LSTMs, small BERTs and half of itself", _sst2, SST2),
    Section("rte", "RTE: pairs of texts", _rte, THREE),
    Section("questions", "Questions and answers", _questions, THREE),
    Section("wikitext", "DistilBERT in miniature", _wikitext, {"student": "three of six layers, triple loss"}, 2),
    Section("shakespeare", "Shakespeare: a causal language model", _shakespeare, {"student": "a quarter of the size, `kl` and `clm`"}, 2),
    Section("translation", "Translation", _translation, {"seq-kd": "`seq_kd`"}),
    Section("arguments", "A tag for each word", _arguments, {"student": "BiLSTM 16, `kl`"}, 2),
)
SIZES = ["student", "parameters", "of the teacher's figure kept", "times smaller", "times faster, one text"]


def found() -> list[Row]:
    """Every comparison of texts there is a result of."""
    return [row for section in SECTIONS for row in _rows(section)]


def sections() -> list[str]:
    return [*(_section(section, jobs) for section in SECTIONS if (jobs := _rows(section))), *_full_size()]


def _rows(section: Section) -> list[Row]:
    return rows({f"{section.part}-{name}": label for name, label in section.labels.items() if store.read(f"{section.part}-{name}")})


def _section(section: Section, jobs: list[Row]) -> str:
    about, compared = wrapped(section.about(needed(f"{section.part}-teacher"))), gains(jobs, section.digits)
    told = about.format(gains=compared) if "{gains}" in about else f"{about}\n\n{compared}"
    return f"""
## {section.title}

{told}

{table(SIZES, [_size(job) for job in jobs])}

Specs and commands: [examples/{section.part}](../examples/{section.part}).
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


def _full_size() -> list[str]:
    """BERT and DistilBERT as they were published, with random weights."""
    record = store.read("full-size")
    if record is None:
        return []
    big, small = (f"{count / 1e6:.1f} M" for count in record["parameters"])
    lines = []
    for row in record["timed"]:
        (bert, distilled), (low, high) = row["ms"], row["quartiles"]
        what = [row["batch"], row["threads"], "bf16" if row["bf16"] else "fp32"]
        lines.append([*what, f"{bert:.0f}", f"{distilled:.0f}", f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"])
    heads = ["texts at once", "threads", "precision", "BERT, ms", "DistilBERT, ms", "times as fast (quartiles)"]
    return [
        f"""
## DistilBERT in full size

BERT-base and a DistilBERT of its layers 0, 2, 4, 7, 9, 11, random weights: {big} and {small} parameters. The paper reports 60 % more
speed; here, texts of {record["tokens"]} tokens, both interleaved {record["rounds"]} times (`python -m benchmarks.full_size`):

{table(heads, lines)}
"""
    ]
