"""Sampling with DPM-Solver++(2M) and classifier-free guidance, to look at a checkpoint and to have it judged."""
import argparse
import json
import struct
import zlib

import numpy as np
import torch

from data import COLOR_NAMES, COLORS, SHAPES, SIZES, encode, words_of
from network import TextToImage
from schedule import LOG_ALPHAS, STEPS, alpha_sigma


def write_png(path, pixels):
  """Writes [H, W, 3] uint8 as a PNG."""
  height, width, _ = pixels.shape
  raw = b''.join(b'\0' + row.tobytes() for row in pixels)

  def part(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))

  head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  with open(path, 'wb') as file:
    file.write(b'\x89PNG\r\n\x1a\n' + part(b'IHDR', head) + part(b'IDAT', zlib.compress(raw)) + part(b'IEND', b''))


def sheet(pictures, columns=16, zoom=3):
  """Pictures [N, 3, 32, 32] in [-1, 1] side by side as [H, W, 3] uint8."""
  rows = len(pictures) // columns
  grid = pictures[:rows * columns].view(rows, columns, 3, 32, 32).permute(0, 3, 1, 4, 2).reshape(rows * 32, columns * 32, 3)
  grid = ((grid.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
  return grid.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1).cpu().numpy()


def random_prompts(count, seed):
  """Prompts with their labels, shapes and colours in turn so that every shape comes equally often."""
  rng = np.random.default_rng(seed)
  prompts = []
  for i in range(count):
    shape = i % len(SHAPES)
    color, size = rng.integers(len(COLORS)), rng.integers(len(SIZES))
    background = (color + rng.integers(1, len(COLORS))) % len(COLORS)
    words = words_of(size, color, shape, background)
    prompts.append({'prompt': ' '.join(words), 'words': words, 'shape': SHAPES[shape],
                    'color': COLOR_NAMES[color], 'background': COLOR_NAMES[background]})
  return prompts


@torch.no_grad()
def sample(model, words, steps=20, guidance=3.0, seed=0, device='cpu'):
  """Pictures for prompts given as lists of words: data-prediction multistep of order 2, uniform in time."""
  rng = torch.Generator().manual_seed(seed)
  x = torch.randn(len(words), 3, 32, 32, generator=rng).to(device)
  ids = torch.tensor([encode(w) for w in words] + [encode([])] * len(words), device=device)
  states = model.text_encoder(ids)
  labels = torch.linspace(STEPS - 1, 0, steps + 1, device=device)
  alphas, sigmas = alpha_sigma(labels)
  lambdas = torch.log(alphas) - torch.log(sigmas)
  before = None
  for i in range(steps):
    v = model.unet(torch.cat([x, x]), labels[i:i + 1], states).float()
    with_prompt, without = v.chunk(2)
    v = without + guidance * (with_prompt - without)
    data = alphas[i] * x - sigmas[i] * v
    h = lambdas[i + 1] - lambdas[i]
    step = data
    if before is not None and i < steps - 1:
      ratio = (lambdas[i] - lambdas[i - 1]) / h
      step = data + (data - before) / (2 * ratio)
    before = data
    x = sigmas[i + 1] / sigmas[i] * x - alphas[i + 1] * torch.expm1(-h) * step
  return x


def load(path, device='cpu'):
  """The model with the averaged weights of a checkpoint."""
  state = torch.load(path, map_location=device, weights_only=False)
  model = TextToImage().to(device)
  model.load_state_dict(state['ema'])
  return model.eval(), state


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('checkpoint')
  parser.add_argument('--count', type=int, default=256)
  parser.add_argument('--steps', type=int, default=20)
  parser.add_argument('--guidance', type=float, default=3.0)
  parser.add_argument('--seed', type=int, default=1)
  parser.add_argument('--out', default='samples', help='prefix of the .png, .f32 and .json written')
  args = parser.parse_args()
  model, state = load(args.checkpoint)
  prompts = random_prompts(args.count, args.seed)
  parts = []
  for start in range(0, args.count, 64):
    words = [p['words'] for p in prompts[start:start + 64]]
    parts.append(sample(model, words, args.steps, args.guidance, args.seed + start))
  pictures = torch.cat(parts)
  pictures.numpy().astype('<f4').tofile(args.out + '.f32')
  with open(args.out + '.json', 'w') as file:
    json.dump([{k: p[k] for k in ('prompt', 'shape', 'color', 'background')} for p in prompts], file)
  write_png(args.out + '.png', sheet(pictures))
  print(f"iteration {state['iteration']}: {args.count} pictures in {args.out}.f32")


if __name__ == '__main__':
  main()
