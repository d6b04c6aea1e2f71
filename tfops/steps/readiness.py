"""Can be given here what the rules in force ask for? People enough, the programs of policies, ssh-keygen."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfops.adapters.git import git_env
from tfops.adapters.rego import is_there as rego_is_there
from tfops.config_gate import Gate
from tfops.config_policy import Policy
from tfops.errors import FailedError, Problem, RefusedError
from tfops.report.counts import plural
from tfops.report.neutral import neutral
from tfops.standing import Person, able, people
from tfops.steps.opening import Session, now
from tfops.trust import gate_in, gate_of


def enough_people(session: Session) -> str:
    """Who can approve for which environment. Raises RefusedError `trust.too_few_people` where that is not enough."""
    counted = list(_counted(session))
    short = [_shortage(name, gate, who) for name, gate, who in counted if len(who) < gate.wanted]
    if short:
        raise RefusedError.of(short)
    asking = [f"{name}: {gate.wanted} of {', '.join(who)}" for name, gate, who in counted if gate.wanted]
    return "; ".join(asking) or "no environment asks anybody"


def narrow_electorates(session: Session) -> list[str]:
    """The environments for which everybody who can approve has to: nobody approves their own work."""
    return [
        f"{name} asks for {plural(gate.wanted, 'approval')}, and only {' and '.join(who)} can give them: what one of "
        "them wrote nobody can approve; name more people in trust"
        for name, gate, who in _counted(session)
        if gate.wanted and len(who) == gate.wanted
    ]


def ssh_keygen(session: Session) -> str:
    """Where ssh-keygen is. Raises FailedError `key.no_ssh` where it is missing, and somebody has an SSH key."""
    found = shutil.which("ssh-keygen", path=git_env(session.caller.environ).get("PATH"))
    if found:
        return found
    signing = [person.approver.name for person in _people(session) if person.approver.every_key]
    if not signing:
        return "is not there, and not needed: nobody in trust has an SSH key"
    raise FailedError(
        f"there is no ssh-keygen on PATH, and the decisions of {', '.join(signing)} are checked with it",
        code="key.no_ssh",
        hint="install the OpenSSH client, 8.2 or newer",
    )


def policy_programs(session: Session) -> str:
    """What policies are asked. Raises FailedError `policy.program`: what is missing here, one problem a policy."""
    rules = session.rules
    faults = [(policy, _policy_fault(session, policy)) for policy in rules.config.policies]
    problems = [
        Problem(
            code="policy.program",
            message=f'policy "{policy.name}" cannot be asked: {fault}',
            hint="install it on the runner, or name it in the policy's files; until then all that it judges waits",
        )
        for policy, fault in faults
        if fault
    ]
    if problems:
        raise FailedError.of(problems)
    return ", ".join(policy.name for policy in rules.config.policies) or "none"


def _counted(session: Session) -> Iterator[tuple[str, Gate, tuple[str, ...]]]:
    """For each environment of the rules in force its gate, and who could approve."""
    rules, who = session.rules.config, _people(session)
    kind = rules.forge.kind if rules.forge else None
    for one in rules.environments:
        gate = gate_of(one.name, gate_in(one), (), rules)
        yield one.name, gate, able(gate.approval, who, kind) if gate.approval else ()


def _people(session: Session) -> tuple[Person, ...]:
    rules = session.rules.config
    return people(rules, session.config if session.is_followed else rules, now())


def _shortage(name: str, gate: Gate, who: Iterable[str]) -> Problem:
    names = ", ".join(who) or "nobody"
    return Problem(
        code="trust.too_few_people",
        message=f"{name} asks for {plural(gate.wanted, 'approval')}, but only {names} can give one: "
        "nothing can ever be applied to it",
        hint="name more people in trust, with a key or a login that counts there, or ask for fewer (tfops trust)",
    )


def _policy_fault(session: Session, policy: Policy) -> str | None:
    if policy.rego:
        return None if rego_is_there() else "regopy is not installed: pip install 'tfops-cli[rego]'"
    program = policy.command[0]
    if "/" not in program:
        found = shutil.which(program, path=session.caller.environ.get("PATH"))
        return None if found else f"there is no {neutral(program)} on PATH"
    if not program.startswith("/"):
        path = os.path.normpath(program)
        is_kept = path in session.rules.files and policy.has(path)
        return None if is_kept else f"{neutral(program)} is none of its files"
    if not Path(program).is_file():
        return f"there is no {neutral(program)}"
    return None if os.access(program, os.X_OK) else f"{neutral(program)} is not executable"
