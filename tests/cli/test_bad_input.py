"""Wrong input through the command line: the exit code, one message that helps, and nothing written or changed."""

import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from cristae.cli.main import app

SIZE = (10, 61, 70)
VOXELS = ("--voxel-size-nm", "50", "10", "10")
RECIPE = """\
name: discs
data:
  classes: {names: [background, disc]}
  volumes:
    - name: stack
      image: image
      labels: {kind: values, path: labels, values: {0: background, 255: disc}}
      voxel_size_nm: [50, 10, 10]
  train: [{volume: stack, slices: 0:6}]
  validate: [{volume: stack, slices: 8:10}]
model: {name: unet_bn, widths: [4, 8]}
loss: {name: cross_entropy_dice}
sampling: {name: random, size: [32, 32], per_epoch: 8}
training: {epochs: 1, batch_size: 8}
device: cpu
"""

Make = Callable[[Path], object]


@dataclass(frozen=True)
class Row:
    """One wrong input."""

    id: str
    make: Make
    """Spoils a folder that holds image/, labels/, r.yaml, the trained run/ and its prediction pred.zarr/."""
    arguments: tuple[str, ...]
    words: tuple[str, ...]
    """What the message must say: where, what was found, what to do."""
    exit_code: int = 2


# How the files are made


def nothing(folder: Path) -> None:
    pass


def write(name: str, content: str | bytes) -> Make:
    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def edit(old: str, new: str, name: str = "r.yaml") -> Make:
    def make(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return make


def both(*makes: Make) -> Make:
    def make(folder: Path) -> None:
        for one in makes:
            one(folder)

    return make


def cut(name: str, share: float = 0.5) -> Make:
    def make(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return make


def flip(name: str) -> Make:
    def make(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 255
        (folder / name).write_bytes(content)

    return make


def remove(name: str) -> Make:
    def make(folder: Path) -> None:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()

    return make


def png(name: str, shape: tuple[int, ...] = SIZE[1:], value: int = 0) -> Make:
    return lambda folder: Image.fromarray(np.full(shape, value, np.uint8)).save(folder / name)


def tiff(name: str, shape: tuple[int, ...] = SIZE, value: float = 0.0, dtype: str = "uint8") -> Make:
    return lambda folder: tifffile.imwrite(folder / name, np.full(shape, value, dtype), photometric="minisblack")


def label_value(value: int) -> Make:
    def make(folder: Path) -> None:
        label = np.array(Image.open(folder / "labels/03.png"))
        label[5, 5] = value
        Image.fromarray(label).save(folder / "labels/03.png")

    return make


def float_image(value: float) -> Make:
    def make(folder: Path) -> None:
        voxels = np.random.default_rng(0).random(SIZE).astype(np.float32)
        voxels[3, 4, 5] = value
        tifffile.imwrite(folder / "image.tif", voxels)

    slices = ", ".join(str(z) for z in range(SIZE[0]))
    return both(
        make, edit("image: image", "image: image.tif"), edit("path: labels", f"path: labels, slices: [{slices}]")
    )


def png_header_of(width: int, height: int) -> Make:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return write("x.png", b"\x89PNG\r\n\x1a\n" + head + body)


def mrc_header_of(side: int) -> Make:
    def make(folder: Path) -> None:
        with mrcfile.new(folder / "x.mrc") as file:
            file.set_data(np.zeros((3, 9, 9), np.int8))
        content = bytearray((folder / "x.mrc").read_bytes())
        content[:12] = struct.pack("<3i", side, side, side)
        (folder / "x.mrc").write_bytes(content)

    return make


def hdf5(shape: tuple[int, ...], *, share: float = 1.0) -> Make:
    def make(folder: Path) -> None:
        with h5py.File(folder / "x.h5", "w") as file:
            file["raw"] = np.zeros(shape, np.uint8)
        cut("x.h5", share)(folder)

    return make


def tiff_in_a_circle(folder: Path) -> None:
    tifffile.imwrite(folder / "x.tif", np.zeros((9, 9), np.uint8))
    content = bytearray((folder / "x.tif").read_bytes())
    (start,) = struct.unpack("<I", content[4:8])
    (tags,) = struct.unpack("<H", content[start : start + 2])
    content[start + 2 + 12 * tags : start + 6 + 12 * tags] = struct.pack("<I", start)
    (folder / "x.tif").write_bytes(content)


def zarr_of_one_chunk(folder: Path) -> None:
    side = 100_000
    group = zarr.open_group(str(folder / "x.zarr"), mode="w")
    group.create_array("0", shape=(side, side, side), chunks=(side, side, side), dtype="u1")


def zarr_of_pickles(folder: Path) -> None:
    array = {"zarr_format": 2, "shape": [1, 2, 2], "chunks": [1, 2, 2], "dtype": "|O", "compressor": None}
    array |= {"fill_value": 0, "order": "C", "filters": [{"id": "pickle"}]}
    both(
        write("x.zarr/.zgroup", '{"zarr_format": 2}'),
        write("x.zarr/0/.zarray", json.dumps(array)),
        write("x.zarr/0/0.0.0", b"cos\nsystem\n(S'touch pwned'\ntR."),
    )(folder)


def huge_zarr(folder: Path) -> None:
    zarr.open_group(str(folder / "x.zarr"), mode="w").create_array(
        "0", shape=(10**6,) * 3, chunks=(64,) * 3, dtype="u1"
    )


def pipe(name: str) -> Make:
    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return make


def link_to_itself(name: str) -> Make:
    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(Path(name).name)

    return make


def summary(**changes: object) -> Make:
    """Facts about the model that somebody has changed; None takes one out."""

    def make(folder: Path) -> None:
        content = json.loads((folder / "run/summary.json").read_text())
        content["model"] = {k: v for k, v in (content["model"] | changes).items() if v is not None}
        (folder / "run/summary.json").write_text(json.dumps(content))

    return make


def fact(name: str, value: object) -> Make:
    """A fact of the run's summary, changed by hand."""

    def make(folder: Path) -> None:
        content = json.loads((folder / "run/summary.json").read_text())
        (folder / "run/summary.json").write_text(json.dumps(content | {name: value}))

    return make


def own_recipe(folder: Path) -> None:
    """A recipe beside the data that reads like one that training would write there."""
    text = (folder / "r.yaml").read_text()
    for name in ("image", "labels"):
        text = text.replace(f"{name}: {name}", f"{name}: {folder / name}").replace(
            "path: labels", f"path: {folder / 'labels'}"
        )
    (folder / "recipe.yaml").write_text(text)


def second_run(old: str, new: str) -> Make:
    def make(folder: Path) -> None:
        shutil.copytree(folder / "run", folder / "run2")
        for name in ("run2/recipe.yaml", "run2/summary.json"):
            path = folder / name
            path.write_text(re.sub(rf'{old}(?!"?:)', new, path.read_text()))  # a field may have the same name

    return make


def stored(field: str, value: object) -> Make:
    """What a prediction says about itself, changed in one place; None takes it out."""

    def make(folder: Path) -> None:
        path = folder / "pred.zarr/zarr.json"
        content = json.loads(path.read_text())
        *parts, last = field.split(".")
        place = content["attributes"]["cristae"]
        for part in parts:
            place = place[part]
        place[last] = value
        if value is None:
            del place[last]
        path.write_text(json.dumps(content))

    return make


half_written = stored("status", "running")


def changed_weights(change: Callable[[torch.Tensor], torch.Tensor]) -> Make:
    def make(folder: Path) -> None:
        path = folder / "run/weights.safetensors"
        save_file({k: change(v) if v.is_floating_point() else v for k, v in load_file(path).items()}, path)

    return make


other_weights = changed_weights(lambda values: values + 1)


LOCALITY = {"local": True, "reason": "near", "reach": [0, 5, 5], "stride": [1, 2, 2], "ndim": 2}

# The table

CHECK = ("recipe", "check", "r.yaml")
SHOW = ("recipe", "show", "x.yaml")
TRAIN = ("train", "r.yaml", "--out", "out")
PREDICT = ("predict", "image", "--run", "run", "--out", "out.zarr", *VOXELS)
AGAIN = ("predict", "image", "--run", "run", "--out", "pred.zarr", *VOXELS)
EVALUATE = ("evaluate", "--truth", "labels", "--prediction", "pred.zarr")
SCORE = (*EVALUATE, "--recipe", "r.yaml")
REPORT = ("report", "pred.zarr")
CONVERT = ("convert", "image")
LONG = "x" * 300
NOT_IDS = "kind: ids, path: labels"
VALUES = "kind: values, path: labels, values: {0: background, 255: disc}"
PICKLE = '!!python/object/apply:os.system ["touch pwned"]'

LABELS = [
    Row("a label file without its image", png("labels/77.png"), CHECK, ("77.png", "no image", "Remove '77.png'")),
    Row("the same in training", png("labels/77.png"), TRAIN, ("77.png", "no image", "Remove '77.png'")),
    Row(
        "a label of another size", png("labels/03.png", (61, 71)), TRAIN, ("03.png", "61 x 71", "61 x 70", "same size")
    ),
    Row("slices of two sizes", png("image/03.png", (61, 71)), TRAIN, ("03.png", "61 x 71", "kind: images")),
    Row(
        "a label stack too short",
        both(tiff("l.tif", (9, 61, 70)), edit("path: labels", "path: l.tif")),
        TRAIN,
        ("l.tif", "9 x 61 x 70", "10 x 61 x 70", "slices: [0, 1, 2, 3, ...]"),
    ),
    Row("an unknown label value", label_value(99), CHECK, ("03.png", "value 99", "0, 255", "Map them", "unlabelled")),
    Row("a mask where ids were promised", edit(VALUES, NOT_IDS), CHECK, ("value 255", "values: {0: background, 255")),
    Row("the same value in training", label_value(99), TRAIN, ("03.png", "value 99", "0, 255", "Map them")),
    Row("the same mask in training", edit(VALUES, NOT_IDS), TRAIN, ("value 255", "values: {0: background, 255")),
    Row(
        "a class without voxels",
        edit("[background, disc]", "[background, disc, ring]"),
        TRAIN,
        ("no voxel of ring", "add"),
    ),
    Row("NaN in training", float_image(np.nan), TRAIN, ("image.tif", "NaN", "slice 3", "Replace them")),
    Row("a damaged slice in training", flip("image/03.png"), TRAIN, ("03.png", "damaged", "checksum")),
    Row(
        "labels of floats",
        both(tiff("l.tif", value=0.5, dtype="float32"), edit("path: labels", "path: l.tif")),
        CHECK,
        ("l.tif", "0.5", "Save them as integers"),
    ),
    Row(
        "labels for no training slice",
        both(*(remove(f"labels/0{z}.png") for z in range(6))),
        TRAIN,
        ("data.train.0", "nothing in this part", "6-9"),
    ),
    Row("an unknown class", edit("255: disc", "255: disk"), TRAIN, ("'disk'", "'disc'")),
    Row("a value in two ranges", edit("255: disc", "0-255: disc"), TRAIN, ("names 0 twice", "must not overlap")),
    Row("NaN in the image", float_image(np.nan), CHECK, ("image.tif", "NaN", "slice 3", "Replace them")),
    Row("infinity in the image", float_image(np.inf), CHECK, ("image.tif", "infinite", "slice 3", "Replace them")),
    Row(
        "an unequal weight map",
        both(tiff("w.tif", (10, 61, 71)), edit("image: image", "image: image\n      weight: w.tif")),
        TRAIN,
        ("w.tif", "61 x 71", "61 x 70"),
    ),
]

SPLITS = [
    Row("training and validation overlap", edit("8:10", "5:10"), TRAIN, ("data.train", "data.validate", "slice 5")),
    Row(
        "training and test overlap",
        edit("  validate:", "  test: [{volume: stack, box: '5:7,0:9,0:9'}]\n  validate:"),
        TRAIN,
        ("data.train and data.test overlap", "slice 5"),
    ),
    Row("slices outside", edit("8:10", "8:99"), TRAIN, ("data.validate.0", "8:99", "0 to 9")),
    Row("no slices", edit("8:10", "'9:8'"), TRAIN, ("data.validate.0", "is empty")),
    Row("a reversed region", edit("slices: 8:10", "box: '9:8,0:10,5:1'"), TRAIN, ("9:8 is empty or outside", "axis z")),
    Row("an unknown volume", edit("stack, slices: 8", "stak, slices: 8"), TRAIN, ("no volume 'stak'", "'stack'")),
    Row(
        "no training region", edit("[{volume: stack, slices: 0:6}]", "[]"), TRAIN, ("r.yaml", "data.train", "is empty")
    ),
    Row(
        "a volume without labels",
        edit("  train: [", "    - {name: raw, image: image}\n  train: [{volume: raw}, "),
        TRAIN,
        ("'raw' has no labels", "add `labels:`"),
    ),
    Row(
        "two volumes of one name",
        edit("  train:", "    - {name: stack, image: image}\n  train:"),
        TRAIN,
        ("two volumes", "'stack'", "own name"),
    ),
    Row(
        "no voxel size for a working one",
        both(
            edit("      voxel_size_nm: [50, 10, 10]\n", ""), edit("  train:", "  voxel_size_nm: [50, 20, 20]\n  train:")
        ),
        TRAIN,
        ("voxel size", "stack", "voxel_size_nm"),
    ),
    Row("a patch of three axes", edit("[32, 32]", "[4, 32, 32]"), TRAIN, ("sampling.size", "3 axes", "takes 2")),
]

RECIPES = [
    Row("an unknown field", write("x.yaml", "name: x\nepochs: 3\n"), SHOW, ("x.yaml:2: epochs: unknown field",)),
    Row("a wrong type", edit("epochs: 1", "epochs: many"), CHECK, ("r.yaml:14", "training.epochs", "'many'")),
    Row("an unknown network", edit("unet_bn", "unett"), CHECK, ("unknown name 'unett'", "did you mean 'unet_bn'")),
    Row("a negative voxel size", edit("[50, 10, 10]", "[50, -10, 10]"), CHECK, ("voxel_size_nm.1", "greater than 0")),
    Row("a voxel size that is no number", edit("[50, 10, 10]", "[50, .nan, 10]"), CHECK, ("voxel_size_nm.1", "finite")),
    Row(
        "a field twice", write("x.yaml", "name: x\nname: y\n"), SHOW, ("x.yaml:2", "'name' is given twice", "x.yaml:1")
    ),
    Row("a tag that runs code", write("x.yaml", f"name: {PICKLE}\n"), SHOW, ("x.yaml:1", "tags", "not allowed")),
    Row("aliases that explode", write("x.yaml", "a: &a [x, x]\nb: [*a, *a]\n"), SHOW, ("anchors", "not allowed")),
    Row("endless nesting", write("x.yaml", "[" * 100_000), SHOW, ("x.yaml:1", "nested too deeply")),
    Row("a tab", write("x.yaml", "name: x\ndata:\n\tset: y\n"), SHOW, ("x.yaml:3", "tab", "spaces")),
    Row("two documents", write("x.yaml", "name: x\n---\nname: y\n"), SHOW, ("x.yaml:2", "second document")),
    Row("an open list", write("x.yaml", "name: [x\n"), SHOW, ("x.yaml:2", "'['", "not closed")),
    Row("an endless number", write("x.yaml", f"seed: {'9' * 5000}\n"), SHOW, ("x.yaml:1", "too long")),
    Row("ten megabytes", write("x.yaml", b"a: " + b"x" * 10_000_000), SHOW, ("1,000,000", "not a recipe")),
    Row("a binary file", write("x.yaml", b"\x89PNG\r\n\x1a\n\xff\xfe"), SHOW, ("x.yaml:1", "not UTF-8")),
    Row("a character that text has not", write("x.yaml", b"name: a\x00b\n"), SHOW, ("x.yaml:1", "character")),
    Row("an empty file", write("x.yaml", ""), SHOW, ("x.yaml:1: is empty",)),
    Row("a folder", lambda folder: (folder / "x.yaml").mkdir(), SHOW, ("is a folder", "YAML")),
    Row("a run folder", nothing, ("train", "run", "--out", "out"), ("run: is a folder", "run/recipe.yaml")),
    Row("no file", nothing, SHOW, ("x.yaml", "no such recipe", "cristae recipe new")),
    Row("a link to itself", link_to_itself("x.yaml"), SHOW, ("x.yaml", "symbolic links")),
    Row("a name that leaves the folder", edit("name: discs", "name: ../x"), CHECK, ("r.yaml:1", "'../x'", "form")),
    Row("--set of an unknown field", nothing, (*TRAIN, "--set", "training.epoch=3"), ("did you mean 'epochs'",)),
    Row("--set of a wrong type", nothing, (*TRAIN, "--set", "training.epochs=x"), ("training.epochs", "whole number")),
    Row("--set without a value", nothing, (*TRAIN, "--set", "training.epochs"), ("expected path=value",)),
    Row("--set outside a list", nothing, (*TRAIN, "--set", "data.volumes.7.name=x"), ("list of 1", "no item 7")),
    Row("--set that runs code", nothing, (*TRAIN, "--set", f"name={PICKLE}"), ("tags", "not allowed")),
    Row(
        "a file instead of an image",
        both(write("x.yaml", RECIPE), edit("image: image", "image: none", "x.yaml")),
        ("train", "x.yaml", "--out", "out"),
        ("none", "does not exist"),
    ),
]

FILES = [
    *(
        Row(f"an empty {name}", write(name, b""), ("convert", name, "out.zarr"), (name, "empty (0 bytes)", "again"))
        for name in ("x.tif", "x.mrc", "x.h5", "x.png", "x.jpg", "x.bmp")
    ),
    *(
        Row(f"text called {name}", write(name, "hello world\n" * 300), ("inspect", name), (name, "not a"))
        for name in ("x.tif", "x.mrc", "x.h5", "x.png", "x.jpg", "x.bmp")
    ),
    Row("a truncated PNG", cut("image/09.png"), (*CONVERT, "out.zarr"), ("09.png", "truncated")),
    Row("a flipped byte in a PNG", flip("image/09.png"), (*CONVERT, "out.tif"), ("09.png", "damaged", "checksum")),
    Row(
        "a truncated slice in training", both(png("image/03.png"), cut("image/03.png")), CHECK, ("03.png", "truncated")
    ),
    Row("a truncated label", cut("labels/09.png"), (*EVALUATE, "--recipe", "r.yaml"), ("09.png", "truncated")),
    Row(
        "a truncated TIFF",
        both(tiff("x.tif", (4, 200, 200), 7), cut("x.tif")),
        ("convert", "x.tif", "out.zarr"),
        ("x.tif",),
    ),
    Row("a truncated HDF5", hdf5((40, 40, 40), share=0.5), ("convert", "x.h5", "out.zarr"), ("x.h5",)),
    Row(
        "a huge PNG header",
        png_header_of(2**31 - 1, 2**31 - 1),
        ("inspect", "x.png"),
        ("x.png", "2147483647", "damaged"),
    ),
    Row(
        "a huge MRC header",
        mrc_header_of(2**31 - 1),
        ("convert", "x.mrc", "out.zarr"),
        ("x.mrc", "2147483647", "damaged"),
    ),
    Row("a negative MRC header", mrc_header_of(-1), ("inspect", "x.mrc"), ("x.mrc", "-1", "damaged")),
    Row("a TIFF in a circle", tiff_in_a_circle, ("inspect", "x.tif"), ("x.tif", "in a circle")),
    Row("an HDF5 array of nothing", hdf5((0, 4, 5)), ("inspect", "x.h5"), ("x.h5", "no voxels")),
    Row("HDF5 axes without names", hdf5((2, 2, 3, 4, 5)), ("inspect", "x.h5"), ("5 axes", "::axes=tczyx")),
    Row("an unknown HDF5 array", hdf5((3, 4, 5)), ("inspect", "x.h5:/none"), ("no array '/none'", "/raw")),
    Row("a huge Zarr chunk", zarr_of_one_chunk, ("convert", "x.zarr", "out.tif"), ("x.zarr", "GiB", "smaller chunks")),
    Row("a Zarr of pickles", zarr_of_pickles, ("convert", "x.zarr", "out.tif"), ("x.zarr", "|O")),
    Row("damaged Zarr metadata", write("x.zarr/zarr.json", "{"), ("inspect", "x.zarr"), ("zarr.json", "JSON")),
    Row("an empty folder", lambda folder: (folder / "x").mkdir(), ("inspect", "x"), ("x", "empty folder", "001.png")),
    Row("a slice that links to itself", link_to_itself("image/03.png"), TRAIN, ("03.png", "symbolic links")),
    Row(
        "a folder that links to itself",
        link_to_itself("loop"),
        ("inspect", "loop"),
        ("loop", "symbolic links", "circle"),
    ),
    Row(
        "a recipe that links nowhere",
        lambda folder: (folder / "x.yaml").symlink_to("gone.yaml"),
        SHOW,
        ("x.yaml", "link to gone.yaml", "does not exist"),
    ),
    Row("a recipe of a long name", nothing, ("recipe", "check", f"{LONG}.yaml"), (LONG, "longer than the file system")),
    Row("an image of a long name", nothing, ("inspect", f"{LONG}.tif"), (LONG, "longer than the file system")),
    Row(
        "an address",
        nothing,
        ("inspect", "https://example.org/x.tif"),
        ("x.tif", "only OME-Zarr, Zarr, N5 and precomputed", "download"),
    ),
    Row("a pipe", pipe("x.tif"), ("inspect", "x.tif"), ("x.tif", "pipe", "expected a file")),
    Row("a pipe among slices", pipe("image/03.png"), ("inspect", "image"), ("03.png", "pipe", "expected a file")),
    Row("a pipe as recipe", pipe("x.yaml"), SHOW, ("x.yaml", "pipe", "one YAML file")),
    Row("a huge Zarr", huge_zarr, ("convert", "x.zarr", "out/x.tif"), ("x.zarr", "GiB", "memory", "write .zarr")),
    Row("a huge Zarr, again", huge_zarr, ("convert", "x.zarr", "out/y.zarr"), ("out/y.zarr", "GiB", "free on this"), 1),
    Row("a damaged slice into a new folder", flip("image/09.png"), (*CONVERT, "sub/o.tif"), ("09.png", "damaged")),
    Row("a format nobody knows", nothing, (*CONVERT, "out.xyz"), ("'.xyz'", ".zarr")),
    Row("a voxel size of 0", nothing, (*CONVERT, "out.zarr", "--voxel-size-nm", "0", "1", "1"), ("greater than 0",)),
    Row(
        "a voxel size of NaN", nothing, (*CONVERT, "out.zarr", "--voxel-size-nm", "nan", "1", "1"), ("greater than 0",)
    ),
]

PLACES = [
    *(
        Row(
            f"training onto the recipe itself {' '.join(options)}",
            own_recipe,
            ("train", "recipe.yaml", "--out", ".", *options),
            ("holds a recipe.yaml", "choose another folder"),
        )
        for options in ((), ("--resume",))
    ),
    Row("a page of a recipe", own_recipe, ("report", "."), ("not a run folder",)),
    *(
        Row(
            f"{' '.join(arguments)} {place}, a file",
            write(place, "thesis"),
            (*arguments, place),
            (place, "exists already"),
        )
        for arguments, place in (
            (("train", "r.yaml", "--out"), "busy"),
            (("predict", "image", "--run", "run", *VOXELS, "--out"), "busy.zarr"),
            (CONVERT, "busy.tif"),
            ((*EVALUATE, "--recipe", "r.yaml", "--out"), "busy.csv"),
            (("report", "run", "--out"), "busy.html"),
            (("recipe", "new", "--image", "image", "--labels", "labels", "--out"), "busy.yaml"),
        )
    ),
    *(
        Row(
            f"{' '.join(arguments)} {place}, a full folder",
            write(f"{place}/thesis.txt", "x"),
            (*arguments, place),
            (place, words),
        )
        for arguments, place, words in (
            (("train", "r.yaml", "--out"), "busy", "exists already"),
            (("train", "r.yaml", "--resume", "--out"), "busy", "exists already"),
            (("predict", "image", "--run", "run", *VOXELS, "--out"), "busy.zarr", "exists already"),
            (CONVERT, "busy.zarr", "exists already"),
            (("demo", "--out"), "busy", "did not make"),
        )
    ),
    *(
        Row(f"{' '.join(arguments)} below a file", write("busy", "x"), arguments, ("busy/x", "not a folder"), 1)
        for arguments in (
            ("report", "run", "--out", "busy/x.html"),
            (*EVALUATE, "--recipe", "r.yaml", "--out", "busy/x.csv"),
            (*CONVERT, "busy/x.tif"),
            ("recipe", "new", "--image", "image", "--labels", "labels", "--out", "busy/x.yaml"),
        )
    ),
    Row("onto a link to nowhere", link_to_itself("x.tif"), (*CONVERT, "x.tif"), ("x.tif", "exists already as a link")),
    Row("onto a long name", nothing, (*CONVERT, f"{LONG}.tif"), (LONG, "choose a shorter one"), 1),
    Row("the demo onto a file", write("busy", "x"), ("demo", "--out", "busy"), ("busy", "is a file")),
    Row(
        "scores beside others",
        write("s.json", "x"),
        (*EVALUATE, "--recipe", "r.yaml", "--out", "s.csv"),
        ("s.json", "exists"),
    ),
    Row("scores of no kind", nothing, (*EVALUATE, "--recipe", "r.yaml", "--out", "s.xlsx"), ("s.xlsx", ".csv")),
    Row(
        "train below a file", write("busy", "x"), ("train", "r.yaml", "--out", "busy/out"), ("busy", "not a folder"), 1
    ),
    Row(
        "predict below a file",
        write("busy", "x"),
        ("predict", "image", "--run", "run", "--out", "busy/p.zarr", *VOXELS),
        ("busy", "not a folder"),
        1,
    ),
    Row("training into a run", nothing, ("train", "r.yaml", "--out", "run"), ("holds a run already", "--resume")),
    Row(
        "resuming another recipe",
        nothing,
        ("train", "run/recipe.yaml", "--out", "run", "--resume", "--set", "seed=9"),
        ("another recipe", "repeat the --set of the command that began it", "seed: 0 -> 9"),
    ),
    Row(
        "onto a finished prediction of something else",
        nothing,
        (*AGAIN, "--probabilities"),
        ("pred.zarr", "a finished prediction", "another place", "settings.probabilities"),
    ),
]

RUNS = [
    Row("no such run", nothing, ("predict", "image", "--run", "none", "--out", "out.zarr"), ("none", "no such run")),
    Row(
        "a folder that is no run",
        nothing,
        ("predict", "image", "--run", "image", "--out", "out.zarr"),
        ("recipe.yaml",),
    ),
    Row("no weights", remove("run/weights.safetensors"), PREDICT, ("weights.safetensors missing", "--resume")),
    Row("empty weights", write("run/weights.safetensors", b""), PREDICT, ("weights.safetensors", "damaged")),
    Row("truncated weights", cut("run/weights.safetensors"), PREDICT, ("weights.safetensors", "damaged")),
    Row("weights with a huge header", write("run/weights.safetensors", b"\xff" * 16), PREDICT, ("damaged",)),
    Row(
        "weights of another network",
        edit("[4, 8]", "[4, 16]", "run/recipe.yaml"),
        PREDICT,
        ("another network", "(16, "),
    ),
    Row("weights of NaN", changed_weights(lambda values: values * np.nan), PREDICT, ("weights.safetensors", "NaN")),
    Row("complex weights", changed_weights(lambda values: values + 0j), PREDICT, ("weights.safetensors", "complex64")),
    *(
        Row(f"a run whose {field} is {value}", make, command, ("summary.json", field))
        for command, field, value, make in (
            (PREDICT, "locality.reach", "abc", fact("locality", LOCALITY | {"reach": "abc"})),
            (PREDICT, "locality", 5, fact("locality", 5)),
            (PREDICT, "model", [], fact("model", [])),
            (PREDICT, "patch_size", [-3, 0], summary(patch_size=[-3, 0])),
            (PREDICT, "voxel_size_nm", [-1, 0, 3], summary(voxel_size_nm=[-1, 0, 3])),
            (PREDICT, "normalizer.kind", "zebra", summary(normalizer={"low": 0, "high": 1, "kind": "zebra"})),
            (("report", "run"), "peak_memory_bytes", 3, fact("peak_memory_bytes", 3)),
            (("report", "run"), "data", "all", fact("data", "all")),
            (("report", "run"), "model.classes", 1, summary(classes=1)),
        )
    ),
    Row("a summary of brackets", write("run/summary.json", "[" * 200_000), PREDICT, ("summary.json", "cannot be read")),
    Row("the same for a page", write("run/summary.json", "[" * 200_000), ("report", "run"), ("summary.json",)),
    *(
        Row(f"metrics of {content!r}", write("run/metrics.csv", content), ("report", "run"), ("metrics.csv", "damaged"))
        for content in (b"epoch,loss\nx,2\n", b"loss\n2\n", b"epoch,loss\n1,low\n", b"\xff\xfe")
    ),
    Row("no summary", remove("run/summary.json"), PREDICT, ("summary.json missing", "--resume")),
    Row("a truncated summary", cut("run/summary.json", 0.2), PREDICT, ("summary.json", "cannot be read")),
    Row("a binary summary", write("run/summary.json", b"\xff\xfe\x00"), PREDICT, ("summary.json", "cannot be read")),
    Row("two channels", summary(in_channels=2), PREDICT, ("2 channels", "image has 1")),
    Row("a billion channels", summary(in_channels=10**9), PREDICT, ("1000000000 channels",)),
    Row("no normalizer", summary(normalizer=None), PREDICT, ("summary.json", "normalizer")),
    Row("a voxel size in words", summary(voxel_size_nm="small"), PREDICT, ("summary.json", "not usable")),
    Row("a broken recipe in the run", write("run/recipe.yaml", "name: ["), PREDICT, ("run/recipe.yaml:1",)),
    Row("no voxel size", nothing, PREDICT[:6], ("voxel size", "not known", "--voxel-size-nm Z Y X")),
    Row("a box outside", nothing, (*PREDICT, "--box", "0:10,0:61,0:99"), ("0:99", "70 voxels of axis x")),
    Row("a reversed box", nothing, (*PREDICT, "--box", "5:2,:,:"), ("5:2", "axis z")),
    Row("a box of words", nothing, (*PREDICT, "--box", "banana"), ("'banana'", "Z0:Z1,Y0:Y1,X0:X1")),
    Row("too little memory", nothing, (*PREDICT, "--max-ram", "1KiB"), ("only 1 KiB", "--max-ram")),
    Row("memory in words", nothing, (*PREDICT, "--max-ram", "banana"), ("'banana'", "8GiB")),
    Row("a mask of another size", tiff("m.tif", (9, 61, 70)), (*PREDICT, "--mask", "m.tif"), ("m.tif", "same shape")),
    Row(
        "NaN in the volume",
        tiff("x.tif", value=np.nan, dtype="float32"),
        ("predict", "x.tif", *PREDICT[2:]),
        ("x.tif", "NaN"),
    ),
    Row("a truncated slice in the volume", cut("image/08.png"), PREDICT, ("08.png", "truncated")),
    Row("two runs of one structure", second_run("background", "rest"), (*PREDICT, "--run", "run2"), ("disc", "differ")),
    Row(
        "half a prediction, other settings", half_written, (*AGAIN, "--probabilities"), ("unfinished", "settings.prob")
    ),
    Row("half a prediction, other weights", both(half_written, other_weights), AGAIN, ("unfinished", "weights_sha256")),
    Row("half a prediction, to be scored", half_written, (*EVALUATE, "--recipe", "r.yaml"), ("not finished", "repeat")),
    Row("half a prediction, to be shown", half_written, ("report", "pred.zarr"), ("not finished", "repeat")),
    Row(
        "a prediction without labels", remove("pred.zarr/labels"), (*EVALUATE, "--recipe", "r.yaml"), ("segmentation",)
    ),
    *(
        Row(f"a prediction whose {field} is {value}", stored(field, value), command, ("zarr.json", field))
        for command, field, value in (
            (SCORE, "classes", None),
            (SCORE, "classes", 1),
            (SCORE, "box", None),
            (SCORE, "box.start", [5]),
            (SCORE, "box.start", [-1, 0, 0]),
            (SCORE, "box.stop", [0, 61, 70]),
            (SCORE, "settings", None),
            (SCORE, "status", None),
            (SCORE, "input", {}),
            (REPORT, "channels", 3),
            (REPORT, "runs", 5),
            (REPORT, "input_sha256", None),
            (REPORT, "settings.probabilities", "yes"),
        )
    ),
    *(
        Row(
            f"half a prediction whose plan.{field} is {value}",
            both(half_written, stored(f"plan.{field}", value)),
            AGAIN,
            ("pred.zarr", "remove"),
        )
        for field, value in (
            ("block", [0, 0, 0]),
            ("block", [1, 8, 8]),
            ("backend", "tpu"),
            ("pass_vox", "many"),
            ("chunk", None),
        )
    ),
    Row("a prediction of another box", stored("box.stop", [10, 61, 69]), SCORE, ("segmentation", "(10, 61, 70)")),
    Row(
        "a damaged page source",
        write("run/preview/index.json", "["),
        ("report", "run"),
        ("preview", "damaged", "remove"),
    ),
]

SCORES = [
    Row("a mask as truth of ids", nothing, EVALUATE, ("value 255", "--recipe", "--binarize")),
    Row(
        "values of no meaning",
        nothing,
        ("evaluate", "--truth", "labels", "--prediction", "labels"),
        ("--recipe", "--bin"),
    ),
    Row("a threshold of 1.5", nothing, (*EVALUATE, "--binarize", "1.5"), ("between 0 and 1", "1.5")),
    Row("object ids and a threshold", nothing, (*EVALUATE, "--binarize", "0.5", "--objects"), ("--objects alone",)),
    Row(
        "NaN to binarize",
        tiff("t.tif", value=np.nan, dtype="float32"),
        ("evaluate", "--truth", "t.tif", "--prediction", "pred.zarr", "--binarize", "0.5"),
        ("t.tif", "NaN"),
    ),
    Row(
        "fewer slices",
        tiff("t.tif", (9, 61, 70)),
        ("evaluate", "--truth", "labels", "--prediction", "t.tif", "--recipe", "r.yaml"),
        ("(10, 61, 70)", "(9, 61, 70)", "same volume"),
    ),
    *(
        Row(
            f"truth of another width, {' '.join(options) or 'ids'}",
            both(tiff("t.tif", (10, 61, 71)), edit("path: labels", "path: t.tif")),
            ("evaluate", "--truth", "t.tif", "--prediction", "pred.zarr", *options),
            ("(10, 61, 71)", "(10, 61, 70)", "same volume"),
        )
        for options in ((), ("--binarize", "0.5"))
    ),
    Row(
        "a prediction as truth",
        nothing,
        ("evaluate", "--truth", "pred.zarr", "--prediction", "pred.zarr"),
        ("pred.zarr:/labels/segmentation",),
    ),
    Row("other classes", edit("disc", "ring"), (*EVALUATE, "--recipe", "r.yaml"), ("background, ring", "same classes")),
    Row(
        "a mask of another shape",
        tiff("m.tif", (10, 61, 71), 1),
        (*EVALUATE, "--recipe", "r.yaml", "--mask", "m.tif"),
        ("m.tif", "(10, 61, 71)"),
    ),
    Row("nothing counts", tiff("m.tif"), (*EVALUATE, "--recipe", "r.yaml", "--mask", "m.tif"), ("no voxel", "mask")),
    Row(
        "no methods",
        lambda folder: (folder / "m").mkdir(),
        ("evaluate", "--truth", "labels", "--predictions", "m", "--recipe", "r.yaml"),
        ("m", "no sub-folder"),
    ),
    Row(
        "a start from unequal labels",
        tiff("l.tif", (10, 61, 71)),
        ("recipe", "new", "--image", "image", "--labels", "l.tif", "--out", "x.yaml"),
        ("61 x 71", "61 x 70"),
    ),
    Row(
        "a start from constant labels",
        tiff("l.tif"),
        ("recipe", "new", "--image", "image", "--labels", "l.tif", "--out", "x.yaml"),
        ("value 0", "nothing to tell it from"),
    ),
]

ROWS = [*LABELS, *SPLITS, *RECIPES, *FILES, *PLACES, *RUNS, *SCORES]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small labelled stack, its recipe, a run trained for one epoch and a prediction."""
    folder = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[1], : SIZE[2]]
    for kind in ("image", "labels"):
        (folder / kind).mkdir()
    for z in range(SIZE[0]):
        disc = (y - rng.integers(15, 45)) ** 2 + (x - rng.integers(15, 55)) ** 2 < 200
        grey = 70 + 70 * disc + rng.normal(0, 20, disc.shape)
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / f"image/{z:02d}.png")
        Image.fromarray((disc * 255).astype(np.uint8)).save(folder / f"labels/{z:02d}.png")
    (folder / "r.yaml").write_text(RECIPE)
    threads = torch.get_num_threads()
    here = Path.cwd()
    os.chdir(folder)
    try:
        for command in (["train", "r.yaml", "--out", "run"], ["predict", *PREDICT[1:5], "pred.zarr", *VOXELS]):
            result = CliRunner().invoke(app, command)
            assert result.exit_code == 0, result.stderr
    finally:
        os.chdir(here)
        torch.set_num_threads(threads)
    return folder


def contents(folder: Path) -> dict[str, bytes | str]:
    """All that is in a folder: files with their bytes, links with their targets, folders."""
    found: dict[str, bytes | str] = {}
    for root, folders, files in os.walk(folder):
        for path in (Path(root) / name for name in (*folders, *files)):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[name] = f"link to {path.readlink()}"
            else:
                found[name] = "folder" if path.is_dir() else path.read_bytes() if path.is_file() else "pipe"
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_wrong_input_gives_a_message_that_helps_and_writes_nothing(
    row: Row, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(material, folder)
    row.make(folder)
    monkeypatch.chdir(folder)
    before = contents(folder)
    result = CliRunner().invoke(app, list(row.arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == row.exit_code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    missing = [word for word in row.words if word not in result.stderr]
    assert not missing, result.stderr
    assert contents(folder) == before


def test_rows_have_names_of_their_own() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)
