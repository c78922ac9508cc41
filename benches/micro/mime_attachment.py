"""``mime-attachment``: the same with a file of 50 kB, beside ``EmailMessage.as_bytes``."""

from benches.micro._compose import run


def main(arguments: list[str]) -> int:
    """Run it."""
    return run("mime-attachment", files=1)
