"""The gates of an environment: what may be written, and what is refused."""

from datetime import UTC, datetime, time

import msgspec
import pytest

from tfops.config import Config, parse_config
from tfops.config_gate import Protect
from tfops.errors import ConfigError
from tfops.freezes import DAYS, Freeze, Span, Weekly


def parsed(lines: str) -> Config:
    return parse_config(f'environment "prod" {{\n  branch = "main"\n  roots = ["prod"]\n{lines}\n}}\n')


def problem(lines: str) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        parsed(lines)
    (found,) = caught.value.problems
    return found.code, f"{found.message} {found.hint}"


def test_a_protect_block_becomes_a_value():
    lines = 'protect {\n  max_destroy = 2\n  addresses = ["module.db.*"]\n  types = ["aws_db_*"]\n  replace = true\n}'
    (found,) = parsed(lines).environments
    assert found.protect == Protect(max_destroy=2, addresses=("module.db.*",), types=("aws_db_*",), replace=True)
    assert found.protect.words == ("destroys 2 at most", "loses none of module.db.*, aws_db_*", "replaces nothing")


def test_an_environment_without_gates_has_none():
    (found,) = parsed("").environments
    assert (found.protect, found.freezes) == (None, ())


def test_a_freeze_is_once_or_every_week():
    lines = """
  freeze "christmas" {
    begins = "2026-12-20T18:00:00+01:00"
    ends   = "2027-01-04T08:00:00+01:00"
  }
  freeze "weekend" {
    days     = ["sat", "sun"]
    timezone = "Europe/Berlin"
  }
  freeze "nights" {
    days   = ["mon"]
    begins = "18:00"
    ends   = "08:00"
  }"""
    (found,) = parsed(lines).environments
    begins, ends = datetime(2026, 12, 20, 17, tzinfo=UTC), datetime(2027, 1, 4, 7, tzinfo=UTC)
    assert found.freezes == (
        Freeze(name="christmas", once=Span(begins=begins, ends=ends)),
        Freeze(name="weekend", weekly=Weekly(days=("sat", "sun"), timezone="Europe/Berlin")),
        Freeze(name="nights", weekly=Weekly(days=("mon",), begins=time(18), ends=time(8))),
    )


def test_the_gates_survive_being_remembered():
    config = parsed(
        'protect { max_destroy = 0 }\nfreeze "a" { days = ["sun"] }\n'
        'freeze "b" {\n begins = "2026-12-20T18:00:00+01:00"\n ends = "2027-01-04T08:00:00Z"\n}'
    )
    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config


def test_days_are_all_there_are():
    (found,) = parsed(f'freeze "all" {{ days = {list(DAYS)!r} }}'.replace("'", '"')).environments
    assert found.freezes[0].weekly == Weekly()


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        ("protect { max_destroy = -1 }", "config.invalid_value", "max_destroy"),
        ('protect { max_destroy = "all" }', "config.wrong_type", "max_destroy"),
        ('protect { adresses = ["a"] }', "config.unknown_key", "addresses"),
        ("protect {}\nprotect {}", "config.duplicate", "protect"),
        ('freeze "x" {}', "config.missing_key", "days"),
        ('freeze "x" { days = ["monday"] }', "config.invalid_value", '"mon"'),
        ('freeze "x" {\n days = ["mon"]\n timezone = "Mars"\n}', "config.invalid_value", "Europe/Berlin"),
        ('freeze "x" {\n days = ["mon"]\n timezone = "../../etc/passwd"\n}', "config.invalid_value", "Europe/Berlin"),
        ('freeze "x" {\n days = ["mon"]\n begins = "25:00"\n}', "config.invalid_value", "18:00"),
        (
            'freeze "x" {\n begins = "2026-12-20T18:00:00"\n ends = "2027-01-04T08:00:00Z"\n}',
            "config.invalid_value",
            "Z",
        ),
        (
            'freeze "x" {\n begins = "2027-12-20T18:00:00Z"\n ends = "2027-01-04T08:00:00Z"\n}',
            "config.invalid_value",
            "ends before it begins",
        ),
        ('freeze "x" {\n begins = "2027-12-20T18:00:00Z"\n}', "config.missing_key", "ends"),
        ('freeze "x" { days = ["mon"] }\nfreeze "x" { days = ["tue"] }', "config.duplicate", "x"),
    ],
)
def test_what_cannot_be_a_gate_is_refused_and_says_how_it_could(lines, code, words):
    found, text = problem(lines)
    assert found == code
    assert words in text
