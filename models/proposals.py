"""Which values to try next, by what is known: Optuna's sampler, told everything anew each time, so that no state has to be kept."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from contract.sweep import Dimension, Grid, Range, SweepSpec, Tpe, Values

STARTUP = 10  # drawn before TPE begins to prefer: Optuna's default


def load() -> None:
    """Imports what a search needs, before somebody holds a transaction open."""
    import optuna  # noqa: F401


class Known(NamedTuple):
    """A trial so far. value: None while there is none; ended: whether one is still to come."""

    values: Values
    value: float | None
    ended: bool


def propose(spec: SweepSpec, higher_is_better: bool, known: Sequence[Known], count: int) -> list[Values]:
    """The next `count` values, fewer where there are no more. The same for the same `known`."""
    if not isinstance(spec.search, Tpe):
        chosen = spec.grid() if isinstance(spec.search, Grid) else spec.drawn()
        return chosen[len(known) : len(known) + count]
    import optuna  # here, because it takes half a second and most processes never need it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = spec.search.seed + len(known)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True)
    study = optuna.create_study(sampler=sampler, direction="maximize" if higher_is_better else "minimize")
    distributions = {field: _distribution(dimension) for field, dimension in spec.space.items()}
    states = optuna.trial.TrialState
    for one in known:
        state = states.COMPLETE if one.value is not None else states.FAIL if one.ended else states.RUNNING
        value = one.value if state is states.COMPLETE else None
        study.add_trial(optuna.trial.create_trial(params=_params(spec, one.values), distributions=distributions, value=value, state=state))
    drawn = [study.ask(distributions).params for _ in range(count)]
    return [{field: _value(spec.space[field], params[field]) for field in spec.space} for params in drawn]


def _distribution(dimension: Dimension) -> Any:
    import optuna.distributions as kinds

    if not isinstance(dimension, Range):
        return kinds.CategoricalDistribution(tuple(range(len(dimension))))  # by position: options may be mappings
    if dimension.integer:
        return kinds.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return kinds.FloatDistribution(float(dimension.low), float(dimension.high), log=dimension.log)


def _value(dimension: Dimension, param: Any) -> Any:
    return dimension.rounded(param) if isinstance(dimension, Range) else dimension[param]


def _params(spec: SweepSpec, values: Values) -> dict[str, Any]:
    return {field: value if isinstance(d := spec.space[field], Range) else d.index(value) for field, value in values.items()}
