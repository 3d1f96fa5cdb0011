"""Trains the text encoder and the U-Net together.

The learning rate follows the wall clock: it has come down to nothing when --time-limit is reached, however
fast the machine is. --resume goes on from the last checkpoint within the same limit (the time already
trained counts), or, with a larger --time-limit, beyond it.

With --processes 2 the batch is shared among two processes. Two of one thread each are faster than one of two threads,
the more so on a machine that does other work as well: they wait for one another once an iteration instead of once an
operation.
"""
import argparse
import copy
import math
import os
import socket
import subprocess
import sys
import time

import torch
import torch.distributed as dist

from data import SHAPES, Batches, render_masks
from network import Locate, TextToImage
from sample import random_prompts, sample, sheet, write_png
from schedule import alpha_sigma


# PyTorch 1.13, Debian's, has no normalisation in bfloat16 on the CPU.
HALVES = not torch.__version__.startswith('1.')


def orthogonal(matrix, rounds=5):
  """The nearest semi-orthogonal matrix, roughly, by Newton-Schulz iteration."""
  a, b, c = 3.4445, -4.7750, 2.0315
  x = matrix.bfloat16() if HALVES else matrix
  tall = x.shape[0] > x.shape[1]
  x = x.T if tall else x
  x = x / (x.float().norm() + 1e-7)
  for _ in range(rounds):
    gram = x @ x.T
    x = a * x + (b * gram + c * gram @ gram) @ x
  return (x.T if tall else x).float()


class Muon:
  """Momentum whose step is made orthogonal, for the weights of hidden layers. Processes share the matrices out."""

  def __init__(self, parameters, momentum=0.95, decay=0.01, rank=0, world=1):
    self.parameters, self.momentum, self.decay = list(parameters), momentum, decay
    self.rank, self.world = rank, world
    self.buffers = [torch.zeros_like(p) for p in self.parameters]

  @torch.no_grad()
  def step(self, rate):
    steps = []
    for i, (p, buffer) in enumerate(zip(self.parameters, self.buffers)):
      buffer.lerp_(p.grad, 1 - self.momentum)
      mine = i % self.world == self.rank
      blend = p.grad.lerp(buffer, self.momentum).flatten(1)
      steps.append((orthogonal(blend) if mine else torch.zeros_like(blend)).flatten())
      p.grad = None
    flat = torch.cat(steps) if steps else None
    if self.world > 1 and steps:
      dist.all_reduce(flat)
    start = 0
    for p in self.parameters:
      step = flat[start:start + p.numel()].view_as(p)
      start += p.numel()
      rows, columns = p.shape[0], p[0].numel()
      p.mul_(1 - rate * self.decay).add_(step, alpha=-rate * max(1.0, rows / columns) ** 0.5)


def is_hidden(name, parameter):
  """True for the weights that Muon trains: matrices and kernels inside the U-Net, not its first and last ones."""
  outer = ('enter', 'leave', 'place', 'time', 'film', 'read', 'aim', 'correct', 'lay', 'prompt', 'mix')
  return parameter.dim() >= 2 and name.startswith('unet.') and not any(part in name for part in outer)


def draw_labels(count, rng, device):
  """Fractional time labels, spread evenly over the batch, twice as dense at middle noise as on average."""
  u = (torch.arange(count, device=device) + torch.rand(count, generator=rng, device=device)) / count
  # x + a sin(2 pi x) / 2 pi has the density 1 / (1 + a cos): most where the cosine is -1.
  shifted = u - 0.45 + 0.5
  warped = u + 0.45 * torch.sin(2 * math.pi * shifted) / (2 * math.pi)
  return torch.remainder(warped, 1.0) * 999


def geometry_errors(estimate, geometry, shapes):
  """Squared errors [B, 4] of the estimated place, radius and turn; circles and rings (the first and the last) have no turn."""
  offset, unit = (torch.tensor(part, device=geometry.device) for part in (Locate.OFFSET, Locate.UNIT))
  errors = (estimate - (geometry - offset) / unit).square()
  turned = ((shapes > 0) & (shapes < len(SHAPES) - 1)).float()
  return torch.cat([errors[:, :3], errors[:, 3:] * turned[:, None]], dim=1)


def cached_masks(path, per_shape, seed):
  """The rendered masks, from the disk when they are there."""
  if not os.path.exists(path):
    save(path, render_masks(per_shape, seed))
  return torch.load(path, weights_only=False)


def rate_at(iteration, done):
  """Share of the full learning rate: warm-up by iterations, cosine decay by the share of the time that is done."""
  return min(1.0, (iteration + 1) / 200) * max(0.01, 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def average_gradients(parameters, done):
  """Averages the gradients over all processes, and with them the share of the time that is done; returns that."""
  flat = torch.cat([p.grad.flatten() for p in parameters] + [torch.tensor([done], device=parameters[0].device)])
  dist.all_reduce(flat)
  flat /= dist.get_world_size()
  start = 0
  for p in parameters:
    p.grad.copy_(flat[start:start + p.numel()].view_as(p))
    start += p.numel()
  return flat[-1].item()


def run_processes(count):
  """Starts this script once a process and waits: torchrun of Debian's PyTorch 1.13 does not run under its Python 3.11."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  common = {**os.environ, 'WORLD_SIZE': str(count), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
  children = [subprocess.Popen([sys.executable, *sys.argv], env={**common, 'RANK': str(rank)}) for rank in range(count)]
  try:
    while any(child.poll() is None for child in children) and not any(child.poll() for child in children):
      time.sleep(0.5)
  finally:
    # One that fails leaves the others waiting for it.
    failed = any(child.poll() != 0 for child in children)
    for child in children:
      if child.poll() is None:
        child.terminate()
      child.wait()
  return 1 if failed else 0


def save(path, state):
  torch.save(state, path + '.part')
  os.replace(path + '.part', path)


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--out', default='runs/shapes', help='folder of checkpoints, sheets and the log')
  parser.add_argument('--time-limit', type=float, default=100, help='minutes, those before a --resume included')
  parser.add_argument('--batch', type=int, default=64)
  parser.add_argument('--rate', type=float, default=1e-3, help='learning rate of AdamW')
  parser.add_argument('--muon', type=float, default=0.01, help='learning rate of Muon; 0: AdamW for all')
  parser.add_argument('--geometry', type=float, default=0.2, help='weight of the error of the estimated geometry')
  parser.add_argument('--only-locate', action='store_true', help='train nothing but the estimate of the geometry')
  parser.add_argument('--from-weights', help='a checkpoint whose weights a new run starts from')
  parser.add_argument('--masks', type=int, default=12000, help='masks rendered for each shape')
  parser.add_argument('--shares', default='1,1,1,1,1,1', help=f"how often {', '.join(SHAPES)} come, relative to one another")
  parser.add_argument('--threads', type=int, default=2, help='of each process')
  parser.add_argument('--processes', type=int, default=1)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--sheet-minutes', type=float, default=5)
  parser.add_argument('--resume', action='store_true')
  args = parser.parse_args()
  if args.processes > 1 and 'RANK' not in os.environ:
    sys.exit(run_processes(args.processes))
  torch.set_num_threads(args.threads)
  torch.manual_seed(args.seed)
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  rank, world = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
  if world > 1:
    dist.init_process_group('gloo')
  os.makedirs(args.out, exist_ok=True)
  checkpoint = os.path.join(args.out, 'checkpoint.pt')

  model = TextToImage().to(device).to(memory_format=torch.channels_last)
  if args.only_locate:
    for name, parameter in model.named_parameters():
      parameter.requires_grad_('.find.' in name)
  trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
  hidden = [p for name, p in trained if args.muon and is_hidden(name, p)]
  chosen = {id(p) for p in hidden}
  rest = [p for _, p in trained if id(p) not in chosen]
  adam = torch.optim.AdamW(rest, lr=args.rate, betas=(0.9, 0.99), weight_decay=0.01)
  muon = Muon(hidden, rank=rank, world=world)
  if args.from_weights:
    weights = torch.load(args.from_weights, map_location=device, weights_only=False)['ema']
    shapes = {name: p.shape for name, p in model.named_parameters()}
    weights = {name: value for name, value in weights.items() if shapes.get(name) == value.shape}
    print('not in the checkpoint:', model.load_state_dict(weights, strict=False).missing_keys)
  model.unet.estimate = None
  ema = copy.deepcopy(model).requires_grad_(False)
  iteration, spent = 0, 0.0
  if args.resume and os.path.exists(checkpoint):
    state = torch.load(checkpoint, map_location=device, weights_only=False)
    model.load_state_dict(state['model'])
    ema.load_state_dict(state['ema'])
    adam.load_state_dict(state['adam'])
    for buffer, value in zip(muon.buffers, state['muon']):
      buffer.copy_(value)
    iteration, spent = state['iteration'], state['spent']

  bank = cached_masks(os.path.join(args.out, f'masks-{args.masks}-{args.seed}-{rank}.pt'), args.masks, args.seed)
  batches = Batches(bank, args.seed + iteration + 100003 * rank, device, shares=[float(share) for share in args.shares.split(',')])
  rng = torch.Generator(device=device).manual_seed(args.seed + 1 + iteration + 100003 * rank)
  prompts = [p['words'] for p in random_prompts(48, 7)]
  print(f'{sum(p.numel() for p in model.parameters())} parameters, {len(bank[0])} masks, {device}', flush=True)

  limit = args.time_limit * 60
  begin = time.time() - spent
  last_save = last_sheet = last_log = time.time()
  total = torch.zeros(4, device=device)
  counts = torch.zeros(4, device=device)
  places = torch.zeros(5, device=device)
  usual, seen = torch.zeros(20, 4, device=device), torch.zeros(20, device=device)
  started = iteration

  def checkpoint_now():
    save(checkpoint, {'model': model.state_dict(), 'ema': ema.state_dict(), 'adam': adam.state_dict(),
                      'muon': muon.buffers, 'iteration': iteration, 'spent': time.time() - begin})

  parameters = [p for _, p in trained]
  share_of_batch = args.batch // world
  done = (time.time() - begin) / limit
  while done < 1:
    pictures, ids, kinds, geometry = batches.draw(share_of_batch)
    labels = draw_labels(share_of_batch, rng, device)
    alpha, sigma = (part[:, None, None, None] for part in alpha_sigma(labels))
    noise = torch.randn(pictures.shape, generator=rng, device=device)
    noisy, v = alpha * pictures + sigma * noise, alpha * noise - sigma * pictures
    with torch.autocast(device, torch.bfloat16, enabled=HALVES):
      if args.only_locate:
        with torch.no_grad():
          condition = model.unet.condition(labels, model.text_encoder(ids))
        model.unet.estimate = model.unet.find(noisy, condition)
      else:
        guess = model(noisy, labels, ids)
    errors = torch.zeros_like(labels) if args.only_locate else (guess.float() - v).square().mean(dim=(1, 2, 3))
    # Without a bound the error of x0 would weigh 1 / sigma^2, almost without limit at low noise.
    weighted = errors * (10 * sigma.flatten() ** 2).clamp(max=1)
    misplaced = geometry_errors(model.unet.estimate, geometry, kinds[:, 0])
    # What can be known differs greatly between the times: each counts relative to its usual error.
    bins = (labels / 50).long().clamp_(0, 19)
    with torch.no_grad():
      usual.mul_(0.99).index_add_(0, bins, misplaced.detach() * 0.01)
      seen.mul_(0.99).index_add_(0, bins, torch.full_like(labels, 0.01))
    relative = misplaced / (usual / seen.clamp(min=1e-6)[:, None]).clamp(min=1e-4)[bins]
    (weighted.mean() + args.geometry * relative.mean()).backward()
    done = (time.time() - begin) / limit
    if world > 1:
      done = average_gradients(parameters, done)
    torch.nn.utils.clip_grad_norm_(rest, 1.0)
    share = rate_at(iteration, done)
    adam.param_groups[0]['lr'] = args.rate * share
    adam.step()
    adam.zero_grad()
    muon.step(args.muon * share)
    iteration += 1
    with torch.no_grad():
      keep = min(0.9995, (1 + iteration) / (20 + iteration))
      for average, parameter in zip(ema.parameters(), model.parameters()):
        average.lerp_(parameter, 1 - keep)
      near = labels < 500
      places.add_(torch.cat([(misplaced * near[:, None]).sum(dim=0), near.sum()[None]]).detach())
      quarter = (labels / 250).long().clamp_(0, 3)
      total.index_add_(0, quarter, errors.detach())
      counts.index_add_(0, quarter, torch.ones_like(errors))

    now = time.time()
    if rank > 0:
      continue
    if now - last_log > 20:
      parts = ' '.join(f'{value:.4f}' for value in (total / counts).tolist())
      geometry_part = ' '.join(f'{value:.4f}' for value in (places[:4] / places[4]).tolist())
      print(f'{(now - begin) / 60:6.1f} min  iteration {iteration}  error by noise: {parts}  of geometry: {geometry_part}  rate {share:.3f}  '
            f'{(now - begin - spent) / max(1, iteration - started):.3f} s', flush=True)
      total.zero_()
      counts.zero_()
      places.zero_()
      last_log = now
    if not args.only_locate and now - last_sheet > args.sheet_minutes * 60:
      write_png(os.path.join(args.out, f'sheet-{iteration:06d}.png'), sheet(sample(ema, prompts, seed=3, device=device)))
      last_sheet = time.time()
    if now - last_save > 120:
      checkpoint_now()
      last_save = time.time()
  if rank > 0:
    return
  checkpoint_now()
  if args.only_locate:
    return
  write_png(os.path.join(args.out, f'sheet-{iteration:06d}.png'), sheet(sample(ema, prompts, seed=3, device=device)))
  print(f'done: {iteration} iterations', flush=True)


if __name__ == '__main__':
  main()
