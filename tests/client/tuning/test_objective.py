"""The loss's targets and weights, and the attention penalty, against plain loops."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.training.attention import Projected, Watch
from mos_client.tuning.training.loss import diffusion_loss
from mos_model.prompts.prompt_tokens import TokenizedPrompt

KINDS = ("epsilon", "v_prediction", "sample")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gamma", [None, 5.0])
def test_targets_and_min_snr_weights(kind: str, gamma: float | None) -> None:
    scheduler = DDPMScheduler(prediction_type=kind, clip_sample=False)
    latents, noise = random(3, 4, 8, 8), random(3, 4, 8, 8, seed=1)
    predicted = random(3, 4, 8, 8, seed=2)
    timesteps = torch.tensor([3, 400, 999])
    settings = TuneSettings(snr_gamma=gamma)
    loss = diffusion_loss(
        predicted, latents, noise, timesteps, scheduler, settings, None
    )
    expected = 0.0
    for row, step in enumerate(timesteps.tolist()):
        kept = float(scheduler.alphas_cumprod[step])
        velocity = kept**0.5 * noise[row] - (1 - kept) ** 0.5 * latents[row]
        targets = {"epsilon": noise[row], "v_prediction": velocity}
        error = (predicted[row] - targets.get(kind, latents[row])).square().mean()
        snr = kept / (1 - kept)
        weight = min(snr, gamma) if gamma else 1.0
        over = {"epsilon": snr, "v_prediction": snr + 1, "sample": 1.0}[kind]
        expected += float(error) * (weight / over if gamma else 1.0) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_steps_without_signal_keep_the_weight_finite() -> None:
    scheduler = DDPMScheduler(rescale_betas_zero_snr=True, clip_sample=False)
    assert float(scheduler.alphas_cumprod[-1]) < 1e-9
    latents, noise = random(1, 4, 8, 8), random(1, 4, 8, 8, seed=1)
    last = torch.tensor([999])
    settings = TuneSettings(snr_gamma=5.0)
    loss = diffusion_loss(latents, latents, noise, last, scheduler, settings, None)
    assert float(loss) == pytest.approx(float((latents - noise).square().mean()))


def test_errors_outside_the_mask_do_not_count() -> None:
    scheduler = DDPMScheduler(clip_sample=False)
    noise = random(1, 4, 8, 8)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :2] = 1
    inside, outside = noise.clone(), noise.clone()
    inside[..., :2] += 1
    outside[..., 2:] += 9
    step, settings = torch.tensor([10]), TuneSettings()
    losses = [
        float(diffusion_loss(p, noise, noise, step, scheduler, settings, mask))
        for p in (inside, outside)
    ]
    assert losses == pytest.approx([1.0, 0.0])


def watch_of(maps: SimpleNamespace) -> Watch:
    """One block of one head whose attention is exactly `maps` (tokens last)."""
    cells, tokens = maps.shares.shape[1:]
    block = Projected(heads=1, scale=1.0)
    block.query = maps.shares.log()
    block.key = torch.eye(tokens).expand(len(maps.shares), -1, -1)
    assert block.query.shape[1] == cells
    return Watch([block])


def shares(first: Tensor, second: Tensor) -> SimpleNamespace:
    """Maps [n, cells] of tokens 1 and 2; token 0 takes the rest."""
    rest = 1 - first - second
    return SimpleNamespace(shares=torch.stack([rest, first, second], dim=-1))


PROMPT = TokenizedPrompt((0, 0, 0), ((1, "rex"),), 2)


def test_penalty_is_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (0.4 * torch.rand(2, 12, generator=generator) for _ in range(2))
    subject = torch.zeros(2, 1, 3, 4)
    subject[:, :, 1:, :2] = 1
    penalty = watch_of(shares(first, second)).penalty([PROMPT] * 2, subject)
    expected = 0.0
    for row in range(2):
        own = subject[row, 0].flatten().tolist()
        high = first[row].max(), second[row].max()
        stray = [float(first[row, c] / high[0]) for c in range(12) if not own[c]]
        miss = [(float(second[row, c] / high[1]) - own[c]) ** 2 for c in range(12)]
        expected += (sum(stray) / len(stray) + sum(miss) / len(miss)) / 2
    assert float(penalty) == pytest.approx(expected, rel=1e-4)


def test_attention_within_the_subject_costs_least() -> None:
    inside = torch.zeros(1, 16)
    inside[:, :4] = 0.4
    subject = (inside > 0).float().view(1, 1, 4, 4)
    few = torch.full_like(inside, 1e-4)
    kept = watch_of(shares(inside + few, inside + few)).penalty([PROMPT], subject)
    astray = inside.flip(1) + few
    strayed = watch_of(shares(astray, astray)).penalty([PROMPT], subject)
    assert float(kept) < 0.01 < 0.5 < float(strayed)


def test_pictures_without_mask_or_concept_add_nothing() -> None:
    first = torch.full((1, 16), 0.3)
    watch = watch_of(shares(first, first))
    whole, half = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    half[..., :2] = 0
    bare = TokenizedPrompt((0, 0, 0), (), 2)
    assert float(watch.penalty([PROMPT], whole)) == 0
    assert float(watch.penalty([bare], half)) == 0
    assert float(watch.penalty([PROMPT], half)) > 0
