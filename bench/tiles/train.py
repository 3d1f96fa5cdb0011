#!/usr/bin/env python3
"""Trains the autoencoder of bench/tiles/tiles.ts on coloured shapes, in some minutes. Needs torch, diffusers and onnx.

    python bench/tiles/train.py [SECONDS]

It is diffusers' AutoencoderKL, with group norms everywhere and attention over all latents in the middle as those of Stable
Diffusion have them, with few channels: 4 pixels a latent, trained on pictures of 32 x 32. Weights at random would show the
way tiles differ at its worst, and no picture. A few minutes on a busy machine teach it shapes and light, but not all colours.
"""
import os
import sys
import time

import torch
from diffusers import AutoencoderKL

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../../test/fixtures'))
from tiling import Decode, Encode, export  # noqa: E402

SIDE = 32


def pictures(count, generator):
    """Backgrounds that change smoothly, with circles and rectangles before them, in [-1, 1]."""
    draw = lambda *shape: torch.rand(*shape, generator=generator)
    y, x = torch.meshgrid(torch.linspace(0, 1, SIDE), torch.linspace(0, 1, SIDE), indexing='ij')
    corners = draw(count, 3, 2, 2) * 2 - 1
    made = torch.nn.functional.interpolate(corners, (SIDE, SIDE), mode='bilinear', align_corners=True)
    for _ in range(3):
        cx, cy, r, q = (draw(count, 1, 1) for _ in range(4))
        r, q = 0.06 + 0.3 * r, 0.06 + 0.3 * q
        round_ = (((x - cx) / r) ** 2 + ((y - cy) / r) ** 2 < 1)
        box = ((x - cx).abs() < r) & ((y - cy).abs() < q)
        inside = torch.where(draw(count, 1, 1) < 0.5, round_, box)[:, None]
        made = torch.where(inside, (draw(count, 3, 1, 1) * 2 - 1), made)
    return made


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 480
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    vae = AutoencoderKL(
        block_out_channels=(16, 32, 32),
        down_block_types=('DownEncoderBlock2D',) * 3,
        up_block_types=('UpDecoderBlock2D',) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=SIDE,
    )
    optimizer = torch.optim.Adam(vae.parameters(), 2e-3)
    began, step = time.time(), 0
    while (share := (time.time() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group['lr'] = 2e-3 * (1 - share) + 1e-5
        x = pictures(8, generator)
        posterior = vae.encode(x).latent_dist
        made = vae.decode(posterior.mode(), return_dict=False)[0]
        loss = (made - x).abs().mean() + 1e-6 * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            print(step, f'{share:.2f}', round(loss.item(), 4), flush=True)
    vae.eval()
    torch.set_grad_enabled(False)
    x = pictures(64, generator)
    latents = vae.encode(x).latent_dist.mean
    scale = round(1 / latents.std().item(), 4)
    vae.register_to_config(scaling_factor=scale)
    print('pictures differ from what becomes of them by', (vae.decode(latents).sample - x).abs().mean().item() * 127.5)
    h, w = torch.export.Dim('height', min=2, max=512), torch.export.Dim('width', min=2, max=512)
    shapes = ({2: h, 3: w}, {2: 4 * h, 3: 4 * w})
    z, y = torch.randn(1, 4, 10, 12), torch.randn(1, 3, 40, 48)
    folder = os.path.join(HERE, 'autoencoder')
    export(Decode(vae), folder + '/vae_decoder', {'latent_sample': z}, 'sample', shapes[:1], vae.config)
    export(Encode(vae), folder + '/vae_encoder', {'sample': y}, 'latent_parameters', shapes[1:], vae.config)


if __name__ == '__main__':
    main()
