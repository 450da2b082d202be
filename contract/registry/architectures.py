"""Networks that a spec can describe. `parameters` and `work` count without torch, so that the API can quote sizes and times."""

from itertools import pairwise
from math import prod
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from contract.base import About, Choice

Width = Annotated[int, Field(ge=1, le=16384)]
Dropout = Annotated[float, Field(ge=0, lt=1, description="Share of hidden units silenced in each training step.")]
Shape = tuple[int, ...]


class Work(NamedTuple):
    """What a forward pass costs: multiplications with their addition for a row, kernels that start one after the other whatever the number
    of rows, numbers that a row leaves behind for its gradient, and the numbers that go into and come out of the widest layer for a row."""

    multiply_adds: int
    kernels: int
    values: int
    widest: int


class _Architecture(Choice):
    KEY: ClassVar = "arch"
    READS: ClassVar[Literal["numbers", "text"]] = "numbers"
    LAYERED: ClassVar[bool] = False  # whether it is a stack of transformer layers
    SERVES: ClassVar[tuple[str, ...]] = ("image-classification", "tabular-classification")  # tasks
    PACE: ClassVar[float] = 0.5  # share of a large matrix product's speed that its layers reach: `python -m benchmarks.preflight`

    def parameters(self, shape: Shape, classes: int) -> int:
        """Trainable parameters for inputs of `shape` (without the batch) and `classes` outputs."""
        raise TypeError(f"{type(self).__name__} cannot count its parameters")

    def work(self, shape: Shape, classes: int, tokens: int = 0) -> Work:
        """Of a row of this shape; of a text, which has no shape, with so many tokens."""
        raise TypeError(f"{type(self).__name__} cannot count its work")

    def refuses(self, shape: Shape) -> str | None:
        """Why inputs of this shape cannot be used, or None."""
        return None


def _dense(widths: list[int]) -> int:
    return sum(a * b + b for a, b in pairwise(widths))


def _dense_work(widths: list[int]) -> Work:
    """Linear layers with ReLU between them."""
    products = [a * b for a, b in pairwise(widths)]
    return Work(sum(products), 2 * len(products) - 1, widths[0] + 2 * sum(widths[1:]), max(a + b for a, b in pairwise(widths)))


def _convolved(before: int, after: int, height: int, width: int, kernel: int = 9) -> int:
    """Multiplications of a convolution with this output."""
    return before * after * kernel * height * width


class Logistic(_Architecture):
    ABOUT: ClassVar = About("Multinomial logistic regression: one linear layer.", "z = W·x + b")
    arch: Literal["logistic"] = "logistic"

    def parameters(self, shape: Shape, classes: int) -> int:
        return _dense([prod(shape), classes])

    def work(self, shape: Shape, classes: int, tokens: int = 0) -> Work:
        return _dense_work([prod(shape), classes])


class Mlp(_Architecture):
    ABOUT: ClassVar = About("Fully connected layers with ReLU between them.", "z = W_n·relu(… relu(W_1·x + b_1) …) + b_n")
    arch: Literal["mlp"] = "mlp"
    hidden: list[Width] = Field(min_length=1, max_length=64, description="Width of each hidden layer, first to last.")
    dropout: Dropout = 0.0

    def parameters(self, shape: Shape, classes: int) -> int:
        return _dense([prod(shape), *self.hidden, classes])

    def work(self, shape: Shape, classes: int, tokens: int = 0) -> Work:
        return _dense_work([prod(shape), *self.hidden, classes])


class Cnn(_Architecture):
    ABOUT: ClassVar = About(
        "3×3 convolutions with ReLU, each followed by 2×2 max-pooling while the image is at least 2 pixels high and wide; then one "
        "hidden layer and the classes.",
        "conv-relu-pool, …, flatten, linear-relu, linear",
        "LeCun et al. 1998, https://doi.org/10.1109/5.726791",
    )
    PACE: ClassVar = 0.3
    arch: Literal["cnn"] = "cnn"
    channels: list[Width] = Field(
        default=[16, 32], min_length=1, max_length=16, description="Output channels of each convolution, first to last."
    )
    hidden: Width = Field(default=64, description="Width of the layer before the classes.")
    dropout: Dropout = 0.0

    def parameters(self, shape: Shape, classes: int) -> int:
        before, height, width = shape
        count = 0
        for channels in self.channels:
            count += before * channels * 9 + channels
            if min(height, width) >= 2:
                height, width = height // 2, width // 2
            before = channels
        return count + _dense([before * height * width, self.hidden, classes])

    def work(self, shape: Shape, classes: int, tokens: int = 0) -> Work:
        before, height, width = shape
        products = values = widest = 0
        for channels in self.channels:
            size = channels * height * width
            products += _convolved(before, channels, height, width)
            values += 3 * size  # the convolution's, the ReLU's, and half as many whole numbers of twice the width from pooling
            widest = max(widest, before * height * width + size, 2 * size)
            if min(height, width) >= 2:
                height, width = height // 2, width // 2
            before = channels
        head = _dense_work([before * height * width, self.hidden, classes])
        kernels = 3 * len(self.channels) + head.kernels
        return Work(products + head.multiply_adds, kernels, values + head.values, max(widest, head.widest))

    def refuses(self, shape: Shape) -> str | None:
        if len(shape) == 3:
            return None
        return f"cnn needs images (channels × height × width), and these rows have shape {list(shape)}"


class Resnet(_Architecture):
    ABOUT: ClassVar = About(
        "Small residual network: one convolution, then stages of residual blocks, each stage after the first at half the resolution; "
        "global average and the classes. Batch normalisation throughout.",
        "y = relu(F(x) + shortcut(x)) for each block",
        "He et al. 2016, https://arxiv.org/abs/1512.03385",
    )
    PACE: ClassVar = 0.3
    arch: Literal["resnet"] = "resnet"
    channels: list[Width] = Field(default=[16, 32, 64], min_length=1, max_length=8, description="Channels of each stage.")
    blocks: int = Field(default=1, ge=1, le=32, description="Residual blocks in each stage.")

    def parameters(self, shape: Shape, classes: int) -> int:
        count = shape[0] * self.channels[0] * 9 + 2 * self.channels[0]
        before = self.channels[0]
        for stage, after in enumerate(self.channels):
            for block in range(self.blocks):
                count += 9 * before * after + 9 * after * after + 4 * after
                if before != after or (stage > 0 and block == 0):  # the shortcut has to change width or resolution
                    count += before * after + 2 * after
                before = after
        return count + _dense([before, classes])

    def work(self, shape: Shape, classes: int, tokens: int = 0) -> Work:
        height, width = shape[1:]
        before = self.channels[0]
        products, kernels = _convolved(shape[0], before, height, width), 3
        values = 3 * before * height * width
        widest = 2 * before * height * width
        for stage, after in enumerate(self.channels):
            for block in range(self.blocks):
                halved = stage > 0 and block == 0
                if halved:
                    height, width = -(-height // 2), -(-width // 2)
                products += _convolved(before, after, height, width) + _convolved(after, after, height, width)
                kernels, values = kernels + 7, values + 7 * after * height * width
                if before != after or halved:
                    products += _convolved(before, after, height, width, kernel=1)
                    kernels, values = kernels + 2, values + 2 * after * height * width
                widest = max(widest, 2 * after * height * width)
                before = after
        return Work(products + before * classes, kernels + 2, values + classes, widest)

    def refuses(self, shape: Shape) -> str | None:
        if len(shape) != 3:
            return f"resnet needs images (channels × height × width), and these rows have shape {list(shape)}"
        smallest = 2 ** len(self.channels)
        if min(shape[1:]) < smallest:
            return f"{len(self.channels)} stages need images of at least {smallest} × {smallest} pixels; these have {shape[1]} × {shape[2]}"
        return None
