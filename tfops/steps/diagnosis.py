"""Why Terraform failed, in words: its own diagnostics, scrubbed, with the file and what to do next."""

import json
from collections.abc import Iterator, Mapping

from tfops.adapters.process import Ended
from tfops.adapters.terraform import Terraform
from tfops.concealment import Secrets
from tfops.errors import FailedError, InterruptedRunError, LockedError, TfopsError
from tfops.event_redaction import redact_diagnostic

# Terraform says this in its JSON only as a summary; there is no code to match (reference/terraform.md C1).
_LOCK_SUMMARY, _NOT_HELD = "Error acquiring the state lock", "could not write lock info"
TEXT_LIMIT = 2000


def failed(
    command: str, terraform: Terraform, stack: str, ended: Ended, name: str, secrets: Secrets | None = None
) -> TfopsError:
    """The error for a Terraform command that ended badly, from its JSON stream or its error output."""
    scrub = secrets or Secrets.of(())
    if ended.stopped:
        return InterruptedRunError(
            f"{stack}: terraform {command} was stopped on request",
            code="run.interrupted",
            hint=f"Terraform ended gently and wrote its state; run again: tfops sync {stack}",
            stack=stack,
        )
    if ended.code < 0:
        return FailedError(
            f"{stack}: terraform {command} was killed by signal {-ended.code}",
            code="terraform.killed",
            hint=f"look for what kills it (out of memory?); then: tfops recover {stack}"
            if command == "apply"
            else "look for what kills it (out of memory?); then run again",
            stack=stack,
        )
    found = list(errors_in(terraform.stdout(name).read_bytes(), scrub))
    if any(_LOCK_SUMMARY in text and _NOT_HELD not in text for text in found):
        return LockedError(
            f"{stack}: Terraform's own state lock is held: {found[0]}",
            code="lock.state",
            hint="somebody runs Terraform on this state; wait for it, or see `terraform force-unlock`",
            stack=stack,
        )
    text = "; ".join(found) or _tail(terraform, name, scrub) or f"exit code {ended.code}"
    return FailedError(
        f"{stack}: terraform {command} failed: {text}",
        code=f"terraform.{command.split(' ', maxsplit=1)[0]}",
        hint="correct the code and push, or run again if the cause was outside",
        stack=stack,
    )


def init_failed(terraform: Terraform, stack: str, ended: Ended, secrets: Secrets) -> TfopsError:
    """The error for a failed `init`, which speaks text only."""
    error = failed("init", terraform, stack, ended, "init", secrets)
    if "lock file" in str(error):
        return FailedError(
            str(error),
            code="terraform.lock_file",
            hint="commit .terraform.lock.hcl: run `terraform init` (or `terraform providers lock`) in the root module",
            stack=stack,
        )
    return error


def errors_in(stream: bytes, secrets: Secrets) -> Iterator[str]:
    """Each error diagnostic of a JSON stream as one line: summary, detail, address, file and line."""
    for event in events(stream):
        if event.get("type") != "diagnostic":
            continue
        diagnostic = redact_diagnostic(dict(event), secrets)
        if diagnostic.severity != "error":
            continue
        place = f" ({diagnostic.file}:{diagnostic.line})" if diagnostic.file else ""
        detail = f": {' '.join(diagnostic.detail.split())}" if diagnostic.detail else ""
        address = f"{diagnostic.address}: " if diagnostic.address else ""
        yield f"{address}{diagnostic.summary}{detail}{place}"[:TEXT_LIMIT]


def events(stream: bytes) -> Iterator[Mapping[str, object]]:
    """The JSON objects of a stream; half-written and foreign lines are left out."""
    for line in stream.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _tail(terraform: Terraform, name: str, secrets: Secrets) -> str:
    text = terraform.stderr(name).read_text(errors="replace") or terraform.stdout(name).read_text(errors="replace")
    words = " ".join(text.replace("│", " ").replace("╷", " ").replace("╵", " ").split())
    return secrets.scrub(words)[-TEXT_LIMIT:]
