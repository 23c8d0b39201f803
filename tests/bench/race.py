#!/usr/bin/python3
"""Races Saffron's training steps against PyTorch's, and prints one table with what each row wants.

Both sides take turns, so that other work on the machine meets both; a ratio is the median of the rounds'.
Needs the benchmarks (cmake -DSAFFRON_BENCH=ON) and PyTorch (see torch_step.py); without it those columns
stay empty.

    tests/bench/race.py build/release/bench [rounds, 3 [seconds a shape, 2]]
"""

import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPES, PRECISIONS = "ABC", ("float32", "bf16")
SHARE_OF_PEAK = {"A": 80, "B": 65, "C": 80}  # wanted of float32, %
SPEED_UP = {"float32": 1.0, "bf16": 1.2}  # wanted against PyTorch
MOE_BAR, GEMM_BAR = 1.35, 90


def lines(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode == 0 else []


def steps(*command):
    """{(shape, precision): (ms a step, % of the peak or None)} of either side's lines."""
    found = {}
    for line in lines(*command):
        step = re.match(r"([ABC]) (\w+) .*: step ([0-9.]+) ms", line)
        if step:
            peak = re.search(r"([0-9.]+) % of the peak", line)
            found[step[1], step[2]] = float(step[3]), float(peak[1]) if peak else None
    return found


def spread(values):
    return f"{min(values):.1f}-{max(values):.1f}" if values else ""


def verdict(met):
    return "yes" if met else "NO"


def main():
    if len(sys.argv) < 2 or not os.path.exists(os.path.join(sys.argv[1], "transformer_step_bench")):
        sys.exit(__doc__)
    bench, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    seconds = sys.argv[3] if len(sys.argv) > 3 else "2"
    ours, theirs = [], []
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        ours.append(steps(os.path.join(bench, "transformer_step_bench"), seconds))
        theirs.append(steps("/usr/bin/python3", os.path.join(HERE, "torch_step.py"), seconds))
    table = [("step", "Saffron ms", "PyTorch ms", "ratio", "% of peak", "wanted", "met")]
    for shape in SHAPES:
        for precision in PRECISIONS:
            key = shape, precision
            mine = [r[key][0] for r in ours if key in r]
            other = [r[key][0] for r in theirs if key in r]
            ratios = [t[key][0] / o[key][0] for o, t in zip(ours, theirs) if key in o and key in t]
            if not mine:
                continue
            share = statistics.median(r[key][1] for r in ours if key in r)
            ratio = statistics.median(ratios) if ratios else None
            met = ratio is None or ratio >= SPEED_UP[precision]
            wanted = f">= {SPEED_UP[precision]:.1f} x"
            if precision == "float32":
                wanted += f", {SHARE_OF_PEAK[shape]} %"
                met = met and share >= SHARE_OF_PEAK[shape]
            table.append((f"{shape} {precision}", spread(mine), spread(other),
                          "" if ratio is None else f"{ratio:.2f}", f"{share:.0f}", wanted, verdict(met)))
    print("dense products", file=sys.stderr, flush=True)
    least = re.search(r"least share of the best: (\d+) %", "\n".join(lines(os.path.join(bench, "gemm_bench"))))
    if least:
        table.append(("dense products", "", "", "", "", f">= {GEMM_BAR} % of the best",
                      f"{verdict(int(least[1]) >= GEMM_BAR)} ({least[1]} %)"))
    print("sparse layers", file=sys.stderr, flush=True)
    ratios = {}  # rows at once: the worst ratio
    for line in lines(os.path.join(bench, "moe_bench")):
        fields = line.split()
        if len(fields) == 9 and fields[0].isdigit():
            ratios.setdefault(int(fields[3]), []).append(float(fields[8]))
    for rows, found in sorted(ratios.items()):
        table.append((f"sparse, {rows} rows", "", "", f"{min(found):.2f}-{max(found):.2f}", "",
                      f"<= {MOE_BAR} x dense", verdict(max(found) <= MOE_BAR)))
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


if __name__ == "__main__":
    main()
