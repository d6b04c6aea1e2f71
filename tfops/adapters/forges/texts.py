"""What forges' texts have in common: names of repositories, the mark that tells our comments, cutting to a length."""

import hashlib
import re

_OWNER_AND_NAME = re.compile(r"(?!\.)[\w.-]+/(?!\.{1,2}$)[\w.-]+", re.ASCII)


def owner_and_name(repository: str) -> str:
    """The repository, if it is `owner/name` and nothing more; raises ValueError else. It becomes part of addresses."""
    if not _OWNER_AND_NAME.fullmatch(repository):
        raise ValueError("it is owner/name")
    return repository


def mark(key: str) -> str:
    """What our comment begins with, unseen. A digest: no key can end the HTML comment that it stands in.

    A mark proves nothing: anybody can write one. Ours is what begins with it *and* has our account as its author.
    """
    return f"<!-- tfops {hashlib.sha256(key.encode()).hexdigest()[:32]} -->"


def shortened(text: str, length: int) -> str:
    """The text, cut to a length."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
