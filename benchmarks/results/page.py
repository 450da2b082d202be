"""docs/results.md and its plot, from the JSON files in `data/`. No measured figure on the page is typed by hand."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import augmentation, chains, hinton, methods, plot, sizes, tasks, texts, trials, when
from benchmarks.results.rows import Row, gains, hidden, needed, rows, training
from benchmarks.results.store import Record
from benchmarks.results.words import NOT_SHOWN, interval, listed, percent, table, verdict, wrapped
from contract.evidence import statistic

DOCS = Path(__file__).parents[2] / "docs"
TWENTY = {
    "primer-own-reduction": "T = 20, the primer's own reduction",
    "primer-t20": "T = 20",
    "primer-t4": "T = 4",
    "primer-t2": "T = 2",
}
HUNDRED = {"primer-t4-hundred": "T = 4", "primer-t2-hundred": "T = 2"}
FEATURES = {"features-logit-mse": "`logit_mse`", "features-kl": "`kl` at T = 1"}


def write() -> None:
    twenty, hundred, features = rows(TWENTY), rows(HUNDRED), rows(FEATURES)
    lines = [plot.Line(f"{len(row.seeds)} seeds", row.label.replace(", ", ",\n"), row.gain) for row in [*twenty, *hundred]]
    plot.gains("What the teacher added, seed by seed (MNIST, α 0.8)", lines, DOCS / "assets" / "primer.png")
    several = [*twenty, *hundred, *features, *methods.found(), *texts.found(), *augmentation.found(), *tasks.found()]
    questions = [*hinton.found(), *when.found(), *chains.found()]
    alpha_zero, alone = needed("primer-alpha-zero"), needed("primer-alone")
    parts = [_head([*(row.record for row in [*several, *questions]), alpha_zero, alone]), _primer(twenty), _hundred(twenty, hundred)]
    parts += [
        _reduction(*twenty[:2]),
        _features(features),
        *hinton.section(),
        *when.sections(),
        *chains.sections(),
        *methods.section(),
        *texts.sections(),
        *augmentation.section(),
        *tasks.section(),
        *sizes.section(),
        *trials.section(),
        _alpha_zero(alpha_zero, alone),
        _cost(several, questions),
    ]
    (DOCS / "results.md").write_text("\n\n".join(wrapped(part) for part in parts) + "\n")
    print(DOCS / "results.md")


def _head(records: Sequence[Record]) -> str:
    machines = [record["machine"] for record in records]
    told = (
        "{cpu}, {cores} cores",
        "`potstill up` with {slots} slots, {threads} thread{s} each",
        "Python {python}, torch {torch}, Potstill {potstill}",
    )
    conditions = "; ".join(
        listed(list(dict.fromkeys(form.format(**machine, s="s" * (machine["threads"] > 1)) for machine in machines))) for form in told
    )
    dates = sorted({machine["date"] for machine in machines})
    return f"""
# Results

The comparisons of the articles this project started from, run as ordinary jobs of a real service. `make results` runs what is missing
in [benchmarks/results/data](../benchmarks/results/data) and writes this page from it; no measured figure here is typed by hand.

**How to read it.** Every job trains the student twice for each seed: with the teacher, and alone. The two share initial weights, row
order and budget, so their difference, the *paired gain*, is what the teacher added for that seed. Tables give mean ± standard
deviation over seeds, and the 95 % interval (Student's t) of the mean gain. Where the interval contains zero, nothing is claimed. Each
interval stands alone: of many, one in twenty misses. They speak for other seeds of the student, not for another teacher or other rows.

Measured {" to ".join(dict.fromkeys([dates[0], dates[-1]]))} on {conditions}.
"""


def _primer(jobs: Sequence[Row]) -> str:
    teacher, first = needed("primer-teacher"), jobs[0]
    sizes = teacher["dataset"]["rows"]
    right = percent(teacher["report"]["arms"]["model"]["metrics"]["accuracy"])
    return f"""
## The primer of the articles: MNIST, {len(first.seeds)} paired seeds

Teacher 784-{hidden(teacher)}-10 on all {sizes["train"]:,} images, {right} % right. Student 784-{hidden(first.record)}-10 on the first
{first.record["spec"]["data"]["max_train_samples"]} images, {training(first.record)}, seeds {first.seeds[0]} to {first.seeds[-1]}, measured
on the {sizes["test"]:,} test images. Three rows are `recipe: {{name: hinton, temperature: T, alpha: 0.8}}`; the other is the primer's own
loss, explained below.

{gains(jobs)}

![Paired gains of every seed with mean and interval](assets/primer.png)

The specs are in [examples/primer](../examples/primer), with the commands that submit them to a service of your own. To measure again,
delete files in `benchmarks/results/data`, then:

```bash
POTSTILL_TEST_DATA=<folder with mnist/mnist.npz> make results
```
"""


def _hundred(twenty: Sequence[Row], hundred: Sequence[Row]) -> str:
    first, labels = hundred[0], [row.label for row in hundred]
    widths = [f"± {50 * (row.gain['ci95'][1] - row.gain['ci95'][0]):.1f}" for row in twenty if row.label in labels]
    return f"""
### The same with {len(first.seeds)} other seeds

With {len(twenty[0].seeds)} seeds the intervals at {listed(labels)} are {listed(widths)} points wide about their means, so a smaller gain
can stay unseen. Both were therefore run again with seeds {first.seeds[0]} to {first.seeds[-1]}, which the table above has not used. This
was decided after seeing that table.

{gains(hundred)}
"""


def _reduction(own: Row, t20: Row) -> str:
    pairs = zip(t20.measured("student")["values"], own.measured("student")["values"], strict=True)
    change = statistic([right - primer for right, primer in pairs])
    found = {"helped": "the student got better", "hurt": "the student got worse", NOT_SHOWN: "no difference is shown"}[verdict(change)]
    return f"""
### The reduction trap

The primer's `KLDivLoss` has `reduction="mean"`, which divides by every entry of the batch: rows × classes. Hinton's loss sums over
classes and averages over rows (`batchmean`), so with 10 classes the primer's teacher speaks with a tenth of the weight that its α
says. Potstill's `kl` is always T² times the sum over classes, averaged over rows; the primer's own loss is therefore written with α / 10:

```yaml
objective: [{{loss: kl, temperature: 20, weight: 0.08}}, {{loss: cross_entropy, weight: 0.2}}]
```

Correcting the reduction and nothing else makes the teacher ten times as loud. Here, at T = 20 and the same {len(own.seeds)} seeds,
{found}: {interval(change)} points.
"""


def _features(jobs: Sequence[Row]) -> str:
    teacher, first = needed("features-teacher"), jobs[0]
    sizes, classes = teacher["dataset"]["rows"], len(teacher["dataset"]["classes"])
    right = percent(teacher["report"]["arms"]["model"]["metrics"]["accuracy"])
    return f"""
## A feature MLP: 768-{hidden(teacher)}-{classes} → 768-{hidden(first.record)}-{classes}

Real features of that width: orientation histograms of MNIST's digits 0 to 7, 8 × 8 windows × 12 directions = 768, by the fixed formula
of [gradients.py](../benchmarks/results/gradients.py). They are not a language model's features and the task is easy, so the figures
say nothing about the articles' own. Teacher on all {sizes["train"]:,} rows, {right} % right. Student on the first
{first.record["spec"]["data"]["max_train_samples"]:,}, {training(first.record)}, seeds {first.seeds[0]} to {first.seeds[-1]}, measured on
{sizes["test"]:,} test rows. It hears the teacher alone: neither objective sees a label, while the control learns from labels alone.

{gains(jobs, digits=2)}

The specs are in [examples/features](../examples/features).
"""


def _alpha_zero(alpha_zero: Record, alone: Record) -> str:
    arms = {run["arm"]: run["weights_sha256"] for run in alpha_zero["runs"]}
    plain = alone["runs"][0]
    sums = {"`hinton` with `alpha: 0`": arms["student"], "its control arm": arms["control"], "a plain train job": plain["weights_sha256"]}
    equal = len(set(sums.values())) == 1
    said = "All three are the same file, bit for bit: apart from its term in the loss, the teacher changes nothing in a student's training."
    return f"""
## With `alpha: 0` nothing of the teacher is left

SHA-256 of `student/model.safetensors` at the end of three trainings of the primer's student with seed {plain["seed"]}:

{table(["training", "sha256"], [(name, f"`{found}`") for name, found in sums.items()])}

{said if equal else "They differ, which they must not: do not trust the comparisons on this page."}
"""


def _cost(jobs: Sequence[Row], others: Sequence[Row]) -> str:
    """others: not in the table, which is long enough, but among those whose controls are compared."""
    heads = ["job", "runs", "teacher passes", "seconds", "load before"]
    lines = []
    for job in jobs:
        if job.record["beside"]:  # of other parts' jobs, which took turns with it
            continue
        seconds, load = f"{job.record['seconds']:.0f}", f"{job.record['load_before']:.1f}"
        lines.append((f"`{job.name}`", len(job.record["runs"]), job.report["teacher_outputs"].get("passes", "every epoch"), seconds, load))
    return f"""
## What a job of many runs costs

From submission to the finished report, on the service's clock. Each run is a process of its own that reads the data, trains, and
measures on the whole test set. The teacher passes over the training rows once; later jobs of the same service with the same teacher and
rows find its outputs. Where the jobs were run in several sittings, each began with an empty service and so with a pass.

{table(heads, lines)}

The load is the machine's one-minute average before the service started; other work on the cores makes these times longer.
{_controls([*jobs, *others])}
"""


def _controls(jobs: Sequence[Row]) -> str:
    """Jobs with the same student and seeds train the same control arm each: whether they ended with the same bytes."""
    groups: dict[str, list[list[tuple[int, str]]]] = {}
    for job in jobs:
        key = str([job.record["spec"][name] for name in ("data", "student", "training", "evaluation")])
        arm = sorted((run["seed"], run["weights_sha256"]) for run in job.record["runs"] if run["arm"] == "control")
        groups.setdefault(key, []).append(arm)
    shared = [arms for arms in groups.values() if len(arms) > 1]
    if all(arm == arms[0] for arms in shared for arm in arms):
        count = sum(len(arms[0]) for arms in shared)
        return f"The {count} control students that more than one of these jobs trained came out the same in each, bit for bit."
    return "Control students that should be the same in several of these jobs came out different: do not trust this page."
