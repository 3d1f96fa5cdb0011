"""One sampling loop as pipelines in Python have it: diffusers' scheduler and torch around onnxruntime. A line of JSON in,
{"batch": 4}, makes one picture's worth of steps and one line out: seconds outside of the network and inside of it.

    python3 loop.py MODEL THREADS SPINNING          needs diffusers, onnxruntime, torch, numpy; see compare.ts
"""
import json
import sys
import time

import diffusers
import numpy as np
import onnxruntime as ort
import torch

model, threads, spinning = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)
options = ort.SessionOptions()
options.intra_op_num_threads = threads
options.add_session_config_entry('session.intra_op.allow_spinning', spinning)
unet = ort.InferenceSession(f'{model}/unet/model.onnx', options, providers=['CPUExecutionProvider'])
with open(f'{model}/scheduler/scheduler_config.json') as file:
    config = json.load(file)
STEPS, GUIDANCE = 6, 3.0


@torch.no_grad()
def sample(batch):
    scheduler = diffusers.DPMSolverMultistepScheduler.from_config(config)
    scheduler.set_timesteps(STEPS)
    latents = torch.randn((batch, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    states = np.zeros((2 * batch, 8, 64), np.float32)
    inside = 0.0
    began = time.perf_counter()
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(torch.cat([latents] * 2), t)
        feeds = {'sample': model_input.numpy(), 'timestep': np.array([t], np.float32), 'encoder_hidden_states': states}
        before = time.perf_counter()
        out = unet.run(None, feeds)[0]
        inside += time.perf_counter() - before
        without, with_ = torch.from_numpy(out).chunk(2)
        latents = scheduler.step(without + GUIDANCE * (with_ - without), t, latents, return_dict=False)[0]
    return time.perf_counter() - began - inside, inside, latents


for line in sys.stdin:
    outside, inside, latents = sample(json.loads(line)['batch'])
    print(json.dumps({'outside': outside, 'inside': inside, 'mean': float(latents.double().pow(2).mean().sqrt())}), flush=True)
