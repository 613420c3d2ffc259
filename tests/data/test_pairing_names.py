"""Names that people and other programs give to images and labels: paired as meant, or refused; never wrongly."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cristae.data.description import DataConfig, Match
from cristae.data.name_parts import parts_of
from cristae.data.open import open_data
from cristae.data.pairing import find_match, pair_files
from cristae.errors import LabelError


def images_of(pattern: str, count: int = 12) -> list[str]:
    return [pattern.format(z) for z in range(count)]


def paired(labels: list[str], images: list[str]) -> tuple[Match, dict[str, str]]:
    """The rule that was found, and the image of each label."""
    match = find_match(labels, images, where="labels")
    found = pair_files(labels, images, match, where="labels")
    return match, {labels[label]: images[image] for image, label in found.items()}


def test_a_name_is_taken_apart_into_words_numbers_dates_and_measures() -> None:
    assert parts_of("sub/Mask-003_8bit.ome.tif") == (("word", "mask"), ("number", 3), ("bit", "8"))
    assert parts_of("2024-01-02_4x4x40nm_z7") == (("date", "20240102"), ("nm", "4x4x40"), ("word", "z"), ("number", 7))
    assert parts_of("cellA20240102.png")[1:] == (("word", "a"), ("date", "20240102"))
    assert parts_of("99992024010203") == (("number", 99992024010203),)


SCHEMES = [
    ("nnU-Net", "case_{:03}_0000.png", "case_{:03}.png", "part"),
    ("suffix mask", "cell_{:02}.tif", "cell_{:02}_mask.tif", "number"),
    ("suffix with a dash", "im{}.png", "im{}-labels.png", "number"),
    ("suffix with a number", "image{:03}.png", "mask{:03}_8bit.png", "part"),
    ("prefix", "slice_{:03}.png", "gt_slice_{:03}.png", "number"),
    ("other word", "image_{:04}.tif", "label_{:04}.tif", "number"),
    ("padding", "slice_{}.png", "slice_{:03}.png", "number"),
    ("voxel size in images", "z{:03}_4nm.png", "z{:03}.png", "part"),
    ("voxel size and bits", "z{:03}_4x4nm.png", "z{:03}_8bit.png", "part"),
    ("date behind", "z{:03}_2024-01-02.png", "z{:03}.png", "part"),
    ("other dates in front", "2024-01-02_z{:03}.png", "2024-02-03_mask_{:03}.png", "number"),
    ("compact date behind", "img{:02}_20240102.png", "img{:02}_seg_20240211.png", "part"),
    ("Cellpose", "img_{:03}.tif", "img_{:03}_cp_masks.png", "number"),
    ("ilastik", "raw_{:02}.tif", "raw_{:02}_Simple Segmentation.tif", "number"),
    ("ImageJ stack export", "stack{:04}.tif", "Labels of stack{:04}.tif", "number"),
    ("OME-TIFF images", "s{:02}.ome", "s{:02}.png", "name"),
    ("capitals", "Slice_{:02}.PNG", "slice_{:02}_GT.png", "number"),
    ("tile and version", "tile_{:02}_v2.png", "tile_{:02}_v1_label.png", "part"),
    ("webknossos", "{:05}.tif", "volume_{:05}_annotated_by_2.tif", "part"),
]


@pytest.mark.parametrize(("case", "image", "label", "match"), SCHEMES, ids=[row[0] for row in SCHEMES])
@pytest.mark.parametrize("labelled", [(1, 4, 7), tuple(range(12)), (3, 11)])
def test_schemes_of_people_and_programs_are_paired(
    case: str, image: str, label: str, match: Match, labelled: tuple[int, ...]
) -> None:
    found, pairs = paired([label.format(z) for z in labelled], images_of(image))
    assert found == match
    assert pairs == {label.format(z): image.format(z) for z in labelled}


@pytest.mark.parametrize(
    ("label", "image", "meant"),
    [
        ("mask003_8bit.png", "image{:03}.png", "image003.png"),
        ("case_007.png", "case_{:03}_0000.png", "case_007_0000.png"),
        ("2024-01-02_label_0005.tif", "2024-01-02_image_{:04}.tif", "2024-01-02_image_0005.tif"),
        ("run_1_label_005.png", "run_1_slice_{:03}.png", "run_1_slice_005.png"),
    ],
)
def test_one_label_file_is_enough(label: str, image: str, meant: str) -> None:
    assert paired([label], images_of(image))[1] == {label: meant}


def test_words_and_two_numbers_tell_files_apart_too() -> None:
    animals = ["liver_left", "liver_right", "heart_left"]
    _, pairs = paired(["seg_heart_left.png", "seg_liver_right.png"], [f"{name}.png" for name in animals])
    assert pairs == {"seg_heart_left.png": "heart_left.png", "seg_liver_right.png": "liver_right.png"}
    images = [f"run{run}_slice{z}.png" for run in range(3) for z in range(4)]
    with pytest.raises(LabelError, match="could belong to"):  # the first number could be the slice
        paired(["mask_1_2.png"], images)
    _, pairs = paired(["mask_1_3.png", "mask_0_2.png"], images)  # there is no run 3
    assert pairs == {"mask_1_3.png": "run1_slice3.png", "mask_0_2.png": "run0_slice2.png"}


REFUSED = [
    ("versions that are slices too", images_of("cell_{}.png"), ["cell_4_v2.png", "cell_7_v1.png"], "could belong to"),
    ("a counter before the slice", images_of("s_{}.png"), ["1_of_s_004.png", "2_of_s_007.png"], "could belong to"),
    ("nothing in common", images_of("s_{}.png"), ["north.png", "south.png"], "no number or word"),
    ("counted from 1", images_of("s_{}.png"), [f"m_{z}.png" for z in range(1, 13)], "no number or word"),
    ("words against numbers", ["liver_1.png", "heart_2.png"], ["heart_1.png", "liver_2.png"], "could belong to"),
    ("two files of one slice", images_of("s_{}.png"), ["s_3_a.png", "s_3_b.png"], "no number or word"),
    (
        "several channels",
        [f"case_{z}_000{c}.png" for z in range(3) for c in range(2)],
        ["case_0.png", "case_2.png"],
        r"channels of one image.*`FOLDER/\*_0000\.\*`",
    ),
    (
        "channels, and as many labels",
        ["case_0_0000.png", "case_0_0001.png", "case_1_0000.png"],
        ["case_0.png", "case_1.png", "q.png"],
        "channels of one image",
    ),
    ("words of which one is shared", ["heart.png", "liver.png"], ["heart_m.png", "spleen_m.png"], "no number or word"),
    ("unrelated numbers", ["t1015.png", "t1020.png"], ["1_a.png", "2_b.png"], "no number or word"),
    ("a name without the slice", [f"img_3_{z}.png" for z in range(9)], ["img_3.png"], "no number or word"),
    ("channels of one case", ["case_1_0000.png", "case_1_0001.png"], ["case_1.png"], "channels of one image"),
]


@pytest.mark.parametrize(("case", "images", "labels", "text"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_names_leave_open_is_refused(case: str, images: list[str], labels: list[str], text: str) -> None:
    with pytest.raises(LabelError, match=f"(?s)^labels of 'v': .*{text}") as error:
        find_match(labels, images, where="labels of 'v'")
    assert "match: order" not in str(error.value)
    with pytest.raises(LabelError, match=f"(?s){text}"):
        pair_files(labels, images, "part", where="labels of 'v'")


def test_order_is_taken_only_where_names_do_not_speak_against_it() -> None:
    assert paired(["a.png", "b.png"], ["1.png", "2.png"]) == ("order", {"a.png": "1.png", "b.png": "2.png"})
    assert paired(["gt.png"], ["scan7.png"]) == ("order", {"gt.png": "scan7.png"})
    with pytest.raises(LabelError):
        find_match(["b.png", "c.png"], ["a.png", "b.png"], where="labels")


def test_what_an_error_advises_has_been_tried() -> None:
    images = images_of("case_{:03}_0000.png")
    with pytest.raises(LabelError, match=r"`match: part`, which takes 'case_001.png' for 'case_001_0000.png'"):
        pair_files(["case_001.png"], images, "name", where="labels of 'v'")
    with pytest.raises(LabelError, match=r"`match: number`, which takes 'm2.png' for 's2.png'"):
        pair_files(["m2.png"], images_of("s{}.png"), "order", where="labels of 'v'")
    with pytest.raises(LabelError, match=r"No rule surely pairs.*'s0.tif' for the label of 's0.png'"):
        pair_files(["x.tif"], images_of("s{}.png"), "name", where="labels of 'v'")
    labels = ["s0.png", "s1.png", "s2.png", "overview.png"]
    with pytest.raises(LabelError, match=r"Remove 'overview\.png', or add its image"):
        pair_files(labels, images_of("s{}.png"), "name", where="labels of 'v'")
    assert pair_files(labels[:3], images_of("s{}.png"), "name", where="labels of 'v'")
    with pytest.raises(LabelError, match=r"(?s)'s0\.png', 's0\.tif' have the same name.*Keep one file for each"):
        pair_files(["s0.png", "s0.tif"], images_of("s{}.png"), "name", where="labels of 'v'")


WORDS = ["slice", "mask", "seg", "z", "img", "case", "labels", "gt", ""]
OTHERS = ["run", "v", "A", "b", "exp", "by", ""]
"""Words before numbers that mean something else: behind the same word a number means the same thing."""
ORGANS = ["liver", "heart", "raw", "c", "brain"]


@st.composite
def naming_schemes(draw: st.DrawFn) -> tuple[list[str], list[str], dict[str, str]]:
    """Images and labels whose names carry their slice, among numbers that mean something else; and the truth."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    count = draw(st.integers(2, 14))
    first = draw(st.integers(0, 3))
    keys: list[tuple[int | str, ...]] = [(z,) for z in range(first, first + count)]
    match draw(st.integers(0, 3)):
        case 1:
            keys = [(run, z) for run in range(3) for z in range(first, first + 4)]
        case 2:
            keys = [(organ,) for organ in ORGANS]
        case 3:
            keys = [(organ, z) for organ in ORGANS[:3] for z in range(first, first + 3)]
    chosen = sorted(rng.sample(range(len(keys)), draw(st.integers(1, len(keys)))))

    def names(of: list[tuple[int | str, ...]]) -> list[str]:
        fields: list[str] = [f"key{place}" for place in range(len(keys[0]))]
        for _ in range(rng.randint(0, 2)):
            kind = rng.choice(["constant", "counter", "random", "date", "bits", "word"])
            fields.insert(rng.randint(0, len(fields)), kind)
        words = [rng.choice(WORDS if field.startswith("key") else OTHERS) for field in fields]
        pads = [rng.choice([0, 3]) for _ in fields]
        constants = [rng.randint(0, 14) for _ in fields]
        signs = [rng.choice("_-.") for _ in fields]
        made = []
        for place, key in enumerate(of):
            name = ""
            for field, word, pad, constant, sign in zip(fields, words, pads, constants, signs, strict=True):
                value: int | str = constant
                if field.startswith("key"):
                    value = key[int(field[3:])]
                elif field in ("counter", "random"):
                    value = place + constant % 3 if field == "counter" else rng.randint(0, 14)
                text = str(value).zfill(pad)
                text = {"date": "2024-01-02", "bits": "8bit", "word": "raw"}.get(field, text)
                apart = "-" if word and not text[0].isdigit() else ""  # words that are run together are one word
                name += f"{word}{apart}{text}{sign}"
            made.append(f"{name[:-1]}.png")
        return made

    images, labels = names(keys), names([keys[place] for place in chosen])
    return labels, images, {label: images[place] for label, place in zip(labels, chosen, strict=True)}


@settings(max_examples=600, deadline=None)
@given(naming_schemes())
def test_a_pairing_is_the_true_one_or_is_refused(scheme: tuple[list[str], list[str], dict[str, str]]) -> None:
    labels, images, truth = scheme
    if len(set(labels)) < len(labels) or len(set(images)) < len(images):
        return
    try:
        found, pairs = paired(labels, images)
    except LabelError:
        return
    assert pairs == truth, found


def slices(folder: Path, names: list[str], value: int | None = None) -> None:
    folder.mkdir()
    for z, name in enumerate(names):
        voxels = np.full((20, 24), z if value is None else value, np.uint8)
        Image.fromarray(voxels).save(folder / name)


@pytest.mark.parametrize("kind", ["volume", "images"])
def test_labels_masks_valid_masks_and_weights_are_paired_alike(tmp_path: Path, kind: str) -> None:
    slices(tmp_path / "image", [f"case_{z}_0000.png" for z in range(6)])
    slices(tmp_path / "mito", [f"case_{z}.png" for z in (1, 4)])
    slices(tmp_path / "valid", [f"valid{z:03}_8bit.png" for z in range(6)], 1)
    slices(tmp_path / "weight", [f"w-{z}_2024-01-02.png" for z in range(6)])
    volume = {
        "name": "v",
        "kind": kind,
        "image": "image",
        "labels": {"kind": "masks", "masks": {"mito": {"path": "mito", "inside": "1", "match": "part"}}},
        "valid": {"path": "valid", "match": "part"},
        "weight": "weight",
        "weight_match": "part",
    }

    def described() -> DataConfig:
        return DataConfig.model_validate({"classes": {"names": ["background", "mito"]}, "volumes": [volume]})

    volumes = open_data(described(), tmp_path).volumes
    if kind == "images":
        assert [one.labelled_slices for one in volumes] == [None if z in (1, 4) else () for z in range(6)]
        weight = volumes[4].weight
        assert weight is not None
        assert (weight.read() == 4).all()
    else:
        assert volumes[0].labelled_slices == (1, 4)
        assert volumes[0].weight is not None
        assert volumes[0].weight.read()[:, 0, 0].tolist() == list(range(6))
        assert volumes[0].labels[0].read()[[1, 4], 0, 0].tolist() == [0, 1]
    volume.pop("weight_match")
    with pytest.raises(LabelError, match=r"(?s)^weight of 'v': .*Pair them with `match: part`"):
        open_data(
            DataConfig.model_validate({"classes": {"names": ["background", "mito"]}, "volumes": [volume]}), tmp_path
        )
