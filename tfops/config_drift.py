"""The parts of tfops.hcl that speak about drift: the `drift` block of an environment, and who is told."""

import contextlib
import re
from dataclasses import dataclass
from datetime import date

from tfops import checks
from tfops.drift_rules import REMEDIABLE, DriftRules, IgnoreRule
from tfops.schema import Field, Section, suggestion

SHORTEST_INTERVAL_SECONDS = 60.0
_IGNORE_KEYS = ("type", "address", "attribute", "reason", "owner", "expires")
_WEBHOOK = re.compile(r"(?P<scheme>https?)://(?P<host>[^/@:?#\[\]\s]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?([/?][^#\s]*)?")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Whom to tell: a webhook with its secret, or what apprise knows. Secrets are named, never written."""

    name: str
    url: str | None = None
    secret_env: str | None = None
    apprise_env: str | None = None


def drift_rules(environment: Section) -> DriftRules | None:
    """The `drift` block of an environment; None where there is none."""
    section = environment.one("drift")
    if section is None:
        return None
    section.check_names(attributes=("every", "remediate"), blocks=("ignore",))
    return DriftRules(
        every_seconds=section.get("every", _interval, None),
        remediate=section.get("remediate", checks.many(_remediable), ()),
        ignore=tuple(_ignore(name, block) for name, block in section.named("ignore")),
    )


def notifications(top: Section) -> tuple[Notification, ...]:
    """The `notify` blocks."""
    return tuple(_notification(name, section) for name, section in top.named("notify"))


def _interval(found: Field) -> float | None:
    seconds = checks.duration_seconds(found)
    if seconds is not None and seconds < SHORTEST_INTERVAL_SECONDS:
        found.refuse("invalid_value", "is shorter than a minute", "providers throttle: 1h is a good beginning")
        return None
    return seconds


def _remediable(found: Field) -> str | None:
    word = checks.text(found)
    if word is not None and word not in REMEDIABLE:
        found.refuse("invalid_value", f'cannot name "{word}"', suggestion(word, REMEDIABLE))
        return None
    return word


def _ignore(name: str, section: Section) -> IgnoreRule:
    section.check_names(attributes=_IGNORE_KEYS)
    rule = IgnoreRule(
        name=name,
        reason=section.require("reason", checks.text, ""),
        owner=section.require("owner", checks.text, ""),
        expires=section.require("expires", _day, date.max),
        type=section.get("type", checks.text, None),
        address=section.get("address", checks.text, None),
        attribute=section.get("attribute", checks.text, None),
    )
    if rule.type is rule.address is rule.attribute is None:
        section.refuse("missing_key", "says nothing of what it ignores", "give type, address or attribute")
    return rule


def _day(found: Field) -> date | None:
    written = checks.text(found)
    if written is None:
        return None
    with contextlib.suppress(ValueError):
        if _DAY.fullmatch(written):
            return date.fromisoformat(written)
    found.refuse("invalid_value", f'"{written}" is no day', 'write it like "2027-01-31"')
    return None


def _notification(name: str, section: Section) -> Notification:
    section.check_names(attributes=("url", "secret_env", "apprise_env"))
    notification = Notification(
        name=name,
        url=section.get("url", _webhook, None),
        secret_env=section.get("secret_env", checks.variable_name, None),
        apprise_env=section.get("apprise_env", checks.variable_name, None),
    )
    named = {attribute.name for attribute in section.body.attributes}
    if ("url" in named) == ("apprise_env" in named):
        section.refuse("missing_key", "needs either url or apprise_env", "a webhook has url and secret_env")
    if ("url" in named) != ("secret_env" in named):
        hint = "name the variable that holds the secret by which the receiver knows us"
        section.refuse("missing_key", "needs url and secret_env together", hint)
    return notification


def _webhook(found: Field) -> str | None:
    address = checks.text(found)
    if address is None:
        return None
    # What is wrong is not repeated: the address of a webhook may itself be a secret.
    match = _WEBHOOK.fullmatch(address)
    if match is None:
        hint = 'write it like "https://hooks.example.org/tfops", without user and password'
        found.refuse("invalid_value", "is no address of a webhook", hint)
        return None
    if match["scheme"] == "http" and match["host"] not in _LOOPBACK:
        found.refuse("invalid_value", "goes over the network in clear", "use https://")
        return None
    return address
