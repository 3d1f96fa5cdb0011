"""The network: a small text encoder, a U-Net that predicts v, and a classifier with a hand-written gradient."""
import math

import torch
import torch.nn.functional as F
from torch import nn

from data import COLORS, PROMPT_LENGTH, SHAPES, SIZE, WORDS
from schedule import LOG_ALPHAS, STEPS

WIDTH = 64  # of a word's vector


class TextEncoder(nn.Module):
  """Token ids [B, L] to word vectors [B, L, D]: embedding, position, two small transformer layers."""

  def __init__(self, layers=2):
    super().__init__()
    self.word = nn.Embedding(len(WORDS), WIDTH)
    self.place = nn.Parameter(torch.randn(PROMPT_LENGTH, WIDTH) * 0.5)
    self.layers = nn.ModuleList([TextLayer() for _ in range(layers)])
    self.norm = nn.LayerNorm(WIDTH)

  def forward(self, ids):
    x = self.word(ids) + self.place
    for layer in self.layers:
      x = layer(x)
    return self.norm(x)


class TextLayer(nn.Module):
  def __init__(self):
    super().__init__()
    self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
    self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
    self.out = nn.Linear(WIDTH, WIDTH)
    self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

  def forward(self, x):
    q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=2)
    x = x + self.out(attend(q, k, v, 2))
    return x + self.down(F.silu(self.up(self.norm2(x))))


def attend(q, k, v, heads):
  """Attention over [B, tokens, channels], split into heads."""
  b, n, c = q.shape
  q = q.view(b, n, heads, c // heads).transpose(1, 2)
  k = k.view(b, -1, heads, c // heads).permute(0, 2, 3, 1)
  v = v.view(b, -1, heads, c // heads).transpose(1, 2)
  weight = torch.softmax(q @ k * (c // heads) ** -0.5, dim=3)
  return (weight @ v).transpose(1, 2).reshape(b, n, c)


class ResBlock(nn.Module):
  """Two convolutions; the condition scales and shifts between them (FiLM)."""

  def __init__(self, inner, outer, condition):
    super().__init__()
    self.norm1, self.norm2 = nn.GroupNorm(8, inner), nn.GroupNorm(8, outer)
    self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
    self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
    self.film = nn.Linear(condition, 2 * outer)
    self.short = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()
    nn.init.zeros_(self.conv2.weight)

  def forward(self, x, condition):
    h = self.conv1(F.silu(self.norm1(x)))
    scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
    h = F.silu(self.norm2(h) * (1 + scale) + shift)
    return self.short(x) + self.conv2(h)


class Attention(nn.Module):
  """Every place looks at all places and at the words, in one softmax."""

  def __init__(self, channels, heads):
    super().__init__()
    self.heads = heads
    self.norm = nn.GroupNorm(8, channels)
    self.qkv = nn.Linear(channels, 3 * channels)
    self.words = nn.Linear(WIDTH, 2 * channels)
    self.out = nn.Linear(channels, channels)
    nn.init.zeros_(self.out.weight)

  def forward(self, x, states):
    b, c, h, w = x.shape
    q, k, v = self.qkv(self.norm(x).flatten(2).transpose(1, 2)).chunk(3, dim=2)
    wk, wv = self.words(states).chunk(2, dim=2)
    out = self.out(attend(q, torch.cat([k, wk], dim=1), torch.cat([v, wv], dim=1), self.heads))
    return x + out.transpose(1, 2).reshape(b, c, h, w)


def multiples(cos1, sin1=None):
  """Cosines of 1 to 5 times the angle from the upward direction, or sines, by the recurrence of Chebyshev's polynomials."""
  before, values = (torch.ones_like(cos1), [cos1]) if sin1 is None else (torch.zeros_like(cos1), [sin1])
  for _ in range(4):
    before, after = values[-1], 2 * cos1 * values[-1] - before
    values.append(after)
  return values


class Locate(nn.Module):
  """Estimates where a shape is, how large and how turned, and lays coordinates about it.

  Convolutions alone take very long to learn that edges belong to one figure as a whole. In polar coordinates about
  the estimated centre, a shape of a known kind is a simple function. Training supervises the estimate with the
  geometry that was rendered; nothing flows back into it through the coordinates.
  """

  # Offset and unit of the estimates: x, y, radius (pixels) and turn (radians).
  OFFSET = (16.0, 16.0, 9.5, 0.0)
  UNIT = (4.0, 4.0, 4.0, math.radians(20))
  MAPS = 8
  WIDTHS = (48, 64, 48)
  AIMS = 4
  # Radii, relative to the shape's, of the circles along which the angular frequencies are measured.
  CIRCLES = (0.5, 0.75, 1.0, 1.25)

  def __init__(self, condition):
    super().__init__()
    a, b, c = self.WIDTHS
    self.conv1 = nn.Conv2d(12, a, 3, padding=1)
    self.conv2 = nn.Conv2d(a, b, 3, padding=1, stride=2)
    self.conv3 = nn.Conv2d(b, c, 3, padding=1, stride=2)
    self.norm1, self.norm2, self.norm3 = nn.GroupNorm(8, a), nn.GroupNorm(8, b), nn.GroupNorm(8, c)
    self.film = nn.Linear(condition, 2 * sum(self.WIDTHS))
    self.flat = nn.Linear(c * 16, 96)
    self.read = nn.Linear(96, 4)
    # Which mixtures of the colour channels to look at, by the prompt, and the correction from what they show.
    self.aim = nn.Linear(condition, self.AIMS * 3)
    self.weigh = nn.Linear(self.AIMS * 9 * len(self.CIRCLES) + condition, 128)
    self.correct = nn.Linear(128, 4)
    nn.init.zeros_(self.correct.weight)
    centres = torch.arange(SIZE) + 0.5
    self.register_buffer('columns', centres.view(1, 1, SIZE), persistent=False)
    self.register_buffer('rows', centres.view(1, SIZE, 1), persistent=False)

  def forward(self, sample, condition):
    """The estimate [B, 4], in units, from the noisy picture itself."""
    x = F.pixel_unshuffle(sample, 2)
    films = self.film(condition)[:, :, None, None].split([2 * width for width in self.WIDTHS], dim=1)
    layers = ((self.conv1, self.norm1), (self.conv2, self.norm2), (self.conv3, self.norm3))
    for (conv, norm), film in zip(layers, films):
      scale, shift = film.chunk(2, dim=1)
      x = F.silu(norm(conv(x)) * (1 + scale) + shift)
    first = self.read(F.silu(self.flat(x.flatten(1)))).float()
    return first + self.correction(sample, first.detach(), condition)

  def correction(self, sample, estimate, condition):
    """A correction from the picture's angular frequencies on circles about the estimated centre.

    The mean on each circle tells the radius, the first frequency the place, and the phases of the third, fourth
    and fifth tell the turn.
    """
    x, y, radius, _ = self.parameters_of(estimate)
    u, v = (self.columns - x) / radius, (self.rows - y) / radius
    distance = torch.sqrt(u * u + v * v + 1e-4)
    cosines, sines = multiples(-v / distance), multiples(-v / distance, u / distance)
    waves = [torch.ones_like(distance)] + [parts[k - 1] for parts in (cosines, sines) for k in (1, 3, 4, 5)]
    waves = torch.stack(waves, dim=1)
    rings = torch.stack([torch.exp(-25 * (distance - at) ** 2) for at in self.CIRCLES], dim=1)
    basis = (waves[:, :, None] * rings[:, None]).flatten(1, 2).flatten(2)
    basis = basis / torch.sqrt((basis * basis).sum(dim=2, keepdim=True) + 1e-4)
    seen = sample.flatten(2) @ basis.transpose(1, 2)
    aims = self.aim(condition).view(-1, self.AIMS, 3)
    looks = (aims @ seen).flatten(1) * 0.2
    return self.correct(F.silu(self.weigh(torch.cat([looks, condition.expand(looks.shape[0], -1)], dim=1)))).float()

  def parameters_of(self, estimate):
    """The place, radius and turn that an estimate stands for, each [B, 1, 1]."""
    x, y, radius, turn = (estimate[:, i, None, None] * self.UNIT[i] + self.OFFSET[i] for i in range(4))
    return x, y, radius.clamp(min=4), turn

  def coordinates(self, estimate):
    x, y, radius, turn = self.parameters_of(estimate)
    dx, dy = (self.columns - x) / radius, (self.rows - y) / radius
    u, v = turn.cos() * dx + turn.sin() * dy, turn.cos() * dy - turn.sin() * dx
    distance = torch.sqrt(u * u + v * v + 1e-4)
    _, _, cos3, cos4, cos5 = multiples(-v / distance)
    edge, half = ((distance - 1) * radius).clamp(-3, 3), ((distance - 0.5) * radius).clamp(-3, 3)
    return torch.stack([u.clamp(-2, 2), v.clamp(-2, 2), distance.clamp(max=2), edge, half, cos3, cos4, cos5], dim=1)


class UNet(nn.Module):
  """sample [B, 3, 32, 32], timestep [1] or [B], encoder_hidden_states [B, L, D] to v.

  The layers predict the picture x0, and v follows from it: flat pictures are far simpler than the noise, which
  they would have to carry through value by value to predict v themselves.
  """

  def __init__(self, channels=(64, 96, 112), blocks=((1, 2), (2, 1), 2), condition=128):
    super().__init__()
    c0, c1, c2 = channels
    (down0, up0), (down1, up1), mid = blocks
    self.register_buffer('frequencies', torch.exp(-math.log(10000) * torch.arange(32) / 32), persistent=False)
    self.register_buffer('log_alphas', LOG_ALPHAS.float(), persistent=False)
    self.time = nn.Linear(64, condition)
    self.prompt = nn.Linear(PROMPT_LENGTH * WIDTH, condition)
    self.mix = nn.Linear(condition, condition)
    self.enter = nn.Conv2d(12, c0, 3, padding=1)
    # Learnt maps of places: the network draws at absolute positions, and convolutions do not see them.
    self.place0 = nn.Parameter(torch.randn(1, c0, 16, 16) * 0.02)
    self.place1 = nn.Parameter(torch.randn(1, c1, 8, 8) * 0.02)
    self.place2 = nn.Parameter(torch.randn(1, c2, 4, 4) * 0.02)
    def run(count, inner, outer):
      return nn.ModuleList([ResBlock(inner if i == 0 else outer, outer, condition) for i in range(count)])
    self.down0, self.down1 = run(down0, c0, c0), run(down1, c1, c1)
    self.mid = run(mid, c2, c2)
    self.up1, self.up0 = run(up1, 2 * c1, c1), run(up0, 2 * c0, c0)
    self.look1, self.look2, self.look3 = Attention(c1, 4), Attention(c2, 4), Attention(c1, 4)
    self.shrink0, self.shrink1 = nn.Conv2d(4 * c0, c1, 1), nn.Conv2d(4 * c1, c2, 1)
    self.grow1, self.grow0 = nn.Conv2d(c2, 4 * c1, 1), nn.Conv2d(c1, 4 * c0, 1)
    self.find = Locate(condition)
    self.lay = nn.Conv2d(4 * Locate.MAPS, c0, 3, padding=1)
    self.norm = nn.GroupNorm(8, c0)
    self.leave = nn.Conv2d(c0, 12, 3, padding=1)
    nn.init.zeros_(self.leave.weight)

  def forward(self, sample, timestep, encoder_hidden_states):
    low = timestep.floor().clamp(0, STEPS - 2)
    below, above = self.log_alphas[low.long()], self.log_alphas[low.long() + 1]
    log_alpha = (below + (above - below) * (timestep - low))[:, None, None, None]
    alpha, sigma = log_alpha.exp(), torch.sqrt(1 - (2 * log_alpha).exp())
    picture, self.estimate = self.denoise(sample, timestep, encoder_hidden_states)
    return (alpha * sample - picture.float()) / sigma

  def condition(self, timestep, encoder_hidden_states):
    """What scales and shifts the layers: time and prompt."""
    angles = timestep[:, None] * self.frequencies
    features = torch.cat([angles.sin(), angles.cos()], dim=1)
    condition = F.silu(self.time(features) + self.prompt(encoder_hidden_states.flatten(1)))
    return F.silu(self.mix(condition))

  def denoise(self, sample, timestep, encoder_hidden_states):
    """The estimates of x0 and of the shape's geometry."""
    condition = self.condition(timestep, encoder_hidden_states)
    estimate = self.find(sample, condition.detach())
    coordinates = self.find.coordinates(estimate.detach())
    x = self.enter(F.pixel_unshuffle(sample, 2)) + self.place0
    for block in self.down0:
      x = block(x, condition)
    skip0 = x
    x = self.shrink0(F.pixel_unshuffle(x, 2)) + self.place1
    for block in self.down1:
      x = block(x, condition)
    x = self.look1(x, encoder_hidden_states)
    skip1 = x
    x = self.shrink1(F.pixel_unshuffle(x, 2)) + self.place2
    for i, block in enumerate(self.mid):
      x = block(x, condition)
      if i == 0:
        x = self.look2(x, encoder_hidden_states)
    x = torch.cat([F.pixel_shuffle(self.grow1(x), 2), skip1], dim=1)
    for i, block in enumerate(self.up1):
      x = block(x, condition)
      if i == 0:
        x = self.look3(x, encoder_hidden_states)
    x = F.pixel_shuffle(self.grow0(x), 2) + self.lay(F.pixel_unshuffle(coordinates, 2))
    x = torch.cat([x, skip0], dim=1)
    for block in self.up0:
      x = block(x, condition)
    return F.pixel_shuffle(self.leave(F.silu(self.norm(x))), 2), estimate


class TextToImage(nn.Module):
  def __init__(self, **options):
    super().__init__()
    self.text_encoder = TextEncoder()
    self.unet = UNet(**options)

  def forward(self, sample, timestep, ids):
    return self.unet(sample, timestep, self.text_encoder(ids))


class Classifier(nn.Module):
  """log p(shape, colour, background | x_t) at any noise, small and without norms so that its gradient is short."""

  PARTS = (len(SHAPES), len(COLORS), len(COLORS))
  WIDTHS = (24, 32, 48, 64)

  def __init__(self):
    super().__init__()
    a, b, c, d = self.WIDTHS
    self.register_buffer('frequencies', torch.exp(-math.log(10000) * torch.arange(32) / 32), persistent=False)
    self.time = nn.Linear(64, 96)
    self.shift = nn.Linear(96, sum(self.WIDTHS))
    self.conv1 = nn.Conv2d(12, a, 3, padding=1)
    self.conv2 = nn.Conv2d(a, b, 3, padding=1, stride=2)
    self.conv3 = nn.Conv2d(b, c, 3, padding=1, stride=2)
    self.flat = nn.Linear(c * 16, d)
    self.head = nn.Linear(d, sum(self.PARTS))

  def layers(self, sample, timestep):
    """The values before each SiLU, and the logits."""
    angles = timestep[:, None] * self.frequencies
    features = torch.cat([angles.sin(), angles.cos()], dim=1)
    shifts = self.shift(F.silu(self.time(features))).split(self.WIDTHS, dim=1)
    z1 = self.conv1(F.pixel_unshuffle(sample, 2)) + shifts[0][:, :, None, None]
    z2 = self.conv2(F.silu(z1)) + shifts[1][:, :, None, None]
    z3 = self.conv3(F.silu(z2)) + shifts[2][:, :, None, None]
    z4 = self.flat(F.silu(z3).flatten(1)) + shifts[3]
    return z1, z2, z3, z4, self.head(F.silu(z4))

  def forward(self, sample, timestep):
    """Logits of the shapes, the colours and the background colours, one after the other."""
    return self.layers(sample, timestep)[-1]

  def gradient(self, sample, timestep, labels):
    """d log p(labels | x_t) / d x_t and log p, by the backward pass written out."""
    z1, z2, z3, z4, logits = self.layers(sample, timestep)
    log_prob, slopes = 0, []
    for i, part in enumerate(logits.split(self.PARTS, dim=1)):
      chosen = (labels[:, i:i + 1] == torch.arange(self.PARTS[i])).to(part.dtype)
      log_p = torch.log_softmax(part, dim=1)
      log_prob = log_prob + (chosen * log_p).sum(dim=1)
      slopes.append(chosen - log_p.exp())
    g = torch.cat(slopes, dim=1) @ self.head.weight * silu_slope(z4)
    g = (g @ self.flat.weight).view(-1, self.WIDTHS[2], 4, 4) * silu_slope(z3)
    g = F.conv_transpose2d(g, self.conv3.weight, stride=2, padding=1, output_padding=1) * silu_slope(z2)
    g = F.conv_transpose2d(g, self.conv2.weight, stride=2, padding=1, output_padding=1) * silu_slope(z1)
    g = F.conv_transpose2d(g, self.conv1.weight, padding=1)
    return F.pixel_shuffle(g, 2), log_prob


def silu_slope(z):
  """The derivative of x sigmoid(x)."""
  s = torch.sigmoid(z)
  return s * (1 + z * (1 - s))
