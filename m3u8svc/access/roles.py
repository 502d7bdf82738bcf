"""
Who may do what (R-AUTHZ-1): the one decision that HTTP, WebSocket and pages go through. Pure.

A role may do what it is named for and what lesser roles may. What is not in the table nobody may: a new thing begins
forbidden. One service has one list of tasks; whoever may change tasks may change all of them.
"""

import enum
from collections.abc import Mapping

import attrs


class Role(enum.StrEnum):
    """
    From the least to the most.
    """

    READER = "reader"
    USER = "user"
    ADMIN = "admin"

    def covers(self, other: "Role") -> bool:
        """
        Whether this role may do all that the other may.
        """
        order = list(Role)
        return order.index(self) >= order.index(other)


class Action(enum.Enum):
    """
    What somebody wants with a thing.
    """

    READ = "read"
    CHANGE = "change"


class Thing(enum.Enum):
    """
    What there is to read or change.
    """

    PAGES = "pages"
    """The page, its files, and whether we live: nothing that is anybody's."""
    SESSION = "session"
    TASKS = "tasks"
    SETTINGS = "settings"
    PLUGINS = "plugins"
    HEALTH = "health"
    METRICS = "metrics"
    """Numbers of all tasks, hosts and disks: names are among them, so it is nothing for strangers."""


@attrs.frozen(kw_only=True)
class Principal:
    """
    Somebody we know, as a token's or a user's name.
    """

    name: str
    role: Role


OWNER = Principal(name="owner", role=Role.ADMIN)
"""Who comes over loopback to a service without tokens and passwords: the user of the machine."""

ANYBODY = None
LEAST_ROLES: Mapping[tuple[Action, Thing], Role | None] = {
    (Action.READ, Thing.PAGES): ANYBODY,
    (Action.CHANGE, Thing.SESSION): ANYBODY,  # to log in and out
    (Action.READ, Thing.SESSION): Role.READER,
    (Action.READ, Thing.TASKS): Role.READER,
    (Action.CHANGE, Thing.TASKS): Role.USER,
    (Action.READ, Thing.SETTINGS): Role.READER,
    (Action.CHANGE, Thing.SETTINGS): Role.ADMIN,
    (Action.READ, Thing.PLUGINS): Role.READER,
    (Action.READ, Thing.HEALTH): Role.READER,
    (Action.READ, Thing.METRICS): Role.READER,
}


def is_allowed(principal: Principal | None, action: Action, thing: Thing | None) -> bool:
    """
    Whether somebody, or None for a stranger, may do this.
    """
    if thing is None or (action, thing) not in LEAST_ROLES:
        return False
    least = LEAST_ROLES[action, thing]
    return least is ANYBODY or (principal is not None and principal.role.covers(least))


def least_role(action: Action, thing: Thing | None) -> Role:
    """
    Which role a refusal names: the least that would do.
    """
    least = None if thing is None else LEAST_ROLES.get((action, thing))
    return least or Role.ADMIN
