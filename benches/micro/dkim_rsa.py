"""``dkim-rsa``: signing a message of 10 kB, beside dkimpy's whole operation."""

from benches.micro._sign import run


def main(arguments: list[str]) -> int:
    """Run it."""
    return run("dkim-rsa", "rsa")
