"""The noise schedule: diffusers' `linear` betas, read between the steps by linear interpolation of log alpha."""
import numpy as np
import torch

STEPS = 1000
BETA_START, BETA_END = 1e-4, 0.02


def log_alphas():
  """log alpha of the training steps 0..999 as float64 [1000]."""
  betas = np.linspace(BETA_START, BETA_END, STEPS, dtype=np.float64)
  return torch.tensor(0.5 * np.cumsum(np.log1p(-betas)))


LOG_ALPHAS = log_alphas()


def alpha_sigma(labels):
  """alpha and sigma at labels in [0, 999], which may be fractional."""
  table = LOG_ALPHAS.to(labels.device)
  low = labels.double().floor().clamp(0, STEPS - 2).long()
  part = labels.double() - low
  log_alpha = table[low] * (1 - part) + table[low + 1] * part
  sigma = torch.sqrt(-torch.expm1(2 * log_alpha))
  return log_alpha.exp().float(), sigma.float()
