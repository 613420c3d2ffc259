"""The group attribute `cristae` of a prediction: what it was made from, and whether a repeated call may continue it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from cristae.data.address import Address, Place
from cristae.data.files import require_new
from cristae.errors import FormatError, OutputExistsError, VolumeError
from cristae.inference.fusion import Average
from cristae.inference.prediction import preview_text, read_state
from cristae.inference.request import PredictionRequest, Provenance
from cristae.inference.runtimes.installed import package_of

_SHOWN = 8
"""Differences that a message lists."""
_ADDED_SETTINGS = {
    "fusion": Average().model_dump(mode="json"),
    "disagreement": False,
    "skip_empty": None,
    "bridges": [],
    "runtime": "torch",
}
"""Settings that older predictions do not list, with the values that they were made with."""


def manifest_of(request: PredictionRequest) -> dict[str, Any]:
    """What a new prediction says about its origin."""
    plan = {**request.plan.to_dict(), "backend": request.backend}
    runtime = package_of(request.provenance.settings.runtime)
    versions = {name: metadata.version(name) for name in ("cristae", "torch", runtime, "numpy", "tensorstore")}
    sections = {} if request.sections is None else {"sections": request.sections.to_dict()}
    facts = request.provenance.facts()
    preview = {"preview": text} if (text := preview_text(facts)) else {}
    return {**facts, **preview, **sections, "plan": plan, "versions": versions}


def find_begun(out: Place) -> dict[str, Any] | None:
    """The manifest of a prediction at `out`, finished or not; None when the place is free.

    Raises:
        OutputExistsError: Something else is there.
        FormatError: The manifest is damaged.
        VolumeError: The place is free and its name does not end in .zarr.
    """
    if isinstance(out, Address):
        out.require_store()
    try:
        begun = read_state(out)
    except FormatError:
        require_new(out, what="the prediction")
        raise
    if begun is None and out.suffix.lower() != ".zarr":
        raise VolumeError(
            f"{out}: a prediction is an OME-Zarr; name it {out.stem}.zarr, and make another format of "
            "its labels with `cristae convert`"
        )
    return begun


def is_complete(begun: Mapping[str, Any] | None) -> bool:
    """Whether a prediction is finished."""
    return begun is not None and begun["status"] == "complete"


def require_same(out: Place, begun: Mapping[str, Any], provenance: Provenance) -> None:
    """Make sure that a prediction was begun from the same input, runs and settings.

    Raises:
        OutputExistsError: It was not; lists what differs.
    """
    before, now = _decisive(begun), _decisive(provenance.facts())
    for old, new in zip(before["runs"], now["runs"], strict=False):
        if "normalize" not in old:  # earlier versions list the normaliser alone, which follows from it
            new.pop("normalize", None)
    changed = [line for part in before for line in _differences(part, before[part], now[part])]
    if not changed:
        return
    lines = "\n".join(f"  {line}" for line in changed[:_SHOWN])
    what, first = "an unfinished", "repeat the command that began it, "
    if is_complete(begun):
        what, first = "a finished", ""
    raise OutputExistsError(
        f"{out}: holds {what} prediction of something else; {first}choose another place, or remove it. "
        f"What differs:\n{lines}"
    )


def _decisive(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that decide the voxels: not the ids of runs, whose weights are compared, nor texts. What people state
    comes first, then what follows from it."""
    runs = [
        {key: _without(value, "reason") if key == "locality" else value for key, value in run.items() if key != "run"}
        for run in facts["runs"]
    ]
    return {"input": {"level": 0} | facts["input"], "settings": _ADDED_SETTINGS | facts["settings"], "runs": runs}


def _without(facts: Any, key: str) -> Any:
    return {name: value for name, value in facts.items() if name != key} if isinstance(facts, Mapping) else facts


def _differences(path: str, before: Any, now: Any) -> list[str]:
    """Where two pieces of JSON differ, as `path.field.0: VALUE before, VALUE now`."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = list(dict.fromkeys((*before, *now)))
        return [line for key in keys for line in _differences(f"{path}.{key}", before.get(key), now.get(key))]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [line for place, pair in pairs for line in _differences(f"{path}.{place}", *pair)]
    return [] if before == now else [f"{path}: {_short(before)} before, {_short(now)} now"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
