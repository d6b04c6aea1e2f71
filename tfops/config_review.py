"""The review block of tfops.hcl: what the code of a change may do while it is planned for review."""

from dataclasses import dataclass
from enum import StrEnum

from tfops import checks
from tfops.schema import Field, Section, suggestion


class Allowance(StrEnum):
    """What a change may do, or see, while it is planned for review, where the rules in force say so."""

    EXTERNAL = "external"
    HTTP = "http"
    EXEC = "exec"
    SSH_AGENT = "ssh_agent"
    FORGE_TOKEN = "forge_token"  # noqa: S105  (the name of a kind, no secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What is allowed of code that nobody has read yet. Without a list, modules and providers come from anywhere."""

    allow: tuple[Allowance, ...] = ()
    modules: tuple[str, ...] | None = None
    providers: tuple[str, ...] | None = None

    def is_at_least(self, other: "Review") -> bool:
        """Whether this allows nothing that the other one does not."""
        return (
            set(self.allow) <= set(other.allow)
            and _within(self.modules, other.modules)
            and _within(self.providers, other.providers)
        )


def _within(mine: tuple[str, ...] | None, others: tuple[str, ...] | None) -> bool:
    return others is None or (mine is not None and set(mine) <= set(others))


def review(top: Section) -> Review:
    """The review block; what it says by default where there is none."""
    section = top.one("review")
    if section is None:
        return Review()
    section.check_names(attributes=("allow", "modules", "providers"))
    return Review(
        allow=section.get("allow", _allowances, ()),
        modules=section.get("modules", checks.many(checks.text), None),
        providers=section.get("providers", checks.many(checks.text), None),
    )


def _allowances(found: Field) -> tuple[Allowance, ...] | None:
    given = checks.many(checks.text)(found) or ()
    unknown = [word for word in given if word not in [*Allowance]]
    for word in unknown:
        found.refuse("invalid_value", f'cannot be "{word}"', suggestion(word, [*Allowance]))
    return None if unknown else tuple(Allowance(word) for word in given)
