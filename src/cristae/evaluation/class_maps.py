"""Probability maps of all classes in one file, one channel for each, as ilastik, nnU-Net and others export them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import open_channels, open_image
from cristae.data.formats.paths import split_options
from cristae.data.image import Image
from cristae.errors import ChannelError, CristaeError, ScoreError
from cristae.evaluation.blocks import blocks_of
from cristae.metrics.binary import binarize, probability_maps
from cristae.progress import Progress

_TOLERANCE = 0.02
"""How far probabilities of exclusive classes may be from 1 together; rounding to 8 bits comes on top for each."""


def class_maps_at(
    source: str | Path, classes: Classes, progress: Progress = Progress()
) -> tuple[tuple[Image, ...], tuple[Image, ...]] | None:
    """What a file with one channel for each class holds; None where a path names anything else.

    Channels whose names are those of the classes are taken by name, otherwise in the order of the classes. Exclusive
    classes have a channel each, or each but the background, which is the rest up to 1; a voxel belongs to the most
    probable class, of equally probable ones to the first. Overlapping classes are where their probability is greater
    than one half.

    Args:
        source: A path.
        classes: What a voxel can be.
        progress: Where to say which channel was taken for which class.

    Returns:
        Labels, as in `Segmentation.labels`, and the probability maps of the foreground classes.

    Raises:
        ChannelError: The number of channels is another one.
        ScoreError: Names of channels contradict the order of the classes, or values are no probabilities; later, when
            images are read, those of exclusive classes do not add up to 1.
    """
    try:
        open_image(source)
    except ChannelError as error:
        if split_options(source)[1].channel is not None:
            raise
        names = error.channels
    except CristaeError:
        return None  # it may be no path at all; if it is one, whoever opens it next says what is wrong
    else:
        return None
    wanted = _classes_of(source, names, classes)
    order = _order(source, names, wanted, progress)
    images = open_channels(source)
    maps = probability_maps([images[place] for place in order], blocks=blocks_of)
    if not classes.exclusive:
        return tuple(image.map(lambda voxels: binarize(voxels, 0.5), np.dtype(np.uint8)) for image in maps), maps
    first = replace(images[0], path=Path(source))
    ids = replace(first, format="labels", dtype=np.dtype(np.uint8), reader=_most_probable(first, maps, classes))
    return (ids,), maps[len(wanted) - len(classes.foreground) :]


def require_no_fractions(image: Image) -> None:
    """Do nothing for an image whose middle holds whole numbers, as labels do.

    Raises:
        ScoreError: It holds fractions.
    """
    if image.dtype.kind != "f":
        return
    blocks = blocks_of(image, voxels=1 << 20)
    voxels = image.read(blocks[len(blocks) // 2])
    fractions = voxels[voxels != np.rint(voxels)]
    if fractions.size:
        raise ScoreError(
            f"{image.path}: holds {float(fractions[0]):.4g}, which is no whole number, so these are no labels; for a "
            "probability map of one class give a threshold (--binarize 0.5)"
        )


def _classes_of(source: str | Path, names: Sequence[str], classes: Classes) -> tuple[str, ...]:
    """The classes that so many channels are of.

    Raises:
        ChannelError: It is another number.
    """
    for wanted in (classes.names, classes.foreground):
        if len(wanted) == len(names) and (classes.exclusive or wanted == classes.names):
            return wanted
    numbers = sorted({len(classes.names), len(classes.foreground)} if classes.exclusive else {len(classes.names)})
    raise ChannelError(
        f"{source}: has {len(names)} channels, but probability maps of the classes {', '.join(classes.names)} have "
        f"{' or '.join(map(str, numbers))}; name one channel by ::channel=0 to ::channel={len(names) - 1} after the "
        "path, or give the recipe that the maps were made for",
        tuple(names),
    )


def _order(source: str | Path, names: Sequence[str], wanted: Sequence[str], progress: Progress) -> list[int]:
    """The channel of each class.

    Raises:
        ScoreError: Some names are those of classes, but of others than the order gives them.
    """
    known, plain = [name.strip().lower() for name in names], [name.lower() for name in wanted]
    by_name = sorted(known) == sorted(plain) and len(set(plain)) == len(plain)
    if not by_name and any(name in plain and name != plain[place] for place, name in enumerate(known)):
        raise ScoreError(
            f"{source}: its channels are called {', '.join(names)}, the classes {', '.join(wanted)}: some names match, "
            "but at other places; give channels and classes the same names, or name one channel: ::channel=0"
        )
    how = "by their names" if by_name else "in the order of the classes"
    progress.say(f"{source}: its channels are read as probability maps {how}: {', '.join(wanted)}")
    return [known.index(name) for name in plain] if by_name else list(range(len(wanted)))


def _most_probable(first: Image, maps: Sequence[Image], classes: Classes) -> Callable[[Box], np.ndarray]:
    """Class ids; where there is no map of the background, it has what the others leave."""
    with_background = len(maps) < len(classes.names)
    full = 255 if maps[0].dtype == np.uint8 else 1
    most = full * _TOLERANCE + (len(maps) if full == 255 else 0)

    def read(box: Box) -> np.ndarray:
        found = [image.read(box) for image in maps]
        total = np.asarray(np.sum(found, axis=0, dtype=np.float32))
        wrong = total > full + most if with_background else np.abs(total - full) > most
        if wrong.any():
            z, y, x = (int(at[0]) + low for at, low in zip(np.nonzero(wrong), box.start, strict=True))
            raise ScoreError(
                f"{first.path}: slice {z}: the probabilities of voxel (y {y}, x {x}) add up to "
                f"{total[wrong][0] / full:.3g}, not 1, so the channels are no maps of exclusive classes; name one "
                "channel (::channel=0), or give classes that overlap"
            )
        if with_background:
            rest = np.clip(full - total, 0, full).astype(found[0].dtype)
            found.insert(0, rest)
        ids: np.ndarray = np.argmax(found, axis=0).astype(np.uint8)
        return ids

    return read
