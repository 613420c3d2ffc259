"""The page of a run, made from the files of its folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pydantic import ValidationError

from cristae.config import problem_of
from cristae.data.classes import Classes
from cristae.data.image import voxel_size_text
from cristae.errors import RunError
from cristae.metrics.score import Score, read_scores
from cristae.recipe.document import read_document
from cristae.recipe.folder import RECIPE, SUMMARY, read_epochs, read_facts, read_summary, require_run
from cristae.report.facts import rows_of, shape
from cristae.report.figures import learning_curves
from cristae.report.page import Fact, Section, build_page, fold, table
from cristae.report.panels import choose_slices, slices_markup
from cristae.report.preview import Preview, read_previews
from cristae.report.scores import format_value, headline_fact, scores_markup
from cristae.training.validation_config import CRITERION_NAMES
from cristae.words import duration, memory


@dataclass(frozen=True, eq=False)
class RunFiles:
    """What a run folder holds that a page can show; what is missing is empty."""

    name: str
    recipe_text: str
    recipe: Mapping[str, Any]
    summary: Mapping[str, Any]
    provenance: Mapping[str, Any]
    epochs: Sequence[Mapping[str, str]]
    scores: Sequence[Score]
    classes: Classes | None
    previews: Sequence[Preview]


def read_run(folder: Path) -> RunFiles:
    """Read what there is.

    Raises:
        RunError: The folder is not a run, or a file of it is damaged.
        ScoreError: Its table of scores is damaged.
    """
    require_run(folder)
    path = folder / RECIPE
    text = path.read_text(encoding="utf-8")
    recipe = read_document(text, str(path)).value
    if not isinstance(recipe, dict):
        raise RunError(f"{path}: is not a recipe")
    summary = read_summary(folder) if (folder / SUMMARY).is_file() else {}
    provenance = folder / "provenance.json"
    classes, previews = read_previews(folder / "preview")
    scores = folder / "scores.csv"
    return RunFiles(
        name=str(recipe.get("name", folder.name)),
        recipe_text=text,
        recipe=recipe,
        summary=summary,
        provenance=read_facts(provenance) if provenance.is_file() else {},
        epochs=read_epochs(folder),
        scores=read_scores(scores) if scores.is_file() else (),
        classes=classes or _classes_of(summary, recipe),
        previews=previews,
    )


def run_page(files: RunFiles) -> str:
    """The page: scores, curves, slices, data, settings, provenance."""
    colors = {} if files.classes is None else {name: files.classes.color_of(name) for name in files.classes.names}
    sections = []
    if files.scores:
        sections.append(Section("Scores on the validation slices", scores_markup(files.scores, colors)))
    if files.epochs:
        foreground = {} if files.classes is None else {name: colors[name] for name in files.classes.foreground}
        best = files.summary.get("best_epoch")
        curves = learning_curves(files.epochs, foreground, None if best is None else int(best))
        sections.append(Section("Learning", curves + _criteria(files)))
    if files.summary.get("moved"):
        sections.append(Section("What moved", _moved(files.summary["moved"])))
    if files.summary.get("postprocess"):
        sections.append(Section("Post-processing", _chosen_values(files.summary["postprocess"])))
    if files.previews and files.classes is not None:
        chosen = choose_slices(files.previews)
        sections.append(Section("Slices", _slices_lead(files, len(chosen)) + slices_markup(chosen, files.classes)))
    sections.append(Section("Data", _data(files)))
    sections.append(Section("Settings", _settings(files)))
    return build_page(files.name, sections, lead=str(files.recipe.get("description") or ""), facts=_facts(files))


def _criteria(files: RunFiles) -> Markup:
    """How epochs were judged where that is not the rule, and the weights that further criteria prefer."""
    parts, validation = [], files.summary.get("validation") or {}
    if validation.get("name") == "patches":
        augmented = "augmented " if validation.get("augment") else ""
        parts.append(
            Markup(
                "<p>Epochs were judged on {} batches of {}patches sampled from the validation regions, which is noisy; "
                "only the scores of the run are of whole slices.</p>"
            ).format(validation.get("batches"), augmented)
        )
    kept = files.summary.get("kept") or {}
    if len(kept) > 1:
        rows = [
            {
                "Criterion": CRITERION_NAMES.get(name, name),
                "Best": format_value(float("nan") if one.get("value") is None else one["value"]),
                "Epoch": str(one.get("epoch", "")),
                "Weights": str(one.get("weights", "")),
            }
            for name, one in kept.items()
        ]
        caption = f"Weights kept, by criterion; the scores of the run are of {rows[0]['Weights']}"
        parts.append(table(rows, caption=caption))
    return Markup("").join(parts)


def _moved(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """How far each stage of the network is from where it started."""
    shown = [
        {
            "Stage": str(row.get("stage", "")),
            "Parameters": f"{row.get('parameters', 0):,}",
            "Change": "–" if row.get("relative_change") is None else f"{100 * row['relative_change']:.2f} %",
        }
        for row in rows
    ]
    caption = "Distance of the kept weights from those of the start, relative to the size of the latter; 0 is frozen."
    return table(shown, numbers=["Parameters", "Change"], caption=caption)


def _chosen_values(facts: Mapping[str, Any]) -> Markup:
    """What was `auto` in the post-processing, what was chosen, and what it is worth."""
    rows = []
    for one in facts.get("tried", ()):
        scores = {row.get("value"): row.get("val_miou", row.get("val_pq")) for row in one.get("scores", ())}
        chosen = one.get("chosen")
        before, after = (scores.get(value) for value in (None, chosen))
        rows.append(
            {
                "Step": str(one.get("name", "")),
                "Value": str(one.get("field", "")),
                "Chosen": _chosen(one),
                "Score without it": "–" if before is None else f"{before:.4f}",
                "Score with it": "–" if after is None else f"{after:.4f}",
            }
        )
    caption = (
        "Values that were chosen on the validation regions by the mean IoU, or, of steps that number objects, by their "
        "panoptic quality; all other scores of this page are those of raw labels."
    )
    return table(rows, numbers=["Score without it", "Score with it"], caption=caption)


def _chosen(tried: Mapping[str, Any]) -> str:
    """The value, or what stands for leaving all as it is."""
    if (value := tried.get("chosen")) is not None:
        return f"{value:g}"
    return "none: all seeds count" if str(tried.get("name", "")).startswith("split_") else "none: the step is left out"


def _facts(files: RunFiles) -> list[Fact]:
    summary, facts = files.summary, headline_fact(files.scores, "validation")
    if files.epochs:
        best = summary.get("best_epoch")
        note = "" if best is None else f"weights kept from epoch {int(best)}"
        facts.append(Fact("Epochs", str(len(files.epochs)), note))
    leaks = _leaks(files)
    if leaks:
        facts.append(Fact("Split", "leaky", "held-out voxels have trained neighbours, so their scores flatter"))
    skipped = summary.get("skipped_updates")
    if isinstance(skipped, int):
        facts.append(Fact("Skipped updates", str(skipped), "their loss or gradient was not finite"))
    stopped = summary.get("stopped")
    if isinstance(stopped, str):
        how, _, why = stopped.partition(": ")
        facts.append(Fact("Ended", how, why))
    seconds = summary.get("training_seconds")
    if isinstance(seconds, int | float):
        facts.append(Fact("Training time", duration(seconds), str(summary.get("device", ""))))
    application = summary.get("application")
    if isinstance(application, Mapping):
        facts.append(_application(application))
    peak = summary.get("peak_memory_bytes") or {}
    facts += [Fact(f"Peak memory, {place}", memory(size)) for place, size in peak.items()]
    written = str(files.provenance.get("written", ""))[:10]
    if written:
        facts.append(Fact("Finished", written))
    return facts


def _application(found: Mapping[str, Any]) -> Fact:
    """How runs of a 3D network are applied, and what was compared for that."""
    tried = (found.get("val_miou") or {}).items()
    scores = [f"{name} {format_value(float('nan') if value is None else value)}" for name, value in tried]
    untried = (found.get("untried") or {}).get("exact", "")
    note = f"validation mean IoU: {', '.join(scores)}" if scores else str(untried)
    return Fact("Applied", str(found.get("better")), note)


def _slices_lead(files: RunFiles, shown: int) -> Markup:
    text = (
        "{} of the {} validation slices kept as pictures, ordered by mean IoU of the foreground. Contrast is stretched."
    )
    return Markup("<p>{}</p>").format(text.format(shown, len(files.previews)))


def _leaks(files: RunFiles) -> list[str]:
    """Why scores on what is held out flatter, where they do."""
    found = files.summary.get("leaky_split")
    return [str(text) for text in found] if isinstance(found, list) else []


def _data(files: RunFiles) -> Markup:
    data = files.recipe.get("data") or {}
    parts = [Markup("<p>{}</p>").format(text) for text in _leaks(files)]
    volumes = [_volume_row(volume) for volume in data.get("volumes") or []]
    if data.get("set"):
        parts.append(Markup("<p>Public data set: {}</p>").format(data["set"]))
    if volumes:
        parts.append(table(volumes, caption="Volumes"))
    regions = [
        {"Used for": use, "Volume": region.get("volume", ""), "Where": _where(region)}
        for use in ("train", "validate", "test")
        for region in data.get(use) or []
    ]
    if regions:
        parts.append(table(regions, caption="Regions"))
    measured = files.summary.get("data") or []
    if measured:
        parts.append(table([_measured_row(row) for row in measured], caption="As read"))
    model = files.summary.get("model") or {}
    if model:
        parts.append(
            Markup("<p>Voxel size the network works at: {}</p>").format(voxel_size_text(model.get("voxel_size_nm")))
        )
    return Markup("").join(parts) or Markup("<p>The recipe names no data.</p>")


def _volume_row(volume: Mapping[str, Any]) -> dict[str, str]:
    labels = volume.get("labels") or {}
    where = labels.get("path") or ", ".join(str(mask.get("path", "")) for mask in (labels.get("masks") or {}).values())
    size = volume.get("voxel_size_nm")
    return {
        "Name": str(volume.get("name", "")),
        "Image": str(volume.get("image", "")),
        "Labels": str(where),
        "Voxel size": voxel_size_text(size) if size else "from the file",
    }


def _measured_row(row: Mapping[str, Any]) -> dict[str, str]:
    shares = row.get("class_shares") or {}
    return {
        "Used for": str(row.get("use", "")),
        "Volume": str(row.get("volume", "")),
        "Box (z, y, x)": str(row.get("box", "")),
        "Voxels": shape(row["shape"]) if row.get("shape") else "",
        "Voxel size": voxel_size_text(row.get("voxel_size_nm")),
        "Class fractions": ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items()),
    }


def _where(region: Mapping[str, Any]) -> str:
    for key in ("slices", "box", "images"):
        value = region.get(key)
        if value is not None:
            return f"{key} " + (", ".join(map(str, value)) if isinstance(value, list) else str(value))
    return "everything"


def _settings(files: RunFiles) -> Markup:
    parts = [fold("Complete recipe", Markup("<pre>{}</pre>").format(files.recipe_text))]
    summary = {key: value for key, value in files.summary.items() if key != "data"}
    if summary:
        parts.append(fold("Summary: time, memory, model", table(rows_of(summary))))
    if files.provenance:
        parts.append(fold("Versions, machine and inputs", table(rows_of(files.provenance))))
    return Markup("").join(parts)


def _classes_of(summary: Mapping[str, Any], recipe: Mapping[str, Any]) -> Classes | None:
    content = (summary.get("model") or {}).get("classes") or (recipe.get("data") or {}).get("classes")
    try:
        return None if content is None else Classes.model_validate(content)
    except ValidationError as error:
        raise RunError(f"the classes of the run are damaged: {problem_of(error, 'classes')}") from None
