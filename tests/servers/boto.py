"""What makes boto's clients cheap to make."""

from functools import cache


def keep_what_boto_reads() -> None:
    """Let this process, and its forks, parse the descriptions of services once: that takes half of making a client."""
    from botocore.loaders import JSONFileLoader

    if hasattr(JSONFileLoader.load_file, "__wrapped__"):
        return
    load, loader = JSONFileLoader.load_file, JSONFileLoader()
    kept = cache(lambda path: load(loader, path))

    def load_file(self: JSONFileLoader, path: str) -> object:
        return kept(path)

    load_file.__wrapped__ = load  # type: ignore[attr-defined]
    JSONFileLoader.load_file = load_file
