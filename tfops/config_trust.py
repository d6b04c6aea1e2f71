"""The trust block of tfops.hcl: which runners sign plans, which people approve them, and with which keys."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from tfops import checks
from tfops.schema import Field, Section
from tfops.ssh_keys import SshPublicKey, parse_ssh_key

FORGES = ("github", "gitlab", "bitbucket", "azure", "gitea")
_APPROVER_KEYS = ("ssh_key", "ssh_keys", "emails", "teams", "revoked", "valid_until", *FORGES)
SPECULATIVE = "speculative"
"""The purpose of plans for review, which is all that a runner may be limited to."""
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A trusted runner: what it signs with this key counts; with `only`, nothing but plans of that purpose."""

    name: str
    public_key: str
    only: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """A person who may approve. `logins` are what forges call them, `emails` what their commits say."""

    name: str
    ssh_keys: tuple[str, ...] = ()
    logins: tuple[tuple[str, str], ...] = ()
    emails: tuple[str, ...] = ()
    is_revoked: bool = False
    teams: tuple[str, ...] = ()
    """The teams that a CODEOWNERS file names: `@org/team`."""
    valid_until: datetime | None = None
    """From then on nothing that the person ever decided counts."""

    @property
    def keys(self) -> tuple[SshPublicKey, ...]:
        """The keys that count."""
        return () if self.is_revoked else self.every_key

    @property
    def every_key(self) -> tuple[SshPublicKey, ...]:
        """All of the person's keys, whether they count or not."""
        return tuple(parse_ssh_key(line) for line in self.ssh_keys)

    def at(self, moment: datetime) -> "Approver":
        """The person as they count at a moment: revoked where their time is over."""
        is_over = self.valid_until is not None and self.valid_until < moment
        return replace(self, is_revoked=True) if is_over else self


def trust(top: Section) -> tuple[tuple[Runner, ...], tuple[Approver, ...]]:
    """The runners and the people of the trust block. A key, a login or an e-mail under two people is at fault."""
    section = top.one("trust")
    if section is None:
        return (), ()
    section.check_names(blocks=("runner", "approver"))
    runners = tuple(_runner(name, block) for name, block in section.named("runner"))
    named = section.named("approver")
    people = tuple(_approver(name, block) for name, block in named)
    for number, ((_, block), person) in enumerate(zip(named, people, strict=True)):
        _refuse_shared(block, person, people[:number])
    return runners, people


def _runner(name: str, section: Section) -> Runner:
    checks.check_name(name, section)
    section.check_names(attributes=("public_key", "only"))
    public_key = section.require("public_key", checks.file_path, "")
    return Runner(name=name, public_key=public_key, only=section.get("only", _purpose, None))


def _purpose(found: Field) -> str | None:
    word = checks.text(found)
    if word is not None and word != SPECULATIVE:
        found.refuse("invalid_value", f'cannot be "{word}"', f'write only = "{SPECULATIVE}", or leave it out')
        return None
    return word


def _approver(name: str, section: Section) -> Approver:
    checks.check_name(name, section)
    section.check_names(attributes=_APPROVER_KEYS)
    one = section.get("ssh_key", _ssh_key, None)
    several = section.get("ssh_keys", checks.many(_ssh_key), ())
    logins = tuple((forge, login) for forge in FORGES if (login := section.get(forge, checks.text, None)))
    person = Approver(
        name=name,
        ssh_keys=(*((one,) if one else ()), *several),
        logins=logins,
        emails=section.get("emails", checks.many(_email), ()),
        is_revoked=section.get("revoked", checks.boolean, False),
        valid_until=section.get("valid_until", checks.moment, None),
        teams=section.get("teams", checks.many(checks.text), ()),
    )
    given = {attribute.name for attribute in section.body.attributes}
    if not given & {"ssh_key", "ssh_keys", *FORGES}:
        hint = 'give ssh_key = "ssh-ed25519 AAAA…", or a login: github = "alice"'
        section.refuse("missing_key", "has neither a key nor a login, so it could never approve", hint)
    return person


def _ssh_key(found: Field) -> str | None:
    line = checks.text(found)
    if line is None:
        return None
    try:
        return parse_ssh_key(line).line
    except ValueError as error:
        found.refuse("invalid_value", f"is no SSH public key: {error}", "copy the whole line of the .pub file")
        return None


def _email(found: Field) -> str | None:
    address = checks.text(found)
    if address is not None and not _EMAIL.fullmatch(address):
        found.refuse("invalid_value", f'cannot be "{address}"', 'write it like "alice@example.org"')
        return None
    return None if address is None else address.casefold()


def _refuse_shared(section: Section, person: Approver, others: Iterable[Approver]) -> None:
    for other in others:
        shared = {*_identities(person)} & {*_identities(other)}
        for what in sorted(shared):
            hint = "whoever has it would count as two people: leave it with one of them"
            section.refuse("shared_identity", f'shares {what} with approver "{other.name}"', hint)


def _identities(person: Approver) -> Iterable[str]:
    yield from (f"the key {parse_ssh_key(line).fingerprint}" for line in person.ssh_keys)
    yield from (f"the {forge} login {login.casefold()}" for forge, login in person.logins)
    yield from (f"the address {email}" for email in person.emails)
