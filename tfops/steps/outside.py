"""What somebody outside did to a stack that speaks against applying a plan of it without a person's word."""

from tfops.changes import Plan
from tfops.conflicts import conflicts
from tfops.protection import Violation
from tfops.steps.outcome import StackRun
from tfops.steps.state import Snapshot, parse_state


def done_outside(stack: StackRun, plan: Plan) -> tuple[Violation, ...]:
    """What `plan` would overwrite although somebody changed it, and a state that somebody else wrote."""
    return (*conflicts(plan, stack=stack.id), *_state_written(stack))


def _state_written(stack: StackRun) -> tuple[Violation, ...]:
    head, state = stack.head, stack.state
    if head is None or state is None or state.serial <= head.record.state.serial or _is_ours(stack, state):
        return ()
    words = (
        f"somebody else wrote its state since it was deployed (serial {state.serial}, it was left at "
        f"{head.record.state.serial}). To look: tfops drift {stack.id}; if it was meant: "
        f'tfops recover {stack.id} --adopt-state --reason "…"'
    )
    return (Violation(words=words, addresses=frozenset()),)


def _is_ours(stack: StackRun, state: Snapshot) -> bool:
    """Whether an apply of ours that did not end well left it so, or we wrote it back for such a one."""
    store = stack.session.store
    deployments, _ = store.deployments(stack.id, stack.session.keys)
    left = [(one.record.state.lineage, one.record.state.serial, one.record.state_sha256) for one in deployments]
    if (state.lineage, state.serial, state.sha256) in left:
        return True
    pushed = (parse_state(data, stack=stack.id) for data in store.states_set_aside(stack.id))
    return (state.lineage, state.serial) in [(one.lineage, one.serial) for one in pushed]
