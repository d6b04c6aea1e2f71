"""tfops.hcl as values, and every fault at once."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.config import (
    Approval,
    Config,
    Environment,
    LocalStore,
    Moved,
    Runner,
    StackSettings,
    TerraformSettings,
    bind,
    parse_config,
)
from tfops.errors import ConfigError, Exit

ENVIRONMENT = 'environment "prod" {\n  branch = "main"\n  roots  = ["."]\n}\n'

WHOLE = """
terraform {
  binary  = "tofu"
  version = "~> 1.11, != 1.11.2"
}
store "local" { id = "0123456789abcdef0123456789abcdef", path = "/var/lib/tfops" }
signing { key = "file:signing.key" }
trust {
  runner "ci" { public_key = "./keys/ci.pub" }
}
environment "staging" {
  branch   = "main"
  roots    = ["./environments/staging/*/", "shared/**"]
  approval { count = 0 }
}
environment "prod" {
  branch         = "main"
  roots          = ["environments/prod"]
  workspace      = "prod"
  var_files      = ["prod.tfvars", "../common.tfvars"]
  backend_config = { bucket = "acme", encrypt = true, retries = 3, prefix = "" }
  after          = ["staging"]
  pass_env       = ["DATADOG_API_KEY", "TF_VAR_x"]
  cli_config     = "ci/terraformrc"
  watch          = ["policies/*.json"]
  approval { count = 2 }
}
environment "preview" {
  branch    = "preview/*"
  roots     = ["."]
  workspace = "preview-${branch_slug}"
}
stack "prod/app" { after = ["prod/network"] }
moved { from = "prod/old"  to = "prod/new" }
"""


def problems(text):
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert caught.value.exit_code is Exit.CONFIG
    return caught.value.problems


def problem(text):
    (found,) = problems(text)
    return found


def inside(lines):
    """A configuration whose fault is in an otherwise good environment, from line 4 on."""
    return ENVIRONMENT.removesuffix("}\n") + lines + "\n}\n"


def test_a_whole_configuration_becomes_values():
    assert parse_config(WHOLE) == Config(
        terraform=TerraformSettings(binary="tofu", version="~> 1.11, != 1.11.2"),
        store=LocalStore(id="0123456789abcdef0123456789abcdef", path="/var/lib/tfops"),
        signing_key="file:signing.key",
        runners=(Runner(name="ci", public_key="keys/ci.pub"),),
        environments=(
            Environment(
                name="staging",
                branch="main",
                roots=("environments/staging/*", "shared/**"),
                approval=Approval(count=0),
            ),
            Environment(
                name="prod",
                branch="main",
                roots=("environments/prod",),
                workspace="prod",
                var_files=("prod.tfvars", "../common.tfvars"),
                backend_config=(("bucket", "acme"), ("encrypt", True), ("retries", 3), ("prefix", "")),
                after=("staging",),
                approval=Approval(count=2),
                pass_env=("DATADOG_API_KEY", "TF_VAR_x"),
                cli_config="ci/terraformrc",
                watch=("policies/*.json",),
            ),
            Environment(name="preview", branch="preview/*", roots=("",), workspace="preview-${branch_slug}"),
        ),
        stacks=(StackSettings(id="prod/app", after=("prod/network",)),),
        moved=(Moved(from_stack="prod/old", to_stack="prod/new"),),
    )


def test_one_environment_is_a_whole_configuration_and_is_never_applied_automatically():
    config = parse_config(ENVIRONMENT)
    assert config.store == LocalStore()
    assert config.terraform == TerraformSettings()
    assert (config.signing_key, config.runners) == (None, ())
    assert config.environments == (Environment(name="prod", branch="main", roots=("",)),)
    assert config.environments[0].approval is None


def test_only_a_branch_with_a_star_is_a_pattern():
    assert [environment.is_pattern for environment in parse_config(WHOLE).environments] == [
        False,
        False,
        True,
    ]


def test_all_faults_are_reported_at_once_in_the_order_of_their_lines():
    found = problems(
        'terraform { binry = "x" }\n'
        'environment "prod" {\n  branch = 1\n  roots = ["/abs", ""]\n'
        '  protect { max_destroy = 0 }\n  after = "x"\n}\n'
        'stak "a" {}\n'
    )
    assert [(each.code, each.message.split(": ")[0]) for each in found] == [
        ("config.unknown_key", "tfops.hcl:1"),
        ("config.wrong_type", "tfops.hcl:3"),
        ("config.invalid_value", "tfops.hcl:4"),
        ("config.invalid_value", "tfops.hcl:4"),
        ("config.not_enforced", "tfops.hcl:5"),
        ("config.wrong_type", "tfops.hcl:6"),
        ("config.unknown_block", "tfops.hcl:8"),
    ]


@pytest.mark.parametrize(
    ("text", "code", "message", "hint"),
    [
        ("", "missing_key", "tfops.hcl:1: at least one environment is required", 'write environment "prod"'),
        (
            inside("  workspce = 1"),
            "unknown_key",
            'tfops.hcl:4: environment "prod": "workspce" is not a known key',
            'did you mean "workspace"?',
        ),
        (
            inside("  aproval { count = 1 }"),
            "unknown_block",
            'tfops.hcl:4: environment "prod": "aproval" is not a known block',
            'did you mean "approval"?',
        ),
        (
            inside("  zzz = 1"),
            "unknown_key",
            'tfops.hcl:4: environment "prod": "zzz" is not a known key',
            "known here: after, approval, backend_config, branch",
        ),
        (
            inside("  protect { max_destroy = 0 }"),
            "not_enforced",
            'tfops.hcl:4: environment "prod": "protect" is not enforced by this version of tfops',
            "remove it, or wait for the version that enforces it: a rule that is not enforced would be worse than none",
        ),
        (
            inside("  approval {\n    count = 1\n    codeowners = true\n  }"),
            "not_enforced",
            'tfops.hcl:6: environment "prod": approval: "codeowners" is not enforced',
            "remove it",
        ),
        (
            inside('  branch = "x"'),
            "duplicate",
            'tfops.hcl:4: environment "prod": "branch" is set twice, first on line 2',
            "keep one",
        ),
        (
            ENVIRONMENT + ENVIRONMENT,
            "duplicate",
            'tfops.hcl:5: environment "prod" stands twice, first on line 1',
            "keep one",
        ),
        (
            inside("  approval { count = 1 }\n  approval { count = 2 }"),
            "duplicate",
            'tfops.hcl:5: environment "prod": approval stands twice, first on line 4',
            "keep one",
        ),
        (
            ENVIRONMENT + 'store "local" {}\nstore "local" {}',
            "duplicate",
            "tfops.hcl:6: a store stands twice, first on line 5",
            "keep one",
        ),
        (
            'environment "prod" { branch = "main" }',
            "missing_key",
            'tfops.hcl:1: environment "prod": "roots" is missing',
            "",
        ),
        (
            inside('  after = ["prd"]') + 'environment "prod2" {\n branch = "a"\n roots = ["."]\n}',
            "unknown_reference",
            'tfops.hcl:4: environment "prod": "after" names the environment "prd", which is not declared',
            'did you mean "prod"?',
        ),
        (
            inside('  after = ["prod"]'),
            "invalid_value",
            'tfops.hcl:1: environment "prod" cannot come after itself',
            "",
        ),
        (
            ENVIRONMENT + 'stack "pord/a" { after = [] }',
            "unknown_reference",
            'tfops.hcl:5: stack "pord/a" names the environment "pord"',
            'did you mean "prod"?',
        ),
        (
            inside("  approval = 1"),
            "wrong_type",
            'tfops.hcl:4: environment "prod": "approval" is a block, not an attribute',
            "write approval {",
        ),
        (
            inside("  backend_config { a = 1 }"),
            "wrong_type",
            'tfops.hcl:4: environment "prod": "backend_config" is an attribute, not a block',
            "write backend_config = ",
        ),
        (
            inside("  workspace = var.x"),
            "invalid_value",
            'tfops.hcl:4: environment "prod": "workspace" holds a reference: only literal values are allowed',
            "write a string",
        ),
        (
            inside('  cli_config = "${branch}"'),
            "invalid_value",
            'tfops.hcl:4: environment "prod": "cli_config" cannot hold a variable',
            "",
        ),
        (
            inside("  backend_config = { a = 1, a = 2 }"),
            "duplicate",
            'tfops.hcl:4: environment "prod": "backend_config" sets "a" twice',
            "",
        ),
        (
            inside("  backend_config = { a = [1] }"),
            "wrong_type",
            'tfops.hcl:4: environment "prod": "backend_config": "a" must be a string, a number or a boolean',
            "",
        ),
        (
            ENVIRONMENT + 'store "s3" { bucket = "b" }',
            "not_enforced",
            'tfops.hcl:5: store "s3" is not enforced',
            "remove",
        ),
        (
            ENVIRONMENT + 'store "gcs" {}',
            "invalid_value",
            'tfops.hcl:5: store "gcs" is not a kind of store',
            'store "local"',
        ),
        (
            ENVIRONMENT + 'signing { key = "awskms:alias/x" }',
            "not_enforced",
            'tfops.hcl:5: signing: "key" names a key in AWS KMS',
            'write it like "file:',
        ),
        (
            ENVIRONMENT + 'signing { key = "x" }',
            "invalid_value",
            'tfops.hcl:5: signing: "key" cannot be "x"',
            "file:",
        ),
        (ENVIRONMENT + "signing {}", "missing_key", 'tfops.hcl:5: signing: "key" is missing', ""),
        (
            ENVIRONMENT + 'trust {\n  approver "alice" { github = "alice" }\n}',
            "not_enforced",
            'tfops.hcl:6: trust: "approver" is not enforced by this version of tfops',
            "remove it",
        ),
        (
            ENVIRONMENT + 'trust {\n  runner "ci" { public_key = "../ci.pub" }\n}',
            "invalid_value",
            'tfops.hcl:6: trust: runner "ci": "public_key" cannot be "../ci.pub"',
            "relative to the repository's root",
        ),
        (
            ENVIRONMENT + 'terraform { version = "latest" }',
            "invalid_value",
            'tfops.hcl:5: terraform: "version" is no version constraint: "latest"',
            "~> 1.11",
        ),
        (
            ENVIRONMENT + 'store "local" { id = "ABC" }',
            "invalid_value",
            'tfops.hcl:5: store "local": "id" is not 32',
            "tfops init",
        ),
        (
            ENVIRONMENT + 'moved { from = "a", to = "a" }',
            "invalid_value",
            "tfops.hcl:5: moved moves a stack onto itself",
            "",
        ),
        (
            ENVIRONMENT + 'moved { from = "a", to = "b" }\nmoved { from = "a", to = "c" }',
            "duplicate",
            'tfops.hcl:6: moved: "a" is moved twice, first on line 5',
            "",
        ),
        (
            "environment {}",
            "invalid_value",
            "tfops.hcl:1: environment takes one label",
            'write environment "name"',
        ),
    ],
)
def test_a_fault_names_line_block_and_key_and_says_what_to_do(text, code, message, hint):
    found = problem(text)
    assert found.code == f"config.{code}"
    assert found.message.startswith(message)
    assert hint in found.hint


@pytest.mark.parametrize("key", ["protect", "drift", "ttl", "prune", "keep", "timeout"])
def test_a_key_that_this_version_does_not_enforce_is_refused_in_either_form(key):
    for text in (f"  {key} = 1", f"  {key} {{ x = 1 }}"):
        assert problem(inside(text)).code == "config.not_enforced"


@pytest.mark.parametrize("name", ["audit", "state", "work", "trust", "locks", "", ".x", "-x", "a/b", "a b", "ä"])
def test_an_environment_needs_a_name_that_is_safe_and_free(name):
    assert problem(f'environment "{name}" {{\n branch = "a"\n roots = ["."]\n}}').code == "config.invalid_value"


@pytest.mark.parametrize("name", ["prod", "_x", "9", "eu-west-1.prod", "Prod_2"])
def test_a_usual_name_is_accepted(name):
    text = f'environment "{name}" {{\n branch = "a"\n roots = ["."]\n}}'
    assert parse_config(text).environments[0].name == name


@pytest.mark.parametrize("root", ["/abs", "..", "a/../b", "../x", "", r"a\\b", r"a\nb"])
def test_a_root_outside_the_repository_is_refused(root):
    assert problem(f'environment "a" {{\n branch = "a"\n roots = ["{root}"]\n}}').code == "config.invalid_value"


@pytest.mark.parametrize(
    ("root", "normal"),
    [(".", ""), ("./", ""), ("./a/", "a"), ("a//b", "a/b"), ("a/[bc]/**/?", "a/[bc]/**/?"), ("..a", "..a")],
)
def test_a_root_is_normalised(root, normal):
    text = f'environment "a" {{\n branch = "a"\n roots = ["{root}"]\n}}'
    assert parse_config(text).environments[0].roots == (normal,)


@pytest.mark.parametrize("roots", ["[]", '"."', "[1]", "null", "true", '["a", "./a"]', '["${branch}"]'])
def test_roots_are_a_list_of_different_literal_paths(roots):
    assert problems(f'environment "a" {{\n branch = "a"\n roots = {roots}\n}}')


@pytest.mark.parametrize("branch", ["", "a b", "a..b", "/a", "a/", "-a", "a~1", "a.lock", "a[b]"])
def test_a_branch_that_git_cannot_have_is_refused(branch):
    assert problem(f'environment "a" {{\n branch = "{branch}"\n roots = ["."]\n}}').code == "config.invalid_value"


@pytest.mark.parametrize(
    "name",
    [
        "TF_CLI_ARGS",
        "TF_CLI_ARGS_plan",
        "TF_WORKSPACE",
        "TF_DATA_DIR",
        "TF_REATTACH_PROVIDERS",
        "TF_CLI_CONFIG_FILE",
        "TF_IN_AUTOMATION",
        "TF_INPUT",
        "TF_LOG",
        "TF_LOG_PATH",
        "TF_STATE_PERSIST_INTERVAL",
        "A=B",
        "1A",
        "A B",
    ],
)
def test_a_variable_that_would_change_terraform_unseen_is_not_passed(name):
    found = problem(inside(f'  pass_env = ["{name}"]'))
    assert found.code == "config.invalid_value"
    assert f'"{name}"' in found.message


@pytest.mark.parametrize("count", ["-1", "1.5", '"1"', "true", "null", "[1]"])
def test_the_count_of_approvals_is_a_whole_number(count):
    assert problem(inside(f"  approval {{ count = {count} }}")).code.startswith("config.")


def test_environments_that_wait_for_each_other_are_shown_as_a_path():
    text = "".join(
        f'environment "{name}" {{\n branch = "m"\n roots = ["."]\n after = ["{after}"]\n}}\n'
        for name, after in (("a", "b"), ("b", "c"), ("c", "a"))
    )
    found = problem(text)
    assert found.code == "config.invalid_value"
    assert 'can never start: "' in found.message
    path = found.message.split("can never start: ")[1].replace('"', "").split(" after ")
    assert path[0] == path[-1]
    assert all({"a": "b", "b": "c", "c": "a"}[one] == other for one, other in pairwise(path))


def test_stacks_that_wait_for_each_other_are_a_fault():
    text = 'stack "prod/a" { after = ["prod/b"] }\nstack "prod/b" { after = ["prod/a"] }'
    assert "can never start" in problem(ENVIRONMENT + text).message


def test_the_names_of_a_file_appear_in_its_messages():
    with pytest.raises(ConfigError) as caught:
        parse_config("x = 1", "sub/other.hcl")
    assert all(each.message.startswith("sub/other.hcl:1: ") for each in caught.value.problems)


def test_a_syntax_error_is_reported_with_its_line():
    found = problem("\nenvironment {")
    assert (found.code, found.message[:12]) == ("config.syntax", "tfops.hcl:2:")


def bound(value, *, branch="feature/x", slug="feature-x"):
    text = f'environment "p" {{\n branch = "*"\n roots = ["."]\n workspace = "{value}"\n}}'
    (environment,) = parse_config(text).environments
    return bind(environment, name="p@x", branch=branch, branch_slug=slug)


def test_binding_puts_plain_text_in_the_place_of_templates():
    text = inside(
        '  workspace = "w-${branch_slug}"\n  var_files = ["${branch}.tfvars"]\n'
        '  backend_config = { key = "k/${branch}", n = 1 }'
    )
    environment = bind(parse_config(text).environments[0], name="n", branch="a/b", branch_slug="a-b")
    assert (environment.name, environment.branch, environment.workspace) == ("n", "a/b", "w-a-b")
    assert environment.var_files == ("a/b.tfvars",)
    assert environment.backend_config == (("key", "k/a/b"), ("n", 1))


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("$${branch}", "${branch}"),
        ("$$${branch}", "$${branch}"),
        ("${branch}$${branch}", "feature/x${branch}"),
        ("$${x}-${branch_slug}", "${x}-feature-x"),
        ("a$b", "a$b"),
    ],
)
def test_an_escaped_variable_stays_as_text(written, plain):
    assert bound(written).workspace == plain


def test_a_branch_whose_name_looks_like_a_variable_is_not_expanded_again():
    assert bound("${branch}", branch="${branch_slug}").workspace == "${branch_slug}"


def test_a_dollar_directly_before_a_variable_is_refused_because_it_would_read_as_an_escape():
    found = problem(inside(r'  workspace = "\u0024${branch}"'))
    assert "$ directly before a variable" in found.message


@given(st.text(alphabet="ab${}%-_", min_size=1).filter(lambda text: "\\" not in text))
def test_any_literal_survives_parsing_and_binding(text):
    quoted = text.replace("${", "$${").replace("%{", "%%{")
    assert bound(quoted).workspace == text


@given(st.text())
def test_arbitrary_text_is_never_more_than_a_config_error(text):
    with pytest.raises(ConfigError):
        parse_config(text)


WORDS = [
    "environment",
    "store",
    "trust",
    "approval",
    '"prod"',
    '"local"',
    "{",
    "}",
    "=",
    "[",
    "]",
    ",",
    "\n",
    "1",
]
WORDS += [
    "branch",
    "roots",
    "after",
    "backend_config",
    "stack",
    "moved",
    "from",
    '"${branch}"',
    '"."',
    "null",
    "x()",
]


@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_words_in_any_order_are_never_more_than_a_config_error(words):
    try:
        parse_config(" ".join(words))
    except ConfigError as error:
        assert all(each.message.startswith("tfops.hcl:") for each in error.problems)
