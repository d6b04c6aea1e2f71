"""What a scan found, in one sentence that also says what to do about it."""

from collections.abc import Iterable, Sequence

from tfops.drift import Drift, Found, Tag
from tfops.three_way import Word

_OBJECT_WORDS = {
    Tag.UNKNOWN: "would change in a way this version does not know",
    Tag.SUSPECT_STATE_REGRESSION: "would be created although the state that knew it went back",
    Tag.ABSORBED_BY_STATE: "would change because somebody wrote the state",
    Tag.CONFLICT: "was edited outside Terraform and in the code, differently",
    Tag.DELETED: "was deleted outside Terraform",
    Tag.MODIFIED: "was edited outside Terraform",
    Tag.CASCADE: "would change because of another one",
    Tag.TAINTED: "is marked as tainted",
    Tag.EXTERNAL_INPUT: "would change because something outside the code did",
    Tag.PROVIDER_FLOAT: "would change because of another provider version",
    Tag.PENDING: "waits to be applied",
    Tag.MOVED: "waits to be moved",
    Tag.IMPORT: "waits to be imported",
    Tag.FORGET: "waits to be forgotten",
    Tag.REPLACE: "would be replaced",
    Tag.MARKS_ONLY: "changes its sensitivity marks only",
    Tag.ABSORBED_BY_CODE: "was edited outside Terraform, and the code has it now",
    Tag.PARTLY_ABSORBED: "was edited outside Terraform, and the code has only some of it",
    Tag.HIDDEN_BY_IGNORE_CHANGES: "was edited outside Terraform, which the code ignores",
    Tag.BENIGN_PROVIDER_UPGRADE: "is described differently by another provider version",
    Tag.BENIGN_COMPUTED: "has computed values that moved",
    Tag.GONE: "is gone, and the code no longer wants it",
    Tag.DATA_READ: "is read anew",
    Tag.NORMALIZATION: "is written differently and means the same",
}
_STACK_WORDS = {
    Tag.UNKNOWN: "nothing can be said",
    Tag.ERROR: "the plan failed half-way",
    Tag.INCOMPLETE: "the plan is incomplete, so nothing is known to be in sync",
    Tag.STATE_LINEAGE_CHANGED: "the state was replaced by another one, or is gone",
    Tag.STATE_SERIAL_REGRESSED: "the state went back, or was edited in place",
    Tag.STATE_CHANGED_OUTSIDE: "somebody else wrote the state",
    Tag.CHECK_FAILED: "a check of the code does not hold",
    Tag.OUTPUT_ONLY: "only outputs would change",
    Tag.PENDING: "it was never deployed",
}


def cause(found: Found) -> str:
    """Why one object is not in sync."""
    words = _OBJECT_WORDS.get(found.tags[0], found.tags[0].value)
    moved = [item.path for item in found.attributes if item.verdict in (Word.REVERT, Word.CONFLICT, Word.KEPT)]
    shown = f" ({', '.join(moved[:5])}{' …' if len(moved) > 5 else ''})" if moved else ""
    also = "; applying would replace it" if Tag.REPLACE in found.tags and found.tags[0] is not Tag.REPLACE else ""
    return f"{words}{shown}{also}"


def own_cause(tags: Iterable[Tag]) -> str:
    """Why the stack as a whole is not in sync."""
    return "; ".join(_STACK_WORDS.get(tag, tag.value) for tag in tags)


def sentence(stack: str, drift: Drift) -> str:
    """The one sentence a tired person needs: what moved, what applying would do, what to do."""
    return f"{stack}: {summary(drift)}{_advice(stack, drift)}"


def summary(drift: Drift) -> str:
    """What moved, without advice."""
    if not drift.tags:
        return "in sync"
    parts = [_STACK_WORDS[tag] for tag in drift.own if tag in _STACK_WORDS]
    parts += [_counted(words, group) for words, group in _groups(drift.resources)]
    return "; ".join(parts)


def _groups(resources: Iterable[Found]) -> list[tuple[str, list[Found]]]:
    """Objects by what is said of them, in the order of the most serious one."""
    groups: dict[str, list[Found]] = {}
    for found in sorted(resources, key=lambda found: list(Tag).index(found.tags[0])):
        groups.setdefault(_OBJECT_WORDS.get(found.tags[0], found.tags[0].value), []).append(found)
    return list(groups.items())


def _counted(words: str, group: Sequence[Found]) -> str:
    if len(group) == 1:
        return f"{group[0].address} {words}"
    plural = words.replace("was ", "were ", 1).replace("is ", "are ", 1).replace("has ", "have ", 1)
    plural = plural.replace("waits ", "wait ", 1).replace("changes its", "change their", 1).replace(" means ", " mean ")
    return f"{len(group)} resources {plural}"


def _advice(stack: str, drift: Drift) -> str:
    tags = set(drift.tags)
    advice = next((words for meant, words in _ADVICE if tags & meant), "")
    return advice.format(stack=stack)


_ADVICE = (
    (
        {Tag.STATE_LINEAGE_CHANGED, Tag.STATE_SERIAL_REGRESSED, Tag.SUSPECT_STATE_REGRESSION},
        '; restore the state, or if it is meant: tfops recover {stack} --adopt-state --reason "…"',
    ),
    ({Tag.UNKNOWN, Tag.ERROR, Tag.INCOMPLETE}, "; the next scan looks again"),
    (
        {Tag.STATE_CHANGED_OUTSIDE, Tag.ABSORBED_BY_STATE},
        "; see what they did, then: tfops sync {stack} --replan",
    ),
    ({Tag.CONFLICT}, "; decide which is right: make the code say it, or undo the edit"),
    (
        {Tag.MODIFIED},
        "; applying would revert that: tfops drift --remediate {stack}, or commit the change",
    ),
    (
        {Tag.DELETED},
        "; applying would create it anew: tfops drift --remediate {stack}, or take it out of the code",
    ),
    (
        {Tag.CASCADE, Tag.TAINTED, Tag.EXTERNAL_INPUT, Tag.PROVIDER_FLOAT},
        "; applying would follow: tfops drift --remediate {stack}",
    ),
    (
        {Tag.PENDING, Tag.MOVED, Tag.IMPORT, Tag.FORGET, Tag.OUTPUT_ONLY, Tag.MARKS_ONLY},
        "; next: tfops sync {stack}",
    ),
)
