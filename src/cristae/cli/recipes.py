"""Verbs for recipes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from cristae.cli.options import Json, Signed, VoxelSize, print_json

app = typer.Typer(help="Recipes: start, check, show and compare them.", no_args_is_help=True, rich_markup_mode=None)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field, such as training.epochs=5; may be repeated."),
]


@app.command()
def new(
    out: Annotated[Path, typer.Option("--out", metavar="RECIPE", help="The recipe file to write.")] = Path(
        "recipe.yaml"
    ),
    image: Annotated[
        str | None, typer.Option("--image", metavar="PATH", help="The image: file, slice folder or glob.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="PATH", help="Its labels: file, slice folder or glob.")
    ] = None,
    masks: Annotated[
        list[str] | None,
        typer.Option(
            "--mask", metavar="CLASS=PATH", help="The mask of one class, in place of --labels; repeat for each class."
        ),
    ] = None,
    signed: Signed = None,
    label_slices: Annotated[
        str | None,
        typer.Option("--label-slices", metavar="0,10,20", help="The image slice of each label slice, from 0."),
    ] = None,
    voxel_size_nm: VoxelSize = None,
    working_voxel_size_nm: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            "--working-voxel-size-nm", metavar="Z Y X", help="Voxel size in nm that volumes are resampled to; coarser."
        ),
    ] = None,
    set_name: Annotated[
        str | None, typer.Option("--set-name", metavar="NAME", help="A public data set instead of files.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="Which labelling of the set, where it has several.")
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan", metavar="PLAN", help="Also write a plan here: `cristae benchmark` compares networks with it."
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", help="How long the training may take on this machine, validation included.")
    ] = 30.0,
    max_ram: Annotated[
        str | None,
        typer.Option(
            "--max-ram",
            metavar="SIZE",
            help="Ceiling for the memory of the training, such as 8GiB; by default half of what is free.",
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="Take a few steps of the training (seconds), so that it has the right length for this machine.",
        ),
    ] = True,
) -> None:
    """Propose a commented recipe. It suits a volume and its labels, or a public data set, this machine and the time."""
    from cristae.cli.progress import console_progress
    from cristae.recipe.proposal.options import ProposalOptions
    from cristae.workflows.new_recipe import new_recipe

    options = ProposalOptions(
        minutes=minutes,
        max_ram=max_ram,
        measure=measure,
        masks=_masks(masks or ()),
        voxel_size_nm=voxel_size_nm,
        working_voxel_size_nm=working_voxel_size_nm,
        task=task,
    )
    print(
        new_recipe(
            out,
            image=image,
            labels=labels,
            signed=signed,
            label_slices=None if label_slices is None else _numbers(label_slices),
            set_name=set_name,
            plan=plan,
            options=options,
            progress=console_progress(),
        )
    )


class TakesFolds(TyperCommand):
    """Explains `--folds 5`, which would otherwise be taken for two recipes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse a number after `--folds`."""
        for flag, number in pairwise(args):
            if flag == "--folds" and number.isdecimal() and not Path(number).exists():
                raise typer.BadParameter(
                    f"--folds takes no number; write `--folds --set folds.count={number}`, or "
                    f"`folds: {{count: {number}}}` in the recipe"
                )
        return super().parse_args(ctx, args)


Folds = Annotated[
    bool,
    typer.Option("--folds", help="Cross-validate, with the recipe's folds or, where it has none, the usual ones."),
]


def overrides_of(path: Path, changes: Sequence[str], *, folds: bool) -> list[str]:
    """The changes to a recipe, with the usual folds where they are asked for and it has none.

    Raises:
        RecipeError: The recipe or a change is not valid.
    """
    from cristae.recipe.load import load_recipe

    read = load_recipe(path, changes)
    return [*changes, "folds={}"] if folds and read.folds is None else [*changes]


@app.command(cls=TakesFolds)
def check(path: RecipePath, folds: Folds = False, changes: Set = None) -> None:
    """Do all that training does before its first step. Of large data a part is read.

    Data that a recipe says how to get need not be there yet: then the form alone is checked.
    """
    overrides = overrides_of(path, changes or (), folds=folds)  # before the rooms of training are imported
    from cristae.cli.progress import console_progress
    from cristae.workflows.recipes import check_recipe, missing_data

    if missing_data(check_recipe(path, overrides, progress=console_progress())) is None:
        print("ok")


@app.command()
def show(
    path: RecipePath,
    changes: Set = None,
    comments: Annotated[bool, typer.Option("--comments", help="Put each field's help above it.")] = False,
    brief: Annotated[bool, typer.Option("--brief", help="Leave out fields that have their default.")] = False,
) -> None:
    """Print a recipe with every default written out."""
    from cristae.recipe.load import load_recipe
    from cristae.recipe.text import recipe_to_yaml

    print(recipe_to_yaml(load_recipe(path, changes or ()), defaults=not brief, comments=comments), end="")


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A recipe file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    as_json: Json = False,
) -> None:
    """Print the fields in which two recipes differ, defaults included."""
    from cristae.recipe.load import load_recipe
    from cristae.recipe.text import diff_recipes

    differences = diff_recipes(load_recipe(a), load_recipe(b))
    if as_json:
        print_json([{"path": one.path, "a": one.a, "b": one.b} for one in differences])
        return
    for one in differences:
        print(one)


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes. Editors complete and check YAML with it."""
    from cristae.recipe.text import recipe_schema

    print_json(recipe_schema())


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not a list of whole numbers such as 0,10,20") from None


def _masks(texts: Sequence[str]) -> dict[str, str]:
    """Masks by the name of their class."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in found:
            raise typer.BadParameter(f"'{text}': give a class and its file as CLASS=PATH, each class once")
        found[name] = path
    return found
