"""Times the PyTorch operations that a diffusers scheduler issues for one second-order step, eager or compiled.

Usage: eager.py [--compiled] SHAPE... where a shape is 1x4x64x64; prints a line of JSON as soon as it is there, nothing
where there is no PyTorch with CUDA. Compiled: by torch.compile, without the thresholded ones, whose quantile sorts.
The sequence is that of a multistep data-prediction step: prediction, guidance, dynamic thresholding, update. Scalars
stay on the CPU, as there.
"""

import json
import sys


def main():
    try:
        import torch
    except ImportError:
        return
    if not torch.cuda.is_available():
        return
    shapes = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    compiled = "--compiled" in sys.argv

    def step(state, guidance, threshold):
        x, unconditional, conditional, d1 = state
        alpha_s, sigma_s, alpha_t, sigma_t, h, r0 = (torch.tensor(v) for v in (0.7, 0.714, 0.8, 0.6, 0.4, 1.1))
        eps = unconditional + 7.5 * (conditional - unconditional) if guidance else conditional
        x0 = (x - sigma_s * eps) / alpha_s
        if threshold:
            flat = x0.reshape(x0.shape[0], -1)
            s = torch.quantile(flat.abs(), 0.995, dim=1)
            s = torch.clamp(s, min=1, max=100).unsqueeze(1)
            x0 = (torch.clamp(flat, -s, s) / s).reshape(x0.shape)
        difference = (1.0 / r0) * (x0 - d1)
        growth = torch.exp(-h) - 1.0
        return (sigma_t / sigma_s) * x - (alpha_t * growth) * x0 - 0.5 * (alpha_t * growth) * difference

    def median(run, device):
        for _ in range(5):
            run()
        torch.cuda.synchronize()
        times = []
        for _ in range(30):
            if device:
                first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                first.record()
                run()
                last.record()
                torch.cuda.synchronize()
                times.append(first.elapsed_time(last) * 1000)
            else:
                from time import perf_counter

                begin = perf_counter()
                run()
                torch.cuda.synchronize()
                times.append((perf_counter() - begin) * 1e6)
        return sorted(times)[len(times) // 2]

    for name in shapes:
        shape = [int(v) for v in name.split("x")]
        state = [2 * torch.randn(shape, device="cuda") for _ in range(4)]
        sample = state[0][0].numel()
        for guidance in (False, True):
            for threshold in (False, True):
                if threshold and (compiled or sample > 2**24):
                    continue  # torch.quantile refuses more

                def run(x=state, g=guidance, t=threshold, f=torch.compile(step) if compiled else step):
                    return f(x, g, t)

                row = {
                    "part": "eager",
                    "shape": name,
                    "variant": f"{'guided' if guidance else 'plain'}{'+threshold' if threshold else ''}",
                    "way": "compiled" if compiled else "eager",
                    "device": median(run, True),
                    "call": median(run, False),
                    "torch": torch.__version__,
                }
                print(json.dumps(row), flush=True)
        del state


main()
