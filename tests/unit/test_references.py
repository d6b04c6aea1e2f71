"""The paths that Terraform code names, as far as they are certain."""

import pytest

from tfops.modules import Facts, scan


def facts(text: str) -> Facts:
    return scan(text.encode(), "main.tf")


def paths(text: str) -> set[tuple[str, str, bool]]:
    return {(path.base, path.prefix, path.exact) for path in facts(text).paths}


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
