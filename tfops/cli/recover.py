"""`tfops recover`."""

from typing import Any

import click

from tfops.cli.options import Setting, branch_option, output_options
from tfops.cli.output import Result
from tfops.errors import Exit
from tfops.workflows.recover import Recovery


@click.command("recover")
@click.argument("stacks", nargs=-1, metavar="[STACK]...")
@click.option("--adopt-state", "way", flag_value="adopt", help="Take the state as it is now for the right one.")
@click.option("--push-state", "way", flag_value="push", help="Write back the state an apply could not write.")
@click.option("--reason", help="Why; recorded and signed. Needed with --adopt-state and --push-state.")
@branch_option
@output_options
def command(setting: Setting, stacks: tuple[str, ...], way: str | None, reason: str | None, branch: str | None) -> Exit:
    """Finish what a crash left behind, and say what only a person can decide.

    Without an option it does what is safe: records an apply that died, writes back a state that fits, ends leftover
    processes; and names what was in flight, with import blocks for what the state lacks. With one, a person decides.
    """
    from tfops.steps.opening import open_session
    from tfops.workflows.recover import adopt_state, most_serious_of, push_state, recover

    if way is not None:
        if len(stacks) != 1 or not reason:
            raise click.UsageError("--adopt-state and --push-state need one STACK, and --reason")
        decide = adopt_state if way == "adopt" else push_state
        state = decide(open_session(setting.caller(), branch=branch), stacks[0], reason=reason)
        return _show_decided(setting, stacks[0], state.lineage, state.serial)
    found = recover(open_session(setting.caller(), branch=branch), stacks)
    code = most_serious_of(found)
    setting.screen.show(
        Result(
            command="recover",
            exit_code=code,
            stacks=tuple(_entry(stack) for stack in found),
            problems=tuple(problem for stack in found for problem in stack.problems),
            text=lambda: "\n".join(_lines(found)),
        )
    )
    return code


def _show_decided(setting: Setting, stack: str, lineage: str | None, serial: int) -> Exit:
    setting.screen.show(
        Result(
            command="recover",
            exit_code=Exit.OK,
            stacks=({"stack": stack, "lineage": lineage, "serial": serial},),
            text=lambda: f"{stack}: its state at serial {serial} is taken as right; next: tfops sync {stack}",
        )
    )
    return Exit.OK


def _entry(stack: Recovery) -> dict[str, Any]:
    return {
        "stack": stack.stack,
        "recovered": stack.was_open and not stack.problems and not stack.missing,
        "plan_id": stack.plan_id,
        "in_flight": [{"address": r.address, "action": r.action, "id": r.id} for r in stack.in_flight],
        "missing": [{"address": r.address, "id": r.id} for r in stack.missing],
        "import_blocks": list(stack.import_blocks),
        "unknown": list(stack.unknown),
        "lineage": stack.state.lineage if stack.state else None,
        "serial": stack.state.serial if stack.state else None,
    }


def _lines(found: tuple[Recovery, ...]) -> list[str]:
    lines = [line for stack in found if stack.was_open and not stack.problems for line in _stack_lines(stack)]
    clean = sum(not stack.was_open for stack in found)
    return [*lines, f"{clean} of {len(found)} stacks had nothing to recover"]


def _stack_lines(stack: Recovery) -> list[str]:
    lines = [f"{stack.stack}: an apply of plan {(stack.plan_id or '')[:12]} did not end by itself"]
    lines += [f"  in flight: {result.address} ({result.action})" for result in stack.in_flight]
    if not stack.missing:
        return [*lines, f"  it is on record, and nothing is missing; next: tfops sync {stack.stack}"]
    if stack.import_blocks:
        lines += ["  created, and not in the state. Add this to the code, commit, and sync:", ""]
        lines += [f"    {line}" for block in stack.import_blocks for line in block.splitlines()] + [""]
    if stack.unknown:
        lines.append("  may have been created, by an id nobody recorded. Look for it at the provider:")
        lines += [f"    {address}" for address in stack.unknown]
        first = ", and what is listed above is imported" if stack.import_blocks else ""
        lines.append(f"  if it is there, import it by its id in the same way; if none of them is there{first}:")
        lines.append(f'    tfops recover {stack.stack} --adopt-state --reason "looked: nothing there"')
    return lines
