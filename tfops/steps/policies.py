"""What the policies in force say against a plan. A policy that cannot be asked speaks against it."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfops.adapters.bounded import Bounded, run_bounded
from tfops.adapters.process import Command
from tfops.adapters.rego import RegoFault, denials
from tfops.approval import Override
from tfops.config_gate import Gate
from tfops.config_policy import Policy
from tfops.errors import InterruptedRunError
from tfops.gate import Findings
from tfops.protection import Violation
from tfops.report.neutral import neutral
from tfops.steps.opening import Session
from tfops.steps.planning import plan_json
from tfops.steps.surveyed import Surveyed

OUTPUT_LIMIT = 64 * 1024
LINES = 40
MESSAGES = 20
WIDTH = 300
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PASSED_ON = ("PATH", "HOME", "LANG")


def findings(session: Session, surveyed: Surveyed, gate: Gate, redacted: Mapping[str, Any]) -> Findings:
    """What the gate's policies say against a plan of the stack, of which they see what people may see."""
    if not gate.policies:
        return {}
    said = [words for policy in gate.policies for words in _against(session, surveyed, policy, redacted)]
    return {Override.POLICY: [Violation(words=words, addresses=frozenset()) for words in said]}


def _against(session: Session, surveyed: Surveyed, policy: Policy, redacted: Mapping[str, Any]) -> Iterator[str]:
    files = {path: text for path, text in session.rules.files.items() if policy.has(path)}
    if policy.rego:
        yield from _denied(policy, files, redacted)
        return
    session.say(surveyed.id, f'asking policy "{policy.name}"')
    words = _asked(session, surveyed, policy, files, plan_json(redacted))
    if words is not None:
        yield f'policy "{policy.name}" {words}'


def _denied(policy: Policy, files: Mapping[str, str], redacted: Mapping[str, Any]) -> Iterator[str]:
    try:
        said = denials(files, policy.query, redacted)
    except RegoFault as fault:
        yield f'policy "{policy.name}" could not be asked: {neutral(str(fault))}'
        return
    for message in said[:MESSAGES]:
        lines = "\n".join(_shown(message))
        yield f'policy "{policy.name}": {lines}'
    if len(said) > MESSAGES:
        yield f'policy "{policy.name}": and {len(said) - MESSAGES} more'


def _asked(
    session: Session, surveyed: Surveyed, policy: Policy, files: Mapping[str, str], document: bytes
) -> str | None:
    """Why the program does not let the plan pass; None where it does."""
    try:
        ended = _run(session, surveyed, policy, files, document)
    except FileNotFoundError:
        program = neutral(policy.command[0])
        return f"could not be asked: there is no {program}: install it on the runner, or name it in the policy's files"
    except OSError as error:
        return f"could not be asked: {neutral(policy.command[0])}: {error.strerror}"
    if session.caller.stop.is_set():
        hint = "nothing was applied; run it again"
        raise InterruptedRunError(f'stopped while policy "{policy.name}" ran', code="run.interrupted", hint=hint)
    return _verdict(policy, ended)


def _run(session: Session, surveyed: Surveyed, policy: Policy, files: Mapping[str, str], document: bytes) -> Bounded:
    cache = session.caller.cache
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="policy-", dir=cache, ignore_cleanup_errors=True) as name:
        place = Path(name)
        _lay_out(place, files, document)
        command = Command(argv=policy.command, env=_environment(session, surveyed, place), cwd=place / "tree")
        return run_bounded(
            command,
            stdin=place / "plan.json",
            timeout_seconds=policy.timeout_seconds,
            limit=OUTPUT_LIMIT,
            stop=session.caller.stop,
        )


def _lay_out(place: Path, files: Mapping[str, str], document: bytes) -> None:
    (place / "plan.json").write_bytes(document)
    for name in ("tree", "tmp"):
        (place / name).mkdir(mode=0o700)
    for path, text in files.items():
        file = place / "tree" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
        file.chmod(0o700)  # texts have no modes: each may be a program


def _environment(session: Session, surveyed: Surveyed, place: Path) -> dict[str, str]:
    """What a policy may know. No token, no key and no credentials of ours are among it."""
    environ = session.caller.environ
    return {name: environ[name] for name in _PASSED_ON if name in environ} | {
        "TMPDIR": str(place / "tmp"),
        "NO_COLOR": "1",
        "TFOPS_PLAN_JSON": str(place / "plan.json"),
        "TFOPS_STACK": surveyed.id,
        "TFOPS_ENVIRONMENT": surveyed.stack.environment,
    }


def _verdict(policy: Policy, ended: Bounded) -> str | None:
    said = _first_lines(ended.output)
    match ended.code:
        case 0:
            return None
        case None:
            return f"did not answer within {policy.timeout_seconds:g} s (its timeout), and was stopped{said}"
        case code if code < 0:
            return f"was killed by signal {-code}{said}"
        case code:
            return f"refuses (exit code {code}){said}"


def _first_lines(output: bytes) -> str:
    lines = _shown(output.decode(errors="replace"))
    if not lines:
        return ", and says nothing"
    return f": {lines[0].strip()}" if len(lines) == 1 else "\n".join([":", *lines])


def _shown(said: str) -> list[str]:
    """The first lines of what a policy said, each of them fit to be shown."""
    lines = [line for line in said.splitlines() if line.strip()]
    more = [f"and {len(lines) - LINES} more lines"] if len(lines) > LINES else []
    return [*map(_short, lines[:LINES]), *more]


def _short(line: str) -> str:
    text = neutral(_COLOUR.sub("", line).expandtabs().rstrip())
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}…"
