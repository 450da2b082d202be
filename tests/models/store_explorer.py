"""How long Hypothesis looks for an order of events that confuses the store; POTSTILL_EXAMPLES says otherwise."""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from store_world import World

UNHURRIED = 0 if "POTSTILL_EXAMPLES" in os.environ else 300  # seconds


def explore(machine: type[RuleBasedStateMachine], store: World) -> None:
    """Runs the machine, whose `world` is this store."""
    chosen = settings(
        max_examples=int(os.environ.get("POTSTILL_EXAMPLES", 40 if store.database.dialect == "sqlite" else 20)),
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        print_blob=True,
        phases=[Phase.generate],  # making a counterexample small takes minutes; the blob brings it back
    )
    run_state_machine_as_test(type(machine.__name__, (machine,), {"world": store}), settings=chosen)
