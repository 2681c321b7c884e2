"""The command ``acdc-medsam``. Each public module of this room is one of its commands, named ``command`` in the module.

The name of a command has ``-`` for each ``_`` of its module's name. A module is imported when its command is used, or
its help is asked for. Therefore modules import what takes long, such as NumPy, only in the function of the command.
"""

import importlib
import pkgutil
from collections.abc import Sequence

import click

from acdc_medsam import __version__
from acdc_medsam.errors import AcdcError, describe_os_error

NAME = "acdc-medsam"


class CommandRoom(click.Group):
    """Finds commands by the names of the modules in this room, and shows errors without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        names = (module.name for module in pkgutil.iter_modules(__path__))
        return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; of an error that the user can mend, only the message is shown."""
        try:
            return super().invoke(ctx)
        except AcdcError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:  # the reader of the output, such as `head`, has seen enough; click ends quietly
            raise
        except OSError as error:
            raise click.ClickException(describe_os_error(error)) from error


@click.group(
    cls=CommandRoom,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `acdc-medsam demo`; for your own data, `acdc-medsam init` and then `acdc-medsam run`.",
)
@click.version_option(__version__, prog_name=NAME)
def commands() -> None:
    """From raw ACDC cardiac MRI to a verified dataset for fine-tuning MedSAM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the command line names.

    Args:
        arguments: Arguments of the command line; those of this process by default.

    Returns:
        The exit status: 0 for success, 1 for an error, 2 for a mistake in the arguments.
    """
    try:
        commands(arguments, prog_name=NAME)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
