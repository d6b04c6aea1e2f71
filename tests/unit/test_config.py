"""tfops.hcl as values, and every fault at once."""

from datetime import date
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.config import (
    Approval,
    AwsRoles,
    Config,
    Environment,
    Moved,
    Runner,
    StackSettings,
    TerraformSettings,
    bind,
    parse_config,
)
from tfops.config_drift import Notification
from tfops.config_store import LocalStore, S3Store, StoreRole
from tfops.drift_rules import DriftRules, IgnoreRule
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


@pytest.mark.parametrize(
    "key",
    [
        "file:~/.config/tfops/keys/ci.pem",
        "awskms:alias/tfops-plan",
        "awskms:alias/teams/infra_1",
        "awskms:0f1e2d3c-4b5a-4697-8877-665544332211",
        "awskms:mrk-0123456789abcdef0123456789abcdef",
        "awskms:arn:aws:kms:eu-west-1:111122223333:key/0f1e2d3c-4b5a-4697-8877-665544332211",
        "awskms:arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/tfops",
    ],
)
def test_a_signing_key_lies_in_a_file_or_in_kms(key):
    assert parse_config(ENVIRONMENT + f'signing {{ key = "{key}" }}').signing_key == key


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
        '  keep = true\n  after = "x"\n}\n'
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
            "known here: account, after, approval, aws, backend_config, branch",
        ),
        (
            inside("  keep = true"),
            "not_enforced",
            'tfops.hcl:4: environment "prod": "keep" is not enforced by this version of tfops',
            "remove it, or wait for the version that enforces it: a rule that is not enforced would be worse than none",
        ),
        (
            inside('  approval {\n    count = 1\n    from = ["forge"]\n  }'),
            "missing_key",
            'tfops.hcl:1: environment "prod" counts approvals of a forge, and no forge block says which',
            'write forge "github" {}',
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
            ENVIRONMENT + 'store "gcs" {}',
            "invalid_value",
            'tfops.hcl:5: store "gcs" is not a kind of store',
            'store "local"',
        ),
        (
            ENVIRONMENT + 'signing { key = "awskms:" }',
            "invalid_value",
            'tfops.hcl:5: signing: "key" cannot be "awskms:"',
            "or with the id or the ARN of the key",
        ),
        (
            ENVIRONMENT + 'signing { key = "awskms:alias/my key" }',
            "invalid_value",
            'tfops.hcl:5: signing: "key" cannot be "awskms:alias/my key"',
            "or with the id or the ARN of the key",
        ),
        (
            ENVIRONMENT + 'signing { key = "awskms:tfops-plan" }',
            "invalid_value",
            'tfops.hcl:5: signing: "key" cannot be "awskms:tfops-plan"',
            'write "awskms:alias/tfops-plan" if it is an alias',
        ),
        (
            ENVIRONMENT + 'signing { key = "awskms:arn:aws:s3:::bucket" }',
            "invalid_value",
            'tfops.hcl:5: signing: "key" cannot be "awskms:arn:aws:s3:::bucket"',
            "or with the id or the ARN of the key",
        ),
        (
            ENVIRONMENT + 'signing { key = "x" }',
            "invalid_value",
            'tfops.hcl:5: signing: "key" cannot be "x"',
            'write it like "file:/etc/tfops/signing.key" or "awskms:',
        ),
        (ENVIRONMENT + "signing {}", "missing_key", 'tfops.hcl:5: signing: "key" is missing', ""),
        (
            ENVIRONMENT + 'trust {\n  runner "ci" { public_key = "../ci.pub" }\n}',
            "invalid_value",
            'tfops.hcl:6: trust: runner "ci": "public_key" cannot be "../ci.pub"',
            "relative to the repository's root",
        ),
        (
            ENVIRONMENT + 'terraform { binary = "./bin/terraform" }',
            "invalid_value",
            'tfops.hcl:5: terraform: "binary" cannot be "./bin/terraform"',
            "absolute path",
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


@pytest.mark.parametrize("key", ["ttl", "keep"])
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


STORE_ID = "0123456789abcdef0123456789abcdef"


def s3(lines='bucket = "acme"'):
    """A configuration with an S3 store, its lines from line 6 on."""
    return ENVIRONMENT + 'store "s3" {\n' + lines + "\n}\n"


def s3_store(lines):
    store = parse_config(s3('bucket = "acme"\n' + lines)).store
    assert isinstance(store, S3Store)
    return store


class TestStoreInS3:
    def test_a_bucket_is_a_whole_store(self):
        assert parse_config(s3()).store == S3Store(
            id=None,
            bucket="acme",
            prefix="tfops",
            region=None,
            endpoint=None,
            use_path_style=False,
            kms_key_id=None,
            assume_role=None,
            lease_seconds=120.0,
        )

    def test_every_key_has_its_place(self):
        lines = f"""
            id             = "{STORE_ID}"
            bucket         = "acme-tfops"
            prefix         = "infra"
            region         = "eu-west-1"
            endpoint       = "https://s3.example.com"
            use_path_style = true
            kms_key_id     = "alias/tfops"
            lease          = "90s"
            assume_role = {{
              role_arn     = "arn:aws:iam::1:role/tfops"
              external_id  = "x-1"
              session_name = "ci"
            }}
        """
        assert parse_config(s3(lines)).store == S3Store(
            id=STORE_ID,
            bucket="acme-tfops",
            prefix="infra",
            region="eu-west-1",
            endpoint="https://s3.example.com",
            use_path_style=True,
            kms_key_id="alias/tfops",
            assume_role=StoreRole(role_arn="arn:aws:iam::1:role/tfops", external_id="x-1", session_name="ci"),
            lease_seconds=90.0,
        )

    def test_without_a_bucket_there_is_no_store(self):
        found = problem(s3('region = "eu-west-1"'))
        assert (found.code, found.message) == ("config.missing_key", 'tfops.hcl:5: store "s3": "bucket" is missing')

    def test_a_second_store_of_the_other_kind_is_one_too_many(self):
        assert problem(s3() + 'store "local" {}').code == "config.duplicate"

    @pytest.mark.parametrize(
        ("line", "meant"),
        [
            ('buket = "b"', 'did you mean "bucket"?'),
            ('endpoints = "https://x"', 'did you mean "endpoint"?'),
            ('path = "/srv"', "known here: "),
            ("use_lockfile = true", "known here: "),
            ('access_key = "AKIA"', "known here: "),
            ('dynamodb_table = "t"', "known here: "),
        ],
    )
    def test_a_key_it_does_not_know_is_refused(self, line, meant):
        found = problem(s3(f'bucket = "acme"\n{line}'))
        assert found.code == "config.unknown_key"
        assert found.message.startswith(f'tfops.hcl:7: store "s3": "{line.split()[0]}" is not a known key')
        assert meant in found.hint

    @pytest.mark.parametrize(
        "line",
        [
            *("bucket = 1", "bucket = true", 'bucket = ["b"]', "bucket = { a = 1 }", "bucket = null"),
            *("prefix = 1", "region = true", "kms_key_id = 5", "endpoint = 80", "lease = 120", "id = 1"),
            *('use_path_style = "true"', "use_path_style = 1", "use_path_style = null"),
            *('assume_role = "arn"', "assume_role = true", 'assume_role = ["arn"]'),
        ],
    )
    def test_a_value_of_another_type_is_refused(self, line):
        more = "" if line.startswith("bucket") else 'bucket = "acme"\n'
        found = problem(s3(more + line))
        assert found.code in ("config.wrong_type", "config.invalid_value")
        assert f'"{line.split()[0]}"' in found.message

    @pytest.mark.parametrize(
        "line", ['bucket = ""', 'bucket = "a\\nb"', 'prefix = ""', 'region = ""', 'kms_key_id = ""']
    )
    def test_an_empty_or_unprintable_value_is_refused(self, line):
        more = "" if line.startswith("bucket") else 'bucket = "acme"\n'
        assert problem(s3(more + line)).code == "config.invalid_value"

    @pytest.mark.parametrize(
        ("written", "seconds"), [("1s", 1), ("90s", 90), ("2m", 120), ("1.5m", 90), ("1h", 3600), ("1d", 86400)]
    )
    def test_a_lease_is_a_span_of_time(self, written, seconds):
        assert s3_store(f'lease = "{written}"').lease_seconds == seconds

    @pytest.mark.parametrize("written", ["", "0s", "0.0m", "90", "-1s", "1w", "1 s", "1S", "s", "1e3s", "∞", "1,5m"])
    def test_what_is_no_span_of_time_is_no_lease(self, written):
        assert problem(s3(f'bucket = "b"\nlease = "{written}"')).code == "config.invalid_value"

    @pytest.mark.parametrize(
        ("written", "prefix"),
        [("infra", "infra"), ("infra/", "infra"), ("/infra", "infra"), ("//a/b//", "a/b"), ("a b/ü", "a b/ü")],
    )
    def test_a_prefix_is_kept_without_slashes_at_its_ends(self, written, prefix):
        assert s3_store(f'prefix = "{written}"').prefix == prefix

    @pytest.mark.parametrize("prefix", ["/", "//", ".", "..", "a/../b", "a//b", "./a", "a/."])
    def test_a_prefix_that_is_no_path_of_keys_is_refused(self, prefix):
        found = problem(s3(f'bucket = "b"\nprefix = "{prefix}"'))
        assert found.code == "config.invalid_value"
        assert f'"{prefix}"' in found.message

    @pytest.mark.parametrize(
        "url",
        [
            *("https://s3.example.com", "http://127.0.0.1:8333", "https://minio.local/base/", "http://[::1]:9000"),
            "https://s3.eu-west-1.amazonaws.com",
        ],
    )
    def test_an_endpoint_is_an_address(self, url):
        assert s3_store(f'endpoint = "{url}"').endpoint == url

    @pytest.mark.parametrize(
        "url",
        [
            *("s3.example.com", "ftp://x", "https://", "https:///x", "HTTPS://x", "https://x y", "file:///etc"),
            *("https://key:secret@s3.example.com", "https://x?a=b", "https://x#y", "https://x/a@b"),
        ],
    )
    def test_an_endpoint_that_is_none_or_holds_credentials_is_refused(self, url):
        assert problem(s3(f'bucket = "b"\nendpoint = "{url}"')).code == "config.invalid_value"

    def test_a_role_needs_no_more_than_its_arn(self):
        assert s3_store('assume_role = { role_arn = "arn:x" }').assume_role == StoreRole(role_arn="arn:x")

    @pytest.mark.parametrize(
        ("role", "code", "words"),
        [
            ('{ external_id = "x" }', "missing_key", "role_arn"),
            ('{ role_arn = "a", policy = "x" }', "unknown_key", '"policy"'),
            ('{ role_arn = "a", external_id = ["x"] }', "wrong_type", "external_id"),
            ('{ role_arn = "a", role_arn = "b" }', "duplicate", "role_arn"),
        ],
    )
    def test_a_role_that_is_not_whole_is_refused(self, role, code, words):
        found = problem(s3(f'bucket = "b"\nassume_role = {role}'))
        assert found.code == f"config.{code}"
        assert words in found.message

    @pytest.mark.parametrize(
        "role",
        [
            "{}",
            '{ role_arn = "" }',
            "{ role_arn = 5 }",
            "{ role_arn = true }",
            '{ role_arn = "${branch}" }',
            '{ role_arn = "a", external_id = "" }',
        ],
    )
    def test_a_role_whose_values_cannot_be_is_refused(self, role):
        assert problem(s3(f'bucket = "b"\nassume_role = {role}')).code.startswith("config.")

    def test_all_its_faults_are_told_at_once(self):
        found = problems(s3('prefix = ".."\nendpoint = "x"\nlease = "never"\nsecret = "x"'))
        assert {each.code for each in found} == {
            *("config.missing_key", "config.invalid_value", "config.unknown_key"),
        }
        assert len(found) == 5


class TestRoles:
    """Terraform runs in one role to read and another one to write."""

    BOTH = 'plan_role = "arn:p"\n    apply_role = "arn:a"'

    def test_an_environment_without_them_runs_with_the_credentials_there_are(self):
        assert parse_config(ENVIRONMENT).environments[0].aws is None

    @pytest.mark.parametrize(("key", "value"), [("external_id", "x"), ("web_identity_token_file", "/run/token")])
    def test_they_are_an_environments(self, key, value):
        text = inside(f'  aws {{\n    {self.BOTH}\n    {key} = "{value}"\n  }}')
        expected = AwsRoles(plan_role="arn:p", apply_role="arn:a", **{key: value})
        assert parse_config(text).environments[0].aws == expected

    def test_they_are_taken_by_an_external_id_or_by_a_token_and_not_by_both(self):
        more = 'external_id = "x"\n    web_identity_token_file = "/run/token"'
        found = problem(inside(f"  aws {{\n    {self.BOTH}\n    {more}\n  }}"))
        assert (found.code, found.message[:12]) == ("config.invalid_value", "tfops.hcl:4:")

    def test_binding_keeps_them(self):
        environment = parse_config(inside(f"  aws {{\n    {self.BOTH}\n  }}")).environments[0]
        assert bind(environment, name="n", branch="b", branch_slug="b").aws == environment.aws

    @pytest.mark.parametrize(("given_", "lacking"), [("plan_role", "apply_role"), ("apply_role", "plan_role")])
    def test_one_without_the_other_is_refused(self, given_, lacking):
        found = problem(inside(f'  aws {{\n    {given_} = "arn:x"\n  }}'))
        assert (found.code, found.message) == (
            "config.missing_key",
            f'tfops.hcl:4: environment "prod": aws lacks "{lacking}"',
        )
        assert "both roles are needed, or none" in found.hint

    @pytest.mark.parametrize("lines", ["", '    external_id = "x"'])
    def test_a_block_without_any_role_is_refused(self, lines):
        assert [each.code for each in problems(inside(f"  aws {{\n{lines}\n  }}"))] == ["config.missing_key"] * 2

    @pytest.mark.parametrize("line", ['profile = "x"', 'access_key = "AKIA"', 'role_arn = "x"', 'plan = "x"'])
    def test_nothing_else_stands_there(self, line):
        found = problem(inside(f"  aws {{\n    {self.BOTH}\n    {line}\n  }}"))
        assert (found.code, found.message[:12]) == ("config.unknown_key", "tfops.hcl:7:")

    @pytest.mark.parametrize("value", ["1", "true", '["arn"]', "null", '""', '"${branch}"'])
    def test_a_role_is_a_string(self, value):
        for lines in (f'plan_role = {value}\n    apply_role = "a"', f'plan_role = "p"\n    apply_role = {value}'):
            assert problems(inside(f"  aws {{\n    {lines}\n  }}"))

    def test_they_stand_there_once(self):
        block = f"  aws {{\n    {self.BOTH}\n  }}\n"
        assert problem(inside(block + block)).code == "config.duplicate"


class TestTimeout:
    def test_a_stack_has_two_hours_unless_told_otherwise(self):
        assert parse_config(ENVIRONMENT).environments[0].timeout_seconds == 7200.0

    @pytest.mark.parametrize(
        ("written", "seconds"), [("30s", 30.0), ("45m", 2700.0), ("1.5h", 5400.0), ("2d", 172800.0)]
    )
    def test_it_is_a_span_of_time(self, written, seconds):
        assert parse_config(inside(f'  timeout = "{written}"')).environments[0].timeout_seconds == seconds

    @pytest.mark.parametrize("value", ["30", '"30"', '"0s"', "true", '"forever"', '["1h"]', "null"])
    def test_anything_else_is_refused(self, value):
        found = problem(inside(f"  timeout = {value}"))
        assert found.code in ("config.invalid_value", "config.wrong_type")
        assert '"timeout"' in found.message

    @given(st.integers(1, 999_999), st.sampled_from("smhd"))
    def test_every_span_of_time_is_as_long_as_it_says(self, number, unit):
        seconds = parse_config(inside(f'  timeout = "{number}{unit}"')).environments[0].timeout_seconds
        assert seconds == number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


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


# Drift, accounts and who is told

DRIFT = """
  account = "acme-prod"
  drift {
    every     = "1h"
    remediate = ["modified", "delete"]
    ignore "autoscaler" {
      type      = "aws_autoscaling_group"
      address   = "module.web[0].*"
      attribute = "desired_capacity"
      reason    = "the autoscaler owns it"
      owner     = "team-web"
      expires   = "2027-06-30"
    }
  }"""
IGNORE = {"type": "aws_*", "reason": "known", "owner": "team-web", "expires": "2027-06-30"}


def ignoring(**changes):
    """An environment with one ignore rule, its keys from line 6 on; None leaves one out."""
    keys = {key: value for key, value in (IGNORE | changes).items() if value is not None}
    lines = "".join(f'      {key} = "{value}"\n' for key, value in keys.items())
    return inside(f'  drift {{\n    ignore "a" {{\n{lines}    }}\n  }}')


def notifying(lines):
    return f'{ENVIRONMENT}notify "ops" {{\n{lines}\n}}\n'


def test_a_drift_block_becomes_rules():
    (environment,) = parse_config(inside(DRIFT)).environments
    assert environment.account == "acme-prod"
    assert environment.drift == DriftRules(
        every_seconds=3600.0,
        remediate=("modified", "delete"),
        ignore=(
            IgnoreRule(
                name="autoscaler",
                type="aws_autoscaling_group",
                address="module.web[0].*",
                attribute="desired_capacity",
                reason="the autoscaler owns it",
                owner="team-web",
                expires=date(2027, 6, 30),
            ),
        ),
    )


def test_without_a_drift_block_there_are_no_rules_and_an_empty_one_changes_nothing():
    assert parse_config(ENVIRONMENT).environments[0].drift is None
    assert parse_config(inside("  drift {}")).environments[0].drift == DriftRules()


def test_an_expired_rule_is_no_fault_of_the_configuration():
    (rule,) = parse_config(ignoring(expires="2001-01-01")).environments[0].drift.ignore
    assert rule.expires == date(2001, 1, 1)


@pytest.mark.parametrize(
    ("text", "code", "line", "message", "hint"),
    [
        (inside('  drift { every = "59s" }'), "invalid_value", 4, "shorter than a minute", "1h"),
        (inside('  drift { every = "often" }'), "invalid_value", 4, "no span of time", '"15m"'),
        (inside("  drift { every = 60 }"), "wrong_type", 4, "", ""),
        (inside('  drift { evry = "1h" }'), "unknown_key", 4, '"evry"', 'did you mean "every"?'),
        (inside('  drift {\n    ignor "a" {}\n  }'), "unknown_block", 5, '"ignor"', 'did you mean "ignore"?'),
        (inside('  drift = "1h"'), "wrong_type", 4, "is a block, not an attribute", "drift { … }"),
        (
            inside('  drift { remediate = ["modifed"] }'),
            "invalid_value",
            4,
            'cannot name "modifed"',
            'did you mean "modified"?',
        ),
        (inside('  drift { remediate = ["conflict"] }'), "invalid_value", 4, 'cannot name "conflict"', ""),
        (inside('  drift { remediate = ["unknown"] }'), "invalid_value", 4, 'cannot name "unknown"', ""),
        (inside('  drift { remediate = "modified" }'), "wrong_type", 4, "list of strings", ""),
        (inside('  drift { remediate = ["modified", "modified"] }'), "duplicate", 4, "twice", "keep one"),
        (ignoring(reason=None), "missing_key", 5, "reason", ""),
        (ignoring(owner=None), "missing_key", 5, "owner", ""),
        (ignoring(expires=None), "missing_key", 5, "expires", ""),
        (ignoring(type=None), "missing_key", 5, "says nothing of what it ignores", "type, address or attribute"),
        (ignoring(reason=""), "invalid_value", 7, "is empty", ""),
        (ignoring(expires=None, type='x"\n expires = 20270131 #'), "wrong_type", 7, "", ""),
        (ignoring(expires="2027-02-30"), "invalid_value", 9, "is no day", '"2027-01-31"'),
        (ignoring(expires="20270131"), "invalid_value", 9, "is no day", ""),
        (ignoring(expires="2027-W05-1"), "invalid_value", 9, "is no day", ""),
        (ignoring(expires="2027-01-31T00:00:00"), "invalid_value", 9, "is no day", ""),
        (inside('  account = ""'), "invalid_value", 4, "is empty", ""),
        (notifying('  url = "https://hooks.example.org/x"'), "missing_key", 5, "needs url and secret_env together", ""),
        (notifying('  secret_env = "SECRET"'), "missing_key", 5, "", ""),
        (notifying('  apprise_env = "A"\n  secret_env = "B"'), "missing_key", 5, "url and secret_env together", ""),
        (notifying('  apprise_env = "A-B"'), "invalid_value", 6, "not the name of a variable", ""),
        (notifying('  ur = "https://x"\n  apprise_env = "A"'), "unknown_key", 6, '"ur"', 'did you mean "url"?'),
        (
            notifying('  apprise_env = "A"') + 'notify "ops" {\n  apprise_env = "B"\n}',
            "duplicate",
            8,
            "stands twice",
            "keep one",
        ),
    ],
)
def test_every_fault_of_drift_and_notify_is_refused_with_its_line(text, code, line, message, hint):
    found = problems(text)[0]
    assert found.code == f"config.{code}"
    assert found.message.startswith(f"tfops.hcl:{line}: ")
    assert message in found.message
    assert hint in found.hint


def test_two_ignore_rules_of_one_name_are_refused():
    block = 'ignore "a" {\n type = "x"\n reason = "r"\n owner = "o"\n expires = "2027-01-31"\n}\n'
    found = problem(inside(f"  drift {{\n{block}{block}}}"))
    assert (found.code, found.message.split()[0]) == ("config.duplicate", "tfops.hcl:11:")


def test_all_faults_of_a_drift_block_are_reported_at_once():
    found = problems(inside('  drift {\n    every = "1s"\n    remediate = ["gone"]\n    ignore "a" {}\n  }'))
    lines = [each.message.split()[0] for each in found]
    assert lines == ["tfops.hcl:5:", "tfops.hcl:6:"] + ["tfops.hcl:7:"] * 4


def test_both_kinds_of_notification_become_values():
    config = parse_config(
        ENVIRONMENT
        + 'notify "ops" {\n  url = "https://hooks.example.org/tfops?to=ops"\n  secret_env = "OPS_SECRET"\n}\n'
        + 'notify "chat" {\n  apprise_env = "CHAT_URLS"\n}\n'
    )
    assert config.notifications == (
        Notification(name="ops", url="https://hooks.example.org/tfops?to=ops", secret_env="OPS_SECRET"),
        Notification(name="chat", apprise_env="CHAT_URLS"),
    )


def test_a_notification_names_one_way_to_tell():
    both = notifying('  url = "https://x.example"\n  secret_env = "S"\n  apprise_env = "A"')
    for text in (both, notifying("")):
        found = problem(text)
        assert (found.code, "either url or apprise_env" in found.message) == ("config.missing_key", True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "localhost:8080"])
def test_a_webhook_on_this_machine_may_be_reached_in_clear(host):
    text = notifying(f'  url = "http://{host}/x"\n  secret_env = "S"')
    assert parse_config(text).notifications[0].url == f"http://{host}/x"


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example.org", "http://localhost.example.org/x", "http://127.0.0.1.example.org", "http://10.0.0.1"],
)
def test_no_other_webhook_may_be_reached_in_clear(url):
    found = problem(notifying(f'  url = "{url}"\n  secret_env = "S"'))
    assert "in clear" in found.message


@pytest.mark.parametrize(
    "url",
    [
        "https://ann:s3cret@hooks.example.org/x",
        "https://s3cret@hooks.example.org",
        "http://localhost:s3cret@hooks.example.org",
        "ftp://s3cret.example.org",
        "s3cret.example.org",
        "https://",
        "https:///s3cret",
        "https://s3cret.example.org\\@x",
        "https://hooks.example.org/s3cret#x",
        "https://hooks.example.org/s3 cret",
    ],
)
def test_what_is_no_plain_address_is_refused_and_not_repeated(url):
    found = problem(notifying(f'  url = "{url}"\n  secret_env = "S"'))
    assert (found.code, found.message.split()[0]) == ("config.invalid_value", "tfops.hcl:6:")
    assert "s3" not in found.message + found.hint.replace("s3.example", "")


def test_the_whole_configuration_survives_being_remembered():
    config = parse_config(inside(DRIFT) + 'notify "chat" {\n  apprise_env = "CHAT_URLS"\n}\n')
    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config


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


@pytest.mark.parametrize(("said", "meant"), [("prune = true", True), ("prune = false", False), ("", False)])
def test_an_environment_destroys_what_is_gone_of_it_only_where_it_says_so(said, meant):
    assert parse_config(inside(f"  {said}")).environments[0].prune is meant
