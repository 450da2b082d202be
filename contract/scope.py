"""How far a key reaches. Each scope holds those before it: who may submit may read, and who may administer may do both."""

from enum import StrEnum


class Scope(StrEnum):
    READ = "read"  # look at everything of the project, and have specs checked
    SUBMIT = "submit"  # make, steer and delete jobs, sweeps, datasets and models; make login links
    ADMIN = "admin"  # keys, and the audit of what was done

    def allows(self, needed: "Scope") -> bool:
        return needed in self.held()

    def held(self) -> list["Scope"]:
        """This one and all that it holds."""
        order = list(Scope)
        return order[: order.index(self) + 1]


def widest(scopes: list[Scope]) -> Scope:
    return max(scopes, key=list(Scope).index)
