"""A sensitive value stands nowhere but in plan files, states and kept inputs; not in any form it can take."""

import base64
import html
import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.conftest import MakeSandbox
from tests.e2e.sandbox import Result, Sandbox, environment

PEM = (
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nZ2l0b3BzLWZvci10ZXJyYWZvcm0tMDE5\n"
    "/+Kq4wFx9aaVbbUQ==\n-----END PRIVATE KEY-----\n"
)
SECRETS = {
    "plain": "hunter2-plain-8c1f",
    "pem": PEM,
    "quoted": 'say "friend" and \\enter\\ 7b2e',
    "markup": "<b>tom & jerry</b>'s 4d5a",
    "unicode": "gehëim-秘密-пароль",
    "dollar": "a$b%c{d}e f\tg-91c0",
    "environment": "from-the-environment-66fe",
    "nested": "inside-an-object-a0b1",
    "encoded": "inside-jsonencode-c2d3",
    "file": "from-a-tfvars-file-e4f5",
}
NUMBER = 918273645546
# Lines of the multi-line value that say nothing by themselves.
PUBLIC_LINES = {"-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", ""}


def _forms(value: str) -> Iterator[str]:
    pieces = {value, *value.split("\n")} - PUBLIC_LINES
    for piece in pieces:
        yield piece
        yield json.dumps(piece)[1:-1]
        yield json.dumps(piece, ensure_ascii=False)[1:-1]
        yield json.dumps(json.dumps(piece))[3:-3]
        yield html.escape(piece)
        yield html.escape(piece, quote=False)
        go = json.dumps(piece, ensure_ascii=False)[1:-1]
        yield go.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        yield quote(piece)
        yield quote(piece, safe="")
    yield base64.b64encode(value.encode()).decode()


FORMS = {form for value in [*SECRETS.values(), str(NUMBER)] for form in _forms(value)}


def _hcl(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


NAMES = ("plain", "pem", "quoted", "markup", "unicode", "dollar")
CODE = (
    "".join(
        f'variable "{name}" {{\n  sensitive = true\n  default = {_hcl(SECRETS[name])}\n}}\n'
        f'resource "terraform_data" "{name}" {{\n  input = var.{name}\n  triggers_replace = sha256(var.{name})\n}}\n'
        f'output "{name}" {{\n  sensitive = true\n  value = "around ${{var.{name}}} around"\n}}\n'
        for name in NAMES
    )
    + f"""
variable "environment" {{ sensitive = true }}
variable "file" {{ sensitive = true }}
variable "number" {{
  sensitive = true
  default = {NUMBER}
}}
variable "nested" {{
  type = object({{ user = string, password = string, list = list(string) }})
  sensitive = true
  default = {{ user = "somebody", password = "{SECRETS["nested"]}", list = ["x", "{SECRETS["nested"]}"] }}
}}
locals {{ version = "VERSION" }}
resource "terraform_data" "mixed" {{
  input = {{
    version = local.version
    environment = var.environment
    file = var.file
    number = var.number
    nested = var.nested
    encoded = jsonencode({{ password = sensitive("{SECRETS["encoded"]}"), all = [var.plain, var.quoted, var.markup] }})
    url = "postgres://user:${{urlencode(var.markup)}}@db/${{var.plain}}"
    base64 = base64encode(var.pem)
  }}
}}
output "nested" {{
  sensitive = true
  value = var.nested
}}
# A provisioner whose command holds a secret is silent in Terraform itself; one that gets it by environment is not.
resource "terraform_data" "loud" {{
  triggers_replace = local.version
  provisioner "local-exec" {{
    command = "cat $FILE; echo $PLAIN; printf '%s' \\"$PEM\\"; echo $QUOTED $MARKUP $UNICODE >&2"
    environment = {{
      PLAIN = nonsensitive(var.plain)
      PEM = nonsensitive(var.pem)
      QUOTED = nonsensitive(var.quoted)
      MARKUP = nonsensitive(var.markup)
      UNICODE = nonsensitive(var.unicode)
      FILE = "/dev/null"
    }}
  }}
}}
"""
)

FAILS_AT_PLAN = """
resource "terraform_data" "guard" {
  input = local.version
  lifecycle {
    precondition {
      condition = local.version == "never"
      error_message = "these will not do: ${nonsensitive("${var.plain} ${var.environment} ${var.markup}")}"
    }
  }
}
"""
FAILS_AT_APPLY = """
resource "terraform_data" "fails" {
  triggers_replace = local.version
  provisioner "local-exec" {
    command = "echo could not log in as $PLAIN with $QUOTED; exit 1"
    environment = {
      PLAIN = nonsensitive(var.plain)
      QUOTED = nonsensitive(var.quoted)
    }
  }
}
"""


def _a_whole_life(sandbox: Sandbox) -> dict[str, Result]:
    """Plan, sync, change, failing plan, failing apply; returns everything that was printed."""
    variable = {"TF_VAR_environment": SECRETS["environment"]}
    block = environment("dev", var_files='["dev.tfvars"]', pass_env='["TF_VAR_environment"]')
    tfvars = f'file = "{SECRETS["file"]}"\n'
    out = sandbox.directory / "out"
    results: dict[str, Result] = {}

    def run(name: str, *words: str | Path, code: int) -> None:
        for form in ("text", "json"):
            result = sandbox.tfops("-v", "--format", form, *words, env=variable)
            results[f"{name} as {form}"] = result
            assert result.code == code, result

    def commit(version: str, more: str = "") -> None:
        sandbox.stacks(block, {"dev/main.tf": CODE.replace("VERSION", version) + more, "dev/dev.tfvars": tfvars})

    commit("1")
    results["plan"] = sandbox.tfops("-v", "plan", "--out", out, env=variable)
    run("inspect of a directory", "inspect", out / "dev", code=0)
    results["sync"] = sandbox.tfops("-v", "sync", env=variable)
    assert results["sync"].code == 0, results["sync"]
    commit("2")
    results["second plan"] = sandbox.json("plan", "--out", out, env=variable)
    assert results["second plan"]["dev"]["summary"]["update"] > 0, results["second plan"]
    run("inspect of the second", "inspect", results["second plan"]["dev"]["plan_id"], code=0)
    results["markdown"] = sandbox.tfops("inspect", out / "dev", "--as", "markdown", env=variable)
    results["second sync"] = sandbox.sync("-v", env=variable, expect=0)
    commit("3", FAILS_AT_PLAN)
    results["a failing plan as json"] = sandbox.json("-v", "plan", env=variable)
    run("a sync whose plan fails", "sync", code=1)
    commit("4", FAILS_AT_APPLY)
    run("a sync whose apply fails", "sync", code=1)
    run("history", "history", code=0)
    for command in (("verify", out / "dev"), ("doctor",), ("stacks",)):
        results[str(command[0])] = sandbox.json(*command, env=variable)
    return results


def _found_in(text: str) -> list[str]:
    return [form for form in FORMS if form in text]


def _leaks(files: Iterable[Path]) -> dict[str, list[str]]:
    found = {str(path): _found_in(path.read_bytes().decode(errors="replace")) for path in files if path.is_file()}
    return {name: forms for name, forms in found.items() if forms}


def _may_hold_secrets(path: Path, store: Path) -> bool:
    name = path.relative_to(store).as_posix()
    return path.name == "plan.tfplan" or name.startswith("state/") or "/inputs/" in name


def test_in_a_whole_life_a_secret_stands_nowhere_but_in_plan_files_states_and_inputs(sandbox: Sandbox) -> None:
    """One life for all the places, since it takes a while."""
    results = _a_whole_life(sandbox)
    _check_that_the_run_handled_the_secrets_at_all(sandbox, results)
    printed = {name: _found_in(result.out) + _found_in(result.err) for name, result in results.items()}
    assert {name: found for name, found in printed.items() if found} == {}
    stored = [path for path in sandbox.store.rglob("*") if not _may_hold_secrets(path, sandbox.store)]
    assert len(stored) > 10
    assert _leaks(stored) == {}
    assert _leaks(path for path in (sandbox.directory / "out/dev").iterdir() if path.name != "plan.tfplan") == {}
    _check_the_cache(sandbox)
    _check_that_files_with_secrets_are_private(sandbox)
    _check_explain(sandbox)
    key = (sandbox.store / "digest-key").read_bytes()
    for form in (key.hex(), base64.b64encode(key).decode()):
        assert not [name for name, result in results.items() if form in result.out + result.err]


def _check_that_the_run_handled_the_secrets_at_all(sandbox: Sandbox, results: dict[str, Result]) -> None:
    state = sandbox.state_file().read_text()
    assert all(value in state for value in (SECRETS["plain"], SECRETS["environment"], SECRETS["file"], str(NUMBER)))
    assert "these will not do" in results["a failing plan as json"].messages
    assert "(sensitive)" in results["a failing plan as json"].messages
    assert "(sensitive" in results["inspect of the second as text"].out
    assert "terraform_data.mixed" in results["inspect of the second as text"].out
    said = "".join(json.dumps(event) for event in sandbox.events())
    assert "could not log in as (sensitive)" in said


def _check_the_cache(sandbox: Sandbox) -> None:
    """The code itself lies there, and some of these secrets stand in the code: `tree` may hold those, and no other."""
    files = [path for path in sandbox.cache.rglob("*") if path.is_file()]
    assert _leaks(path for path in files if "/tree/" not in path.as_posix()) == {}
    for path in files:
        text = path.read_text(errors="replace")
        assert path.suffix not in (".tfplan", ".out", ".err"), path
        assert '"resource_changes"' not in text, path
        assert SECRETS["environment"] not in text, path
    assert not [path for path in (sandbox.directory / "tmp").rglob("*") if path.is_file()]


def _check_that_files_with_secrets_are_private(sandbox: Sandbox) -> None:
    everything = [path for place in (sandbox.cache, sandbox.store) for path in place.rglob("*") if path.is_file()]
    holding = [path for path in everything if _found_in(path.read_text(errors="replace"))]
    assert holding
    assert [path for path in holding if path.stat().st_mode & 0o077] == []


def _check_explain(sandbox: Sandbox) -> None:
    raw = subprocess.run(
        [str(sandbox.bin / "terraform"), "show", "-json", str(sandbox.directory / "out/dev/plan.tfplan")],
        env=sandbox.env,
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert SECRETS["plain"] in raw
    for form in ("text", "json"):
        result = sandbox.tfops("--format", form, "explain", "-", stdin=raw)
        assert result.code == 0
        assert _found_in(result.out + result.err) == []


EARLY = {
    "a validation that prints its value": """
variable "checked" {
  sensitive = true
  default = "early-secret-31aa"
  validation {
    condition = length(var.checked) > 100
    error_message = "too short: ${nonsensitive(var.checked)}"
  }
}
""",
    "a conversion that quotes its value": """
variable "checked" {
  sensitive = true
  default = "early-secret-31aa"
}
resource "terraform_data" "a" { input = tonumber(nonsensitive(var.checked)) }
""",
    "an index by a secret": """
variable "checked" {
  sensitive = true
  default = "early-secret-31aa"
}
resource "terraform_data" "a" { input = { x = 1 }[nonsensitive(var.checked)] }
""",
    "a wrong value in a sensitive variable": """
variable "checked" {
  sensitive = true
  type = number
  default = "early-secret-31aa"
}
resource "terraform_data" "a" { input = var.checked }
""",
    "a file named by a secret": """
variable "checked" {
  sensitive = true
  default = "early-secret-31aa"
}
resource "terraform_data" "a" { input = file("/${nonsensitive(var.checked)}") }
""",
    "a check that prints a secret": """
variable "checked" {
  sensitive = true
  default = "early-secret-31aa"
}
resource "terraform_data" "a" { input = var.checked }
check "it" {
  assert {
    condition = false
    error_message = "not so: ${nonsensitive(var.checked)}"
  }
}
""",
}


@pytest.fixture(scope="module")
def early(make_sandbox: MakeSandbox) -> Sandbox:
    return make_sandbox()


@pytest.mark.parametrize("case", EARLY)
def test_what_terraform_says_when_it_fails_early_holds_no_secret(early: Sandbox, case: str) -> None:
    early.one_stack(EARLY[case])
    for words in (("sync",), ("--format", "json", "sync", "--replan")):
        result = early.tfops(*words)
        assert "early-secret-31aa" not in result.out + result.err, result
    for path in early.store.rglob("*"):
        if (
            path.is_file()
            and path.name != "plan.tfplan"
            and "/state/" not in path.as_posix()
            and "/inputs/" not in path.as_posix()
        ):
            assert "early-secret-31aa" not in path.read_text(errors="replace"), path


def test_a_secret_that_was_replaced_is_hidden_as_well_as_its_successor(early: Sandbox) -> None:
    code = """
variable "checked" {
  sensitive = true
  default = "SECRET"
}
resource "terraform_data" "a" {
  input = { password = var.checked, plain = "x" }
  triggers_replace = var.checked
  provisioner "local-exec" {
    when = destroy
    command = "echo gone with ${self.output.password}"
  }
}
"""
    printed = ""
    for value in ("the-old-secret-77b1", "the-new-secret-77b2"):
        early.one_stack(code.replace("SECRET", value))
        out = early.directory / "rotated"
        for words in (
            ("plan", "--out", out),
            ("inspect", out / "dev"),
            ("inspect", out / "dev", "--as", "markdown"),
            ("sync",),
        ):
            result = early.tfops(*words)
            printed += result.out + result.err
    journal = "".join(json.dumps(event) for event in early.events())
    assert "gone with" in journal
    for text in (printed, journal):
        assert "the-old-secret-77b1" not in text
        assert "the-new-secret-77b2" not in text
