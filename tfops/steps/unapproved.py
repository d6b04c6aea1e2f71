"""Code that a push brought and too few people approved: looked at before it is planned, as a change for review is."""

from collections.abc import Collection

from tfops.attestation import Purpose
from tfops.deployment import Deployment
from tfops.errors import TfopsError
from tfops.fingerprint import Fingerprint
from tfops.steps.consenting import unapproved
from tfops.steps.opening import Session, now
from tfops.steps.outcome import Options, StackRun
from tfops.steps.store import PlanArtifact
from tfops.steps.surveyed import Surveyed
from tfops.steps.trusting import gate_for
from tfops.steps.untrusted import Suspicion
from tfops.untrusted import SETTINGS, Finding, installation_changed, settings_changed

_SHOWN = 3


def suspicion(stack: StackRun) -> Suspicion | None:
    """What the stack is suspected of; None where all it is made of is approved, or nobody has to approve anything.

    One line that nobody approved is enough to suspect all of it: the program that an approved line starts may be just
    what was changed. What a runner planned already, with these very inputs, somebody let it plan.
    """
    session, gate = stack.session, gate_for(stack.session, stack.surveyed, lineage=stack.lineage)
    names = unapproved(stack, gate) if gate.is_guarded else ()
    if not names:
        return None
    return Suspicion(
        review=session.rules.config.review,
        settings=_settings(session, stack.surveyed, names),
        why=f"too few people approved {_some(names)} to run that",
        way_on=f"read it; who trusts it has it planned, to be approved: tfops sync {stack.id} --trust-code. Before a "
        "merge: tfops plan --speculative --trust-code. Allowed for good by: review { allow = [ … ] }",
        is_trusted=stack.options.trust_code or _was_planned(stack),
    )


def suspicion_of_a_look(
    session: Session, surveyed: Surveyed, made_of: Fingerprint, head: Deployment | None, *, trust_code: bool = False
) -> Suspicion | None:
    """The same for who only looks, and applies nothing: that runs as much of the code as a sync does."""
    stack = StackRun(
        session=session,
        surveyed=surveyed,
        live={},
        options=Options(dry_run=True, trust_code=trust_code),
        fingerprint=made_of,
        head=head,
        started_on=now(),
    )
    return suspicion(stack)


def _settings(session: Session, surveyed: Surveyed, names: Collection[str]) -> tuple[Finding, ...]:
    """The settings that nobody approved and that are not those of the rules in force either."""
    name = surveyed.stack.environment.partition("@")[0]
    in_force = {one.name: one for one in session.rules.config.environments}
    now = next((one for one in session.config.environments if one.name == name), None)
    among = [setting for setting in SETTINGS if f"setting {setting}" in names]
    found = settings_changed(in_force.get(name), now, among) if now else ()  # what is gone chooses nothing
    installs = surveyed.stack.cli_config
    files = {installs, surveyed.inputs.symlinks.get(installs or "")}
    if installs is None or surveyed.cli_config is not None or files.isdisjoint(names):
        return found
    return (*found, installation_changed(installs))


def _was_planned(stack: StackRun) -> bool:
    """Whether a runner deployed just these inputs, or has a plan of them that waits or was named."""
    if stack.head is not None and stack.head.record.fingerprint == stack.fingerprint.digest:
        return True
    artifact = stack.options.given or _waiting(stack)
    if artifact is None:
        return False
    plan = artifact.statement.predicate
    return plan.fingerprint == stack.fingerprint.digest and plan.purpose is not Purpose.SPECULATIVE


def _waiting(stack: StackRun) -> PlanArtifact | None:
    session = stack.session
    try:
        plan_id = session.store.waiting_plan(stack.id)
        return session.store.plan(stack.id, plan_id, session.keys) if plan_id else None
    except TfopsError:
        return None


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
