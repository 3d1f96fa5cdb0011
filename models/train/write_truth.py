"""Writes rendered pictures and what they show, to try the judge on: true ones, or, with --blur, shapes gone soft."""
import argparse
import json

import torch
import torch.nn.functional as F

from data import COLOR_NAMES, SHAPES, Batches, render_masks


def blurred(masks, sigma):
  """Masks rounded to blobs: blurred, then sharpened at their half height again."""
  axis = torch.arange(-8, 9, dtype=torch.float32)
  kernel = torch.exp(-axis * axis / (2 * sigma * sigma))
  kernel = kernel / kernel.sum()
  soft = F.pad(masks.float()[:, None] / 255, (8,) * 4, mode='replicate')
  soft = F.conv2d(soft, (kernel[:, None] * kernel[None])[None, None])
  return (((soft[:, 0] - 0.5) * 4 + 0.5).clamp(0, 1) * 255).to(torch.uint8)


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--count', type=int, default=1200)
  parser.add_argument('--blur', type=float, default=0, help='in pixels')
  parser.add_argument('--seed', type=int, default=99, help='another one than the training\'s')
  parser.add_argument('--out', default='truth', help='prefix of the .f32 and .json written')
  args = parser.parse_args()
  batches = Batches(render_masks(400, args.seed), args.seed)
  if args.blur:
    batches.masks = blurred(batches.masks, args.blur)
  pictures, _, labels, _ = batches.draw(args.count)
  pictures.numpy().astype('<f4').tofile(args.out + '.f32')
  with open(args.out + '.json', 'w') as file:
    json.dump([{'shape': SHAPES[shape], 'color': COLOR_NAMES[color], 'background': COLOR_NAMES[background]}
               for shape, color, background in labels.tolist()], file)


if __name__ == '__main__':
  main()
