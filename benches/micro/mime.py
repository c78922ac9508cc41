"""``mime``: composing 10 kB of text and HTML, beside ``EmailMessage.as_bytes``."""

from benches.micro._compose import run


def main(arguments: list[str]) -> int:
    """Run it."""
    return run("mime", files=0)
