"""What regions cost: pictures with and without them, beside the published scheme.

    python -m tests.benchmarks.regions [--base mini] [--regions 3] [--turns 7]

One JSON line for the CPU, one for a GPU. Three ways to sample, at equal size, steps,
batch, seed and scheduler, take turns in one run; every figure is a median over the
turns, and `ratio` that of each turn's own ratio. On the CPU it is the process's CPU
time that counts, so that other programs do not; on a GPU, wall time.

- `stock`: the diffusers pipeline with one prompt, through `Sampler` without regions;
- `ours`: regions that count in every step (`lead` 0; `--own-lead` for the base's own);
- `published`: the scheme of Mix-of-Show's reference code, written out below from its
  description: at every step each cross-attention projects the context and every
  region's text again, attends by explicit matrix products, and rewrites each region's
  rectangle of the feature map; batch 1.

`separate_ratio` is the time of one whole picture for each region, which is what pasting
them together would take. The part on a GPU, of SD 1.5's size with random weights, is
left out with a reason where there is none.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import Tensor

from mos_model.bases.base import Base, load_base
from mos_model.layouts.shapes import Box
from mos_model.prompts.encoder import PromptEncoder
from mos_model.prompts.layerwise import cross_attentions, layerwise
from mos_model.sampling import Layout, Region, sampling
from mos_model.sampling.attention import RegionalTexts, regional_attention
from mos_model.sampling.shares import Shares

STEPS: Final = 10
PROMPTS: Final = ("a photo of a cat", "a photo of a dog", "a photo of a robot")
TOKENS: Final = 77


class PublishedProcessor:
    """Cross-attention as the reference computes it: all over again at every step."""

    def __init__(
        self, hidden: Tensor, boxes: Sequence[Box], size: tuple[int, int], layer: int
    ) -> None:
        """Take the regions' encodings [regions, guidance, layers, tokens, width]."""
        self.hidden, self.boxes = hidden[:, :, layer], boxes
        self.size = size

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend to the context, then rewrite every region's rectangle."""
        query = attn.to_q(hidden_states)
        output = self.attended(attn, query, encoder_hidden_states)
        height, width = self.size
        while height * width > query.shape[1]:
            height, width = -(-height // 2), -(-width // 2)
        grid = query.unflatten(1, (height, width))
        result = output.unflatten(1, (height, width))
        total = torch.zeros(height, width, 1, device=query.device, dtype=query.dtype)
        mixed = torch.zeros_like(result)
        for text, (left, top, right, bottom) in zip(
            self.hidden, self.boxes, strict=True
        ):
            rows = slice(round(top * height), max(1, round(bottom * height)))
            columns = slice(round(left * width), max(1, round(right * width)))
            part = grid[:, rows, columns]
            own = self.attended(attn, part.flatten(1, 2), text.to(query))
            mixed[:, rows, columns] += own.view_as(part)
            total[rows, columns] += 1
        inside = total > 0
        result = torch.where(inside, mixed / torch.where(inside, total, 1), result)
        final: Tensor = attn.to_out[1](attn.to_out[0](result.flatten(1, 2)))
        return final

    @staticmethod
    def attended(attn: Any, query: Tensor, text: Tensor) -> Tensor:
        """Projection, scores, softmax and sum, each by itself."""
        key, value = attn.to_k(text), attn.to_v(text)
        q, k, v = (attn.head_to_batch_dim(t).contiguous() for t in (query, key, value))
        scores = torch.einsum("bid,bjd->bij", q, k) * attn.scale
        output = torch.einsum("bij,bjd->bid", scores.softmax(-1), v)
        joined: Tensor = attn.batch_to_head_dim(output)
        return joined


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="What regions cost.")
    parser.add_argument("--base", default="mini")
    parser.add_argument("--regions", type=int, default=3)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--own-lead", action="store_true")
    options = parser.parse_args()
    base = load_base(options.base)
    lead = None if options.own_lead else 0.0
    print(json.dumps(on_cpu(base, options.base, options.regions, options.turns, lead)))
    print(json.dumps(on_gpu(options.regions, options.turns)))


def on_cpu(
    base: Base, name: str, count: int, turns: int, lead: float | None
) -> dict[str, Any]:
    """Whole pictures, text encoding and decoding included; CPU seconds."""
    side = int(base.unet.config.sample_size) * int(base.pipeline.vae_scale_factor)
    regions = tuple(
        Region(PROMPTS[index % len(PROMPTS)], box)
        for index, box in enumerate(boxes_of(count))
    )
    plain = Layout(PROMPTS[0], side * count, side)
    regional = Layout("a photo", side * count, side, regions=regions)
    with sampling(base) as sampler:

        def draw(layout: Layout, led: float | None) -> None:
            sampler.sample(layout, seeds=[0], steps=STEPS, lead=led)

        ways = {
            "stock": lambda: draw(plain, None),
            "ours": lambda: draw(regional, lead),
            "published": lambda: draw_published(base, regional),
        }
        times = taken_in_turns(ways, turns, time.process_time)
    return {
        "benchmark": "regions",
        "base": name,
        "device": "cpu",
        "size": f"{side * count}x{side}",
        "regions": count,
        "batch": 1,
        "steps": STEPS,
        "lead": lead if lead is not None else base.defaults["sample"]["lead"],
        "threads": torch.get_num_threads(),
        **summary(times, count),
    }


def on_gpu(count: int, turns: int) -> dict[str, Any]:
    """The UNet of SD 1.5's size, random weights, bfloat16, 512x512, batch 4."""
    if not torch.cuda.is_available():
        return {"benchmark": "regions", "device": "cuda", "skipped": "no CUDA device"}
    unet = UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8
    ).to("cuda", torch.bfloat16)
    batch, layers = 4, len(cross_attentions(unet))
    like: dict[str, Any] = {"device": "cuda", "dtype": torch.bfloat16}
    hidden = torch.randn(count + 1, layers, TOKENS, 768, **like)
    layout = Layout(
        "", 512, 512, regions=tuple(Region("", box) for box in boxes_of(count))
    )
    shares = [Shares(layout, (64, 64), levels=4)] * batch
    texts = RegionalTexts(hidden, [tuple(range(count + 1))] * batch, shares)
    noisy = torch.randn(batch, 4, 64, 64, **like)
    context = hidden[:1].expand(batch, -1, -1, -1).flatten(1, 2)

    @torch.no_grad()
    def steps() -> None:
        with layerwise(unet):
            for _ in range(STEPS):
                unet(noisy, 500, context)
        torch.cuda.synchronize()

    def ours() -> None:
        with regional_attention(unet, texts):
            steps()

    def published() -> None:
        own = hidden[1:, None].expand(-1, batch, -1, -1, -1)
        with published_attention(unet, own, boxes_of(count), (64, 64)):
            steps()

    times = taken_in_turns(
        {"stock": steps, "ours": ours, "published": published},
        turns,
        time.perf_counter,
    )
    return {
        "benchmark": "regions",
        "device": torch.cuda.get_device_name(),
        "size": "512x512, the UNet alone, of SD 1.5's size",
        "regions": count,
        "batch": batch,
        "steps": STEPS,
        **summary(times, count),
    }


def boxes_of(count: int) -> list[Box]:
    """Side by side."""
    return [(index / count, 0.0, (index + 1) / count, 1.0) for index in range(count)]


@torch.no_grad()
def draw_published(base: Base, layout: Layout) -> None:
    """The layout by the published scheme, on the same pipeline."""
    encoder = PromptEncoder(base, {})
    defaults = base.defaults["sample"]
    stacked = encoder.encode([layout.prompt, layout.negative_prompt]).stacked()
    hidden = torch.stack(
        [
            encoder.encode([layout.negative_prompt, region.prompt]).hidden
            for region in layout.regions
        ]
    )
    factor = int(base.pipeline.vae_scale_factor)
    size = (layout.height // factor, layout.width // factor)
    boxes = [region.box for region in layout.regions]
    kept = base.pipeline.scheduler
    base.pipeline.scheduler = DPMSolverMultistepScheduler.from_config(kept.config)
    with layerwise(base.unet), published_attention(base.unet, hidden, boxes, size):
        base.pipeline(
            prompt_embeds=stacked[:1],
            negative_prompt_embeds=stacked[1:],
            height=layout.height,
            width=layout.width,
            num_inference_steps=STEPS,
            guidance_scale=defaults["guidance"],
            generator=torch.Generator().manual_seed(0),
        )
    base.pipeline.scheduler = kept


@contextmanager
def published_attention(
    unet: Any, hidden: Tensor, boxes: Sequence[Box], size: tuple[int, int]
) -> Iterator[None]:
    """Let every cross-attention of `unet` work by `PublishedProcessor`."""
    kept = dict(unet.attn_processors)
    published = {
        f"{name}.processor": PublishedProcessor(hidden, boxes, size, layer)
        for layer, name in enumerate(cross_attentions(unet))
    }
    unet.set_attn_processor(kept | published)
    try:
        yield
    finally:
        unet.set_attn_processor(kept)


def taken_in_turns(
    ways: dict[str, Callable[[], None]], turns: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of every way in every turn, after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, work in ways.items():
            start = clock()
            work()
            if turn:
                times[name].append(clock() - start)
    return times


def summary(times: dict[str, list[float]], count: int) -> dict[str, Any]:
    """Medians of seconds and of ratios to the stock pipeline's."""
    ratios = {
        name: [one / stock for one, stock in zip(own, times["stock"], strict=True)]
        for name, own in times.items()
    }
    middle = {name: statistics.median(ratios[name]) for name in ("ours", "published")}
    return {
        "seconds": {k: round(statistics.median(v), 3) for k, v in times.items()},
        "ratio": round(middle["ours"], 3),
        "ratio_min_max": [round(min(ratios["ours"]), 3), round(max(ratios["ours"]), 3)],
        "published_ratio": round(middle["published"], 3),
        "separate_ratio": round(count / middle["ours"], 3),
    }


if __name__ == "__main__":
    main()
