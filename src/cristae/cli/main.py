"""The command `cristae`: one thin verb for each public function.

Exit codes: 0 done, 2 the input is wrong (a message, no traceback), 1 anything else, 130 interrupted. Data goes to
stdout, progress and messages to stderr. Heavy libraries are imported inside the verbs, so that `--help` is quick.
"""

from __future__ import annotations

import errno
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cristae.cli import (
    agreement,
    alignment,
    analysis,
    benchmarks,
    comparison,
    datasets,
    doctor,
    ensembles,
    estimates,
    features,
    models,
    postprocessing,
    recipes,
    runs,
    scores,
    volumes,
)
from cristae.cli.interrupted import was_interrupted
from cristae.cli.options import say, say_error
from cristae.errors import CristaeError

_MACHINE_TROUBLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENOMEM}
)
"""What the machine refuses and no change of Cristae would cure."""


class Verbs(TyperGroup):
    """Turns what goes wrong inside a verb into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except CristaeError as error:
            say_error(error)
            raise typer.Exit(error.exit_code) from None
        except MemoryError:
            say("out of memory; close other programs, or use smaller patches, batches or --max-ram", style="red")
            raise typer.Exit(1) from None
        except OSError as error:
            if error.errno not in _MACHINE_TROUBLE:
                raise
            say(f"{error.filename or 'the system'}: {error.strerror}", style="red")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            say(f"interrupted; {_after_a_stop(ctx.invoked_subcommand)}")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Verbs,
    name="cristae",
    help="From electron-microscopy volumes to maps of cellular structure that you can defend.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"cristae {version('cristae')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command()(runs.demo)
app.command()(volumes.inspect)
app.command()(volumes.convert)
app.command()(alignment.align)
app.add_typer(datasets.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipe")
app.command()(doctor.doctor)
app.command(cls=recipes.TakesFolds)(runs.train)
app.command()(runs.predict)
app.command()(ensembles.ensemble)
app.command()(postprocessing.postprocess)
app.command()(scores.evaluate)
app.command()(agreement.agree)
app.command()(comparison.compare)
app.command()(analysis.analyze)
app.command()(estimates.estimate)
app.command()(benchmarks.benchmark)
app.command()(features.correlate)
app.command()(scores.report)


def run() -> None:
    """The command; `command.run` is its entry point."""
    _silence_libraries()
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if was_interrupted(error):
            raise
        import traceback

        traceback.print_exc()
        say("this is a bug in Cristae; please report it with the lines above and the command", style="red")
        sys.exit(1)


def _silence_libraries() -> None:
    """Logs and warnings of libraries do not reach the user, unless PYTHONWARNINGS or `python -W` asks for them."""
    import logging
    import os
    import warnings

    logging.getLogger().addHandler(logging.NullHandler())
    if not sys.warnoptions:
        os.environ["PYTHONWARNINGS"] = "ignore"  # for the processes that a verb starts
        warnings.simplefilter("ignore")


def _after_a_stop(verb: str | None) -> str:
    """What the same command does when it is given again."""
    if verb in ("train", "benchmark"):
        return "the same command with --resume resumes it"
    if verb == "evaluate":
        return "with --out, the same command resumes it"
    resumes = verb in ("demo", "predict", "postprocess", "data", "ensemble")
    return "the same command resumes it" if resumes else "the same command starts over"
