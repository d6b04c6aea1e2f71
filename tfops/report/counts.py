"""How many of what, in signs: `+2 ~1 ±1`."""

from tfops.changes import Summary

SIGNS = {"create": "+", "update": "~", "replace": "±", "delete": "-", "import": "←", "move": "→", "forget": "×"}


def counted(summary: Summary) -> str:
    """Only what there is; "" for nothing."""
    found = summary.as_json()
    parts = [f"{sign}{found[name]}" for name, sign in SIGNS.items() if found[name]]
    if summary.unknown:
        parts.append(f"?{summary.unknown}")
    outputs = plural(summary.outputs, "output") if summary.outputs else ""
    return ", ".join(filter(None, [" ".join(parts), outputs]))


def plural(number: int, noun: str) -> str:
    """ "1 time", "2 times"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def total(summaries: list[Summary]) -> Summary:
    """The counts of several plans together."""
    names = Summary.__dataclass_fields__
    return Summary(**{name: sum(getattr(one, name) for one in summaries) for name in names})
