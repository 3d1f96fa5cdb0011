"""One sampling loop as pipelines in Python have it: diffusers' scheduler and torch around onnxruntime. A line of JSON in,
{"batch": 4}, makes one picture's worth of steps and one line out: seconds outside of the network and inside of it, and how
many times the process gave up its core or was made to.

    python3 loop.py MODEL THREADS SPINNING [TORCH_THREADS] [compiled]     needs diffusers, onnxruntime, torch, numpy; see compare.ts
"""
import json
import resource
import sys
import time

import diffusers
import numpy as np
import onnxruntime as ort
import torch

model, threads, spinning = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(int(sys.argv[4]) if len(sys.argv) > 4 else threads)
COMPILED = 'compiled' in sys.argv
options = ort.SessionOptions()
options.intra_op_num_threads = threads
options.add_session_config_entry('session.intra_op.allow_spinning', spinning)
unet = ort.InferenceSession(f'{model}/unet/model.onnx', options, providers=['CPUExecutionProvider'])
with open(f'{model}/scheduler/scheduler_config.json') as file:
    config = json.load(file)
STEPS, GUIDANCE = 6, 3.0


def update(scheduler, without, with_, t, latents):
    return scheduler.step(without + GUIDANCE * (with_ - without), t, latents, return_dict=False)[0]


updates = {False: update}
if COMPILED:
    # One graph a step and a batch: each has numbers of its own.
    torch._dynamo.config.recompile_limit = 64
    updates[True] = torch.compile(update)


@torch.no_grad()
def sample(batch, compiled):
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
        latents = updates[compiled](scheduler, without, with_, t, latents)
    return time.perf_counter() - began - inside, inside, latents


def waits():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw + usage.ru_nivcsw, usage.ru_utime + usage.ru_stime


for line in sys.stdin:
    asked = json.loads(line)
    if 'torch' in asked:
        torch.set_num_threads(asked['torch'])
    (switches, cpu) = waits()
    outside, inside, latents = sample(asked['batch'], asked.get('compiled', COMPILED))
    (later, cpu_later) = waits()
    told = {'outside': outside, 'inside': inside, 'mean': float(latents.double().pow(2).mean().sqrt())}
    print(json.dumps({**told, 'switches': later - switches, 'cpu': cpu_later - cpu}), flush=True)
