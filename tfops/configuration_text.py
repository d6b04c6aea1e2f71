"""tfops.hcl as text: a first one, and careful insertions into one a person wrote. What is there stays as it is."""

import re
from collections.abc import Iterator

from tfops.config import is_environment_name
from tfops.hcl import parse_body, quoted

_COMMENTS_AND_STRINGS = re.compile(r'/\*.*?\*/|#[^\n]*|//[^\n]*|"(?:[^"\\]|\\.)*"', re.DOTALL)


def first_configuration(environments: dict[str, str], branch: str, store: str | None, region: str | None = None) -> str:
    """A tfops.hcl for environments (name → root module); names that cannot be one are left out.

    `store` is a directory or s3://BUCKET/PREFIX (then `region` is written too), or None for the default.
    """
    blocks = [_environment(name, branch, root) for name, root in environments.items() if is_environment_name(name)]
    return (
        "# What tfops does with this repository: docs/configuration.md\n\n"
        + _store(store, region)
        + "\n"
        + "\n".join(blocks)
    )


def with_store_id(text: str, store_id: str) -> str:
    """The configuration with the store's id written into its store block (a block is added where there is none)."""
    return (
        _inside(text, "store", f'id = "{store_id}"')
        or f'{text.rstrip()}\n\nstore "local" {{\n  id = "{store_id}"\n}}\n'
    )


def with_runner(text: str, name: str, public_key_path: str) -> str:
    """The configuration with one more trusted runner."""
    runner = f"runner {quoted(name)} {{\n    public_key = {quoted(public_key_path)}\n  }}"
    return _inside(text, "trust", runner) or f"{text.rstrip()}\n\ntrust {{\n  {runner}\n}}\n"


def with_signing_key(text: str, uri: str) -> str:
    """The configuration with a signing block at its end."""
    return f"{text.rstrip()}\n\nsigning {{\n  key = {quoted(uri)}\n}}\n"


def _store(store: str | None, region: str | None) -> str:
    if store is None:
        return 'store "local" {}\n'
    if not store.startswith("s3://"):
        return f'store "local" {{\n  path = {quoted(store)}\n}}\n'
    bucket, _, prefix = store.removeprefix("s3://").partition("/")
    given = {"bucket": bucket, "prefix": prefix.strip("/"), "region": region or ""}
    lines = "".join(f"  {name} = {quoted(value)}\n" for name, value in given.items() if value)
    return f'store "s3" {{\n{lines}}}\n'


def _environment(name: str, branch: str, root: str) -> str:
    return (
        f"environment {quoted(name)} {{\n"
        f"  branch = {quoted(branch)}\n"
        f"  roots  = [{quoted(root)}]\n"
        "  approval {\n"
        "    count = 0 # merged is approved; without this block nothing is applied automatically\n"
        "  }\n"
        "}\n"
    )


def _inside(text: str, type_: str, line: str) -> str | None:
    """`text` with a line at the beginning of its first block of a type; None where there is no such block."""
    blocks = [block for block in parse_body(text, "tfops.hcl").blocks if block.type == type_]
    if not blocks:
        return None
    start = sum(len(each) for each in text.splitlines(keepends=True)[: blocks[0].line - 1])
    begin = next(place for place, brace in _braces(text, start) if brace == "{") + 1
    end = _closing(text, begin)
    body = text[begin:end]
    if "\n" in body:
        return f"{text[:begin]}\n  {line}{body}{text[end:]}"
    rest = f"  {body.strip()}\n" if body.strip() else ""
    return f"{text[:begin]}\n  {line}\n{rest}{text[end:]}"


def _braces(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Where braces stand from `start` on, outside of strings and comments."""
    hidden = _COMMENTS_AND_STRINGS.sub(lambda found: " " * len(found.group()), text[start:])
    return ((start + found.start(), found.group()) for found in re.finditer(r"[{}]", hidden))


def _closing(text: str, begin: int) -> int:
    depth = 1
    for place, brace in _braces(text, begin):
        depth += 1 if brace == "{" else -1
        if not depth:
            return place
    return len(text)
