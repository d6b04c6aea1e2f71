"""The rules in force as a person reads them: what each environment asks for, who counts, and what judges."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tfops.config import Config
from tfops.config_gate import Evidence, Gate
from tfops.config_policy import Policy
from tfops.config_review import Review
from tfops.report.neutral import neutral
from tfops.report.tables import table
from tfops.standing import Machine, Person

_NOTHING = "–"
_KINDS = {Evidence.SIGNED: "signatures", Evidence.FORGE: "reviews on the forge"}


def rules_tables(
    rules: Config, gates: Iterable[tuple[str, Gate]], people: Iterable[Person], machines: Iterable[Machine]
) -> Iterator[RenderableType]:
    """All of it, one table below the other, each after an empty line."""
    yield from (Text(""), gates_table(rules, gates))
    yield from (Text(""), people_table(people))
    yield from (Text(""), machines_table(machines))
    if rules.policies:
        yield from (Text(""), policies_table(rules.policies))
    yield from (Text(""), *map(Text, _further(rules)))


def gates_table(rules: Config, gates: Iterable[tuple[str, Gate]]) -> Table:
    """One line per environment: what an apply has to pass."""
    found = table("environment", "approvals", "from", "code owners", "max age", "held up", "policies")
    pruning = {one.name for one in rules.environments if one.prune}
    for name, gate in gates:
        found.add_row(
            Text(name, "bold"),
            *_approvals(gate),
            _cell((*_held_up(gate), *(("destroys by itself what is gone",) if name in pruning else ()))),
            _cell(policy.name for policy in gate.policies),
        )
    return found


def people_table(people: Iterable[Person]) -> Table:
    """One line per person: whose decisions count, by which keys and logins, and until when."""
    found = table("approver", "counts", "keys", "logins", "addresses", "teams", "until")
    for person in people:
        one = person.approver
        found.add_row(
            Text(one.name, "bold" if not person.void else "dim"),
            _counts(person.void),
            _cell(f"{key.type} {key.fingerprint}" for key in one.every_key),
            _cell(f"{forge} {login}" for forge, login in one.logins),
            _cell(one.emails),
            _cell(one.teams),
            f"{one.valid_until:%Y-%m-%d %H:%M}Z" if one.valid_until else _NOTHING,
        )
    if not found.row_count:
        found.add_row(Text("nobody", "dim"))
    return found


def machines_table(machines: Iterable[Machine]) -> Table:
    """One line per runner: what counts that it signs."""
    found = table("runner", "counts", "signs", "key")
    for machine in machines:
        runner = machine.runner
        signs = f"{runner.only} plans only" if runner.only else "everything"
        found.add_row(Text(runner.name, "bold"), _counts(machine.void), signs, Text(neutral(runner.public_key)))
    return found


def policies_table(policies: Iterable[Policy]) -> Table:
    """One line per policy: what judges, which files it consists of, and whose plans it judges."""
    found = table("policy", "judges", "by", "files")
    for policy in policies:
        by = " ".join(policy.command) if policy.command else f"Rego, {policy.query}"
        judges = ", ".join(policy.environments) or "all environments"
        found.add_row(Text(policy.name, "bold"), Text(neutral(judges)), Text(neutral(by)), _cell(policy.paths))
    return found


def _approvals(gate: Gate) -> tuple[Text, Text, Text, Text]:
    ask = gate.approval
    if ask is None:
        return Text("nothing is applied by itself"), *(Text(_NOTHING),) * 3
    asks_anybody = ask.count or ask.codeowners
    return (
        Text(str(ask.count or "none")),
        _cell(_KINDS[kind] for kind in ask.sources) if asks_anybody else Text(_NOTHING),
        Text("asked" if ask.codeowners else _NOTHING),
        Text(f"{ask.max_age_seconds / 3600:g} h" if ask.max_age_seconds else _NOTHING),
    )


def _held_up(gate: Gate) -> Iterator[str]:
    yield from (words for protect in gate.protects for words in protect.words)
    yield from (f"frozen: {freeze.words}" for freeze in gate.freezes)


def _further(rules: Config) -> Iterator[str]:
    forge = rules.forge
    where = f"{forge.kind} at {forge.url}{f', {forge.repository}' if forge.repository else ''}" if forge else "none"
    yield neutral(f"forge: {where}")
    yield neutral(f"code for review: {'; '.join(_review(rules.review))}")


def _review(review: Review) -> Iterator[str]:
    yield f"may use {', '.join(review.allow)}" if review.allow else "runs nothing of its own"
    for what, places in (("modules", review.modules), ("providers", review.providers)):
        yield f"{what} from anywhere" if places is None else f"{what} from {', '.join(places) or 'nowhere'}"


def _counts(void: str) -> Text:
    return Text(f"no: {void}", "red") if void else Text("yes", "green")


def _cell(lines: Iterable[str]) -> Text:
    return Text("\n".join(map(neutral, lines)) or _NOTHING)
