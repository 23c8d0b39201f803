#!/usr/bin/python3
"""The training steps of transformer_step_bench in PyTorch (Debian: apt-get install python3-torch libopenblas0-pthread;
without OpenBLAS its products run twenty times slower).

The same models (pre-norm LayerNorm, learned positions, GELU, biases, tied readout, full softmax), AdamW,
float32, one thread, timed in CPU seconds of the process. The C library's allocator is told to keep what it
has: fresh pages at every step would cost PyTorch up to a third of its speed.

    /usr/bin/python3 tests/bench/torch_step.py [seconds a shape [letters of shapes [float32|bf16]]]

bf16 is PyTorch's autocast: weights, gradients and optimiser in float32, products in bfloat16.
"""

import os
import sys
import time

TUNED = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296",
         "OMP_NUM_THREADS": "1"}
if any(os.environ.get(key) != value for key, value in TUNED.items()):
    os.execve(sys.executable, [sys.executable] + sys.argv, {**os.environ, **TUNED})

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
SHAPES = {"A": (4096, 128, 2, 4, 64, 16), "B": (4096, 64, 1, 2, 16, 64), "C": (2048, 256, 4, 4, 64, 8)}


class Layer(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        mask = torch.full((length, length), float("-inf")).triu(1)
        self.register_buffer("mask", mask)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (y.view(b, t, self.heads, d // self.heads).transpose(1, 2)
                   for y in self.qkv(self.norm1(x)).split(d, dim=2))
        a = torch.softmax(q @ k.transpose(2, 3) * (d // self.heads) ** -0.5 + self.mask, dim=3)
        x = x + self.out((a @ v).transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    def __init__(self, vocab, width, layers, heads, length):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, width), nn.Embedding(length, width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.layers = nn.Sequential(*(Layer(width, heads, length) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, inputs, targets):
        x = self.tokens(inputs) + self.positions.weight[: inputs.shape[1]]
        logits = self.norm(self.layers(x)) @ self.tokens.weight.t()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def run(name, seconds, bf16):
    vocab, width, layers, heads, length, batch = SHAPES[name]
    torch.manual_seed(1)
    model = Model(vocab, width, layers, heads, length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    inputs = torch.randint(vocab, (batch, length))
    targets = torch.randint(vocab, (batch, length))

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = model(inputs, targets)
        loss.backward()
        optimizer.step()

    for _ in range(2):
        step()
    times = []
    while sum(times) < seconds or len(times) < 3:
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    times.sort()
    median, tokens = times[len(times) // 2], batch * length
    flops = tokens * (6 * (vocab * width + layers * 12 * width * width) + 12 * layers * width * length)
    print(f"{name} {'bf16' if bf16 else 'float32'}  V={vocab} d={width} L={layers} H={heads} T={length} B={batch}: step {1e3 * median:.2f} ms, "
          f"{1e-3 * tokens / median:.1f} k tokens/s, {1e-9 * flops / median:.1f} GFLOP/s "
          f"(best step {1e-9 * flops / times[0]:.1f})", flush=True)


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv))
    print("PyTorch", torch.__version__)
    for letter in arguments.get(2, "ABC"):
        for precision in [arguments[3]] if 3 in arguments else ["float32", "bf16"]:
            run(letter, float(arguments.get(1, 3)), precision == "bf16")
