"""Commands that pass their arguments on to Snakemake."""

import click


class PassOn(click.Command):
    """A command whose only option is ``--help``: everything else is Snakemake's, ``--`` included."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take all arguments as they are."""
        if {"-h", "--help"} & {*args}:
            click.echo(ctx.get_help())
            ctx.exit()
        ctx.params["arguments"] = tuple(args)
        return []

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return what the first line of the help says of the arguments."""
        return ["[TARGET]... [SNAKEMAKE OPTIONS]"]
