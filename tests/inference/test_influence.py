"""What each position depends on, against gradients of the very same function."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.inference.influence.spans import NotLocalError
from cristae.inference.influence.watch import Watch
from cristae.inference.shadow import shadow_of


class Function(nn.Module):
    """A function of an image as a network."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.function(self, image)


def positive(layer):
    for values in layer.parameters():
        values.data.abs_().add_(0.1)
    return layer


LINEAR = {
    "convolution": nn.Conv2d(4, 2, (3, 5), padding=(1, 2)),
    "strided, dilated, uneven": nn.Conv2d(4, 2, (3, 4), stride=(2, 3), padding=(2, 1), dilation=(2, 1)),
    "same": nn.Conv2d(4, 2, (3, 5), padding="same", dilation=2),
    "depthwise": nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "transposed": nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1),
    "transposed, dilated, with output padding": nn.ConvTranspose2d(4, 2, 3, 3, 2, output_padding=1, dilation=2),
    "average": nn.AvgPool2d(3, 2, 1),
    "average, ceiled": nn.AvgPool2d(3, 2, ceil_mode=True),
    "average of nothing padded": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "nearest": nn.Upsample(scale_factor=3),
    "nearest down": nn.Upsample(scale_factor=0.5),
    "nearest-exact": nn.Upsample(scale_factor=0.5, mode="nearest-exact"),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear down": nn.Upsample(scale_factor=0.5, mode="bilinear"),
    "reflection": nn.ReflectionPad2d((2, 1, 0, 3)),
    "replication": nn.ReplicationPad2d((2, 1, 0, 3)),
    "zeros": nn.ZeroPad2d((2, 1, 0, 3)),
    "negative zeros": nn.ZeroPad2d((-2, 1, 0, -3)),
    "pixel shuffle": nn.PixelShuffle(2),
    "pixel unshuffle": nn.PixelUnshuffle(2),
    "slices": Function(lambda self, x: x[:, 1:3, 2:-1, ::2]),
    "slices from the end": Function(lambda self, x: x[..., -5:]),
    "narrow": Function(lambda self, x: x.narrow(2, 3, 4).narrow(1, 0, 2)),
    "chunks": Function(lambda self, x: torch.chunk(x, 2, dim=2)[1] + x.split(6, 2)[0]),
    "maximum of shifted maps": Function(lambda self, x: torch.maximum(x[..., 3:], x[..., :-3])),
    "trainable linear unit": Function(lambda self, x: self.scale * F.relu(x) - self.scale * F.relu(-x)),
    "parameters on both sides": Function(lambda self, x: 2 / (1 + self.scale * x.abs()) + (1 - x) ** 2),
    "in place": Function(lambda self, x: F.avg_pool2d(x, 3, 1, 1).add_(x).mul_(self.scale)),
    "sum over channels": Function(lambda self, x: x.sum(1, keepdim=True) + x.mean(dim=1, keepdim=True)),
    "softmax over channels": Function(
        lambda self, x: torch.softmax(x, 1) * self.scale * torch.arange(4, device=x.device).reshape(4, 1, 1)
    ),
    "dropped channels": Function(lambda self, x: torch.stack([x[:, 0], x.unbind(1)[3]], dim=1)),
    "linear over channels": Function(
        lambda self, x: F.linear(x.movedim(1, -1), torch.ones(3, 4, device=x.device)).permute(0, 3, 1, 2)
    ),
    "shuffled channels": Function(
        lambda self, x: x.view(1, 2, 2, *x.shape[2:]).transpose(1, 2).reshape(1, 4, *x.shape[2:])
    ),
    "a depth of its own": Function(
        lambda self, x: F.conv3d(x.unsqueeze(1), torch.ones(2, 1, 4, 3, 3, device=x.device), padding=(0, 1, 1)).squeeze(
            2
        )
    ),
    "channels last": Function(lambda self, x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2)),
}


def spans_of(network, image):
    """First and last positions for each dimension, by the rules."""
    with shadow_of(network) as shadow:
        given = torch.empty_like(image, device="meta")
        watch = Watch(shadow.tensors.values(), given)
        with watch:
            output = shadow(given)
        return watch.field(output)


def support(network, image):
    """The same by gradients, for dimensions 2 and 3: a list of (first, last) for each position."""
    given = image.clone().requires_grad_()
    output = network(given)
    weights = torch.rand(output.shape, generator=torch.Generator().manual_seed(1), dtype=image.dtype)
    found = []
    for dim in (2, 3):
        rows = []
        for row in (output * weights).movedim(dim, 0).flatten(1).sum(1):
            (gradient,) = torch.autograd.grad(row, given, retain_graph=True)
            there = gradient.movedim(dim, 0).flatten(1).abs().amax(1).nonzero().flatten()
            rows.append((int(there.min()), int(there.max())) if len(there) else None)
        found.append(rows)
    return found


def intervals(field):
    return [
        [(int(a), int(b)) if a <= b else None for a, b in zip(one.first, one.last, strict=True)] for one in field[2:]
    ]


@pytest.mark.parametrize("layer", LINEAR.values(), ids=LINEAR)
def test_what_positions_depend_on(layer):
    torch.manual_seed(0)
    network = positive(layer).eval()
    image = 1 + torch.rand(1, 4, 12, 10)
    field = spans_of(network, image)
    assert [one.axis for one in field[2:]] == [0, 1]
    assert intervals(field) == support(network, image)


@pytest.mark.parametrize(("factor", "mode"), [(2, "bicubic"), (3, "bicubic"), (3, "bilinear"), (1 / 3, "bilinear")])
def test_enlargement_contains_its_taps(factor, mode):
    """Rounding decides whether a position of which the centre lies on a voxel gets a trace of the next one too."""
    network, image = nn.Upsample(scale_factor=factor, mode=mode), torch.rand(1, 1, 12, 9)
    pairs = zip(intervals(spans_of(network, image))[0], support(network, image)[0], strict=True)
    assert all(one[0] <= other[0] <= other[1] <= one[1] for one, other in pairs)


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(3, 1, 1, 2)]
)
def test_max_pooling_reaches_as_far_as_averages_of_the_same_window(pool):
    """Rising and falling images show the last and the first voxel of each window."""
    image = torch.arange(12.0).reshape(1, 1, 12, 1).expand(1, 1, 12, 10).clone()
    last, first = support(pool, image)[0], support(pool, image.flip(2))[0]
    assert intervals(spans_of(pool, image))[0] == [(a[0], b[1]) for a, b in zip(first, last, strict=True)]


class Unpooled(nn.Module):
    """The places of the largest come from one map, the values from a blurred other."""

    def forward(self, image: Tensor) -> Tensor:
        pooled, places = F.max_pool2d(image, 2, return_indices=True)
        return F.max_unpool2d(F.avg_pool2d(pooled, 3, 1, 1), places, 2)


def test_unpooling_depends_on_the_values_and_on_the_places():
    found = intervals(spans_of(Unpooled(), torch.rand(1, 1, 12, 10)))[0]
    # Cell i of the pooled map holds voxels 2i and 2i + 1, and the blurred one what its neighbours hold too.
    assert found == [(max(0, 2 * (y // 2) - 2), min(11, 2 * (y // 2) + 3)) for y in range(12)]


REFUSED = {
    "a sum over the image": lambda self, x: x + x.sum((2, 3), keepdim=True),
    "a maximum over the image": lambda self, x: x / x.amax(),
    "a maximum along an axis": lambda self, x: x + x.max(2, keepdim=True).values,
    "attention": lambda self, x: F.scaled_dot_product_attention(x, x, x),
    "a matrix product": lambda self, x: x @ x.transpose(2, 3) @ x,
    "turned axes": lambda self, x: x + x.transpose(2, 3)[..., :12, :12].permute(0, 1, 3, 2).roll(1, 2),
    "a flip": lambda self, x: x.flip(2),
    "positions": lambda self, x: x + torch.linspace(0, 1, x.shape[3], device=x.device),
    "joined along an axis": lambda self, x: torch.cat([x, x], 2),
    "flattened": lambda self, x: x.flatten(2).reshape(x.shape),
    "one value spread": lambda self, x: x[..., :1, :1].expand_as(x),
    "one value added": lambda self, x: x + x[..., :1, :1],
    "values of the image": lambda self, x: x * float(x.mean()),
    "weights from the image": lambda self, x: F.conv2d(x, x[:, :, :3, :3]),
    "filtered batch": lambda self, x: F.batch_norm(x, None, None, training=True),
    "a part changed in place": lambda self, x: _added_in_place(x),
    "written into": lambda self, x: _written(x),
    "an unknown factor": lambda self, x: F.interpolate(x, scale_factor=1.5),
    "areas": lambda self, x: F.interpolate(x, scale_factor=0.5, mode="area"),
}


def _added_in_place(image):
    blurred = F.avg_pool2d(image, 3, 1, 1)
    part = blurred[:, :1]
    part += F.avg_pool2d(image, 9, 1, 4)[:, :1]
    return blurred


def _written(image):
    result = torch.zeros_like(image)
    result[:, :, 1:] = image[:, :, :-1]
    return result


@pytest.mark.parametrize("function", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(function):
    with pytest.raises((NotLocalError, RuntimeError)):
        spans_of(Function(function), torch.rand(1, 4, 12, 12))


def test_what_has_an_unknown_origin_is_refused():
    """A custom gradient hides what happens inside, and hides nothing from us."""

    class Mean(torch.autograd.Function):
        @staticmethod
        def forward(ctx, image):
            return image.mean((2, 3), keepdim=True).expand_as(image).clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    with pytest.raises(NotLocalError):
        spans_of(Function(lambda self, x: x + Mean.apply(x)), torch.rand(1, 4, 12, 12))
