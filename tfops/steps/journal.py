"""The journal of an apply: Terraform's events, redacted, in the store while they happen."""

import json

from tfops.concealment import Secrets
from tfops.errors import FailedError
from tfops.event_redaction import redact_event
from tfops.steps.opening import Session


class Journal:
    """Writes Terraform's events to the store, redacted, while they happen, and says what a person wants to hear.

    A store that is out of reach for a while does not harm the apply: the events wait here.
    """

    def __init__(self, session: Session, stack: str, plan_id: str, secrets: Secrets) -> None:
        self._session = session
        self._stack = stack
        self._plan_id = plan_id
        self._secrets = secrets
        self._held: list[bytes] = []
        self._written: list[bytes] = []
        self._is_silent = False

    @property
    def data(self) -> bytes:
        """The whole journal so far."""
        return b"".join([*self._written, *self._held])

    def flush(self) -> None:
        """Bring what is held back to the store."""
        try:
            self.finish()
        except FailedError as error:
            if error.problems[0].code not in ("store.unreachable", "lock.lost"):
                raise
            if not self._is_silent:
                self._session.say(self._stack, "the store is out of reach: the apply goes on, its journal waits here")
            self._is_silent = True

    def finish(self) -> None:
        """Bring what is held back to the store; raises where that cannot be done."""
        if self._held:
            self._session.store.journal(self._stack, self._plan_id, b"".join(self._held))
            self._written += self._held
            self._held = []
            self._is_silent = False

    def write(self, line: bytes) -> None:
        """Take one line of Terraform's output."""
        try:
            event = json.loads(line)
        except ValueError:
            return  # not an event: Terraform's own words on a crash, kept nowhere for they may hold anything
        if not isinstance(event, dict):
            return
        redacted = redact_event(event, self._secrets)
        self._held.append(json.dumps(redacted).encode() + b"\n")
        if event.get("type") in ("apply_progress", "apply_complete", "apply_errored", "provision_progress"):
            self._session.say(self._stack, str(redacted.get("@message", "")))
