"""A job's metrics in hand: a list of series, a table in a notebook, a data frame on request."""

from typing import TYPE_CHECKING

from contract.errors import PotstillError
from contract.wire import Series

if TYPE_CHECKING:
    import pandas as pd


class Metrics(list[Series]):
    """Series by name, arm and seed."""

    def to_pandas(self) -> "pd.DataFrame":
        """One row for each point: name, arm, seed, step, value, time. Needs pandas, which this package does not bring."""
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise PotstillError("This needs pandas, which is not installed.", code="not_installed", hint="pip install pandas") from None
        rows = [(series.name, series.arm, series.seed, *point) for series in self for point in series.points]
        found = pd.DataFrame(rows, columns=["name", "arm", "seed", "step", "value", "time"])
        return found.assign(time=pd.to_datetime(found["time"], utc=True))

    def _repr_html_(self) -> str:
        from potstill.cli.metrics import HEADERS, row
        from potstill.notebook import table_of

        return table_of(HEADERS, map(row, self))
