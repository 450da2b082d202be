"""The section on when a teacher helps: against rows, wrong labels, and kinds of teacher."""

from collections.abc import Mapping
from math import log

from benchmarks.results import store
from benchmarks.results.rows import Row, again, complete, gains, hidden, training
from benchmarks.results.words import percent

AMOUNTS = {f"amount-rows-{count}": f"{count:,}" for count in (100, 200, 400, 800, 1600, 6400, 60000)}
NOISE = {"teachers-cnn-to-mlp": "none"} | {
    f"noise-{kind}-{share}": f"{share} %, {kind} teacher" for share in (10, 20, 40) for kind in ("noisy", "clean")
}
TEACHERS = {
    "teachers-of-weak": "MLP, by a weak CNN",
    "teachers-of-overfit": "MLP, by a CNN that knows the same rows by heart",
    "teachers-cnn-to-mlp": "MLP, by a CNN",
    "teachers-mlp-to-mlp": "MLP, by an MLP",
    "teachers-cnn-to-cnn": "CNN, by a CNN",
    "teachers-mlp-to-cnn": "CNN, by an MLP",
}
STUDENT = "Student 784-{}-10 on the first {:,} images of MNIST, {}, {} seeds, `hinton` with T = 4 and α = 0.8."


def found() -> list[Row]:
    noisy = [row for name, label in NOISE.items() if name not in TEACHERS for row in complete({name: label})]
    return [*complete(AMOUNTS), *noisy, *complete(TEACHERS)]


def sections() -> list[str]:
    """Those there are results of."""
    parts = [*_amounts(), *_noise(), *_teachers()]
    return ["## When does a teacher help?", *parts] if parts else []


def _amounts() -> list[str]:
    jobs = complete(AMOUNTS)
    if not jobs:
        return []
    first = jobs[0]
    return [
        f"""
### How many rows?

Teacher: a small CNN on all 60,000 images, {percent(first.measured("teacher"))} % right. Student 784-{hidden(first.record)}-10,
`hinton` with T = 4 and α = 0.8, {len(first.seeds)} seeds. On fewer rows it makes more epochs, so that each is trained for about 1,000
steps of {first.record["spec"]["training"]["batch_size"]} rows.

{gains(jobs, what="rows")}

{again("amount")}
"""
    ]


def _noise() -> list[str]:
    jobs = _with_teachers({name: label for name, label in NOISE.items() if store.read(name)})
    if len(jobs) < 2:
        return []
    return [
        f"""
### Wrong labels

A share of the training labels names another digit at random. The teacher learned from 60,000 images with the same share of wrong labels
(*noisy*) or with none (*clean*); in brackets is how many per cent it has right. {_student(jobs[0])}

{gains(jobs, what="wrong labels, and the teacher")}

{again("noise")}
"""
    ]


def _teachers() -> list[str]:
    jobs = _with_teachers(TEACHERS)
    if not jobs:
        return []
    weak, overfit = (job.report["diagnosis"]["teacher_on_training"] for job in jobs[:2])
    return [
        f"""
### Which teacher?

The weak one has seen 2,000 images once; of the student's rows it says little: mean entropy {weak["entropy"]:.2f} of {log(10):.2f} nats. The
one that knows the rows by heart was trained for 100 epochs on the student's own: {100 * overfit["accuracy"]:.1f} % of them right, mean
confidence {100 * overfit["confidence"]:.2f} %. The others have seen all 60,000. {_student(jobs[0])} The CNN as a student has
{jobs[-1].report["arms"]["student"]["parameters"]:,} parameters, the MLP {jobs[0].report["arms"]["student"]["parameters"]:,}.

{gains(jobs, what="student, and its teacher (% right)")}

{again("teachers")}
"""
    ]


def _with_teachers(labels: Mapping[str, str]) -> list[Row]:
    return [job._replace(label=f"{job.label} ({percent(job.measured('teacher'))})") for job in complete(labels)]


def _student(job: Row) -> str:
    return STUDENT.format(hidden(job.record), job.record["spec"]["data"]["max_train_samples"], training(job.record), len(job.seeds))
