"""Which places of a picture a text is about: a score, divided among the places of the picture.

The score of a picture x for a direction t of the text space is s(x) = <v(x), t>. The image tower has a grid of places
half-way (`models.taps`), with contents A. Integrated gradients along the straight line from no contents to A give each
place the share (M. Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, eq 1)

    heat(p) = sum over channels of A_p * mean over steps of ds/dA_p at alpha * A,  alpha in (0, 1)

and the mirrored picture is taken along, as networks are trained on both. The direction is the phrase's vector without
what all phrases share (`descriptions.things.COMMON`): without that, the heat shows where a person is.

Chosen by the pointing game on synthetic people and `compact`: `python -m training pointing`, which has occlusion beside
it on demand. Tried there: occlusion, Grad-CAM, gradients of pixels, one gradient instead of a line of them, later maps,
noisy copies, smoothed maps; none was better. On CLIP it has not been measured.

Patch tokens are not compared with the text directly: in `compact` only whole rows reach the space of the texts, and in
CLIP patches never were trained to.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.encoder import PersonEncoder
from models.errors import DescryError
from models.taps import tapping

STEPS = 4
"""Points on the line; 8 and 16 point no better."""


class NotExplainableError(DescryError):
    """The network has no places whose part in a score could be told."""

    code = "model_not_explainable"


@dataclass(frozen=True, slots=True)
class Heat:
    """Attributes:
    values: (rows, columns) float32 on the CPU, in units of the score: above 0 speaks for the text, below against it.
    vector: (dim,) float32 on the CPU, v(x), unit-norm.
    """

    values: Tensor
    vector: Tensor


def heat(encoder: PersonEncoder, pixels: Tensor, direction: Tensor) -> Heat:
    """Divide a picture's score for a direction among its places.

    Takes about as long as encoding two pictures, then eight from half-way on and back. Safe beside other threads.

    Args:
        encoder: in evaluation mode.
        pixels: (3, H, W) uint8, from `encoder.preprocess`.
        direction: (dim,) float, in the `text` space; of any length.

    Raises:
        NotExplainableError: the network's towers have no places to look at.
    """
    device = next(encoder.parameters(), torch.empty(0)).device
    picture = encoder.normalise(pixels.unsqueeze(0).to(device))
    both = torch.cat([picture, picture.flip(-1)])
    walk = _Walk()
    with torch.enable_grad(), tapping(walk):
        vectors = encoder.encode_image(both)["text"]
        if walk.path is None or walk.contents is None:
            raise NotExplainableError(
                f"a {encoder.spec.method} network on {encoder.spec.backbone} cannot say which places a score comes "
                "from; `compact` and open_clip models can"
            )
        towards = direction.to(device=device, dtype=vectors.dtype)
        (slopes,) = torch.autograd.grad((vectors @ towards).sum(), walk.path)
    slope = slopes.view(2, STEPS, *slopes.shape[1:]).mean(dim=1)
    shares = (slope * walk.contents).sum(dim=-1).view(2, *walk.grid).float()
    values = (shares[0] + shares[1].flip(-1)) / 2
    with torch.no_grad():
        vector = encoder.encode_image(picture)["text"][0].float()
    return Heat(values.cpu(), vector.cpu())


class _Walk:
    """The tap: exchanges the places' contents for points on the way to them. The first look alone is meant."""

    def __init__(self) -> None:
        self.contents: Tensor | None = None
        self.path: Tensor | None = None
        self.grid = (0, 0)

    def __call__(self, places: Tensor, grid: tuple[int, int]) -> Tensor:
        self.contents, self.grid = places.detach(), grid
        alphas = (torch.arange(STEPS, device=places.device, dtype=places.dtype) + 0.5) / STEPS
        path = self.contents.unsqueeze(1) * alphas.view(1, -1, 1, 1)
        self.path = path.flatten(0, 1).requires_grad_()
        return self.path
