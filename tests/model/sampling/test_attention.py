"""What a region's prompt reaches, and what it does not, on a small UNet."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mos_model.bases.base import Base, load_base
from mos_model.prompts.layerwise import cross_attentions, layerwise
from mos_model.sampling import Layout, Region
from mos_model.sampling.attention import RegionalTexts, regional_attention
from mos_model.sampling.shares import Shares
from tests.support.bases import save_tiny_sd

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
ROWS, COLUMNS = 4, 8


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


def texts(
    base: Base,
    *regions: Region,
    size: tuple[int, int] = (ROWS, COLUMNS),
    seed: int = 0,
) -> RegionalTexts:
    """A context and the regions, each with a random encoding."""
    width = base.unet.config.cross_attention_dim
    generator = torch.Generator().manual_seed(seed)
    shape = (1 + len(regions), base.inventory.layers, 5, width)
    hidden = torch.randn(shape, generator=generator)
    layout = Layout("", 8 * size[1], 8 * size[0], regions=regions)
    parts = [tuple(range(1 + len(regions)))]
    return RegionalTexts(hidden, parts, [Shares(layout, size, levels=2)])


def other_text(given: RegionalTexts, part: int) -> RegionalTexts:
    """The same, with another prompt for one part."""
    hidden = given.hidden.clone()
    hidden[part] += torch.randn(
        hidden[part].shape, generator=torch.Generator().manual_seed(9)
    )
    return RegionalTexts(hidden, given.parts, given.shares)


@torch.no_grad()
def test_only_its_own_cells_read_a_regions_prompt(base: Base) -> None:
    given = texts(base, Region("a", LEFT), Region("b", (0.75, 0.0, 1.0, 1.0)))
    layer: Any = next(iter(cross_attentions(base.unet).values()))
    hidden = torch.randn(1, ROWS * COLUMNS, layer.to_q.in_features)

    def attended(by: RegionalTexts) -> Tensor:
        with regional_attention(base.unet, by):
            output: Tensor = layer(hidden, encoder_hidden_states=by.hidden[:1, 0])
        return output.view(ROWS, COLUMNS, -1)

    before = attended(given)
    for part, own in ((1, slice(0, 4)), (0, slice(4, 6)), (2, slice(6, 8))):
        changed = (attended(other_text(given, part)) != before).any(-1)
        assert changed[:, own].all()
        assert int(changed.sum()) == ROWS * (own.stop - own.start)


@torch.no_grad()
def test_half_a_share_is_half_of_each_output(base: Base) -> None:
    layer: Any = next(iter(cross_attentions(base.unet).values()))
    hidden = torch.randn(1, ROWS * COLUMNS, layer.to_q.in_features)
    whole = (0.0, 0.0, 1.0, 1.0)
    given = texts(base, Region("a", whole))
    context, region = (
        layer(hidden, encoder_hidden_states=given.hidden[part : part + 1, 0])
        for part in (0, 1)
    )
    with regional_attention(base.unet, given, base_ratio=0.25):
        mixed = layer(hidden, encoder_hidden_states=given.hidden[:1, 0])
    torch.testing.assert_close(mixed, 0.25 * context + 0.75 * region)


class _Cut:
    """Self-attention that passes nothing on, not even within a cell."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        return torch.zeros_like(hidden_states)


@contextmanager
def cut_off(unet: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave convolutions and cross-attention alone to carry anything across cells.

    Group normalisation too mixes all cells, by its mean and variance; it is put out.
    """
    kept = dict(unet.attn_processors)
    cut = {name: _Cut() for name in kept if ".attn1." in name}
    unet.set_attn_processor(kept | cut)
    with monkeypatch.context() as patched:
        for module in unet.modules():
            if isinstance(module, nn.GroupNorm):
                patched.setattr(module, "forward", lambda states: states)
        yield
    unet.set_attn_processor(kept)


REACH = 34
"""Columns of latents that this UNet's convolutions carry a change: conv_in has passed
when the first prompt is read; then come, at the latents' resolution, 1 resnet block of
two 3x3 convolutions on the way down and 2 on the way up, conv_out, and the
convolutions that halve and double; at half of it, where a column counts twice, 1 block
down, 2 in the middle and 2 up: 1 + 1 + 4 + 1 + 2 * (2 + 4 + 4) + 2, and 5 for cells
that straddle the halving."""


@torch.no_grad()
def test_far_cells_do_not_hear_of_a_regions_prompt(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With self-attention cut off, a prompt reaches as far as convolutions do."""
    size = (4, 96)
    given = texts(base, Region("a", (0.0, 0.0, 0.125, 1.0)), size=size)
    noisy = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(1))
    context = given.hidden[:1].flatten(1, 2)

    def changed() -> Tensor:
        outputs = []
        for by in (given, other_text(given, 1)):
            with layerwise(base.unet), regional_attention(base.unet, by):
                outputs.append(base.unet(noisy, 500, context).sample)
        columns: Tensor = (outputs[0] != outputs[1]).any(1)[0].any(0)
        return columns

    assert changed()[12 + REACH :].any(), "self-attention does carry it there"
    with cut_off(base.unet, monkeypatch):
        columns = changed()
    assert columns[:12].all()
    assert not columns[12 + REACH :].any()


@torch.no_grad()
def test_isolated_self_attention_does_not_see_the_other_region(base: Base) -> None:
    layer = next(m for n, m in base.unet.named_modules() if n.endswith(".attn1"))
    hidden = torch.randn(1, ROWS * COLUMNS, layer.to_q.in_features)
    changed = hidden.clone().view(1, ROWS, COLUMNS, -1)
    changed[:, :, COLUMNS // 2 :] += 1.0
    # A third region of half the size, so that one call has padding.
    regions = (Region("a", LEFT), Region("b", RIGHT), Region("c", (0.6, 0.0, 0.9, 0.7)))
    given = texts(base, *regions)

    def left_half(inputs: Tensor) -> Tensor:
        output: Tensor = layer(inputs)
        return output.view(1, ROWS, COLUMNS, -1)[:, :, : COLUMNS // 2]

    other = changed.view_as(hidden)
    assert not torch.allclose(left_half(hidden), left_half(other))
    with regional_attention(base.unet, given, isolation=0.5) as done:
        assert torch.equal(left_half(hidden), left_half(other))
        done(0.4)
        assert torch.equal(left_half(hidden), left_half(other))
        done(0.5)
        assert not torch.allclose(left_half(hidden), left_half(other))


@torch.no_grad()
def test_lead_leaves_the_context_alone_at_first(base: Base) -> None:
    given = texts(base, Region("a", LEFT))
    noisy = torch.randn(1, 4, ROWS, COLUMNS)
    context = given.hidden[:1].flatten(1, 2)
    with layerwise(base.unet):
        plain = base.unet(noisy, 500, context).sample
        with regional_attention(base.unet, given, lead=0.5) as done:
            assert torch.equal(base.unet(noisy, 500, context).sample, plain)
            done(0.5)
            assert not torch.allclose(base.unet(noisy, 500, context).sample, plain)
        assert torch.equal(base.unet(noisy, 500, context).sample, plain)


@torch.no_grad()
@pytest.mark.parametrize("isolation", [0.0, 1.0])
def test_region_over_everything_is_that_prompt_to_one_in_ten_thousand(
    base: Base, isolation: float
) -> None:
    given = texts(base, Region("a", (0.0, 0.0, 1.0, 1.0)))
    noisy = torch.randn(1, 4, ROWS, COLUMNS)
    context, own = (given.hidden[part : part + 1].flatten(1, 2) for part in (0, 1))
    with layerwise(base.unet):
        plain = base.unet(noisy, 500, own).sample
        with regional_attention(base.unet, given, isolation=isolation):
            regional = base.unet(noisy, 500, context).sample
    torch.testing.assert_close(regional, plain, atol=1e-4, rtol=0)


@torch.no_grad()
def test_prompts_are_projected_once_however_many_steps(base: Base) -> None:
    given = texts(base, Region("a", LEFT), Region("b", RIGHT))
    projected: list[int] = []
    layers = [
        getattr(block, name)
        for block in cross_attentions(base.unet).values()
        for name in ("to_k", "to_v")
    ]
    handles = [
        layer.register_forward_hook(lambda m, args, out: projected.append(len(out)))
        for layer in layers
    ]
    context = given.hidden[:1].flatten(1, 2)
    with layerwise(base.unet), regional_attention(base.unet, given):
        for _ in range(3):
            base.unet(torch.randn(1, 4, ROWS, COLUMNS), 500, context)
    for handle in handles:
        handle.remove()
    assert projected == [3] * len(layers)
