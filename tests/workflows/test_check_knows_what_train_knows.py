"""`recipe check` refuses what `train` refuses before its first step, in the same words, and warns of the same.

Each refusal of the rooms of training is in the table below, with ways to provoke it or a reason why a check cannot.
"""

import ast
import inspect
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training_data import write_discs

import cristae
from cristae import errors
from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.errors import CristaeError, MissingFileError, OutputExistsError, StorageError
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe
from cristae.workflows import recipes
from cristae.workflows.recipes import check_loaded, check_recipe, missing_data
from cristae.workflows.train import train
from cristae.workflows.train_study import train_study


class Said(Progress):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)


def slices_of(folder: Path, kind: str) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in sorted((folder / kind).iterdir())])


def write(folder: Path, kind: str, voxels: np.ndarray) -> None:
    shutil.rmtree(folder / kind, ignore_errors=True)
    (folder / kind).mkdir()
    for z, plane in enumerate(voxels):
        Image.fromarray(plane).save(folder / kind / f"{z:02d}.png")


def set_slice(folder: Path, kind: str, z: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = folder / kind / f"{z:02d}.png"
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def constant(folder: Path) -> None:
    write(folder, "image", np.full((10, 61, 70), 7, np.uint8))


def constant_where_trained(folder: Path) -> None:
    grey = slices_of(folder, "image")
    grey[:6] = 7
    write(folder, "image", grey)


def odd_columns_where_trained(folder: Path) -> None:
    """A mask of columns without neighbours; in the slices that are validated, of all."""
    valid = np.full((10, 61, 70), 255, np.uint8)
    valid[:6, :, ::2] = 0
    write(folder, "valid", valid)


def two_greys(folder: Path) -> None:
    write(folder, "image", np.where(slices_of(folder, "labels") > 0, 200, 10).astype(np.uint8))


def second_type(folder: Path) -> None:
    grey = slices_of(folder, "image").astype(np.uint16) * 200
    write_image(image_of_array(grey), folder / "other.tif")


def float_image(folder: Path, z: int) -> None:
    grey = slices_of(folder, "image").astype(np.float32)
    grey[z, 5, 6] = np.nan
    write_image(image_of_array(grey), folder / "float.tif")


def coloured(folder: Path) -> None:
    grey = slices_of(folder, "image")
    color = np.stack([grey, grey // 2, grey], axis=-1)
    write(folder, "image", color)


def with_palette(folder: Path) -> None:
    for path in (folder / "image").iterdir():
        plane = Image.open(path).convert("P")
        plane.putpalette([value for n in range(256) for value in (n, 255 - n, 0)])
        plane.save(path)


def unknown_value(folder: Path) -> None:
    set_slice(folder, "labels", 1, lambda plane: np.where(np.indices(plane.shape).sum(0) == 9, 77, plane).astype("u1"))


def unknown_value_where_validated(folder: Path) -> None:
    set_slice(folder, "labels", 9, lambda plane: np.where(np.indices(plane.shape).sum(0) == 9, 77, plane).astype("u1"))


def truncated(folder: Path, kind: str, z: int) -> None:
    path = folder / kind / f"{z:02d}.png"
    path.write_bytes(path.read_bytes()[:-200])


def masked(folder: Path, *slices: int) -> None:
    mask = np.full((10, 61, 70), 1, np.uint8)
    mask[list(slices)] = 0
    write(folder, "valid", mask)


def weights(folder: Path, value: float) -> None:
    write_image(image_of_array(np.full((10, 61, 70), value, np.float32)), folder / "weight.tif")


def all_background(folder: Path, *slices: int) -> None:
    labels = slices_of(folder, "labels")
    labels[list(slices)] = 0
    write(folder, "labels", labels)


def without_data(folder: Path) -> None:
    shutil.rmtree(folder / "image")
    shutil.rmtree(folder / "labels")


def all_foreground(folder: Path) -> None:
    write(folder, "labels", np.full((10, 61, 70), 255, np.uint8))


def only_at_the_border(folder: Path) -> None:
    labels = np.zeros((10, 61, 70), np.uint8)
    labels[:, 0] = 255
    write(folder, "labels", labels)


def few_cuda_devices(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "device_count", lambda: 1)


def no_trackers(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("cristae.training.tracking.find_spec", lambda name: None)


def cache_is_a_file(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "taken").write_text("")
    patch.setenv("CRISTAE_CACHE", str(folder / "taken"))


def no_compiler(folder: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(function: object) -> object:
        raise RuntimeError("no C++ compiler")

    patch.setattr(torch, "compile", refuse)


def nothing(folder: Path) -> None:
    pass


@dataclass(frozen=True)
class Case:
    """How a refusal is provoked."""

    name: str
    change: Callable[..., None]
    overrides: tuple[str, ...] = ()
    text: str = ""
    same: bool = True
    """Whether the messages are equal to the letter; counts in them may be of other blocks."""


ONE = "data.volumes.0"
FOREST = "model={name: random_forest, trees: 2, max_samples_per_class: 50}"
ORIGIN = "data.available_from=the microscope"
WHOLE_SPLIT = ("data.train=[{volume: stack, slices: '0:6'}, {volume: other}]",)
OTHER = (
    "data.volumes=[{name: stack, image: image, voxel_size_nm: [50, 10, 10], labels: {kind: values, path: labels, "
    "values: {0: background, 255: disc}}}, {name: other, image: other.tif, voxel_size_nm: %s, labels: {kind: values, "
    "path: labels, values: {0: background, 255: disc}, slices: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}}]"
)
REJECT = "{name: rejection, size: [32, 32]"
TOUCHING = (
    f"{ONE}.labels={{kind: instances, path: labels, to: interior_and_boundary, class_name: disc, boundary_name: rim}}"
)
PAIRS = f"{ONE}.labels={{kind: instances, path: labels, to: affinities, offsets: %s}}"
LEFT = "{disc: [0, 0, 0], left: [0, 0, -1]}"
OVERLAPPING = "data.classes={names: [disc, %s], exclusive: false}"
VOLUMES = "model={name: unet_3d, base: 2, padded: true}"
MASKS = f"{ONE}.valid={{path: valid}}"

CASES = [
    Case("constant volume", constant, text="'stack': every voxel is 7: a constant image"),
    Case("constant volume of its own", constant, ("normalize.scope=volume",), text="'stack': every voxel is 7"),
    Case("constant training region", constant_where_trained, text="'stack': every voxel is 7"),
    Case("one grey left", two_greys, ("normalize.ignore=[10]",), text="nothing but one value"),
    Case("mixed types", second_type, (OTHER % "[50, 10, 10]", *WHOLE_SPLIT), text="some images are stored as uint"),
    Case("other voxel size", second_type, (OTHER % "[50, 5, 5]", *WHOLE_SPLIT), text="different voxel sizes"),
    Case("unknown voxel size", second_type, (OTHER % "null", *WHOLE_SPLIT), text="voxel size of other is not known"),
    Case("NaN", lambda f: float_image(f, 1), (f"{ONE}.image=float.tif", f"{ONE}.labels.slices={list(range(10))}"),
         "NaN or infinite"),
    Case("NaN where validated", lambda f: float_image(f, 9),
         (f"{ONE}.image=float.tif", f"{ONE}.labels.slices={list(range(10))}"), "NaN or infinite", same=False),
    Case("colour image", coloured, text="is a colour image"),
    Case("unknown label value", unknown_value, text=r"holds value 77 \(10 voxels\) in slice 1"),
    Case("unknown label value where validated", unknown_value_where_validated, text=r"holds value 77 .* in slice 9"),
    Case("damaged image", lambda f: truncated(f, "image", 1), text=r"01\.png"),
    Case("damaged labels", lambda f: truncated(f, "labels", 4), text=r"04\.png"),
    Case("damaged image where validated", lambda f: truncated(f, "image", 9), text=r"09\.png"),
    Case("class without voxels", nothing, ("data.classes.names=[background, disc, ring]",), "no voxel of ring"),
    Case("all background", lambda f: all_background(f, *range(6)), text="no voxel of disc in the training"),
    Case("mask leaves nothing", lambda f: masked(f, *range(6)), (MASKS,), "no voxel of disc in the training"),
    Case("mask leaves nothing to validate", lambda f: masked(f, 8, 9), (MASKS,), "no voxel of the validation regions"),
    Case("weights of 0", lambda f: weights(f, 0), (f"{ONE}.weight=weight.tif",), "weights of 'stack' are 0"),
    Case("negative weights", lambda f: weights(f, -1), (f"{ONE}.weight=weight.tif",), "numbers of 0 or more"),
    Case("no labels", nothing, (f"{ONE}.labels=null",), "labels"),
    Case("no labels for one", second_type, ("data.volumes=[{name: stack, image: image}]",), "no labels"),
    Case("region below a voxel", nothing,
         ("data.voxel_size_nm=[50, 70, 70]", "data.validate=[{volume: stack, box: '8:10,0:2,0:2'}]"), "no voxel"),
    Case("few random patches", nothing, ("sampling.per_epoch=7",), "an epoch has only 7 patches"),
    Case("few grid patches", nothing, ("sampling={name: grid, size: [61, 70]}",), "an epoch has only 6 patches"),
    Case("frequency of an unknown class", nothing, ("sampling.class_frequencies={ring: 1}",),
         "sampling.class_frequencies: there is no class 'ring'; the classes are background, disc"),
    Case("frequency of a class that is nowhere", all_foreground,
         ("sampling.class_frequencies={background: 1, disc: 1}",),
         r"no patch can be placed on 'background'.*\(voxels: background 0, disc 25620\)"),
    Case("acceptance of an unknown class", nothing, (f"sampling={REJECT}, accept: {{ring: 1}}}}",),
         "sampling.accept: there is no class 'ring'"),
    Case("nothing accepted", nothing, (f"sampling={REJECT}, accept: {{background: 0, disc: 0}}}}",),
         "accept: is 0 for every class"),
    Case("no middle accepted", only_at_the_border, (f"sampling={REJECT}, accept: {{background: 0}}}}",),
         "no voxel of disc can be in the middle"),
    Case("tiles larger than the image", nothing,
         ("data.validate=[]", "data.split={name: tiles, size: [512, 512], leaky: true}"), "a tile of 1 x 512 x 512"),
    Case("few tiles", nothing, ("data.validate=[]", "data.split={name: tiles, size: [61, 70], leaky: true}"),
         "data.split.size: of 6 tiles, 0 to validate and 6 to train on"),
    Case("few patches for an update", nothing, ("training.accumulate=4",),
         "has only 24 patches, fewer than training.batch_size: 8 times training.accumulate: 4"),
    Case("schedule longer than the training", nothing, ("training.schedule={name: linear, updates: 4}",),
         r"training\.schedule\.updates: 4 is more than the 3 updates of the training"),
    Case("warm-up longer than the schedule", nothing, ("training.schedule={name: constant, warmup: 3}",),
         "rises for 3 updates, but the training has 3"),
    Case("epochs at a rate of 0", nothing, ("training.epochs=3", "training.schedule={name: poly, updates: 5}"),
         "the rate is 0 after 5 of the 9 updates"),
    Case("weight decay of adam", nothing, ("training.weight_decay=0.01",), "no effect with adam"),
    Case("group of nothing", nothing, ("training.groups=[{match: backbone.*}]",),
         r"training\.groups\.0\.match: no parameter is called 'backbone\.\*'; it is one of"),
    Case("all groups frozen", nothing, ("training.groups=[{match: '*', learning_rate_factor: 0}]",),
         "nothing would be learnt"),
    Case("all groups frozen at first", nothing,
         ("training.groups=[{match: '*', frozen_epochs: 1}]", "training.epochs=2"),
         "frozen in the first epoch"),
    Case("no compiler", no_compiler, ("training.compile=true",), r"cannot compile for 'cpu' .* no C\+\+ compiler"),
    Case("device", nothing, ("device=mps",), "this machine offers only"),
    Case("tracker", no_trackers, ("training.track=[mlflow]",), "mlflow is not installed"),
    Case("few devices", few_cuda_devices, ("device=cuda", "training.devices=2"), "this machine has 1 of kind 'cuda'"),
    Case("large network", nothing, ("model.widths=[4, 8, 100000000]",), "choose smaller widths"),
    Case("nothing to start from", nothing, ("training.start_from=none.safetensors",), "start_from"),
    Case("not exact", nothing, ("model={name: resenc_unet}", "predict.windows=exact"), "cannot be applied exactly"),
    Case("post-processing of an unknown class", nothing,
         ("predict.postprocess=[{name: fill_holes, classes: [ring]}]",),
         r"predict\.postprocess\.0\.classes: there is no class 'ring' to change; there are disc"),
    Case("post-processing in nm", nothing,
         (f"{ONE}.voxel_size_nm=null",
          "predict.postprocess=[{name: fill_holes, max_size_vox: auto}, {name: open, radius_nm: 30}]"),
         r"predict\.postprocess\.1: 'open' measures in nm, but the voxel size of 'stack' is not known"),
    Case("forest: post-processing in nm", nothing,
         (FOREST, f"{ONE}.voxel_size_nm=null",
          "predict.postprocess=[{name: remove_small, min_size_nm3: 3.0}, {name: fill_holes, max_size_vox: auto}]"),
         r"predict\.postprocess\.0: 'remove_small' measures in nm"),
    Case("patch axes", nothing, ("sampling.size=[4, 32, 32]",), "has 3 axes"),
    Case("several problems", nothing, ("sampling.size=[32, 64]", "augment=[{name: rotate90}]"), "square"),
    Case("nothing to validate on", nothing, ("data.validate=[]",), "data.validate: is empty"),
    Case("auxiliary weights", nothing, ("loss.auxiliary_weights=[1, 0.5]",), "auxiliary_weights"),
    Case("flip across slices", nothing, ("augment=[{name: flip, axes: [z]}]",), "needs 3D patches"),
    Case("missing sections of single slices", nothing, ("augment=[{name: missing_sections}]",), "set model.slices"),
    Case("drift across slices", nothing, ("augment=[{name: drift, axes: [z]}]",), "axis z needs 3D patches"),
    Case("shift across slices", nothing, ("augment=[{name: shift, axes: [z]}]",), "axis z needs 3D patches"),
    Case("sections of one slice", nothing, ("augment=[{name: shifted_sections}]",), "set model.slices"),
    Case("far outside", nothing, ("augment=[{name: shift, amount: 80, unit: voxels}]",),
         "need the image up to 80 voxels beyond the border of 'stack' along y, but its mirror image reaches 60"),
    Case("weight of an unknown class", nothing,
         ("loss={name: sum, terms: [{name: weighted_dice, class_weights: {ring: 2}}]}",), "class 'ring'"),
    Case("loss for one class", nothing,
         ("loss={name: seget}", "data.classes.names=[background, disc, ring]"), "loss"),
    Case("term for one class", nothing, (
        "loss={name: sum, terms: [{name: binary_cross_entropy}]}", "data.classes.names=[background, disc, ring]"
    ), "terms"),
    Case("channel that targets lack", nothing,
         ("loss={name: sum, terms: [{name: dice}, {name: boundary}]}",), "further: .{name: distances}"),
    Case("weights without a term", nothing,
         ("targets={name: class_balance}", "loss={name: sum, terms: [{name: dice}, {name: jaccard_distance}]}"),
         r"weights of class_balance have no effect, .* \(dice, jaccard_distance\)"),
    Case("weights of a volume without a term", lambda f: weights(f, 1),
         (f"{ONE}.weight=weight.tif", "loss={name: sum, terms: [{name: dice}]}"), "the weights have no effect"),
    Case("forest: weights", lambda f: weights(f, 1), (f"{ONE}.weight=weight.tif", FOREST), "leave `weight` out"),
    Case("channel that no term reads", nothing, ("targets={name: none, further: [{name: distances}]}",),
         "'distances' has no effect, because no term of the loss .* reads it; add boundary, or leave it out"),
    Case("borders of nothing", nothing,
         ("targets={name: none, further: [{name: boundaries, distance: 0.9}]}",
          "loss={name: sum, terms: [{name: boundary_aware}]}"),
         "'boundaries' marks nothing, because its distance of 0.9 voxels is less than a voxel; set it to 1 or more"),
    Case("edges of an unknown class", nothing, ("targets={name: edge_preserving, cell: ring}",), "'ring' is not one"),
    Case("weights without a background", nothing,
         ("targets={name: sample_bf}", "data.classes.background=false"), "weighs foreground by the voxels of the back"),
    Case("distances in nm", nothing, (f"{ONE}.voxel_size_nm=null",
         "targets={name: none, further: [{name: distances, unit: nm}]}",
         "loss={name: sum, terms: [{name: dice}, {name: boundary}]}"), "'distances' is measured in nm"),
    Case("region of no volume", nothing, ("data.train=[{volume: other}]",), "data.train.0: there is no volume 'other'"),
    Case("value of no class", nothing, (f"{ONE}.labels.values={{'0': background, '255': ring}}",), "ring"),
    Case("second labels that are not there", nothing, (f"{ONE}.second_labels={{kind: ids, path: bert.tif}}",),
         r"bert\.tif"),
    Case("second labels of no class", nothing,
         (f"{ONE}.second_labels={{kind: values, path: labels, values: {{'0': background, '255': ring}}}}",), "ring"),
    Case("mask of no class", nothing, (f"{ONE}.labels={{kind: masks, masks: {{ring: {{path: labels}}}}}}",),
         "masks are given for"),
    Case("objects of no class", nothing,
         (f"{ONE}.labels={{kind: instances, path: labels, to: foreground, class_name: ring}}",), "give the one class"),
    Case("interior and boundary of one class", nothing, (TOUCHING,), "'disc' and 'rim' beside a background"),
    Case("boundary of two objects as a border", nothing,
         (TOUCHING, "data.classes={names: [background, disc, rim], borders: [rim]}"), "joined by the background"),
    Case("objects that never touch", nothing, (TOUCHING, "data.classes.names=[background, disc, rim]"),
         "no voxel of rim in the training regions"),
    Case("boundary below a voxel", nothing,
         (TOUCHING, f"{ONE}.labels.width_nm=9", "data.classes.names=[background, disc, rim]"), "thinner than a voxel"),
    Case("boundary without a voxel size", nothing, (TOUCHING, f"{ONE}.labels.width_nm=30",
         f"{ONE}.voxel_size_nm=null", "data.classes.names=[background, disc, rim]"), "needs the voxel size"),
    Case("affinities of other classes", nothing, (PAIRS % LEFT,),
         r"Write `classes: \{names: \[disc, left\], exclusive: false\}`"),
    Case("affinities across slices", nothing, (PAIRS % "{disc: [0, 0, 0], up: [-1, 0, 0]}", OVERLAPPING % "up"),
         "'up' compares voxels of different slices, but unet_bn learns the labels of one"),
    Case("affinities of one volume alone", second_type,
         (OTHER % "[50, 10, 10]", PAIRS % LEFT, OVERLAPPING % "left", *WHOLE_SPLIT),
         "'stack' and 'other' differ in the `offsets` of their labels"),
    Case("affinities on another grid", nothing,
         (PAIRS % LEFT, OVERLAPPING % "left", "data.voxel_size_nm=[50, 20, 20]"),
         r"data.voxel_size_nm: is 50 x 20 x 20 nm .* offsets count its voxels of 50 x 10 x 10 nm"),
    Case("affinities farther than the region", nothing,
         (PAIRS % "{disc: [0, 0, 0], up: [-8, 0, 0]}", OVERLAPPING % "up", VOLUMES, "sampling.size=[4, 16, 16]"),
         r"none of data.train in 'stack' would count, because partners of 'up' lie 8 voxels along z, but there are 6"),
    Case("post-processing with other offsets", nothing,
         (PAIRS % "{disc: [0, 0, 0], left: [0, 0, -1], far: [0, 0, -3]}", OVERLAPPING % "left, far",
          "predict.postprocess=[{name: split_by_affinities, affinities: {left: [0, 0, -1], far: [0, -3, 0]}}]"),
         r"postprocess\.0\.affinities: 'far' is \[0, -3, 0\] here, but \[0, 0, -3\] in the labels of 'stack'"),
    Case("affinities with masked partners", odd_columns_where_trained, (PAIRS % LEFT, OVERLAPPING % "left", MASKS),
         "none counts: the offsets of the affinities reach 0 x 1 x 1 voxels"),
    Case("unknown public set", nothing, ("data.set=isbi2021",),
         "--set data.set=isbi2021: data.set: there is no public set 'isbi2021'; did you mean"),
    Case("no data", without_data, text="does not exist"),
    Case("part of the data", lambda f: shutil.rmtree(f / "image"), (ORIGIN,), "The data come from the microscope"),
    Case("cache", cache_is_a_file, text="CRISTAE_CACHE"),
    Case("cache limit", lambda f, patch: patch.setenv("CRISTAE_CACHE_LIMIT", "much"), text="'much' is not a memory"),
    Case("forest: constant", constant, (FOREST,), "'stack': every voxel is 7"),
    Case("forest: NaN", lambda f: float_image(f, 1),
         (FOREST, f"{ONE}.image=float.tif", f"{ONE}.labels.slices={list(range(10))}"), "NaN or infinite"),
    Case("forest: no background", all_foreground, (FOREST,), "no labelled voxel of background"),
    Case("forest: no voxel size", nothing,
         ("model={name: random_forest, ndim: 3}", f"{ONE}.voxel_size_nm=null"), "3D filters need it"),
    Case("forest: windows", nothing, (FOREST, "predict.windows=gaussian"), "always exact"),
    Case("exact with patches", nothing, ("normalize={name: min_max, scope: patch}", "predict.windows=exact"),
         "scales each patch by its own grey values"),
    Case("forest: patches", nothing, (FOREST, "normalize={name: min_max, scope: patch}"), "which see patches"),
    Case("exact with filtered patches", nothing,
         ("input_channels=[{name: grain_filter, area_px: 40}]", "predict.windows=exact"), "of each patch by itself"),
    Case("forest: filtered patches", nothing, (FOREST, "input_channels=[{name: grain_filter, area_px: 40}]"),
         "input_channels: are for networks"),
    Case("filter that leaves nothing", nothing, ("input_channels=[{area_px: 5}, {area_px: 1024}]",),
         r"input_channels\.1\.area_px: nothing would be left of a patch of 32 x 32"),
    Case("the same filter twice", nothing, ("input_channels=[{area_px: 5}, {area_px: 5}]",),
         r"areas \[5, 5\] must differ"),
    Case("filtered patches and filtered slices", nothing, ("input_channels=[{area_px: 5}, {area_px: 9, per: slice}]",),
         "some have `per: patch`, others `per: slice`; give all the same"),
    Case("filtered slices of scaled patches", nothing,
         ("input_channels=[{area_px: 5, per: slice}]", "normalize={name: min_max, scope: patch}"),
         "scales each patch by itself; set `per: patch`, or another scope"),
    Case("filter that leaves nothing of slices", nothing,
         ("input_channels=[{area_px: 5, per: slice}, {area_px: 4270, per: slice}]",),
         r"input_channels\.1\.area_px: nothing would be left of the slices of 'stack', 61 x 70 pixels"),
    Case("filter of a palette", with_palette, ("input_channels=[{area_px: 5, per: slice}]",), "indices of a palette"),
    Case("NaN beside the region", lambda f: float_image(f, 1),
         (f"{ONE}.image=float.tif", f"{ONE}.labels.slices={list(range(10))}",
          "data.train=[{volume: stack, box: '0:6,10:61,10:70'}]", "input_channels=[{area_px: 5, per: slice}]"),
         "holds 1 voxels that are NaN or infinite, first in slice 1"),
    Case("folds of too few slices", nothing, ("folds={count: 9}",),
         r"folds.count: 9 folds cannot be made of 8, .* slices .*; give count: 8 or less"),
    Case("folds without training data", nothing, ("folds={count: 2, guard_vox: [9, 0, 0]}",),
         r"fold 1 has nothing left to train on: .* lies within guard_vox \[9, 0, 0\] .*guard_vox: \[0, 0, 0\]"),
    Case("nested folds of too few volumes", second_type,
         (OTHER % "[50, 10, 10]", "data.train=[{volume: stack}, {volume: other}]", "data.validate=[]",
          "folds={nested: true}"), "folds.count: 3 nested folds cannot be made of 2, .* or leave `nested` out"),
    Case("nested folds without validation data", nothing,
         ("folds={count: 4, nested: true, stratify: false, guard_vox: [2, 0, 0]}",),
         r"fold \d has nothing left to validate: .* within guard_vox \[2, 0, 0\]"),
    Case("nested folds: post-processing in nm", nothing,
         (f"{ONE}.voxel_size_nm=null", "folds={count: 3, nested: true}",
          "predict.postprocess=[{name: open, radius_nm: 30}]"),
         r"fold-1: .*predict\.postprocess\.0: 'open' measures in nm, but the voxel size of 'stack' is not known"),
    Case("nested folds: damaged image where tested", lambda f: truncated(f, "image", 0),
         ("folds={count: 3, nested: true, only: [1]}",), r"00\.png"),
    Case("fold without a class", lambda f: all_background(f, *range(1, 10)), ("folds={}",),
         r"fold \d cannot learn every class: all [\d,]+ voxels of disc are validated \(stack z"),
    Case("folds of samples that are not named", nothing, ("folds={by: samples}",),
         "the sample of 'stack', .* say it in data.volumes.stack with `sample: NAME`"),
    Case("fold that is not there", nothing, ("folds={only: [6]}",), "folds.only: names fold 6, but there are 5"),
    Case("interleaved volumes", second_type,
         (OTHER % "[50, 10, 10]", "data.train=[{volume: stack}, {volume: other}]", "data.validate=[]",
          "folds={order: interleaved}"), "folds.order: interleaved is for slices, but volumes stay together"),
    Case("sample of an image by two patterns", nothing,
         (f"{ONE}.kind=images", f"{ONE}.voxel_size_nm=null", f"{ONE}.samples={{'0*': a, '*1': b}}",
          "data.train=[{volume: stack}]", "data.validate=[]", "folds={}"), "image '01' is of 'a' by one pattern"),
    Case("blocks of images", nothing, (f"{ONE}.kind=images", "data.train=[{volume: stack}]", "data.validate=[]",
         "folds={by: boxes}"), "'stack' is `kind: images`; write `by: images`"),
    Case("folds of one slice", nothing, ("data.train.0.slices=[3]", "data.validate=[]", "folds={}"),
         "folds.by: auto finds one labelled slice"),
    Case("folds and tiles", nothing, ("folds={}", "data.validate=[]",
         "data.split={name: tiles, size: [16, 16], leaky: true}"), "folds: take the place of data.split"),
    Case("weights of fewer members than there are", nothing,
         ("folds={count: 3}", "predict.fusion={name: weighted, weights: [2, 1]}"),
         r"predict.fusion.weights: there are 2 weights for 3 runs"),
    Case("member with too few patches", nothing, ("folds={count: 4}", "sampling={name: grid, size: [61, 70]}"),
         "fold-1: .* an epoch has only 6 patches"),
    Case("forest: damaged image where validated", lambda f: truncated(f, "image", 9), (FOREST,), r"09\.png"),
]  # fmt: skip


def refusal(work: Callable[[], object]) -> CristaeError | None:
    try:
        work()
    except CristaeError as error:
        return error
    return None


def train_any(recipe: Recipe, out: Path) -> object:
    return train_study(recipe, out=out) if recipe.is_study else train(recipe, out=out)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_check_refuses_what_train_refuses(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRISTAE_CACHE", str(tmp_path / "cache"))
    wants_patch = len(inspect.signature(case.change).parameters) == 2
    case.change(*((tmp_path, monkeypatch) if wants_patch else (tmp_path,)))
    checked = refusal(lambda: check_recipe(path, case.overrides))
    trained = refusal(lambda: train_any(load_recipe(path, case.overrides), tmp_path / "run"))
    assert trained is not None, "train refuses it"
    assert checked is not None, f"only train says: {trained}"
    assert type(checked) is type(trained)
    assert not case.same or str(checked) == str(trained)
    with pytest.raises(type(checked), match=case.text):
        raise checked


WARNINGS = [
    Case("no class where validated", lambda f: all_background(f, 8, 9), (), "validation regions hold no disc"),
    Case("parts that touch", nothing, ("data.train=[{volume: stack, slices: '0:8'}]",), "touch"),
    Case("every fifth slice", nothing,
         ("data.train.0.slices=[1, 2, 3, 4, 6, 7, 8, 9]", "data.validate.0.slices=0:10:5"),
         "data.validate is not kept apart from data.train in 'stack': 100 %"),
    Case("tiles", nothing, ("data.validate=[]", "data.split={name: tiles, size: [30, 35], leaky: true}"),
         "data.validate are tiles beside those of data.train"),
    Case("patches beyond the volume", nothing, ("sampling.size=[64, 64]",), "64 x 64 voxels .* are larger"),
    Case("augmentation beyond the volume", nothing, ("augment=[{name: shift, amount: 25, unit: voxels}]",),
         r"looks at 1 x 82 x 82 voxels .* 'stack' has 10 x 61 x 70"),
    Case("small disk", lambda f, patch: patch.setattr("cristae.training.cache.cache_room", lambda: 1000), (),
         r"may take 67 KiB, but .* has room for 1000 B"),
    Case("small disk for weights", lambda f, patch: patch.setattr("cristae.training.cache.cache_room", lambda: 60000),
         ("targets={name: edge_preserving}",), r"may take 200 KiB, but .* has room for 59 KiB"),
]  # fmt: skip


@pytest.mark.parametrize("case", WARNINGS, ids=lambda case: case.name)
def test_check_warns_of_what_train_warns_of(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    wants_patch = len(inspect.signature(case.change).parameters) == 2
    case.change(*((tmp_path, monkeypatch) if wants_patch else (tmp_path,)))
    said = Said(), Said()
    check_recipe(path, case.overrides, progress=said[0])
    train(load_recipe(path, case.overrides), out=tmp_path / "run", progress=said[1])
    assert said[0].warned == said[1].warned
    assert len(said[0].warned) == 1
    with pytest.raises(ValueError, match=case.text):
        raise ValueError(said[0].warned[0])


NEED_NO_DATA = (
    "region of no volume", "device", "few devices", "tracker", "large network", "nothing to start from",
    "not exact", "patch axes",
    "several problems", "nothing to validate on", "auxiliary weights", "flip across slices",
    "weight of an unknown class", "loss for one class", "term for one class", "cache limit", "forest: windows",
    "forest: patches", "exact with patches", "forest: filtered patches", "exact with filtered patches",
    "filter that leaves nothing", "the same filter twice", "filtered patches and filtered slices",
    "filtered slices of scaled patches", "value of no class", "mask of no class",
    "objects of no class",
    "interior and boundary of one class", "boundary of two objects as a border",
    "affinities of other classes", "affinities across slices", "post-processing with other offsets",
)  # fmt: skip


@pytest.mark.parametrize("case", [case for case in CASES if case.name in NEED_NO_DATA], ids=lambda case: case.name)
def test_a_check_without_data_refuses_what_needs_none(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    wants_patch = len(inspect.signature(case.change).parameters) == 2
    case.change(*((tmp_path, monkeypatch) if wants_patch else (tmp_path,)))
    whole = refusal(lambda: check_recipe(path, case.overrides))
    without_data(tmp_path)
    alone = refusal(lambda: check_recipe(path, (*case.overrides, ORIGIN)))
    assert type(alone) is type(whole)
    assert str(alone) == str(whole)


@pytest.mark.parametrize("model", [(), (FOREST,)], ids=["network", "forest"])
def test_a_check_without_data_says_where_they_come_from(
    model: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the data is missing: that is no error of the recipe. Training cannot do without, and repeats it."""
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    without_data(tmp_path)
    said = Said()
    recipe = check_recipe(path, (ORIGIN, *model), progress=said)
    assert said.warned == [
        "the form of the recipe is valid, only its data are missing: they come from the microscope, and belong where "
        f"data.volumes says, such as {tmp_path / 'image'}"
    ]
    assert missing_data(recipe)
    with pytest.raises(MissingFileError, match=r"image: does not exist\n  The data come from the microscope"):
        train(load_recipe(path, (ORIGIN, *model)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_files_that_may_not_be_read_are_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    assert missing_data(load_recipe(path, (ORIGIN,))) is None

    def refuse(path: object) -> None:
        raise MissingFileError("may not be read") from PermissionError()

    monkeypatch.setattr("cristae.data.absence.find_source", refuse)
    assert missing_data(load_recipe(path, (ORIGIN,))) is None


def test_check_warns_where_the_usual_place_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cristae.data.files.os.access", lambda folder, mode: False)
    with pytest.raises(StorageError, match="permission denied") as refused:
        train(load_recipe(path))
    said = Said()
    check_recipe(path, progress=said)
    assert said.warned == [str(refused.value)]


def test_a_forest_does_not_ask_for_the_device_of_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    assert check_recipe(path, (FOREST, "device=mps"))
    assert train(load_recipe(path, (FOREST, "device=mps")), out=tmp_path / "run").weights_path.is_file()


def test_check_warns_where_the_usual_place_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    train(load_recipe(path))
    with pytest.raises(OutputExistsError) as refused:
        train(load_recipe(path))
    said = Said()
    check_recipe(path, progress=said)
    assert said.warned == [str(refused.value)]


def test_a_check_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path / "data", epochs=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRISTAE_CACHE", str(tmp_path / "cache"))
    check_recipe(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cache", "data"]
    assert not any((tmp_path / "cache" / "training" / "entries").iterdir())


def test_large_data_is_read_in_part_and_a_part_proves_only_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipes, "_READ_VOX", 2 * 61 * 70)
    monkeypatch.setattr("cristae.training.regions._SLAB", (1, 1024, 1024))
    said, shares = Said(), list[float]()
    assert check_loaded(load_recipe(path), said, lambda network, prepared, share: shares.append(share))
    assert shares == [1 / 2]
    assert said.warned == ["the data is large and was read in part; what only the rest of it holds, training will find"]
    all_background(tmp_path, 0, 1)
    said = Said()
    assert check_recipe(path, progress=said)
    assert said.warned[0].startswith("in the part of the data that was read: no voxel of disc in the training regions")
    write(tmp_path, "image", np.where(np.arange(10)[:, None, None] == 3, slices_of(tmp_path, "image"), np.uint8(7)))
    said = Said()
    assert check_recipe(path, progress=said)
    assert "in the part of the data that was read: 'stack': every voxel is 7" in said.warned[-2]
    unknown_value(tmp_path)
    assert check_recipe(path)
    monkeypatch.setattr(recipes, "_READ_VOX", 48 << 20)
    with pytest.raises(CristaeError, match="77"):
        check_recipe(path)


# --- every refusal is in the table

_LATER = "comes up after the first step: of losses, memory, other processes or what a killed training left"
_OTHER_VERBS = "of prediction and evaluation, which training does not reach"
_OWN = "an own network's code, tried out by `prove_own` in both; see test_own_network.py"
_GUARD = "guards against a caller inside Cristae"
TABLE: dict[str, tuple[str, ...] | str] = {
    "classical.fit.require_voxel_size": ("forest: no voxel size",),
    "classical.fit._require_classes": ("forest: no background",),
    "classical.fit._Learner.objects": "whether the first stage finds objects shows only once it has learnt",
    "augment.artefacts.Drift.check": ("drift across slices",),
    "augment.geometric.require_axes": ("flip across slices", "shift across slices"),
    "augment.geometry.Rotate90.check": ("several problems",),
    "augment.form.SectionAugmentation.check_slices": ("missing sections of single slices", "sections of one slice"),
    "inference.application.choose_application": ("not exact", "exact with patches", "exact with filtered patches"),
    "inference.device.choose_device": ("device",),
    "inference.device.require_devices": ("few devices",),
    "training.tracking.require_trackers": ("tracker",),
    "losses.auxiliary.require_auxiliary_weights": ("auxiliary weights",),
    "losses.auxiliary._LossOfOutputs.forward": _OWN,
    "losses.dice.weights_of": ("weight of an unknown class",),
    "losses.seget.SegETLoss.as_terms": ("loss for one class",),
    "losses.sum.SumLoss.as_terms": ("term for one class",),
    "preprocess.grain.check_areas": _GUARD,
    "preprocess.grain_image.grain_filtered": "`convert` filters with it alone",
    "preprocess.grain_image.require_filterable": ("filter of a palette",),
    "preprocess.histogram.add_up": ("mixed types",),
    "preprocess.histogram.IntensityHistogram.of": _GUARD,
    "preprocess.histogram._kind": _GUARD,
    "preprocess.histogram.read_finite": _GUARD,
    "preprocess.histogram.require_grey": _GUARD,
    "preprocess.normalize.Normalizer.from_dict": _OTHER_VERBS,
    "preprocess.shift.distance": _OTHER_VERBS,
    "preprocess.form.fit": ("constant volume", "constant training region", "one grey left"),
    "preprocess.resample.resample_image": _GUARD,
    "preprocess.tree_of_shapes._check": _GUARD,
    "preprocess.tree_of_shapes.check_size": _GUARD,
    "recipe.consistency.check_consistency": (
        "patch axes",
        "several problems",
        "forest: windows",
        "forest: patches",
        "forest: filtered patches",
        "filter that leaves nothing",
        "the same filter twice",
        "filtered patches and filtered slices",
        "filtered slices of scaled patches",
        "weight decay of adam",
        "affinities across slices",
        "affinities of one volume alone",
        "post-processing of an unknown class",
    ),
    "recipe.consistency.require_regions": ("nothing to validate on",),
    "recipe.network.build_network": ("large network",),
    "recipe.network.starting_weights": ("nothing to start from",),
    "targets.boundaries.Boundaries.require": ("borders of nothing",),
    "targets.channel.Channel.require": ("distances in nm",),
    "targets.edges.EdgeWeighting.groups": ("edges of an unknown class",),
    "targets.weighting.SampleForegroundWeighting.check": ("weights without a background",),
    "sampling.named.by_class": ("frequency of an unknown class", "acceptance of an unknown class"),
    "sampling.part.require_voxels": "training says so before, of masks that leave nothing, in words of its own",
    "sampling.random._require_wanted": ("frequency of a class that is nowhere",),
    "sampling.rejection.RejectionPatches.check_classes": ("nothing accepted",),
    "sampling.rejection.RejectionPatches.plan": ("no middle accepted",),
    "training.cache.require_weights": ("weights of 0",),
    "training.cache_folder._messages": ("cache",),
    "training.cached_arrays.CachedArray.require": _LATER,
    "training.cached_arrays.open_cached": _LATER,
    "training.compilation.require_compiler": ("no compiler",),
    "training.counts.count_on_device": _GUARD,
    "training.counts._count_by_torch": _GUARD,
    "training.checkpoints.AtomicCheckpoints._require_own": _LATER,
    "training.checkpoints.AtomicCheckpoints.load_checkpoint": _LATER,
    "training.filtered_channels.require_filterable_slices": ("filter that leaves nothing of slices",),
    "training.fit.fit": _LATER,
    "training.forecast.forecast": "`doctor` takes steps, which neither a check nor a training measures",
    "training.parameter_groups.group_parameters": (
        "group of nothing",
        "all groups frozen",
        "all groups frozen at first",
    ),
    "training.nonfinite.NonfiniteReport._report": _LATER,
    "training.patch_reach.require_one_mirror": ("far outside",),
    "training.regions._common_voxel_size": ("other voxel size", "unknown voxel size"),
    "training.regions._named": ("constant volume of its own", "forest: constant"),
    "training.regions.on_working_grid": ("affinities on another grid",),
    "training.regions.prepare_regions": ("no labels for one",),
    "training.regions.require_classes": (
        "class without voxels",
        "all background",
        "mask leaves nothing",
        "affinities with masked partners",
    ),
    "training.regions.require_partners": ("affinities farther than the region",),
    "training.regions.require_validation": ("mask leaves nothing to validate",),
    "workflows.training_data.open_training_data": ("part of the data",),
    "workflows.prepare_training.require_measurable": (
        "post-processing in nm",
        "forest: post-processing in nm",
        "nested folds: post-processing in nm",
    ),
    "workflows.prepare_training._feed": (
        "few random patches",
        "few grid patches",
        "few patches for an update",
        "schedule longer than the training",
        "warm-up longer than the schedule",
        "epochs at a rate of 0",
    ),
    "workflows.prepare_validation.prepare_validation": "no way of sampling leaves out all patches where voxels count",
    "workflows.train.train": "says that a recipe stands for several trainings, which `recipe check` checks all",
    "workflows.train_study.train_study": "says that a recipe stands for one training, which `recipe check` checks",
    "workflows.train_network._check_length": _LATER,
    "data.folds.plan.plan_folds": ("interleaved volumes", "fold that is not there"),
    "data.folds.plan._count": ("folds of too few slices", "nested folds of too few volumes"),
    "data.folds.plan._require_voxels": (
        "folds without training data",
        "fold without a class",
        "nested folds without validation data",
    ),
    "data.folds.units.choose_by": ("folds of one slice",),
    "data.folds.units.sample_of": ("sample of an image by two patterns",),
    "data.folds.units.units_of": ("blocks of images",),
    "data.folds.units._whole": ("folds of samples that are not named",),
}
ROOMS = ("data/folds", "training", "sampling", "targets", "preprocess", "losses", "augment")
FILES = (
    "workflows/train.py", "workflows/train_study.py", "workflows/plan_study.py", "workflows/train_network.py",
    "workflows/held_out.py", "workflows/tune.py",
    "workflows/train_forest.py", "workflows/prepare_training.py",
    "workflows/prepare_validation.py", "workflows/training_data.py",
    "workflows/training_process.py", "workflows/validate_run.py", "recipe/consistency.py", "recipe/network.py",
    "recipe/complete.py", "classical/fit.py", "classical/samples.py", "inference/device.py", "inference/application.py",
    "evaluation/validation.py",
)  # fmt: skip


def refusals_in(path: Path, root: Path) -> set[str]:
    """The functions of a module that raise an error of Cristae's, as `room.file.function`."""
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, CristaeError)}
    found: set[str] = set()

    def walk(node: ast.AST, names: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            inner = names
            if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                inner = (*names, child.name)
            if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
                called = child.exc.func
                if isinstance(called, ast.Name) and called.id in kinds:
                    found.add(".".join((*path.relative_to(root).with_suffix("").parts, *names)))
            walk(child, inner)

    walk(ast.parse(path.read_text(encoding="utf-8")), ())
    return found


def test_every_refusal_of_training_is_in_the_table() -> None:
    root = Path(str(cristae.__file__)).parent
    files = [*(root / file for file in FILES), *(one for room in ROOMS for one in sorted((root / room).glob("*.py")))]
    found = set[str]().union(*(refusals_in(file, root) for file in files))
    assert found == set(TABLE)
    named = {name for entry in TABLE.values() if not isinstance(entry, str) for name in entry}
    assert named <= {case.name for case in CASES}
