#!/usr/bin/env python3
"""The same graphs in onnxruntime for Python, with nothing around them: what a call takes by itself.

    python bench/large/reference.py DIR SIDE CALLS         the whole folder: prints one line of JSON
    python bench/large/reference.py DIR SIDE turns         the denoiser: says what it is fed, and makes a call for every line

Inputs are random; sizes that a graph leaves open are those of a picture of SIDE pixels.
"""
import json
import os
import resource
import sys
import time

import numpy as np
import onnxruntime as ort

TYPES = {'tensor(float)': np.float32, 'tensor(float16)': np.float16, 'tensor(int64)': np.int64, 'tensor(int32)': np.int32}
# Tokens of text: Stable Diffusion 3's 77 of CLIP and 256 of T5, and Flux's.
WORDS = {'sd3': 333, 'flux': 512}


def feeds(session, batch, side, config):
    names = [value.name for value in session.get_inputs()]
    kind = 'flux' if 'img_ids' in names else 'sd3' if 'pooled_projections' in names else 'unet'
    latent = side // 8
    channels = config.get('latent_channels') or config.get('in_channels') or 4
    patches, words = (latent // 2) ** 2, WORDS.get(kind, 77)
    width = config.get('cross_attention_dim') or config.get('joint_attention_dim') or 0
    sizes = {
        'sample': [batch, channels, latent, latent],
        'latent_sample': [batch, channels, latent, latent],
        'hidden_states': [batch, patches, channels] if kind == 'flux' else [batch, channels, latent, latent],
        'encoder_hidden_states': [batch, words, width],
        'input_ids': [batch, 77],
        'img_ids': [patches, 3],
        'txt_ids': [words, 3],
    }
    made = {}
    for value in session.get_inputs():
        wanted = sizes.get(value.name, [batch, 6])
        dims = [d if isinstance(d, int) else w for d, w in zip(value.shape, wanted)]
        dtype = TYPES[value.type]
        if value.name in ('timestep', 'guidance'):
            made[value.name] = np.full(dims, 0.5 if kind == 'flux' else 500, dtype)
        elif value.name.endswith('ids'):
            made[value.name] = np.ones(dims, dtype)
        else:
            made[value.name] = np.random.default_rng(0).standard_normal(dims).astype(dtype)
    return made


def config(folder, part):
    with open(os.path.join(folder, part, 'config.json'), encoding='utf-8') as file:
        return json.load(file)


def opened(folder, parts):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    paths = {part: os.path.join(folder, part, 'model.onnx') for part in parts}
    return {
        part: ort.InferenceSession(path, options, providers=['CPUExecutionProvider'])
        for part, path in paths.items()
        if os.path.exists(path)
    }


def timed(session, fed):
    begun = time.time()
    outputs = session.run(None, fed)
    return time.time() - begun, outputs


def batch_of(session):
    """Two samples, as guidance has it, or what the graph fixes."""
    first = session.get_inputs()[0].shape[0]
    return first if isinstance(first, int) else 2


def whole(folder, side, calls):
    load = time.time()
    sessions = opened(folder, ('text_encoder', 'text_encoder_2', 'text_encoder_3', 'unet', 'transformer', 'vae_decoder'))
    load = time.time() - load
    network = 'unet' if 'unet' in sessions else 'transformer'
    session = sessions[network]
    fed = feeds(session, batch_of(session), side, config(folder, network))
    took = [timed(session, fed)[0] for _ in range(calls)]
    decoder = sessions['vae_decoder']
    decode, _ = timed(decoder, feeds(decoder, 1, side, config(folder, 'vae_decoder')))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({'what': 'python', 'side': side, 'loadS': load, 'calls': took, 'decodeS': decode, 'peakBytes': peak}))


def turns(folder, side):
    network = 'unet' if os.path.exists(os.path.join(folder, 'unet')) else 'transformer'
    session = opened(folder, [network])[network]
    fed = feeds(session, batch_of(session), side, config(folder, network))
    print(json.dumps({name: [str(value.dtype), value.shape, value.flat[0].item()] for name, value in fed.items()}), flush=True)
    # Both are fed one number everywhere, so that they are known to compute the same.
    fed = {name: np.full_like(value, value.flat[0]) for name, value in fed.items()}
    for _ in sys.stdin:
        seconds, (output, *_) = timed(session, fed)
        print(json.dumps({'seconds': seconds, 'mean': float(np.abs(output.astype(np.float64)).mean())}), flush=True)


def main():
    folder, side, calls = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if calls == 'turns':
        turns(folder, side)
    else:
        whole(folder, side, int(calls))


main()
