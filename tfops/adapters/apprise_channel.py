"""Telling people through apprise: chat, mail, pagers. An optional package; its URLs are secrets as a whole."""

import logging

from tfops.notification import Delivery


def notify(urls: str, title: str, text: str) -> Delivery:
    """Send plain text to all of `urls`, written as apprise reads them. Never raises, and never prints one of them."""
    try:
        from apprise import Apprise, NotifyFormat, OverflowMode
    except ImportError:
        return Delivery(ok=False, detail="apprise is not installed: pip install 'tfops-cli[notify]'")
    logging.getLogger("apprise").disabled = True  # its messages name URLs with the secrets in them
    try:
        services = Apprise()
        understood = services.add(urls)
        for service in services:
            service.overflow_mode = OverflowMode.TRUNCATE  # some services refuse what is too long
        sent = bool(services) and bool(services.notify(body=text, title=title, body_format=NotifyFormat.TEXT))
    except Exception as error:  # 180 plugins; an alarm that fails must not fail the run
        return Delivery(ok=False, detail=f"apprise failed ({type(error).__name__})")
    if not understood:
        return Delivery(ok=False, detail="apprise does not understand all of its URLs")
    return Delivery(ok=sent, detail="sent by apprise" if sent else "apprise could not send to all of its URLs")
