"""Trains the noise-aware classifier on noisy pictures and their labels."""
import argparse
import math
import os
import time

import torch
import torch.nn.functional as F

from data import Batches, render_masks
from network import Classifier
from schedule import alpha_sigma
from train import draw_labels, save


def losses(logits, labels):
  """Cross entropy of the shape, the colour and the background, [3]."""
  parts = logits.split(Classifier.PARTS, dim=1)
  return torch.stack([F.cross_entropy(part, labels[:, i]) for i, part in enumerate(parts)])


@torch.no_grad()
def accuracies(model, batches, label, device):
  """Share of right answers for (shape, colour, background) at one time label."""
  pictures, _, labels, _ = batches.draw(512)
  alpha, sigma = (float(part) for part in alpha_sigma(torch.tensor([float(label)])))
  noisy = alpha * pictures + sigma * torch.randn_like(pictures)
  parts = model(noisy, torch.tensor([float(label)], device=device)).split(Classifier.PARTS, dim=1)
  return [(part.argmax(dim=1) == labels[:, i]).float().mean().item() for i, part in enumerate(parts)]


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--out', default='runs/classifier')
  parser.add_argument('--time-limit', type=float, default=8, help='minutes')
  parser.add_argument('--batch', type=int, default=128)
  parser.add_argument('--rate', type=float, default=2e-3)
  parser.add_argument('--masks', type=int, default=12000)
  parser.add_argument('--threads', type=int, default=2)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()
  torch.set_num_threads(args.threads)
  torch.manual_seed(args.seed)
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  os.makedirs(args.out, exist_ok=True)
  model = Classifier().to(device)
  optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.99), weight_decay=0.02)
  batches = Batches(render_masks(args.masks, args.seed), args.seed, device)
  held_out = Batches(render_masks(300, args.seed + 1), args.seed + 1, device)
  rng = torch.Generator(device=device).manual_seed(args.seed + 1)
  begin = last = time.time()
  iteration, limit = 0, args.time_limit * 60
  while time.time() - begin < limit:
    pictures, _, labels, _ = batches.draw(args.batch)
    times = draw_labels(args.batch, rng, device)
    alpha, sigma = (part[:, None, None, None] for part in alpha_sigma(times))
    noisy = alpha * pictures + sigma * torch.randn(pictures.shape, generator=rng, device=device)
    done = min(1.0, (time.time() - begin) / limit)
    for group in optimizer.param_groups:
      group['lr'] = args.rate * min(1, (iteration + 1) / 200) * 0.5 * (1 + math.cos(math.pi * done))
    parts = losses(model(noisy, times), labels)
    parts.sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    iteration += 1
    if time.time() - last > 30:
      last = time.time()
      print(f'{(last - begin) / 60:5.1f} min  iteration {iteration}  '
            f"loss {' '.join(f'{value:.3f}' for value in parts.tolist())}", flush=True)
  for label in (0, 200, 400, 600, 800):
    right = ' '.join(f'{value:.3f}' for value in accuracies(model, held_out, label, device))
    print(f'label {label}: shape, colour, background right: {right}')
  save(os.path.join(args.out, 'classifier.pt'), {'model': model.state_dict(), 'iteration': iteration})


if __name__ == '__main__':
  main()
