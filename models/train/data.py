"""The pictures and prompts the network learns from.

A picture shows one of six shapes in one of eight colours on a background of another of them. Only the
antialiased masks of the shapes are rendered beforehand; colours and light are put on per batch, so a
bank of masks gives far more pictures than it holds.
"""
import math

import numpy as np
import torch

SIZE = 32
SHAPES = ['circle', 'square', 'triangle', 'star', 'cross', 'ring']
SIZES = ['small', 'middle', 'large']
COLORS = {
  'red': (0.86, 0.12, 0.12),
  'green': (0.14, 0.62, 0.20),
  'blue': (0.14, 0.24, 0.86),
  'yellow': (0.95, 0.84, 0.12),
  'purple': (0.56, 0.16, 0.70),
  'cyan': (0.14, 0.80, 0.88),
  'white': (0.94, 0.94, 0.94),
  'black': (0.06, 0.06, 0.06),
}
COLOR_NAMES = list(COLORS)
RADII = {'small': (7.0, 8.5), 'middle': (8.5, 10.5), 'large': (10.5, 13.0)}
MAX_TURN = math.radians(20)
LIGHT = 0.12

PAD, UNK = '[PAD]', '[UNK]'
WORDS = [PAD, UNK, 'a', 'an', 'the', 'on', 'background', 'small', 'large'] + COLOR_NAMES + SHAPES
WORD_ID = {word: i for i, word in enumerate(WORDS)}
PROMPT_LENGTH = 8


def inside(shape, x, y, r):
  """True where the points (x, y), relative to a shape's centre and turned into its frame, lie inside it."""
  if shape == 'circle':
    return x * x + y * y <= r * r
  if shape == 'ring':
    d = x * x + y * y
    return (d <= r * r) & (d >= (0.55 * r) ** 2)
  if shape == 'square':
    return torch.maximum(x.abs(), y.abs()) <= 0.72 * r
  if shape == 'cross':
    ax, ay = x.abs(), y.abs()
    return (torch.maximum(ax, ay) <= 0.95 * r) & (torch.minimum(ax, ay) <= 0.32 * r)
  if shape == 'triangle':
    # Equilateral, one corner up; y grows downwards.
    return (y <= 0.5 * r) & (y >= -r + math.sqrt(3) * x.abs())
  if shape == 'star':
    # Fold the plane onto one half of one point: an edge from the outer to the inner radius.
    fold = math.pi / 5
    angle = torch.atan2(x, -y)
    angle = (torch.remainder(angle + fold, 2 * fold) - fold).abs()
    d = torch.sqrt(x * x + y * y)
    px, py = d * torch.cos(angle), d * torch.sin(angle)
    ix, iy = 0.45 * math.cos(fold), 0.45 * math.sin(fold)
    # The side of the line through the outer corner (r, 0) and the inner one.
    return (px - r) * iy + py * (1 - ix) <= 0
  raise ValueError(shape)


def render_masks(per_shape, seed, samples=4, chunk=1024):
  """`per_shape` antialiased masks of each shape.

  Returns them as [N, 32, 32] uint8, with their shape and size indices and their geometry [N, 4]: the place
  (x, y), the radius and the turn.
  """
  rng = np.random.default_rng(seed)
  side = SIZE * samples
  axis = (torch.arange(side, dtype=torch.float32) + 0.5) / samples
  gy, gx = torch.meshgrid(axis, axis, indexing='ij')
  masks, shapes, sizes, geometry = [], [], [], []
  for index, shape in enumerate(SHAPES):
    size = rng.integers(0, len(SIZES), per_shape)
    bounds = np.array([RADII[name] for name in SIZES])[size]
    r = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) * rng.random(per_shape)
    slack = SIZE / 2 - r - 1.2
    cx = SIZE / 2 + slack * (2 * rng.random(per_shape) - 1)
    cy = SIZE / 2 + slack * (2 * rng.random(per_shape) - 1)
    turn = MAX_TURN * (2 * rng.random(per_shape) - 1)
    values = torch.tensor(np.stack([r, cx, cy, np.cos(turn), np.sin(turn)]), dtype=torch.float32)
    for start in range(0, per_shape, chunk):
      r_, cx_, cy_, c_, s_ = values[:, start:start + chunk, None, None]
      dx, dy = gx - cx_, gy - cy_
      hit = inside(shape, c_ * dx + s_ * dy, c_ * dy - s_ * dx, r_)
      cover = hit.view(-1, SIZE, samples, SIZE, samples).float().mean(dim=(2, 4))
      masks.append((cover * 255).round().to(torch.uint8))
    shapes.append(np.full(per_shape, index))
    sizes.append(size)
    geometry.append(np.stack([cx, cy, r, turn], axis=1))
  return torch.cat(masks), torch.tensor(np.concatenate(shapes)), torch.tensor(np.concatenate(sizes)), \
    torch.tensor(np.concatenate(geometry), dtype=torch.float32)


def words_of(size, color, shape, background, variant=0):
  """The words of a prompt; variants above 0 are shorter ways to say it."""
  words = ['a'] if variant != 1 else []
  if SIZES[size] != 'middle':
    words.append(SIZES[size])
  words += [COLOR_NAMES[color], SHAPES[shape]]
  if variant != 3:
    words += ['on', 'a' if variant != 1 else None, COLOR_NAMES[background]]
    words += ['background'] if variant != 2 else []
  return [word for word in words if word]


def encode(words):
  """Token ids of a prompt's words, padded to PROMPT_LENGTH."""
  ids = [WORD_ID.get(word, WORD_ID[UNK]) for word in words][:PROMPT_LENGTH]
  return ids + [WORD_ID[PAD]] * (PROMPT_LENGTH - len(ids))


VARIANTS = 4


def prompt_table():
  """Token ids of every prompt: [size, color, shape, background, variant, PROMPT_LENGTH]."""
  dims = (len(SIZES), len(COLORS), len(SHAPES), len(COLORS), VARIANTS)
  table = np.zeros(dims + (PROMPT_LENGTH,), dtype=np.int64)
  for at in np.ndindex(dims):
    table[at] = encode(words_of(*at))
  return torch.tensor(table)


class Batches:
  """Draws batches of pictures, prompts and labels from a bank of masks."""

  def __init__(self, bank, seed, device='cpu', empty=0.1, variants=True, shares=(1,) * len(SHAPES)):
    """A bank holds as many masks of each shape, in order; `shares` says how often each shape comes, relatively."""
    self.masks, self.shapes, self.sizes, self.geometry = (part.to(device) for part in bank)
    self.device = device
    self.empty = empty
    self.variants = variants
    self.shares = torch.tensor(shares, dtype=torch.float32, device=device)
    self.rng = torch.Generator(device=device).manual_seed(seed)
    self.table = prompt_table().to(device)
    self.colors = torch.tensor(list(COLORS.values()), device=device)
    axis = (torch.arange(SIZE, device=device) + 0.5) / SIZE * 2 - 1
    self.axis = axis

  def rand(self, *shape):
    return torch.rand(*shape, generator=self.rng, device=self.device)

  def draw(self, count):
    """Pictures [count, 3, 32, 32] in [-1, 1], token ids [count, L], labels [count, 3] (shape, colour, background)
    and geometry [count, 4]."""
    per_shape = len(self.masks) // len(SHAPES)
    kind = torch.multinomial(self.shares, count, replacement=True, generator=self.rng)
    pick = kind * per_shape + torch.randint(per_shape, (count,), generator=self.rng, device=self.device)
    mask = self.masks[pick].float().div_(255)[:, None]
    shape, size = self.shapes[pick], self.sizes[pick]
    number = len(COLORS)
    color = torch.randint(number, (count,), generator=self.rng, device=self.device)
    background = (color + torch.randint(1, number, (count,), generator=self.rng, device=self.device)) % number
    front, back = self.colors[color][:, :, None, None], self.colors[background][:, :, None, None]
    rgb = back + (front - back) * mask
    angle, strength = self.rand(count) * (2 * math.pi), self.rand(count) * LIGHT
    gx, gy = (angle.cos() * strength)[:, None, None], (angle.sin() * strength)[:, None, None]
    light = 1 + gx * self.axis[None, None, :] + gy * self.axis[None, :, None]
    pictures = (rgb * light[:, None]).clamp_(0, 1).mul_(2).sub_(1)
    variant = torch.zeros_like(color)
    if self.variants:
      # Mostly the canonical wording, sometimes a shorter one.
      odd = self.rand(count) < 0.12
      variant = torch.where(odd, torch.randint(VARIANTS, (count,), generator=self.rng, device=self.device), variant)
    ids = self.table[size, color, shape, background, variant]
    ids = torch.where((self.rand(count) < self.empty)[:, None], torch.zeros_like(ids), ids)
    return pictures, ids, torch.stack([shape, color, background], dim=1), self.geometry[pick]
