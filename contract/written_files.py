"""What the report of an export says of its files, each against the network that it was written of."""

from contract.evidence import Report, Statistic, paired, ratio


def against(report: Report, arm: str, other: str) -> Report:
    """How many times smaller and faster one arm of a report is than another, and by how much better on the same rows."""
    mine, theirs = report["arms"][arm], report["arms"][other]
    return {
        "smaller": ratio(theirs["size_bytes"], mine["size_bytes"]),
        "faster": ratio(theirs["latency_ms"]["p50"], mine["latency_ms"]["p50"]),
        "gain": paired([report], [report], (arm, other)),
    }


def of_files(report: Report, found: dict[str, Report]) -> str:
    """A sentence on files written of one network, the last of which is the smallest; found: each against the network."""
    name, one = list(found.items())[-1]
    metric = report["metric"]
    figures = [f"{arm} {report['arms'][arm]['metrics'][metric]['mean']:.4f}" for arm in (name, "model")]
    change = _change(one["gain"], metric)
    speed = f"{_times(one['smaller'], 'smaller', 'larger', 'large')} and {_times(one['faster'], 'faster', 'slower', 'fast')}"
    first = next(iter(found.values()))
    same = f"The ONNX file agrees with the network: logits within {first['max_abs_difference']:.1g} on {first['rows']} rows."
    return f"{name} is {speed}, and {change} ({metric} {' against '.join(figures)} on {report['rows']:,} {report['split']} rows). {same}"


def _times(found: float | None, more: str, less: str, alike: str) -> str:
    if found is None or 0.95 < found < 1.05:
        return f"as {alike}"
    return f"{found:.1f}× {more}" if found > 1 else f"{1 / found:.1f}× {less}"


def _change(gain: Statistic, metric: str) -> str:
    """In points of a hundred; of perplexity, which is no share, as it is."""
    by, word = abs(gain["mean"]), "better" if gain["mean"] > 0 else "worse"
    if by == 0:
        return "exactly as good"
    size = f"{by:.2g} of perplexity" if metric == "perplexity" else f"{100 * by:.2g} points"
    low, high = gain["ci95"] or (gain["mean"], gain["mean"])
    shown = "" if low > 0 or high < 0 else ", which may be chance"
    return f"{size} {word}{shown}"
