"""What a camera does to the picture: sampling, colour cast, exposure, blur, noise, JPEG."""

from io import BytesIO
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.synthetic.scene import Camera


def expose(
    canvas: NDArray[np.float32], size: tuple[int, int], camera: Camera, rng: Random, noise_seed: int
) -> Image.Image:
    """The picture that the camera delivers.

    `canvas`: (H, W, 3) float32 in 0..255; `size`: (width, height) of the result in pixels. Colour cast, exposure and
    contrast vary around the camera's own; noise is a function of `noise_seed`.
    """
    exposure = rng.uniform(0.92, 1.10)
    gains = np.array([gain * exposure * rng.uniform(0.985, 1.015) for gain in camera.gains], np.float32)
    levels = np.clip(canvas * gains, 0, 255).astype(np.uint8)
    picture = Image.fromarray(levels).resize(size, Image.Resampling.BILINEAR)
    sigma = camera.blur * rng.uniform(0.6, 1.3) * size[1] / 160
    picture = picture.filter(ImageFilter.GaussianBlur(sigma))
    pixels = np.asarray(picture, np.float32)
    noise = np.random.default_rng(noise_seed).standard_normal((size[1], size[0]), np.float32)
    strength = camera.noise * rng.uniform(0.6, 1.3)
    coloured = noise[..., None] + 0.5 * np.roll(noise, (3, 5), (0, 1))[..., None] * np.array([1, -0.6, 0.8], np.float32)
    pixels = 255.0 * np.power(np.clip(pixels / 255.0, 0, 1), np.float32(camera.gamma)) + coloured * strength
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def encode(picture: Image.Image, camera: Camera, rng: Random) -> bytes:
    """The picture as JPEG bytes at about the camera's quality."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=max(50, min(94, camera.quality + rng.randint(-6, 6))))
    return buffer.getvalue()
