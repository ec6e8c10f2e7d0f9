"""The stage `latents`: every picture encoded once by the trained autoencoder.

Each latent channel's mean and deviation are folded into the autoencoder's two 1x1
convolutions first, so that latents are about N(0, 1) and the pipeline stays standard.
"""

import hashlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float, UInt8

from mos_model.errors import ZooError
from mos_zoo.models.vae import LATENT_CHANNELS, VaeStage
from mos_zoo.training.dataset import SETS, load_set
from mos_zoo.training.journal import Journal
from mos_zoo.training.loop import trained
from mos_zoo.world.pictures import to_tensor

ENCODED_SETS: Final = tuple(name for name, own in SETS.items() if not own.twins)
_SAMPLE: Final = 1024
_AT_ONCE: Final = 50


def encode_sets(state: Path, *, workers: int) -> None:
    """Normalise the trained autoencoder, then encode all sets of pictures.

    Raises:
        ZooError: the autoencoder or the pictures are missing.
        StorageError: the disk is full or read-only.
    """
    data = state / "data"
    vae = trained(VaeStage(data), state, Journal())
    pixels = load_set(data, "square", _SAMPLE).pixels[:_SAMPLE]
    normalise(vae, pixels)
    vae.save_pretrained(vae_folder(state))  # type: ignore[operator]
    mark = _mark(state)
    jobs = [name for name in ENCODED_SETS if not _path(state, name, mark).exists()]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for job in [pool.submit(_encode, state, name, mark) for name in jobs]:
            job.result()
    for old in (state / "latents").glob("*.npy"):
        if mark not in old.name:
            old.unlink()


def load_latents(state: Path, name: str) -> Float[np.ndarray, "n c h w"]:
    """The latents of one set, float16.

    Raises:
        ZooError: they were not encoded yet.
    """
    path = _path(state, name, _mark(state))
    try:
        latents: Float[np.ndarray, "n c h w"] = np.load(path)
    except (OSError, ValueError) as error:
        raise ZooError(f"{path}: no latents; run the stage `latents`") from error
    return latents


def vae_folder(state: Path) -> Path:
    """Where the normalised autoencoder lies."""
    return state / "vae-normalised"


@torch.no_grad()
def normalise(vae: Any, pixels: UInt8[np.ndarray, "n h w 3"]) -> None:
    """Fold the latents' mean and deviation into quant_conv and post_quant_conv."""
    parts = to_tensor(pixels).split(_AT_ONCE)
    z = torch.cat([vae.encode(part).latent_dist.mode() for part in parts])
    mean, deviation = z.mean((0, 2, 3)), z.std((0, 2, 3))
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:LATENT_CHANNELS] /= deviation.view(-1, 1, 1, 1)
    quant.bias[:LATENT_CHANNELS] = (quant.bias[:LATENT_CHANNELS] - mean) / deviation
    quant.bias[LATENT_CHANNELS:] -= 2 * deviation.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= deviation.view(1, -1, 1, 1)


def _encode(state: Path, name: str, mark: str) -> None:
    torch.set_num_threads(1)
    vae = AutoencoderKL.from_pretrained(vae_folder(state)).eval()
    vae = vae.to(memory_format=torch.channels_last)
    pixels = load_set(state / "data", name).pixels
    parts = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for first in range(0, len(pixels), _AT_ONCE):
            x = to_tensor(pixels[first : first + _AT_ONCE])
            z = vae.encode(x.contiguous(memory_format=torch.channels_last))
            parts.append(z.latent_dist.mode().float().numpy().astype(np.float16))
    path = _path(state, name, mark)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.save(file, np.concatenate(parts))
    partial.replace(path)


def _mark(state: Path) -> str:
    """Tells latents of one autoencoder from another's."""
    path = vae_folder(state) / "diffusion_pytorch_model.safetensors"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise ZooError(f"{path}: missing; run the stage `latents`") from error


def _path(state: Path, name: str, mark: str) -> Path:
    return state / "latents" / f"{name}-{mark}.npy"
