"""The files that policies consist of, as texts: they are part of the rules, which are kept in a signed record."""

from collections.abc import Iterable, Mapping

from tfops.config_policy import Policy
from tfops.errors import ConfigError, Problem
from tfops.tree import Mode, Tree, below

LIMIT = 1024 * 1024


def policy_files(policies: Iterable[Policy], tree: Tree) -> Mapping[str, str]:
    """The texts of all files of these policies, by path. Raises ConfigError `config.policy` with all that is wrong."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for policy in policies:
        for path in policy.paths:
            names = [path] if path in tree.entries else below(tree.entries, path)
            wanted = [name for name in names if policy.has(name)]
            if not wanted:
                hint = "commit it; of rego only files that end with .rego count"
                problems.append(_problem(policy, f"{path} is not at this revision", hint))
            for name in wanted:
                try:
                    found[name] = _text(tree, name)
                except ValueError as error:
                    hint = "name only the text files that the policy needs"
                    problems.append(_problem(policy, f"{name} {error}", hint))
    size = sum(len(text.encode()) for text in found.values())
    if size > LIMIT:
        message = f"the files of all policies have {size} bytes; the rules in force hold at most {LIMIT}"
        hint = "name only what the policies need; a program and its libraries belong on the runner"
        problems.append(Problem(code="config.policy", message=message, hint=hint))
    if problems:
        raise ConfigError.of(problems)
    return found


def _text(tree: Tree, path: str) -> str:
    if tree.entries[path].mode in (Mode.SYMLINK, Mode.SUBMODULE):
        raise ValueError("is a link: what it leads to is not part of the rules")
    data = tree.read(path)
    if b"\0" in data:
        raise ValueError("is no text")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("is no text in UTF-8") from None


def _problem(policy: Policy, message: str, hint: str) -> Problem:
    return Problem(code="config.policy", message=f'policy "{policy.name}": {message}', hint=hint)
