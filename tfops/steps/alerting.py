"""Telling everybody who is named in tfops.hcl what changed: all channels at once, and none of them for too long."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

from tfops.adapters.apprise_channel import notify
from tfops.adapters.webhook import send
from tfops.notification import Delivery, Event, message

FAILURES_IN_A_ROW = 2


class Channel(Protocol):
    """A `notification` block: a webhook (`url`), or the variable with what apprise shall call (`apprise_env`)."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def url(self) -> str | None:
        """Where a webhook listens."""
        ...

    @property
    def secret_env(self) -> str | None:
        """The variable with the webhook's secret."""
        ...

    @property
    def apprise_env(self) -> str | None:
        """The variable with apprise's URLs."""
        ...


def deliver(
    channels: Iterable[Channel],
    events: Sequence[Event],
    *,
    environ: Mapping[str, str],
    source: str,
    deadline_seconds: float = 60.0,
) -> list[Delivery]:
    """Tell all channels at once: one delivery for each, in their order; none where there is nothing to tell.

    A webhook gets every event by itself, people get one message. Never raises, and returns by the deadline.
    `source` is the URI of the store that knows the stacks.
    """
    if not events:
        return []
    deadline = time.monotonic() + deadline_seconds
    begun = [
        (channel.name, _begin(_teller(channel, events, environ=environ, source=source, deadline=deadline)))
        for channel in channels
    ]
    return [replace(_outcome(future, deadline), channel=name) for name, future in begun]


def _teller(
    channel: Channel, events: Sequence[Event], *, environ: Mapping[str, str], source: str, deadline: float
) -> Callable[[], Delivery]:
    """What tells one channel."""
    variable = channel.secret_env if channel.url else channel.apprise_env
    value = environ.get(variable or "", "").strip()
    if variable and not value:
        return lambda: Delivery(ok=False, detail=f"{variable} is not set: set it where tfops runs")
    if channel.url is None:
        return lambda: notify(value, *message(events))
    url, secret = channel.url, value or None
    return lambda: _post_all(lambda event: send(url, secret, event, source=source), events, deadline)


def _post_all(post: Callable[[Event], Delivery], events: Sequence[Event], deadline: float) -> Delivery:
    """Each event by itself; not all of them where the receiver does not answer any more."""
    failures: list[Delivery] = []
    told = in_a_row = 0
    last = Delivery(ok=False, detail="nothing was told")
    for event in events:
        if in_a_row == FAILURES_IN_A_ROW or time.monotonic() >= deadline:
            break
        last = post(event)
        told, in_a_row = (told + 1, 0) if last.ok else (told, in_a_row + 1)
        failures += [] if last.ok else [last]
    if told == len(events):
        return last
    worst = failures[0].detail if failures else "there was no more time"
    return Delivery(ok=False, detail=f"{worst}; {told} of {len(events)} events told")


def _begin(tell: Callable[[], Delivery]) -> Future[Delivery]:
    """A thread that nobody has to wait for: not even the interpreter, when it ends."""
    future: Future[Delivery] = Future()

    def work() -> None:
        try:
            future.set_result(tell())
        except Exception as error:  # an alarm that fails never changes the verdict
            future.set_result(Delivery(ok=False, detail=f"it failed ({type(error).__name__}), which is a bug"))

    threading.Thread(target=work, daemon=True).start()
    return future


def _outcome(future: Future[Delivery], deadline: float) -> Delivery:
    try:
        return future.result(timeout=max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return Delivery(ok=False, detail="gave up: there was no answer in time")
