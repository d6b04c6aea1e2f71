"""Text from outside on a terminal: an attribute value, a file name or a message may be an attacker's."""


def neutral(text: str) -> str:
    """`text` on one line, with every character that is not plainly visible written as an escape."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def indented(text: str, indent: str = "  ") -> str:
    """`text` with its lines kept, each of them neutral; those after the first one stand further in."""
    return f"\n{indent}".join(map(neutral, text.split("\n")))


def on_one_line(text: str) -> str:
    """The same where there is room for one line only."""
    first, *rest = map(neutral, text.split("\n"))
    return f"{first} {' | '.join(line.strip() for line in rest)}" if rest else first


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
