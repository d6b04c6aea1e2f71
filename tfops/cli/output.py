"""Where output goes: results to stdout (a person's text, or exactly one JSON document), all else to stderr."""

import contextlib
import io
import json
import queue
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum
from typing import Any, TextIO

import msgspec

from tfops.errors import Exit, Problem
from tfops.report.neutral import neutral

SCHEMA_VERSION = "v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command has to say: its stacks and errors for programs, its text for people, its exit code."""

    command: str
    exit_code: Exit
    stacks: tuple[object, ...] = ()
    problems: tuple[Problem, ...] = ()
    extra: Mapping[str, object] | None = None
    text: Callable[[], object] | None = None


def document(result: Result) -> dict[str, Any]:
    """The one JSON document of a command (DESIGN.md §3). `stacks` entries carry no problems of their own."""
    return {
        "schema": f"tfops.{result.command}/{SCHEMA_VERSION}",
        "exit_code": int(result.exit_code),
        **(plain(result.extra) if result.extra else {}),
        "stacks": [plain(stack) for stack in result.stacks],
        "errors": [{"stack": p.stack, "code": p.code, "message": p.message, "hint": p.hint} for p in result.problems],
    }


def plain(value: object) -> Any:
    """A value as JSON knows it."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return msgspec.to_builtins(value)


class Screen:
    """The two streams of one command. A reader that went away never fails the run."""

    def __init__(self, *, as_json: bool, verbose: bool) -> None:
        self.as_json = as_json
        self.verbose = verbose
        self._messages: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._started = time.monotonic()
        self._latest: dict[str, str] = {}
        self._spinner: Spinner | None = None

    def say(self, stack: str, message: str) -> None:
        """Queue a progress line; may be called from any thread."""
        self._messages.put((stack, message))

    def tick(self, running: Collection[str] = ()) -> None:
        """Print what was said since the last call, and on a terminal what is under way. Main thread only."""
        while not self._messages.empty():
            stack, message = self._messages.get()
            self._latest[stack] = message
            name = f"{stack}: " if stack and not message.startswith(f"{stack}:") else ""
            self.error_line(f"{time.monotonic() - self._started:6.1f}s {name}{message}")
        self._show_running(running)

    def error_line(self, text: str) -> None:
        """One plain line to stderr."""
        line = neutral(text)
        if self._spinner is None:
            _write(sys.stderr, f"{line}\n")
        else:
            self._spinner.line(line)

    def show(self, result: Result) -> None:
        """The result, once: a document or a text, and what went wrong."""
        self.tick()
        if self.as_json:
            _write(sys.stdout, json.dumps(document(result), indent=1, ensure_ascii=False) + "\n")
            return
        if result.text is not None:
            _print(sys.stdout, [result.text()])
        self.show_problems(result.problems)

    def show_problems(self, problems: Iterable[Problem]) -> None:
        """What went wrong, for people."""
        if problems:
            from tfops.report.tables import problem_lines

            _print(sys.stderr, list(problem_lines(problems)))

    def _show_running(self, running: Collection[str]) -> None:
        if running and self._spinner is None and _is_terminal(sys.stderr):
            self._spinner = Spinner()
        if self._spinner is not None and not running:
            self._spinner.stop()
            self._spinner = None
        if self._spinner is not None:
            self._spinner.update([f"{name}: {self._latest.get(name, 'waiting')}" for name in sorted(running)])


class Spinner:
    """What is under way, on the last lines of a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False, markup=False)
        self._status = self._console.status("")
        self._status.start()

    def line(self, text: str) -> None:
        """A line above."""
        self._console.print(text, soft_wrap=True)

    def update(self, lines: list[str]) -> None:
        """What is shown from now on."""
        from rich.text import Text

        line, room = neutral("  ·  ".join(lines)), self._console.width - 4
        self._status.update(Text(line if len(line) <= room else f"{line[: room - 1]}…"))

    def stop(self) -> None:
        """Take it away."""
        self._status.stop()


def _print(stream: TextIO | None, parts: list[Any]) -> None:
    """Rendered for looking on a terminal; plain lines without trailing blanks elsewhere."""
    from rich.console import Console

    if stream is None:
        return
    terminal = stream.isatty()
    console = Console(file=stream if terminal else io.StringIO(), width=None if terminal else 200, highlight=False)
    with contextlib.suppress(OSError, ValueError):
        for part in parts:
            console.print(part, soft_wrap=not terminal, markup=False)
    if not terminal and isinstance(console.file, io.StringIO):
        text = console.file.getvalue()
        _write(stream, "".join(f"{line.rstrip()}\n" for line in text.splitlines()))


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # closed before we started
        return
    # UTF-8 in every locale; what is no text at all (a file name's odd bytes) is escaped, never fatal.
    data = text.encode("utf-8", "backslashreplace")
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
        if hasattr(stream, "buffer"):
            stream.buffer.write(data)
        else:
            stream.write(data.decode())
        stream.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
