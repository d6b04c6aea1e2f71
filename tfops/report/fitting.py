"""What of a text fits where space is short. Sizes are bytes of UTF-8: there are never more characters than bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from tfops.report.neutral import neutral


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of text, whole, and the short form for where the whole does not fit; "" for none."""

    whole: str
    short: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What is shown of each part, in order; "" of one that is left out. `missing`: left out or shortened."""

    forms: tuple[str, ...] = ()
    missing: int = 0

    @property
    def chosen(self) -> tuple[str, ...]:
        """What is shown."""
        return tuple(filter(None, self.forms))

    @property
    def left_out(self) -> int:
        """How many parts are not there at all."""
        return self.forms.count("")

    @property
    def size(self) -> int:
        """What it takes, with an end of line for each."""
        return sum(size(text) + 1 for text in self.chosen)


def size(text: str) -> int:
    """The bytes of a text."""
    return len(text.encode(errors="replace"))


def need(parts: Sequence[Part]) -> int:
    """What all parts take as a whole."""
    return sum(size(part.whole) + 1 for part in parts)


def fitted(parts: Sequence[Part], budget: int) -> Fit:
    """The parts that fit: first as many as possible in short, then in their order as many as possible whole."""
    chosen = ["" for _ in parts]
    left = budget
    for forms in ([part.short or part.whole for part in parts], [part.whole for part in parts]):
        for at, form in enumerate(forms):
            extra = size(form) - size(chosen[at]) + (not chosen[at])
            if chosen[at] != form and extra <= left:
                chosen[at] = form
                left -= extra
    missing = sum(text != part.whole for text, part in zip(chosen, parts, strict=True))
    return Fit(forms=tuple(chosen), missing=missing)


def fair_shares(needs: Sequence[int], budget: int) -> list[int]:
    """How much each gets: the modest all they need, the others as much as one another."""
    shares, left = [0] * len(needs), max(budget, 0)
    for rank, at in enumerate(sorted(range(len(needs)), key=lambda at: needs[at])):
        shares[at] = min(needs[at], left // (len(needs) - rank))
        left -= shares[at]
    return shares


def clipped(text: str, limit: int) -> str:
    """At most `limit` characters of a text, on one line."""
    text = neutral(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
