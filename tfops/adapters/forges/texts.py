"""What forges' texts have in common: the mark that tells our comments, and how to cut to a length."""

import hashlib


def mark(key: str) -> str:
    """What our comment begins with, unseen. A digest: no key can end the HTML comment that it stands in.

    A mark proves nothing: anybody can write one. Ours is what begins with it *and* has our account as its author.
    """
    return f"<!-- tfops {hashlib.sha256(key.encode()).hexdigest()[:32]} -->"


def shortened(text: str, length: int) -> str:
    """The text, cut to a length."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
