"""HCL text to literal values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.errors import ConfigError
from tfops.hcl import Attribute, Body, Invalid, Object, Template, Variable, decode, parse_body


def value(text):
    (attribute,) = parse_body(f"a = {text}", "f.hcl").attributes
    return attribute.value


def fault(text):
    with pytest.raises(ConfigError) as caught:
        parse_body(text, "f.hcl")
    (problem,) = caught.value.problems
    assert problem.code == "config.syntax"
    return problem.message


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "/* a\nb */", "\ufeff", "   ", "\r\n"])
def test_a_text_without_content_is_an_empty_body(text):
    assert parse_body(text, "f.hcl") == Body()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"text"', "text"),
        ('""', ""),
        ("1", 1),
        ("-1", -1),
        ("-12", -12),
        ("- 3", -3),
        ("1.5", 1.5),
        ("-1.5e3", -1500.0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("[]", ()),
        ('["a", 1, [true],]', ("a", 1, (True,))),
        ("[ # one\n  1, // two\n  2 /* three */\n]", (1, 2)),
        (r'"a\n\t\r\"\\\u00e9\U0001f600"', 'a\n\t\r"\\é😀'),
        ('"$${x}"', "${x}"),
        ('"%%{x}"', "%{x}"),
        ('"$$${x}"', "$${x}"),
        ('"100% of $5"', "100% of $5"),
        ('"# no comment // at /* all"', "# no comment // at /* all"),
        ("<<EOT\none\n\n  two\nEOT", "one\n\n  two\n"),
        ("<<EOT\nEOT", ""),
        ("<<-EOT\n  one\n    $${two}\n  EOT", "one\n  ${two}\n"),
    ],
)
def test_a_literal_is_its_value(text, expected):
    assert value(text) == expected
    assert type(value(text)) is type(expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("var.x", "a reference"),
        ("x", 'the bare word "x"'),
        ("x[0]", "a reference"),
        ("file(1)", "a function call"),
        ("1 + 2", "an operation"),
        ("!true", "an operation"),
        ('-"x"', "an operation"),
        ("(1)", "an expression in parentheses"),
        ("true ? 1 : 2", "a conditional"),
        ("[for x in y : x]", "a for expression"),
        ("{for x in y : x => x}", "a for expression"),
        ('"${x}"', "an interpolation other than ${branch} and ${branch_slug}"),
        ('"${branch + 1}"', "an interpolation other than ${branch} and ${branch_slug}"),
        ('"%{if x}y%{endif}"', "a template directive"),
        ("<<EOT\n${branch}\nEOT", "a heredoc with an interpolation"),
        (r'"\q"', r'the unknown escape "\q"'),
        (r'"\ud800"', r'the unknown escape "\ud800"'),
        (r'"\ufdd0"', r'the unknown escape "\ufdd0"'),
        ("1e999", "a number that is too large"),
        ("9" * 5000, "a number that is too large"),
        ("{ (x) = 1 }", "a computed key"),
        ('{ "${branch}" = 1 }', "a computed key"),
    ],
)
def test_what_is_not_literal_is_a_value_that_says_why(text, reason):
    assert value(text) == Invalid(reason=reason)


def test_a_string_with_variables_is_a_template_that_keeps_its_escapes_apart():
    assert value('"a-${branch}-$${branch}-${branch_slug}"') == Template(
        parts=("a-", Variable.BRANCH, "-${branch}-", Variable.BRANCH_SLUG)
    )


def test_an_escape_does_not_run_past_the_end_of_its_string():
    body = parse_body('a = "$${"\nb = "}"', "f.hcl")
    assert [attribute.value for attribute in body.attributes] == ["${", "}"]


def test_an_object_keeps_duplicates_and_lines():
    assert value('{\n  a = 1\n  "b c": 2, in = 3\n  a = 4\n}') == Object(
        entries=(
            Attribute(name="a", value=1, line=2),
            Attribute(name="b c", value=2, line=3),
            Attribute(name="in", value=3, line=3),
            Attribute(name="a", value=4, line=4),
        )
    )


def test_duplicates_are_kept_with_their_lines():
    body = parse_body('a = 1\nb "x" {}\na = 2\nb "x" {}\n', "f.hcl")
    assert [(attribute.name, attribute.line) for attribute in body.attributes] == [("a", 1), ("a", 3)]
    assert [(block.type, block.labels, block.line) for block in body.blocks] == [
        ("b", ("x",), 2),
        ("b", ("x",), 4),
    ]


@pytest.mark.parametrize("text", ["b { x = 1, y = [1, 2] }", "b { x = 1  y = [1, 2] }", "b {\n x = 1\n y = [1,\n2]\n}"])
def test_a_block_may_stand_on_one_line_with_several_attributes(text):
    (block,) = parse_body(text, "f.hcl").blocks
    assert [(attribute.name, attribute.value) for attribute in block.body.attributes] == [
        ("x", 1),
        ("y", (1, 2)),
    ]


def test_windows_line_ends_and_a_byte_order_mark_change_nothing():
    text = 'a = <<EOT\nx\nEOT\nb "c" {\n  d = 1 # e\n}\n'
    assert parse_body("\ufeff" + text.replace("\n", "\r\n"), "f.hcl") == parse_body(text, "f.hcl")


def test_nested_blocks_and_bare_labels_are_read():
    (outer,) = parse_body("a b {\n  c {\n    d = 1\n  }\n}", "f.hcl").blocks
    assert outer.labels == ("b",)
    assert outer.body.blocks[0].body.attributes == (Attribute(name="d", value=1, line=3),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\nb = ", "f.hcl:2: a value is missing (column 5)"),
        ("a = 1\nb {", "f.hcl:2: this { is never closed (column 3)"),
        ("a = [1", "f.hcl:1: this [ is never closed (column 5)"),
        ('a = "x\nb = "y"', "f.hcl:1: a quoted string must end on its own line (column 6)"),
        ('a = "x\ny"', "f.hcl:1: a quoted string must end on its own line (column 6)"),
        ("a = <<EOT\nx", "f.hcl:1: this heredoc is never closed (column 5)"),
        ("/* x", "f.hcl:1: this comment is never closed (column 1)"),
        ("a = 'x'", "f.hcl:1: a ' cannot stand here (column 5)"),
        ("a = 1, b = 2", 'f.hcl:1: "," cannot stand here (column 6)'),
        ("b { , a = 1 }", 'f.hcl:1: "," cannot stand here (column 5)'),
        ("}", 'f.hcl:1: "}" cannot stand here (column 1)'),
        ('b "${branch}" {}', "f.hcl:1: a block's label must be literal text"),
        ("a = 1\n\x01", "f.hcl:2: the character '\\x01' cannot stand here (column 1)"),
        ("\n\ufdd0", "f.hcl:2: the character '\\ufdd0' is not allowed"),
        ("b {" * 100 + "}" * 100, "f.hcl:1: blocks are nested too deeply"),
        ("a", "f.hcl:1: the text ends too early"),
    ],
)
def test_a_syntax_error_names_file_line_and_column_in_plain_words(text, message):
    assert fault(text).startswith(message)


def test_deep_nesting_is_a_fault_and_not_a_crash():
    assert "nested too deeply" in str(value("[" * 3000 + "]" * 3000))


@given(st.text(alphabet=st.sampled_from('ab ={}[]",\n"$%\\<E-1.()#/*:?é\ufdd0\r'), max_size=60))
def test_any_text_is_read_or_refused_with_a_line(text):
    try:
        parse_body(text, "f.hcl")
    except ConfigError as error:
        assert error.problems[0].message.startswith("f.hcl:")
        assert not {"Token", "LBRACE", "NL_OR_COMMENT"} & set(error.problems[0].message.split())


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cn", "Cc"])))
def test_any_text_survives_quoting(text):
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "$${").replace("%{", "%%{")
    assert value(f'"{quoted}"') == text


def test_a_file_is_decoded_without_its_byte_order_mark():
    assert decode(b"\xef\xbb\xbfa = 1", "f.hcl") == "a = 1"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = 1\n\xff\xfe", "f.hcl:2: the file is not UTF-8 text"),
        (b"\x7fELF\n\0", "f.hcl:2: the file holds a NUL byte"),
        (b" " * (1024 * 1024 + 1), "f.hcl:1: the file is larger than 1 MiB"),
    ],
)
def test_what_is_not_text_is_refused(data, message):
    with pytest.raises(ConfigError, match=message) as caught:
        decode(data, "f.hcl")
    assert caught.value.problems[0].code == "config.encoding"
