"""The command tree's root: options every command has, and how errors end."""

import sys
from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.markup import escape

from postalynk import __version__
from postalynk.cli.render import emit_json, err
from postalynk.errors import PostalynkError
from postalynk.settings import Settings, load

app = App(
    name="postalynk",
    help="The email delivery engine that platform teams run.",
    version=__version__,
)
app.register_install_completion_command()


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    config: Annotated[str | None, Parameter(help="Settings file [POSTALYNK_CONFIG].")] = None
    json: Annotated[bool, Parameter(help="Answer with JSON.", negative="")] = False

    def settings(self) -> Settings:
        """The settings these options name."""
        return load(self.config)


COMMON = Common()


def run(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status. Errors go to stderr with the way to mend them.

    0: done; 1: refused, or the command's own bad news; 2: a command line nobody understands.
    """
    tokens = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(tokens, result_action="return_value", exit_on_error=False, print_error=True)
    except CycloptsError:
        return 2  # said already, with what would be right
    except PostalynkError as error:
        if "--json" in tokens:
            emit_json({"error": type(error).__name__, "message": error.message, "fix": error.fix})
        # Escaped: a message may name `to[1]` or a [section], which are no markup.
        err.print(f"[bold red]error:[/] {escape(error.message)}", soft_wrap=True)
        if error.fix:
            err.print(f"  [bold]fix:[/] {escape(error.fix)}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    return status if isinstance(status, int) else 0
