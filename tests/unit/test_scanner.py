"""Every file that Terraform reads is read, the others are refused, and nothing makes it slow or crash."""

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
from tfops.modules import Facts, scan


def facts(text: str, path: str = "main.tf") -> Facts:
    return scan(text.encode(), path)


def sources(text: str, path: str = "main.tf") -> dict[str, str | None]:
    return {call.name: call.source for call in facts(text, path).modules}


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
