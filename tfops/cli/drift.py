"""`tfops drift`."""

from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import click

from tfops.cli.options import Setting, branch_option, jobs_option, output_options
from tfops.cli.output import Result
from tfops.cli.sync import warn_of_ignored
from tfops.errors import Exit, Problem, UsageError
from tfops.report.neutral import on_one_line
from tfops.steps.opening import Session
from tfops.steps.scan_line import StackDrift
from tfops.workflows.drift import Drifts, Request


@click.command("drift")
@click.argument("stacks", nargs=-1)
@branch_option
@click.option("--due", is_flag=True, help="Only stacks whose drift { every } is over, the most urgent first.")
@click.option("--shard", metavar="I/N", help="With --due: only this runner's share, 1/4 to 4/4.")
@click.option("--max-runtime", metavar="TIME", help="Begin no scan after that: 50m, 3h.")
@click.option("--per-account", type=click.IntRange(1, 64), help="Scans at once in one account; see `account`.")
@click.option("--remediate", is_flag=True, help="Bring back to the code what drift { remediate } allows.")
@click.option("--metrics", type=click.Path(path_type=Path), help="Write metrics there, for node_exporter's textfiles.")
@click.option("--ack", metavar="ADDRESS", help="Do not scan; acknowledge that incident. With --reason and --until.")
@click.option("--reason", help="With --ack: why it may stay.")
@click.option("--until", metavar="DATE", help="With --ack: until when, 2027-01-31.")
@jobs_option
@output_options
def command(
    setting: Setting,
    stacks: tuple[str, ...],
    branch: str | None,
    due: bool,
    shard: str | None,
    max_runtime: str | None,
    per_account: int | None,
    remediate: bool,
    metrics: Path | None,
    ack: str | None,
    reason: str | None,
    until: str | None,
    jobs: int | None,
) -> Exit:
    """Say what moved away from the code, why, and what to do about it. Changes nothing without --remediate.

    Without STACKS: all stacks of the branch. An environment's name means all of its stacks.
    """
    from tfops.steps.opening import open_session

    caller = setting.caller()
    if ack is not None:
        return _acknowledge(setting, open_session(caller, branch=branch, fetch=False), stacks, ack, reason, until)
    if reason or until:
        raise UsageError(
            "--reason and --until go with --ack", code="usage.ack", hint="name the incident: --ack ADDRESS"
        )
    warn_of_ignored(setting, caller.environ)
    request = _request(stacks, due, shard, max_runtime, per_account, remediate, jobs)
    return _scan(setting, open_session(caller, branch=branch), request, metrics)


def _request(
    stacks: tuple[str, ...],
    due: bool,
    shard: str | None,
    max_runtime: str | None,
    per_account: int | None,
    remediate: bool,
    jobs: int | None,
) -> Request:
    from tfops.checks import span_seconds
    from tfops.scanning import parse_shard
    from tfops.steps.schedule import default_jobs

    if shard is not None and not due:
        raise UsageError("--shard goes with --due", code="usage.shard", hint="tfops drift --due --shard 1/4")
    seconds = span_seconds(max_runtime) if max_runtime else None
    if max_runtime is not None and seconds is None:
        raise UsageError(f"--max-runtime {max_runtime!r} is no span of time", code="usage.max_runtime", hint="50m, 3h")
    return Request(
        names=stacks,
        due=due,
        shard=None if shard is None else parse_shard(shard),
        max_runtime_seconds=seconds,
        remediate=remediate,
        jobs=jobs or default_jobs(),
        per_account=per_account,
    )


def _scan(setting: Setting, session: Session, request: Request, metrics: Path | None) -> Exit:
    from tfops.workflows.drift import drift, metrics_text

    found = drift(session, request, tick=setting.screen.tick)
    problems = [problem for stack in found.stacks for problem in stack.problems] + list(found.problems)
    problems += _untold(found)
    exit_code = found.exit_code
    if metrics is not None:
        from tfops.adapters.textfile import write_textfile

        write_textfile(metrics, metrics_text(session, found))
    setting.screen.show(
        Result(
            command="drift",
            exit_code=exit_code,
            stacks=tuple(entry(stack) for stack in found.stacks),
            problems=tuple(problems),
            extra={
                "revision": found.revision,
                "later": [asdict(item) for item in found.timetable.later],
                "notifications": [asdict(delivery) for delivery in found.deliveries],
            },
            text=lambda: _text(found),
        )
    )
    return exit_code


def _untold(found: Drifts) -> list[Problem]:
    return [
        Problem(
            code="notify.failed",
            message=f'notify "{delivery.channel}": {delivery.detail}',
            hint="the verdicts hold all the same; correct the channel, or whoever listens there",
        )
        for delivery in found.deliveries
        if not delivery.ok
    ]


def entry(stack: StackDrift) -> dict[str, Any]:
    """A stack for programs."""
    record, tracked = stack.record, stack.tracked
    new = {one.id for one in (*tracked.opened, *tracked.worsened)} if tracked else set()
    return {
        "stack": stack.stack,
        "environment": stack.environment,
        "verdict": stack.verdict,
        "tags": stack.tags,
        "resources": [
            {"address": item.address, "tags": item.tags, "attributes": item.attributes, "actions": item.actions}
            for item in stack.drift.resources
        ],
        "summary": stack.planned.summary.as_json() if stack.planned else {},
        "plan_id": stack.plan_id,
        "change_digest": stack.change_digest,
        "sentence": stack.sentence,
        "reasons": stack.reasons,
        "notes": stack.drift.notes,
        "pending": stack.pending,
        "incidents": [
            {
                "id": one.id,
                "address": one.address,
                "tags": one.tags,
                "cause": one.cause,
                "first_seen": one.first_seen,
                "last_seen": one.last_seen,
                "times_seen": one.times_seen,
                "is_new": one.id in new,
                "acknowledged_until": one.acknowledged.until if one.acknowledged else None,
            }
            for one in (record.incidents if record else ())
        ],
        "closed_incidents": [
            {"id": one.id, "address": one.address, "closed_as": one.closed_as, "closed_by": one.closed_by}
            for one in (tracked.closed if tracked else ())
        ],
        "suppressed": [{"address": address, "rule": rule} for address, rule in stack.suppressed.items()],
        "remediation": stack.remediation,
        "scanned_on": stack.scanned_on,
        "said_on": record.said_on if record else None,
        "said": record.said if record else None,
        "terraform_runs": stack.terraform_runs,
        "exit_code": int(stack.exit_code),
    }


def _text(found: Drifts) -> object:
    from rich.text import Text

    from tfops.report.counts import plural
    from tfops.report.drift_text import counted, objects, verdict_table
    from tfops.report.tables import lines

    table = verdict_table(
        (
            stack.stack,
            stack.verdict,
            _open_since(stack),
            stack.scanned_on,
            stack.sentence.removeprefix(f"{stack.stack}: "),
        )
        for stack in found.stacks
    )
    parts = [part for stack in found.stacks for part in _details(stack, objects)]
    runs = sum(stack.terraform_runs for stack in found.stacks)
    started = f"Terraform was started {plural(runs, 'time')}" if runs else "no Terraform was started"
    later = f"; {plural(len(found.timetable.later), 'stack')} not due yet" if found.timetable.later else ""
    verdicts = counted(stack.verdict for stack in found.stacks)
    head = (table, Text("")) if found.stacks else ()
    return lines(*head, *parts, Text(f"{found.revision}: {verdicts}{later}; {started}"))


def _open_since(stack: StackDrift) -> datetime | None:
    record = stack.record
    return min((one.first_seen for one in record.incidents), default=None) if record else None


def _details(stack: StackDrift, objects: Any) -> list[Any]:
    from rich.text import Text

    from tfops.changes import plan_of

    redacted = plan_of(stack.judged.redacted) if stack.judged else None
    shown = list(objects(stack.drift.resources, redacted))
    if stack.pending:
        shown.append(Text(f"  {stack.pending.revision} {_pending_words(stack)}", "yellow"))
    shown += [Text(f"  ignored by drift rule {rule!r}: {address}", "dim") for address, rule in stack.suppressed.items()]
    shown += [Text(f"  note: {note}", "dim") for note in stack.drift.notes]
    if stack.tracked:
        shown += [
            Text(f"  closed: {one.address or 'the stack itself'}, {(one.closed_as or '').replace('_', ' ')}", "green")
            for one in stack.tracked.closed
        ]
    if stack.plan_id and not stack.remediation:
        shown.append(Text(f"  the plan that would bring it back: tfops inspect {stack.plan_id[:12]}", "cyan"))
    if stack.remediation:
        why = f": {'; '.join(map(on_one_line, stack.remediation.reasons))}" if stack.remediation.reasons else ""
        shown.append(Text(f"  remediation: {stack.remediation.outcome}{why}", "bold"))
    return [Text(stack.stack, "bold"), *shown, Text("")] if shown else []


def _pending_words(stack: StackDrift) -> str:
    from tfops.report.tables import counts

    pending = stack.pending
    assert pending is not None  # noqa: S101
    if pending.problem:
        return f"cannot be planned: {pending.problem}"
    if not any(pending.summary.values()):
        return "is not applied yet; it would change nothing"
    return f"is not applied yet: {counts(pending.summary)}"


def _acknowledge(
    setting: Setting, session: Session, stacks: tuple[str, ...], address: str, reason: str | None, until: str | None
) -> Exit:
    from rich.text import Text

    from tfops.workflows.acknowledge import acknowledge

    if not reason or not until:
        raise UsageError(
            "--ack needs --reason and --until: nobody may look away without saying why and for how long",
            code="usage.ack",
            hint=f'tfops drift --ack {address} --reason "…" --until {date.today() + timedelta(days=14)}',
        )
    stack, incident = acknowledge(session, stacks, address, reason=reason, until=_end_of(until))
    setting.screen.show(
        Result(
            command="drift",
            exit_code=Exit.OK,
            stacks=({"stack": stack, "acknowledged": incident},),
            text=lambda: Text(f"{stack}: {incident.address or 'the stack'} is acknowledged until {until}: {reason}"),
        )
    )
    return Exit.OK


def _end_of(day: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(day), time.max, tzinfo=UTC)
    except ValueError as error:
        raise UsageError(f"--until {day!r} is no date", code="usage.ack", hint="write it so: 2027-01-31") from error
