"""The fact scanner: what it finds, what it refuses, and that nothing makes it slow or crash."""

import json
import os
import shutil
import subprocess
import time

import hcl2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.errors import ConfigError
from tfops.modules import Facts, PathReference, active_files, scan


def facts(text: str, path: str = "main.tf") -> Facts:
    return scan(text.encode(), path)


def sources(text: str, path: str = "main.tf") -> dict[str, str | None]:
    return {call.name: call.source for call in facts(text, path).modules}


def paths(text: str) -> set[tuple[str, str, bool]]:
    return {(path.base, path.prefix, path.exact) for path in facts(text).paths}


BLOCK = 'module "a" {\n  source = "./a"\n}\n'
VALID = {
    "plain": BLOCK,
    "one line": 'module "a" { source = "./a" }\n',
    "crlf": 'module "a" {\r\n  source = "./a"\r\n  x = <<E\r\n}\r\nE\r\n}\r\n',
    "comments": '/* module "no" { source = "./no" } */\n// {\n# "\nmodule "a" { // x\n  source = "./a" /* y */\n}\n',
    "heredoc": 'x = <<EOT\nmodule "no" { source = "./no" }\n" ${"${"b"}"} $${ EOT\nEOT\n' + BLOCK,
    "indented heredoc": "x = <<-E-1\n  a }\n  %{ if true ~}\n  b {\n  %{ endif }\n  E-1\n" + BLOCK,
    "escapes": 'x = "$${a} \\" \\\\"\n' + BLOCK,
    "nested quotes": 'x = "${f("}${"{"}\\"")}"\n' + BLOCK,
    "looks like code": 'x = "module \\"no\\" { source = \\"./no\\" }"\n' + BLOCK,
    "unquoted label": 'module a {\n  source = "./a"\n}\n',
    "dollar before interpolation": 'x = "$$${ y } $"\n' + BLOCK,
    "line breaks in parentheses": 'x = file(\n  "a"\n)\n' + BLOCK,
}
# python-hcl2 cannot read these; Terraform can.
VALID_FOR_TERRAFORM_ONLY = {
    "unicode": 'ürün_名 = "é"\nmodule "größe" {\n  source = "./a"\n}\n',
    "byte order mark": "\ufeff" + BLOCK,
    "escaped quote in an escaped template": 'x = "$${ \\" \\\\"\n' + BLOCK,
    "escaped directive": 'x = "%%{"\n' + BLOCK,
    "escaped letters": 'module "a" {\n  source = ".\\u002fa"\n}\n',
    "heredoc in a heredoc": "x = <<-E\n  ${<<IN\n}\nIN\n}\n  E\n" + BLOCK,
    "heredoc with blanks": "x = <<E\nE x\n\tE \n" + BLOCK,
    "strip markers": 'x = "${~ y ~}"\n' + BLOCK,
}


@pytest.mark.parametrize("text", VALID.values(), ids=VALID.keys())
def test_module_sources_are_those_that_python_hcl2_finds(text: str) -> None:
    blocks = hcl2.loads(text)["module"]
    found = {name.strip('"'): body["source"].strip('"') for block in blocks for name, body in block.items()}
    assert sources(text) == found == {"a": "./a"}


@pytest.mark.skipif(shutil.which("terraform") is None, reason="needs Terraform")
@pytest.mark.parametrize(
    "text",
    [
        *VALID.values(),
        *VALID_FOR_TERRAFORM_ONLY.values(),
        "a = <<E\nx\nE",
        'a = "x\ny"\n',
        "a = (1\n",
        "a = [1)\n",
        "a = {\n",
        "}\n",
        'a = "${b"\n',
        "/* a\n",
        "a = <<E\n E x\n",
    ],
)
def test_a_file_is_readable_exactly_if_terraform_can_read_it(text: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TF_CLI_CONFIG_FILE"}
    run = subprocess.run(
        ["terraform", "fmt", "-"], input=text.encode(), env=environment, capture_output=True, timeout=60
    )
    try:
        facts(text)
    except ConfigError:
        assert run.returncode != 0
    else:
        assert run.returncode == 0, run.stderr.decode()


@pytest.mark.parametrize("text", VALID_FOR_TERRAFORM_ONLY.values(), ids=VALID_FOR_TERRAFORM_ONLY.keys())
def test_what_only_terraform_reads_is_read_too(text: str) -> None:
    assert list(sources(text).values()) == ["./a"]


def test_a_module_call_has_a_version_and_the_line_of_its_block() -> None:
    (call,) = facts('\n\nmodule "vpc" {\n  source  = "a/vpc/aws"\n  version = "~> 5.0"\n}\n').modules
    assert (call.name, call.source, call.version, call.line) == ("vpc", "a/vpc/aws", "~> 5.0", 3)


def test_a_computed_source_is_none_with_what_it_begins_with() -> None:
    text = 'module "a" {\n source = "../m/${var.x}"\n}\nmodule "b" {\n source = var.x\n}\nmodule "c" {}\n'
    assert [(call.source, call.source_prefix) for call in facts(text).modules] == [
        (None, "../m/"),
        (None, ""),
        (None, ""),
    ]


def test_a_source_with_backslashes_is_stored_with_slashes() -> None:
    assert sources('module "a" {\n source = "..\\\\m\\\\n"\n}\nmodule "b" {\n source = ".\\\\m"\n}\n') == {
        "a": "../m/n",
        "b": "./m",
    }


@pytest.mark.parametrize(
    "function",
    [
        "file",
        "filebase64",
        "filemd5",
        "filesha1",
        "filesha256",
        "filesha512",
        "filebase64sha256",
        "fileexists",
    ],
)
def test_a_file_function_reads_a_path_relative_to_the_root(function: str) -> None:
    assert paths(f'x = {function}("a/b.json")') == {("root", "a/b.json", True)}
    assert paths(f'x = core::{function} (\n "../b.json"\n)') == {("root", "../b.json", True)}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('file("${path.module}/a.json")', {("module", "a.json", True)}),
        ('file("${ path.root }/../a.json")', {("root", "../a.json", True)}),
        ('file("${path.cwd}/a.json")', {("root", "a.json", True)}),
        ('file("${abspath(path.module)}/../a.json")', {("module", "../a.json", True)}),
        ('file("a/b-${var.x}.json")', {("root", "a", False)}),
        ('file("${path.module}/p/${var.x}")', {("module", "p", False)}),
        ('file("${path.module}/${var.x}")', {("module", "", False)}),
        ('file("../${var.x}")', {("root", "..", False)}),
        ('file("..${var.x}")', {("root", "..", False)}),
        ('file("${path.module}-files/x")', {("module", "..", False)}),
        ('file(("a.json"))', {("root", "a.json", True)}),
        ('fileset(path.module, "*.json")', {("module", "", False)}),
        ('fileset("conf", "**")', {("root", "conf", False)}),
        (
            'fileset(path.module, "../p/*.json")',
            {("module", "", False), ("module", "../p", False), ("any", "../p/*.json", True)},
        ),
        ('templatefile("t/a.tpl", {})', {("root", "t", False)}),
        ('templatefile("../a.tpl", {})', {("root", "../a.tpl", True)}),
        (
            'templatefile("${path.module}/a.tpl", { x = file("b") })',
            {("module", "a.tpl", True), ("root", "b", True)},
        ),
        ('"text ${file("a")} text"', {("root", "a", True)}),
        ('"%{ if fileexists("a") }x%{ endif }"', {("root", "a", True)}),
        ('<<E\n${file("a")}\nE\n', {("root", "a", True)}),
    ],
)
def test_the_path_of_a_file_function_is_known_as_far_as_it_is_literal(
    code: str, expected: set[tuple[str, str, bool]]
) -> None:
    found = facts(f"x = {code}")
    assert {(path.base, path.prefix, path.exact) for path in found.paths} == expected
    assert not found.unknown_paths


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("file(var.x)", set()),
        ('file("${var.x}/a")', set()),
        ('file(var.x ? "a" : "b")', {("root", "a", True), ("root", "b", True)}),
        ('file(join("/", [path.module, "../x"]))', {("module", "", False), ("any", "../x", True)}),
        ("file(<<E\na\nE\n)", {("root", "a\n", True)}),
    ],
)
def test_a_computed_path_of_a_file_function_is_unknown_but_its_literals_count(
    code: str, expected: set[tuple[str, str, bool]]
) -> None:
    found = facts(f"x = {code}")
    assert found.unknown_paths
    assert {(path.base, path.prefix, path.exact) for path in found.paths} == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('"./charts/app"', {("any", "./charts/app", True)}),
        ('"../x-${var.y}"', {("any", "..", False)}),
        ('"../run.sh --all"', {("any", "../run.sh --all", True), ("any", "../run.sh", True)}),
        ('"${path.module}/a b"', {("module", "a b", True), ("module", "a", True)}),
        ('"python3 ${path.module}/x.py ${var.y}"', {("module", "x.py", True)}),
        ('"run ${path.module}/x.py"', {("module", "x.py", True)}),
        ('"run ${path.module}/d/x-${var.y}.py"', {("module", "d", False)}),
        ('"see ${path.module}: here"', {("module", "", False)}),
        ('"${path.module}"', {("module", "", False)}),
        ("path.root", {("root", "", False)}),
        ("<<E\ncd ..\nsh ${path.root}/../x.sh\nE\n", {("root", "../x.sh", True)}),
        ('"plain"', set()),
        ("<<E\n../no\nE\n", set()),
        ('var.file["a"]', set()),
    ],
)
def test_a_literal_that_looks_like_a_path_may_be_read_by_a_provider(
    code: str, expected: set[tuple[str, str, bool]]
) -> None:
    assert paths(f"x = {code}") == expected


def test_the_source_of_a_module_is_no_path_of_a_provider() -> None:
    assert paths('module "a" {\n source = "../a"\n dir = "../b"\n}') == {("any", "../b", True)}


def test_a_backend_has_its_literal_attributes_and_says_if_there_are_others() -> None:
    text = """terraform {
  backend "s3" {
    bucket       = "b"
    use_lockfile = true
    n            = -3
    assume_role = {
      role_arn = "r"
    }
    x = null
  }
}
"""
    backend = facts(text).backend
    assert backend is not None
    assert (backend.type, backend.dynamic, backend.line) == ("s3", False, 2)
    assert backend.attributes == (
        ("bucket", "b"),
        ("use_lockfile", True),
        ("n", -3),
        ("assume_role.role_arn", "r"),
    )


@pytest.mark.parametrize("value", ["var.x", '"a${b}"', '["a"]', "1.5", "9" * 5000])
def test_a_backend_with_a_value_that_is_no_literal_is_dynamic(value: str) -> None:
    backend = facts(f'terraform {{\n backend "s3" {{\n  key = {value}\n }}\n}}').backend
    assert backend is not None
    assert (backend.attributes, backend.dynamic) == ((), True)


def test_a_cloud_block_is_a_backend_of_type_cloud() -> None:
    backend = facts('terraform {\n cloud {\n  organization = "o"\n  workspaces { name = "w" }\n }\n}').backend
    assert backend is not None
    assert (backend.type, backend.attributes) == ("cloud", (("organization", "o"), ("workspaces.name", "w")))


def test_remote_states_have_their_literal_configuration() -> None:
    text = """
data "terraform_remote_state" "net" {
  backend = "s3"
  config = {
    bucket = "b", key = "k"
  }
}
data "terraform_remote_state" "dyn" {
  backend   = "s3"
  config    = { key = var.k }
  workspace = terraform.workspace
}
data "terraform_remote_state" "all" {
  backend   = "local"
  config    = local.c
  workspace = "w"
}
"""
    net, dyn, whole = facts(text).remote_states
    assert (net.name, net.backend, net.config, net.workspace, net.dynamic) == (
        "net",
        "s3",
        (("bucket", "b"), ("key", "k")),
        None,
        False,
    )
    assert (dyn.config, dyn.dynamic) == ((), True)
    assert (whole.workspace, whole.config, whole.dynamic) == ("w", (), True)


def test_required_versions_are_found() -> None:
    assert facts('terraform {\n required_version = ">= 1.5, < 2"\n}\n').required_version == (">= 1.5, < 2",)


KEYED = (
    'terraform {\n  required_providers {\n    aws = {\n      source = "hashicorp/aws"\n    }\n  }\n}\n'
    'module "a" {\n  source = "x/y/z"\n  version = "1"\n}\nresource "aws_x" "y" {\n  a = 1\n}\n'
)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", " # note\n\n").replace("  ", "\t"),
        lambda text: text + '\nresource "aws_z" "q" {}\n',
        lambda text: text.replace("a = 1", "a = 2"),
        lambda text: text + '\noutput "o" {\n  value = 1\n}\n',
        lambda text: text.replace("\n", "\r\n"),
    ],
)
def test_the_providers_key_ignores_what_needs_no_init(change) -> None:
    assert facts(change(KEYED)).providers_key == facts(KEYED).providers_key


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("x/y/z", "x/y/q"),
        lambda text: text.replace('version = "1"', 'version = "2"'),
        lambda text: text.replace('module "a"', 'module "b"'),
        lambda text: text.replace("hashicorp/aws", "me/aws"),
        lambda text: text + 'data "google_x" "y" {}\n',
        lambda text: text + 'check "c" {\n data "http" "y" {}\n}\n',
        lambda text: text + 'resource "aws_x" "z" {\n provider = other.x\n}\n',
        lambda text: text + 'provider "google" {}\n',
        lambda text: text.replace("terraform {", 'terraform {\n backend "s3" {}\n'),
    ],
)
def test_the_providers_key_changes_with_modules_providers_and_backend(change) -> None:
    assert facts(change(KEYED)).providers_key != facts(KEYED).providers_key


JSON = {
    "//": "comment",
    "terraform": {"required_version": ">= 1", "backend": {"s3": {"bucket": "b", "use_lockfile": True}}},
    "module": {"a": {"source": "./a", "//": "x", "y": '${file("p.json")}'}},
    "data": [{"terraform_remote_state": {"n": {"backend": "s3", "config": {"key": "k", "n": 1}}}}],
    "variable": {"v": {"description": "an open ${ is text here", "default": ["../q", None, 1.5]}},
}


def test_json_says_the_same_as_hcl() -> None:
    found = facts(json.dumps(JSON, indent=1), "main.tf.json")
    assert [(call.name, call.source, call.line) for call in found.modules] == [("a", "./a", 13)]
    assert found.backend is not None
    assert (found.backend.type, found.backend.attributes) == ("s3", (("bucket", "b"), ("use_lockfile", True)))
    assert [(state.name, state.config) for state in found.remote_states] == [("n", (("key", "k"), ("n", 1)))]
    assert found.required_version == (">= 1",)
    assert set(found.paths) == {
        PathReference(base="root", prefix="p.json", exact=True),
        PathReference(base="any", prefix="../q", exact=True),
    }


def test_modules_in_json_may_be_a_list_or_repeat_their_key() -> None:
    listed = '{"module": [{"a": {"source": "./a"}}, {"b": [{"source": "./b"}]}]}'
    repeated = '{"module": {"a": {"source": "./a"}}, "module": {"b": {"source": "./b"}}}'
    assert sources(listed, "x.tf.json") == sources(repeated, "x.tofu.json") == {"a": "./a", "b": "./b"}


@pytest.mark.parametrize(
    ("data", "path", "line"),
    [
        (b'a = 1\nb = "\xff"\n', "m/a.tf", 2),
        (b'a = 1\nb = "x\n', "m/a.tf", 2),
        (b"a = {\nb = 1\n", "m/a.tf", 1),
        (b"\n\na = (1]\n", "m/a.tf", 3),
        (b"a = <<E\nx\n", "m/a.tf", 1),
        (b"a = 1\n/* x", "m/a.tf", 2),
        (b'a = "${b"\n', "m/a.tf", 1),
        (b"a = " + b"(" * 500, "m/a.tf", 1),
        (b'{\n "a": }', "m/a.tf.json", 2),
        (b'{"a": NaN}', "m/a.tf.json", 1),
        (b'{"a": ' + b"[" * 100_000, "m/a.tf.json", 1),
        (b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "m/a.tf.json", 1),
        (b'{"a": ' + b"9" * 5000 + b"}", "m/a.tf.json", 1),
        (b"", "m/a.tf.json", 1),
    ],
)
def test_an_unreadable_file_is_named_with_its_line(data: bytes, path: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        scan(data, path)
    (problem,) = caught.value.problems
    assert problem.code == "modules.unreadable"
    assert problem.message.startswith(f"{path}:{line}: ")


def scans_or_refuses(data: bytes) -> None:
    for path in ("a.tf", "a.tf.json"):
        try:
            scan(data, path).providers_key.encode()
        except ConfigError as error:
            assert error.problems[0].code == "modules.unreadable"


@given(st.binary())
def test_arbitrary_bytes_are_scanned_or_refused(data: bytes) -> None:
    scans_or_refuses(data)


PIECES = [
    '"',
    "${",
    "%{",
    "$${",
    "}",
    "{",
    "(",
    ")",
    "[",
    "]",
    "\n",
    "<<E\n",
    "E\n",
    "E",
    "\\",
    "\\u",
    "\\UFFFFFFFF",
]
PIECES += [
    "/*",
    "*/",
    "#",
    "//",
    "file",
    "path.module",
    "path",
    ".",
    "~",
    "=",
    ":",
    ",",
    "for",
    "-",
    "9",
    "../",
    "\r",
]
PIECES += [
    'module "a" {\n',
    'terraform {\nbackend "x" {\n',
    "source =",
    'data "terraform_remote_state" "x" {\n',
    "é",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join))
def test_arbitrary_text_is_scanned_or_refused(text: str) -> None:
    scans_or_refuses(text.encode("utf-8", "surrogatepass"))


KEYS = st.sampled_from(["module", "terraform", "backend", "source", "data", "terraform_remote_state", "config", "//"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=3),
)


@given(VALUES)
def test_arbitrary_json_is_scanned(value: object) -> None:
    scan(json.dumps(value).encode(), "a.tf.json")


@pytest.mark.parametrize(
    "piece",
    [
        *(
            '"',
            "{",
            "/*",
            "<<a",
            "<<A\n",
            "$",
            "${path.module}",
            "file \n",
            "file(",
            "\\u",
            "1.e",
            " ",
            "\r",
            "[]",
        ),
        *(
            '"${',
            "a",
            "#\n",
            'file("../a${x}") ',
            "-",
            "<<-A-",
            '"a"="b":',
            "//",
            "é",
            "\\\\",
            "path.",
            "\n,",
        ),
    ],
)
@pytest.mark.parametrize("around", [("", ""), ('a = "', '"'), ("a = <<E\n", "\nE\n"), ('{"a": "', '"}')])
def test_a_megabyte_of_anything_takes_linear_time(piece: str, around: tuple[str, str]) -> None:
    text = around[0] + piece * (1_000_000 // len(piece.encode())) + around[1]
    started = time.process_time()
    scans_or_refuses(text.encode())
    # A quadratic step over this much text takes minutes.
    assert time.process_time() - started < 10


def test_a_megabyte_of_json_modules_takes_linear_time() -> None:
    value = {"module": {f"m{number}": {"source": "./m", "x": "${y}"} for number in range(20_000)}}
    started = time.process_time()
    assert len(facts(json.dumps(value), "a.tf.json").modules) == 20_000
    assert time.process_time() - started < 10


def test_the_loaded_files_of_a_directory_leave_out_what_terraform_ignores() -> None:
    names = [
        "b.tf",
        "a.tf",
        "override.tf",
        "a_override.tf.json",
        ".x.tf",
        "x.tf~",
        "#x.tf#",
        "c.tf.json",
        "d.txt",
    ]
    names += ["e.tofu", "a.tofu", "c.tofu.json", "t.tftest.hcl", "tf"]
    assert active_files(names) == ["a.tf", "b.tf", "c.tf.json", "a_override.tf.json", "override.tf"]
    assert active_files(names, "tofu") == [
        *("a.tofu", "b.tf", "c.tofu.json", "e.tofu", "a_override.tf.json", "override.tf"),
    ]
