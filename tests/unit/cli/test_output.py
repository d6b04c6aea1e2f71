"""Results go to stdout, all else to stderr; a program gets exactly one document, whatever became of the readers."""

import io
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.cli.output import Result, Screen, document, plain
from tfops.errors import Exit, Problem


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Part:
    colour: Colour
    names: tuple[str, ...] = ()


class Signed(msgspec.Struct, frozen=True):
    at: datetime
    parts: tuple[int, ...]


PROBLEM = Problem(code="lock.held", message="busy", hint="wait", stack="prod")


def shown(capsys, result: Result, *, as_json: bool) -> tuple[str, str]:
    Screen(as_json=as_json, verbose=False).show(result)
    captured = capsys.readouterr()
    return captured.out, captured.err


class TestDocument:
    def test_it_has_the_documented_members(self):
        result = Result(command="plan", exit_code=Exit.LOCKED, stacks=({"stack": "prod"},), problems=(PROBLEM,))
        assert document(result) == {
            "schema": "tfops.plan/v1",
            "exit_code": 4,
            "stacks": [{"stack": "prod"}],
            "errors": [{"stack": "prod", "code": "lock.held", "message": "busy", "hint": "wait"}],
        }

    def test_a_commands_own_members_stand_beside_the_common_ones(self):
        found = document(Result(command="verify", exit_code=Exit.OK, extra={"verified": True, "colour": Colour.RED}))
        assert (found["verified"], found["colour"], found["stacks"], found["errors"]) == (True, "red", [], [])

    def test_a_commands_own_members_never_replace_the_common_ones(self):
        extra = {"stacks": "evil", "errors": "evil"}
        found = document(Result(command="x", exit_code=Exit.OK, extra=extra))
        assert (found["stacks"], found["errors"]) == ([], [])

    def test_values_of_every_kind_become_json(self):
        signed = Signed(at=datetime(2026, 3, 1, tzinfo=UTC), parts=(1, 2))
        value = {"a": Part(Colour.RED, ("x",)), 7: [signed], "none": None, "set": {1}}
        assert json.loads(json.dumps(plain(value))) == {
            "a": {"colour": "red", "names": ["x"]},
            "7": [{"at": "2026-03-01T00:00:00Z", "parts": [1, 2]}],
            "none": None,
            "set": [1],
        }

    @given(st.lists(st.builds(Problem, code=st.text(), message=st.text(), hint=st.text(), stack=st.none() | st.text())))
    def test_any_problems_make_one_document_that_reads_back(self, problems):
        found = document(Result(command="x", exit_code=Exit.FAILED, problems=tuple(problems)))
        assert [Problem(**error) for error in json.loads(json.dumps(found))["errors"]] == problems


class TestScreen:
    def test_a_program_gets_one_document_and_no_words(self, capsys):
        result = Result(command="plan", exit_code=Exit.LOCKED, problems=(PROBLEM,), text=lambda: "for people")
        out, err = shown(capsys, result, as_json=True)
        assert json.loads(out)["exit_code"] == 4
        assert err == ""

    def test_a_person_gets_the_text_and_what_went_wrong_beside_it(self, capsys):
        result = Result(command="plan", exit_code=Exit.LOCKED, problems=(PROBLEM,), text=lambda: "for people")
        out, err = shown(capsys, result, as_json=False)
        assert out == "for people\n"
        assert "busy" in err
        assert "lock.held" in err
        assert "wait" in err

    def test_nothing_to_say_is_nothing_said(self, capsys):
        assert shown(capsys, Result(command="x", exit_code=Exit.OK), as_json=False) == ("", "")

    def test_a_text_is_not_made_where_nobody_reads_it(self, capsys):
        shown(capsys, Result(command="x", exit_code=Exit.OK, text=lambda: 1 / 0), as_json=True)

    def test_square_brackets_are_no_markup(self, capsys):
        result = Result(command="x", exit_code=Exit.OK, text=lambda: "t.n[0] [bold]x[/bold] [/]")
        assert shown(capsys, result, as_json=False)[0] == "t.n[0] [bold]x[/bold] [/]\n"

    def test_progress_goes_to_stderr_in_its_order_before_the_result(self, capsys):
        screen = Screen(as_json=True, verbose=False)
        screen.say("prod", "planning")
        screen.say("", "fetching")
        screen.say("prod", "prod: done")
        screen.show(Result(command="x", exit_code=Exit.OK))
        out, err = capsys.readouterr()
        lines = [line.split("s ", 1)[1] for line in err.splitlines()]
        assert lines == ["prod: planning", "fetching", "prod: done"]
        assert json.loads(out)

    def test_what_many_threads_say_is_never_mixed_up(self, capsys):
        screen = Screen(as_json=False, verbose=False)
        threads = [
            threading.Thread(target=lambda n=n: [screen.say(f"s{n}", f"{n}" * 50) for _ in range(50)]) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        screen.tick()
        lines = [line.split("s ", 1)[1] for line in capsys.readouterr().err.splitlines()]
        assert len(lines) == 400
        assert all(line == f"s{line[1]}: {line[1] * 50}" for line in lines)

    @pytest.mark.parametrize("evil", ["a\nb", "\x1b[2J", "a\rb", "\u202e", "\x07", "\u2028"])
    def test_a_message_cannot_play_with_the_terminal(self, capsys, evil):
        screen = Screen(as_json=False, verbose=False)
        screen.say("prod", evil)
        screen.show(Result(command="x", exit_code=Exit.FAILED, problems=(Problem(code="c", message=evil, hint=evil),)))
        _, err = capsys.readouterr()
        assert evil not in err
        assert len(err.splitlines()) == 3

    @pytest.mark.parametrize("as_json", [True, False])
    def test_a_reader_that_went_away_fails_nothing(self, monkeypatch, as_json):
        class Gone(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        monkeypatch.setattr(sys, "stdout", Gone())
        monkeypatch.setattr(sys, "stderr", Gone())
        screen = Screen(as_json=as_json, verbose=False)
        screen.say("prod", "x")
        screen.show(Result(command="x", exit_code=Exit.OK, problems=(PROBLEM,), text=lambda: "x"))


# Shows one result with a message of every kind; the last word goes to a file, for the streams may be closed.
SHOW = """
import sys
from pathlib import Path
from tfops.cli.output import Result, Screen
from tfops.errors import Exit, Problem
screen = Screen(as_json=sys.argv[1] == "json", verbose=False)
screen.say("prod", "planning")
screen.tick()
message = sys.argv[2]
problems = (Problem(code="c", message=message),)
screen.show(Result(command="x", exit_code=Exit.FAILED, problems=problems, text=lambda: message))
Path(sys.argv[3]).write_text("done")
"""


class TestStreams:
    def show(self, tmp_path, form: str, message: str, redirection: str = "", **environ: str):
        argv = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", SHOW, form]
        done = subprocess.run(
            [*argv, message, str(tmp_path / "last")], capture_output=True, env={"PATH": "/usr/bin:/bin", **environ}
        )
        assert (tmp_path / "last").exists(), done.stderr.decode()
        return done.stdout

    @pytest.mark.parametrize("form", ["json", "text"])
    @pytest.mark.parametrize("redirection", [">/dev/full", "2>/dev/full"])
    def test_a_full_disk_behind_a_stream_fails_nothing(self, tmp_path, form, redirection):
        self.show(tmp_path, form, "x", redirection)

    @pytest.mark.parametrize("form", ["json", "text"])
    @pytest.mark.parametrize("redirection", [">&-", "2>&-"])
    def test_a_stream_that_was_closed_from_the_start_fails_nothing(self, tmp_path, form, redirection):
        self.show(tmp_path, form, "x", redirection)

    def test_a_document_is_utf8(self, tmp_path):
        out = self.show(tmp_path, "json", "ü→日本")
        assert json.loads(out)["errors"][0]["message"] == "ü→日本"

    @pytest.mark.parametrize("errors", ["surrogateescape", "strict"])
    def test_a_name_that_is_no_utf8_still_makes_a_document(self, tmp_path, errors):
        assert json.loads(self.show(tmp_path, "json", "\udcff", PYTHONIOENCODING=f"utf-8:{errors}"))

    @pytest.mark.parametrize("form", ["json", "text"])
    def test_a_stream_that_knows_no_unicode_still_gets_the_result(self, tmp_path, form):
        assert self.show(tmp_path, form, "ü→", PYTHONIOENCODING="ascii")

    def test_a_stream_in_the_c_locale_gets_the_result(self, tmp_path):
        assert "ü→".encode() in self.show(tmp_path, "text", "ü→", LC_ALL="C")
