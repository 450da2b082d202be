"""Was the teacher worth it? Results of several runs → one report, with intervals, and a sentence that claims no more than they show.

Runs are paired by seed: student and control of one seed share initial weights, row order and budget, so their difference is
what the teacher added. Intervals over seeds are Student's t; with one seed they are over the rows of the test set. `ci95_rows` of a
difference counts both: other seeds, and other rows.
"""

import base64
from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from contract import by_class

Statistic = dict[str, Any]  # mean, std, ci95 ([low, high] or None), values: one for each seed
Report = dict[str, Any]

# 97.5 % quantiles of Student's t for 1 … 30 degrees of freedom; beyond, the expansion below is right to four digits.
_T = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448, 2.1314,
    2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
Z = 1.959964
COSTS = ("parameters", "trainable_parameters", "size_bytes", "latency_ms", "rows_per_second", "peak_memory")


class RunResult(NamedTuple):
    """How one run ended: its report, or why there is none."""

    arm: str
    seed: int
    report: Report | None
    failure: str | None = None


def t_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t (Cornish-Fisher expansion above 30 degrees of freedom)."""
    return _T[freedom - 1] if freedom <= len(_T) else Z + (Z**3 + Z) / (4 * freedom) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)


def statistic(values: Sequence[float], over_rows: Sequence[float] | None = None) -> Statistic:
    """Mean, standard deviation over seeds and 95 % interval of the mean; of a single value the interval over rows, None where that is not
    known, and so where all seeds happen to agree to the digit: they then say nothing of their spread."""
    mean = fmean(values)
    if len(values) < 2 or max(values) == min(values):
        return {"mean": mean, "std": 0.0, "ci95": list(over_rows) if over_rows is not None else None, "values": list(values)}
    std = stdev(values)
    half = t_quantile(len(values) - 1) * std / sqrt(len(values))
    return {"mean": mean, "std": std, "ci95": [mean - half, mean + half], "values": list(values)}


def combine(runs: Sequence[RunResult]) -> Report | None:
    """The report of a job of several runs, from those that have results; None when none has."""
    by_arm = {arm: {run.seed: run.report for run in runs if run.arm == arm and run.report} for arm in ("model", "student", "control")}
    missing = [{"arm": run.arm, "seed": run.seed, "reason": run.failure} for run in runs if run.report is None]
    if by_arm["student"]:
        found = _distilled(by_arm["student"], by_arm["control"])
        found |= _beside(found, runs, by_arm["student"], by_arm["control"])
    elif by_arm["model"] or by_arm["control"]:
        found = _trained(by_arm["model"] or by_arm["control"])
    else:
        return None
    found["per_class"] = _per_class(by_arm["student"], by_arm["control"] if by_arm["student"] else by_arm["model"] or by_arm["control"])
    seed = best_seed(runs)
    found["handed_out_seed"] = seed
    found["validation"] = _validated(by_arm["student"] or by_arm["model"])
    if seed is not None and seed in by_arm["student"]:
        found["disagreements"] = by_arm["student"][seed].get("disagreements")
        found["diagnosis"] = _diagnosis(found, list(by_arm["student"].values()), by_arm["student"][seed])
    if missing:
        found["missing_runs"] = missing
        found["verdict"] += f" {len(missing)} of {len(runs)} runs have no result."
    return found


def _diagnosis(found: Report, students: Sequence[Report], chosen: Report) -> Report:
    """That of the student handed out, with the warnings of all runs and what only they together show."""
    told = [warning for report in students for warning in (report.get("diagnosis") or {}).get("warnings", [])]
    gap = found.get("gap")
    if gap is not None and gap["ci95"] is not None and gap["ci95"][0] <= 0:
        told.append(f"{found['gap_recovered_reason']}: there is little it could teach")
    return {**(chosen.get("diagnosis") or {}), "warnings": list(dict.fromkeys(told))}


def _per_class(students: dict[int, Report], alone: dict[int, Report]) -> list[dict[str, Any]] | None:
    """Each class's figures in each arm, and by how much the student's F1 is above the control's; None where a row is not of one class."""
    arms: dict[str, list[Any]] = {}
    if students:
        arms = {
            "teacher": [_counts(next(iter(students.values())), "teacher")],
            "student": [_counts(r, "student") for r in students.values()],
        }
    if alone:
        arms["control" if students else "model"] = [_counts(report, "model") for report in alone.values()]
    if not all(all(seeds) for seeds in arms.values()):
        return None
    found, paired = by_class.table(arms), sorted(set(students) & set(alone))
    if not paired:
        return found
    mine, theirs = ([_counts(those[seed], arm) for seed in paired] for those, arm in ((students, "student"), (alone, "model")))
    return [{**row, "gain": statistic(gains)} for row, gains in zip(found, by_class.ahead(mine, theirs), strict=True)]


def _counts(report: Report, arm: str) -> Any:
    return report["arms"][arm].get("by_class")


def _validated(reports: dict[int, Report]) -> dict[str, float] | None:
    """Mean over seeds of the metrics on the validation rows; None without such rows."""
    held_out = [report["validation"] for report in reports.values() if report.get("validation")]
    return {name: fmean(one[name] for one in held_out) for name in held_out[0]} if held_out else None


def best_seed(runs: Sequence[RunResult]) -> int | None:
    """The seed whose student is handed out: best validation metric, or loss where there is no such metric; the first where there were no
    validation rows."""
    judged = [run for run in runs if run.arm in ("student", "model") and run.report]
    if not judged:
        return None
    return max(judged, key=lambda run: (_on_validation(run.report or {}), -run.seed)).seed


def _on_validation(report: Report) -> float:
    """More is better. Texts and answers are not written out for it: of those the loss."""
    found, metric = report.get("validation") or {}, report["metric"]
    if metric in found:
        return float(found[metric]) * (1 if report["higher_is_better"] else -1)
    return -float(found.get("loss", 0.0))


def _trained(reports: dict[int, Report]) -> Report:
    first = next(iter(reports.values()))
    arm = _arm([report["arms"]["model"] for report in reports.values()])
    metric = arm["metrics"][first["metric"]]
    opening = "One run:" if len(reports) == 1 else f"{len(reports)} seeds:"
    interval = f" (95 % {metric['ci95'][0]:.4f} to {metric['ci95'][1]:.4f})" if metric["ci95"] else ""
    said = f"{opening} {first['metric']} {_spread(metric)}{interval} on {first['rows']:,} {first['split']} rows."
    return {**_head(first), "seeds": list(reports), "arms": {"model": arm}, "verdict": said}


def _distilled(students: dict[int, Report], controls: dict[int, Report]) -> Report:
    first = next(iter(students.values()))
    metric, higher = first["metric"], first["higher_is_better"]
    teacher, student = first["arms"]["teacher"], _arm([report["arms"]["student"] for report in students.values()])
    arms = {"teacher": teacher, "student": student}
    of_teacher = (teacher["metrics"].get(metric) or {}).get("mean")  # nobody may know it of one that is remote
    kept = [_share(value, of_teacher, higher) if of_teacher is not None else None for value in student["metrics"][metric]["values"]]
    found: Report = {
        **_head(first),
        "seeds": list(students),
        "arms": arms,
        "agreement": _agreement(list(students.values())),
        "mean_kl": _mean_kl(students.values()),
        "retained": _retained(kept, student["metrics"][metric], of_teacher, higher),
        "gain": None,
        "gap_recovered": None,
        "gap_recovered_reason": "no control arm was run",
        "compression": first["compression"],
        "speedup": ratio(teacher["latency_ms"]["p50"], student["latency_ms"]["p50"]) if teacher["latency_ms"] else None,
        "teacher_outputs": _outputs(students),
    }
    if controls:
        arms["control"] = _arm([report["arms"]["model"] for report in controls.values()])
    paired = sorted(set(students) & set(controls))
    if paired:
        found |= _against_control([students[seed] for seed in paired], [controls[seed] for seed in paired])
    found["verdict"] = _verdict(found)
    return found


def _against_control(students: list[Report], controls: list[Report]) -> Report:
    """Gain, paired by seed, and the share of the teacher's lead that it recovers, where that lead is certain."""
    gain = paired(students, controls, ("student", "model"))
    if students[0]["metric"] not in students[0]["arms"]["teacher"]["metrics"]:
        return {"gain": gain, "gap": None, "gap_recovered": None, "gap_recovered_reason": "how good the teacher is was not measured"}
    lead = paired([students[0]] * len(students), controls, ("teacher", "model"))
    found: Report = {"gain": gain, "gap": lead, "gap_recovered": None}
    if lead["ci95"] is None or lead["ci95"][0] <= 0.0:
        behind = lead["ci95"] is not None and lead["ci95"][1] < 0.0
        reason = (
            "the teacher is no better than the student alone"
            if behind
            else "the teacher's lead over the student alone is not certain: its interval contains zero"
        )
        return {**found, "gap_recovered_reason": reason}
    return {**found, "gap_recovered": statistic([gain["mean"] / lead["mean"]]), "gap_recovered_reason": None}


def _beside(found: Report, runs: Sequence[RunResult], students: dict[int, Report], controls: dict[int, Report]) -> Report:
    """What `evaluation.compare` shows: each recipe's arm, against the student alone and against the job's own objective."""
    names = dict.fromkeys(run.arm for run in runs if run.arm not in ("student", "control"))
    compared: dict[str, Report] = {}
    arms, said = dict(found["arms"]), found["verdict"]
    for name in names:
        reports = {run.seed: run.report for run in runs if run.arm == name and run.report}
        if not reports:
            continue
        arms[name] = _arm([report["arms"]["student"] for report in reports.values()])
        alone, both = sorted(set(reports) & set(controls)), sorted(set(reports) & set(students))
        of = [students[seed] for seed in both], [reports[seed] for seed in both]
        compared[name] = {
            "gain": paired([reports[seed] for seed in alone], [controls[seed] for seed in alone], ("student", "model")) if alone else None,
            "against_objective": paired(of[1], of[0], ("student", "student")) if both else None,
            "agreement": _agreement(list(reports.values())),
            "mean_kl": _mean_kl(reports.values()),
        }
        against = compared[name]["against_objective"]
        if against is not None:
            low, high = against["ci95"] or (-1.0, 1.0)
            word = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
            said += f" Against it {name}: {_difference(against, found['metric'])}, {word}."
    return {"arms": arms, "compared": compared, "verdict": said} if compared else {}


def paired(mine: Sequence[Report], theirs: Sequence[Report], arms: tuple[str, str]) -> Statistic:
    """How much better `mine` are, seed by seed; arms: which of each one's arms is meant."""
    metric, sign = mine[0]["metric"], 1.0 if mine[0]["higher_is_better"] else -1.0
    differences = [
        sign * (a["arms"][arms[0]]["metrics"][metric]["mean"] - b["arms"][arms[1]]["metrics"][metric]["mean"])
        for a, b in zip(mine, theirs, strict=True)
    ]
    of_seeds = [_row_by_row(a, b, *arms) for a, b in zip(mine, theirs, strict=True)]
    known = [rows for rows in of_seeds if rows is not None]
    same = len(known) == len(of_seeds) and len({report["rows_sha256"] for report in mine}) == 1
    return difference(differences, known if same else None)


def difference(values: Sequence[float], rows: Sequence[Sequence[int]] | None) -> Statistic:
    """Of paired values, one for each seed. rows: of each seed, by how much each test row is better (1, 0 or −1), where that is known; the
    seeds have these rows in common. `ci95` then speaks for other seeds, and of one seed for other rows; `ci95_rows` for both."""
    if rows is None or len(rows[0]) < 2:
        return statistic(values)
    if len(values) < 2:
        return statistic(values, _of_pairs(rows[0]))
    mean, over_seeds = fmean(values), [sum(row) / len(rows) for row in zip(*rows, strict=True)]
    half = Z * stdev(over_seeds) / sqrt(len(over_seeds))
    found = statistic(values, [mean - half, mean + half])
    whole = sqrt(half**2 + ((found["ci95"][1] - mean) ** 2 if found["std"] else 0.0))
    return {**found, "ci95_rows": [mean - whole, mean + whole]}


def _of_pairs(rows: Sequence[int]) -> list[float]:
    """95 % interval of the mean of paired differences of rights, 1, 0 or −1 each: with one row more on either side, because of few rows
    that differ nothing is sure (Bonett, Price 2012, https://doi.org/10.3102/1076998611411915)."""
    n = len(rows) + 2
    better, worse = (rows.count(1) + 1) / n, (rows.count(-1) + 1) / n
    half = Z * sqrt((better + worse - (better - worse) ** 2) / n)
    return [max(-1.0, better - worse - half), min(1.0, better - worse + half)]


def _row_by_row(student: Report, control: Report, arm: str, other: str) -> list[int] | None:
    mine, theirs = _right(student, arm), _right(control, other)
    if mine is None or theirs is None or len(mine) != len(theirs) or student["rows_sha256"] != control["rows_sha256"]:
        return None
    return [a - b for a, b in zip(mine, theirs, strict=True)]


def pack_bits(right: Sequence[bool]) -> str:
    """Which rows were right, as base64 of bits, first row in the highest bit."""
    padded = [*right, *[False] * (-len(right) % 8)]
    octets = bytes(sum(bit << (7 - j) for j, bit in enumerate(padded[i : i + 8])) for i in range(0, len(padded), 8))
    return base64.b64encode(octets).decode()


def unpack_bits(text: str, count: int) -> list[int]:
    octets = base64.b64decode(text)
    return [octets[i // 8] >> (7 - i % 8) & 1 for i in range(count)]


def _right(report: Report, arm: str) -> list[int] | None:
    packed = report["arms"].get(arm, {}).get("rows_right")
    return unpack_bits(packed, report["rows"]) if packed else None


def _arm(arms: list[dict[str, Any]]) -> dict[str, Any]:
    """One arm over its seeds: metrics with spread, costs by their median run."""
    metrics = {
        name: statistic([arm["metrics"][name]["mean"] for arm in arms], arms[0]["metrics"][name]["ci95"]) for name in arms[0]["metrics"]
    }
    middle = sorted(arms, key=lambda arm: arm["latency_ms"]["p50"])[len(arms) // 2]
    return {
        "metrics": metrics,
        **{name: middle[name] for name in COSTS if name in middle},
        **_spent([arm["training"] for arm in arms if arm.get("training")]),
    }


def _spent(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several trainings the median of their seconds, and the most memory that any took; nothing where none said."""
    if not runs:
        return {}
    peaks = [one["peak_memory"] for one in runs if one["peak_memory"] is not None]
    return {"training": {"seconds": median(one["seconds"] for one in runs), "peak_memory": max(peaks, default=None)}}


def _head(report: Report) -> Report:
    known = ("metric", "higher_is_better", "split", "rows", "majority", "rows_sha256", "made_with")
    return {name: report[name] for name in known if report.get(name) is not None}


def _agreement(reports: list[Report]) -> Statistic | None:
    """None of a teacher that does not say what it finds likeliest."""
    if any(report["agreement"] is None for report in reports):
        return None
    return statistic([report["agreement"]["mean"] for report in reports], reports[0]["agreement"].get("ci95"))


def _mean_kl(reports: Iterable[Report]) -> float | None:
    """How far the student's distribution is from its teacher's on the measured rows, in nats: the mean over seeds."""
    found = [report.get("mean_kl") for report in reports]
    known = [value for value in found if value is not None]
    return fmean(known) if len(known) == len(found) else None


def _outputs(students: dict[int, Report]) -> dict[str, Any]:
    """One teacher pass serves all runs; `passes` counts those that had to be made, which runs that begin together share."""
    made: list[dict[str, Any]] = [report["teacher_outputs"] for report in students.values()]
    if made[0]["mode"] == "live":
        return made[0]
    passes = round(sum(outputs.get("share", float(outputs["cache"] == "built")) for outputs in made), 2)
    found = {**made[0], "cache": "built" if passes else "hit", "passes": int(passes) if passes == int(passes) else passes}
    found.pop("share", None)
    if "spent" in made[0]:  # on a remote teacher, by all runs together
        found["spent"] = {name: sum(outputs["spent"][name] for outputs in made) for name in made[0]["spent"]}
    return found


def _retained(kept: list[float | None], student: Statistic, of_teacher: float | None, higher_is_better: bool) -> Statistic | None:
    """Of one seed, the interval is the student's own over rows, as a share of the teacher's value."""
    known = [share for share in kept if share is not None]
    if len(known) < len(kept) or of_teacher is None:
        return None
    shares = [_share(bound, of_teacher, higher_is_better) for bound in student["ci95"] or []]
    return statistic(known, sorted(share for share in shares if share is not None) or None)


def _share(value: float, of_teacher: float, higher_is_better: bool) -> float | None:
    return ratio(value, of_teacher) if higher_is_better else ratio(of_teacher, value)


def ratio(a: float, b: float) -> float | None:
    return a / b if b else None


def _spread(found: Statistic) -> str:
    return f"{found['mean']:.4f} ± {found['std']:.4f}" if len(found["values"]) > 1 else f"{found['mean']:.4f}"


def _verdict(found: Report) -> str:
    metric, gain = found["metric"], found["gain"]
    arms, kept = found["arms"], found["retained"]
    seeds = len(found["seeds"])
    opening = "One run:" if seeds == 1 else f"{seeds} seeds:"
    share = f" = {100 * kept['mean']:.1f} % of the teacher's {arms['teacher']['metrics'][metric]['mean']:.4f}" if kept else ""
    student = f"{opening} student {metric} {_spread(arms['student']['metrics'][metric])}{share}{_size(found['compression'])}"
    if gain is None:
        return f"{student}. Without a control arm it cannot be told what the teacher added."
    alone = f"alone {_spread(arms['control']['metrics'][metric])}"
    if gain["ci95"] is None:
        return f"{student}, {alone}; the difference of {_difference(gain, metric)} has no interval, so nothing is claimed."
    low, high = gain["ci95"]
    interval = _difference(gain, metric)
    if low > 0:
        recovered = f", {100 * found['gap_recovered']['mean']:.0f} % of the gap recovered" if found["gap_recovered"] else ""
        return f"{student}, {alone}. Distillation helped: {interval}{recovered}.{_of_other_rows(gain, metric)}"
    if high < 0:
        return f"{student}, {alone}. Distillation hurt: {interval}.{_of_other_rows(gain, metric)}"
    return f"{student}, {alone}. No evidence that distillation helped: {interval}."


def _size(compression: float | None) -> str:
    """Nothing, where nobody knows how large the teacher is."""
    if compression is None:
        return ""
    return f", {compression:.1f}× smaller" if compression >= 1 else f", {1 / compression:.1f}× larger"


def _of_other_rows(gain: Statistic, metric: str) -> str:
    """Where only the rows at hand show it: other seeds would, other rows might not."""
    bounds: list[float] = gain.get("ci95_rows") or gain["ci95"]
    if bounds[0] > 0 or bounds[1] < 0:
        return ""
    told = _difference({**gain, "ci95": bounds}, metric)
    return f" These are few test rows: counting their draw, too, it is {told}."


def _difference(gain: Statistic, metric: str) -> str:
    """Of shares in points of a hundred; of perplexity, which is no share, as it is. With its interval, where there is one."""
    factor, digits, unit = (1, 2, "less perplexity") if metric == "perplexity" else (100, 1, "points")
    mean, *bounds = (f"{factor * value:+.{digits}f}" for value in (gain["mean"], *(gain["ci95"] or ())))
    return f"{mean} {unit}" + (f" (95 % {bounds[0]} to {bounds[1]})" if bounds else "")
