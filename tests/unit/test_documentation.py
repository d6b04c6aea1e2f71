"""What the documents say is what the code does: commands, options, exit codes, error codes, decisions."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tfops.attestation import PLAN_FILES
from tfops.cli.main import COMMANDS, cli
from tfops.config import Approval, parse_config
from tfops.errors import Exit
from tfops.steps.store import APPLIED_FILES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS_PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
ERRORS_PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
QUICKSTART = (ROOT / "scripts" / "quickstart").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "tfops").rglob("*.py"))
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

CODE = re.compile(r"[a-z]+(\.[a-z0-9_]+)?")
FILE_ENDINGS = (".json", ".tfplan", ".tfstate", ".txt", ".hcl", ".ndjson", ".py", ".so", ".log", ".conf")


# Commands and options


def section(name: str) -> str:
    """The part of commands.md on one command."""
    found = re.search(rf"^## `{name}`\n(.*?)(?=^## |\Z)", COMMANDS_PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/commands.md has no section on {name}"
    return found[1]


def parameters(name: str) -> list[click.Parameter]:
    """Arguments and options of one command and of its subcommands."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [*command.params, *(parameter for each in below for parameter in each.params)]


def subcommands() -> list[tuple[str, str]]:
    """Every subcommand behind its command."""
    groups = ((name, cli.get_command(click.Context(cli), name)) for name in COMMANDS)
    return [(name, below) for name, group in groups if isinstance(group, click.Group) for below in group.commands]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_names_every_command(name: str):
    assert re.search(rf"^\| `{name}` \|", README, re.MULTILINE)


def test_the_readme_names_no_other_command():
    table = README.partition("## Commands")[2].partition("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_described(name: str):
    own = [parameter for parameter in parameters(name) if parameter.name not in {"format_", "verbose"}]
    rows = re.findall(r"^\| `([^`]+)` \|", section(name), re.MULTILINE)
    described = {word for row in rows for word in row.split()}
    missing = [
        parameter.name
        for parameter in own
        if isinstance(parameter, click.Option) and not described.intersection(parameter.opts)
    ]
    assert not missing


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_is_described_that_does_not_exist(name: str):
    known = {opt for parameter in parameters(name) for opt in parameter.opts}
    rows = re.findall(r"^\| `([^`]+)` \|", section(name), re.MULTILINE)
    assert {word for row in rows for word in row.split() if word.startswith("-")} <= known


@pytest.mark.parametrize(("name", "below"), subcommands())
def test_every_subcommand_has_a_section(name: str, below: str):
    assert f"### `{name} {below}`\n" in section(name)


def shown_commands() -> list[str]:
    """Every line that a console block of the README shows as typed."""
    blocks = re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_the_readme_shows_commands():
    assert len(shown_commands()) >= 5


@pytest.mark.parametrize("line", shown_commands())
def test_every_command_that_the_readme_shows_exists_with_its_options(line: str):
    program, name, *words = shlex.split(line)
    assert program == "tfops"
    assert name in COMMANDS
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    command.make_context(name, words)  # raises on what it does not know


# Configuration and example


def test_the_readmes_configuration_is_a_whole_one():
    example, *others = re.findall(r"^```hcl\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    # The excerpt leaves out the environment that staging comes after, but names nothing that it lacks.
    assert [environment.name for environment in parse_config(example).environments] == ["staging", "prod"]
    assert all(parse_config(other).environments for other in others)


def test_the_sections_of_the_quickstart_are_numbered_by_it_and_not_by_hand():
    titles = re.findall(r'^ *title "(.*)"$', QUICKSTART, re.MULTILINE)
    assert len(titles) > 5
    assert not [title for title in titles if title[0].isdigit()]


def test_the_example_applies_three_environments_in_order_and_is_not_initialised():
    config = parse_config((ROOT / "tfops.hcl").read_text(encoding="utf-8"))
    after = {environment.name: environment.after for environment in config.environments}
    assert after == {"dev": (), "staging": ("dev",), "prod": ("staging",)}
    assert {environment.branch for environment in config.environments} == {"main"}
    assert [environment.approval for environment in config.environments] == [Approval(count=0)] * 3
    assert (config.store.id, config.signing_key, config.runners) == (None, None, ())


# Exit codes


def test_the_readmes_exit_codes_are_those_of_the_code():
    table = README.partition("## Exit codes")[2].partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == sorted(Exit)


# Error codes


def documented() -> list[str]:
    """Every code with a row on errors.md."""
    return re.findall(r"^\| `([a-z0-9_.]+)` \|", ERRORS_PAGE, re.MULTILINE)


def constants(node: ast.expr) -> Iterator[str]:
    """The texts that an expression may have the value of."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from constants(body)
            yield from constants(orelse)


def bucket_areas(tree: ast.AST) -> list[ast.keyword]:
    """The `code=` of every Bucket: how its errors' codes begin, and no code itself."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    buckets = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Bucket")
    return [keyword for call in buckets for keyword in call.keywords if keyword.arg == "code"]


def bucket_codes() -> set[str]:
    """What goes wrong with a bucket, for each kind of bucket; the store's is the one that names no area."""
    keywords = [found for path in SOURCES for found in bucket_areas(ast.parse(path.read_text(encoding="utf-8")))]
    areas = {"store", *(area for found in keywords for area in constants(found.value))}
    faults = ast.parse((ROOT / "tfops" / "adapters" / "s3_faults.py").read_text(encoding="utf-8"))
    return {f"{area}.{name}" for area in areas for name in first_arguments(faults, "_error")}


def raised_codes(tree: ast.AST) -> Iterator[str]:
    """The texts given as `code=`, and those that look like a code and are no name of a file."""
    areas = {code.partition(".")[0] for code in documented() if "." in code}
    not_codes = bucket_areas(tree)
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="code", value=value) if node not in not_codes:
                yield from constants(value)
            case ast.Constant(value=str() as text) if text.partition(".")[0] in areas and "." in text:
                if CODE.fullmatch(text) and not text.endswith(FILE_ENDINGS):
                    yield text


def first_arguments(tree: ast.AST, *functions: str) -> Iterator[str]:
    """The texts that calls of these functions, or methods, have as their first argument."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[first, *_]) if name in functions:
                yield from constants(first)


def made_codes(path: Path, tree: ast.AST) -> Iterator[str]:
    """The codes that are put together: of faults in the configuration, and of Terraform's commands."""
    if path.name in {"config.py", "config_drift.py", "schema.py", "checks.py"}:
        yield from (f"config.{name}" for name in first_arguments(tree, "add", "refuse"))
        if path.name == "schema.py":
            yield from ("config.unknown_key", "config.unknown_block")
    yield from (f"terraform.{command.split()[0]}" for command in first_arguments(tree, "failed"))


def binding_names() -> Iterator[str]:
    """The names of the checks of a plan's bindings, as the source lists them."""
    tree = ast.parse((ROOT / "tfops" / "attestation.py").read_text(encoding="utf-8"))
    (function,) = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "binding_checks")
    for node in ast.walk(function):
        match node:
            case ast.Tuple(elts=[ast.Constant(value=str() as name), _, _]):
                yield name


def check_codes() -> set[str]:
    """A check that failed is `verify.` and its name."""
    names = {*PLAN_FILES, *APPLIED_FILES, "signature", "subjects", "age", *binding_names()}
    return {"verify." + name.replace(" ", "_").replace(".", "_") for name in names}


def codes_of_the_code() -> set[str]:
    """Every error code that anything in the package can end with."""
    found = check_codes() | bucket_codes()
    for path in SOURCES:
        if path.name == "notification.py":  # its kinds of events look like codes
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {*raised_codes(tree), *made_codes(path, tree)}
    return found


def test_every_error_code_is_documented():
    assert codes_of_the_code() - set(documented()) == set()


def test_no_error_code_is_documented_that_does_not_exist():
    assert set(documented()) - codes_of_the_code() == set()


def test_the_bindings_of_a_plan_are_found_in_the_source():
    assert {"stack", "state serial", "fingerprint"} <= set(binding_names())


def test_every_error_code_has_one_row():
    assert len(documented()) == len(set(documented()))


# Architecture


def test_every_module_that_the_architecture_names_exists():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Where each rule lives")[2].partition("\n## ")[0]
    named = [name for row in table.splitlines() for name in re.findall(r"`([a-z_/]+)`", row.rpartition(" | ")[2])]
    assert len(named) > 15
    assert not [name for name in named if not (ROOT / "tfops" / f"{name}.py").exists()]


# Links


def links() -> list[tuple[str, str]]:
    """Every relative link of every page."""
    return [
        (page.relative_to(ROOT).as_posix(), target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in target
    ]


@pytest.mark.parametrize(("page", "target"), links())
def test_every_link_leads_somewhere(page: str, target: str):
    assert ((ROOT / page).parent / target).exists()


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "adr").glob("*.md")), ids=lambda page: page.name)
def test_every_decision_has_context_options_decision_and_consequences(page: Path):
    bold = re.findall(r"^\*\*(\w+)\.\*\*", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert bold == ["Context", "Options", "Decision", "Consequences"]
