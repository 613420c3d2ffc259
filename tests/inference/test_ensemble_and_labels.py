"""From the probabilities of several runs to class ids, by hand."""

import pytest
import torch

from cristae.data.classes import Classes
from cristae.errors import RunError
from cristae.inference.ensemble import plan_ensemble
from cristae.inference.labels import bytes_of, labels_of

STRUCTURES = ("synapse", "microtubules", "centriole", "granules", "golgi")


def binary(name, **more):
    return Classes(names=("background", name), **more)


def voxels(*columns):
    """(K, 1, 1, N) probabilities from one tuple of K scores for each voxel."""
    return torch.tensor(columns, dtype=torch.float32).T[:, None, None]


def ids(probabilities, ensemble, threshold=0.5):
    return labels_of(probabilities, ensemble, threshold)[:, 0, 0].tolist()


def test_merging_binary_structures():
    ensemble = plan_ensemble([binary(name) for name in STRUCTURES])
    assert ensemble.classes.names == ("background", *STRUCTURES)
    assert ensemble.channel_names == STRUCTURES
    scores = voxels(
        (0.2, 0.6, 0.55, 0.1, 0.3),  # the published example: the second is highest
        (0.5, 0.4, 0.5, 0.1, 0.0),  # nothing above one half
        (0.1, 0.9, 0.3, 0.9, 0.2),  # a tie goes to the lower id
        (0.0, 0.0, 0.0, 0.0, 0.51),
    )
    assert ids(scores, ensemble) == [[2, 0, 2, 5]]
    assert ids(scores, ensemble, 0.7) == [[0, 0, 2, 0]]


def test_one_sigmoid_is_strict():
    ensemble = plan_ensemble([binary("mito")])
    assert ids(voxels((0.49,), (0.5,), (0.5001,), (1.0,)), ensemble) == [[0, 0, 1, 1]]


def test_softmax_takes_the_most_probable_and_the_lower_id():
    ensemble = plan_ensemble([Classes(names=("background", "a", "b"))])
    assert ensemble.channel_names == ("background", "a", "b")
    assert ids(voxels((0.2, 0.3, 0.5), (0.4, 0.4, 0.2), (0.34, 0.33, 0.33), (0.1, 0.45, 0.45)), ensemble) == [
        [2, 0, 0, 1]
    ]


def test_overlapping_classes_have_one_mask_each():
    ensemble = plan_ensemble([Classes(names=("membrane", "mito"), exclusive=False)] * 2)
    assert ensemble.groups == ((0, 1),)
    assert ids(voxels((0.6, 0.7), (0.5, 0.2), (0.1, 0.9)), ensemble) == [[1, 0, 0], [1, 0, 1]]


def test_members_of_a_structure_are_grouped():
    ensemble = plan_ensemble([binary("a"), binary("b"), binary("a")])
    assert ensemble.groups == ((0, 2), (1,))
    assert ensemble.channels == 2


def test_colours_are_kept():
    ensemble = plan_ensemble([binary("a", colors={"a": "#112233"}), binary("b", colors={"background": "#ffffff"})])
    assert ensemble.classes.color_of("a") == "#112233"
    assert ensemble.classes.color_of("background") == "#000000"


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ([binary("a"), Classes(names=("background", "a", "b"))], "different classes"),
        ([Classes(names=("x",), exclusive=False), Classes(names=("y",), exclusive=False)], "different classes"),
        ([binary("a"), Classes(names=("other", "a"))], "must differ"),
        ([binary("a"), Classes(names=("a", "b"))], None),
        ([binary("a"), Classes(names=("b", "background"))], "must differ"),
    ],
)
def test_what_cannot_be_joined(members, word):
    if word is None:
        assert plan_ensemble(members).classes.names == ("background", "a", "b")
        return
    with pytest.raises(RunError, match=word):
        plan_ensemble(members)


@pytest.mark.parametrize("turned", [False, True])
def test_the_message_names_two_runs_that_differ(turned):
    three, one = Classes(names=("background", "a", "b")), binary("c")
    members = [one, three] if turned else [three, three, one]
    told = r"\(background, c\) and \(background, a, b\)" if turned else r"\(background, a, b\) and \(background, c\)"
    with pytest.raises(RunError, match=told):
        plan_ensemble(members)


def test_probabilities_as_bytes():
    assert bytes_of(torch.tensor([0.0, 1.0, 0.5, 0.001, 0.00197])).tolist() == [0, 255, 128, 0, 1]
