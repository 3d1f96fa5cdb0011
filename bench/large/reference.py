#!/usr/bin/env python3
"""The same graphs in onnxruntime for Python, with nothing around them: what a call takes by itself.

    python bench/large/reference.py DIR SIDE CALLS

Prints one line of JSON. Inputs are random; sizes that a graph leaves open are those of a picture of SIDE pixels.
"""
import json
import os
import resource
import sys
import time

import numpy as np
import onnxruntime as ort

TYPES = {'tensor(float)': np.float32, 'tensor(float16)': np.float16, 'tensor(int64)': np.int64, 'tensor(int32)': np.int32}


def feeds(session, batch, side, config):
    made = {}
    for value in session.get_inputs():
        kind = TYPES[value.type]
        if value.name in ('timestep', 'guidance'):
            dims = [d if isinstance(d, int) else batch for d in value.shape]
            made[value.name] = np.full(dims, 500, kind)
            continue
        latent = value.name in ('sample', 'latent_sample')
        words = config.get('cross_attention_dim') or config.get('joint_attention_dim')
        wanted = [batch, config.get('in_channels', config.get('latent_channels', 4)), side // 8, side // 8]
        if not latent:
            wanted = {2: [batch, 77], 3: [batch, 77, words]}.get(len(value.shape), [batch])
        dims = [d if isinstance(d, int) else w for d, w in zip(value.shape, wanted)]
        made[value.name] = np.random.default_rng(0).standard_normal(dims).astype(kind)
    return made


def main():
    folder, side, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    sessions, load = {}, time.time()
    for part in ('text_encoder', 'unet', 'transformer', 'vae_decoder'):
        path = os.path.join(folder, part, 'model.onnx')
        if os.path.exists(path):
            sessions[part] = ort.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    load = time.time() - load

    def config(part):
        with open(os.path.join(folder, part, 'config.json'), encoding='utf-8') as file:
            return json.load(file)

    network = 'unet' if 'unet' in sessions else 'transformer'
    fed = feeds(sessions[network], 2, side, config(network))
    took = []
    for _ in range(calls):
        begun = time.time()
        sessions[network].run(None, fed)
        took.append(time.time() - begun)
    fed = feeds(sessions['vae_decoder'], 1, side, {**config('vae_decoder'), 'in_channels': config('vae_decoder')['latent_channels']})
    begun = time.time()
    sessions['vae_decoder'].run(None, fed)
    decode = time.time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({'what': 'python', 'side': side, 'loadS': load, 'calls': took, 'decodeS': decode, 'peakBytes': peak}))


main()
