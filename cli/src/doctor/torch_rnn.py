#!/usr/bin/env python3
"""PyTorch's LSTM and GRU, timed: on the CPU with 1 and 2 threads, or through cuDNN on a CUDA GPU.

Alone it prints a table of comma-separated values:

    python3 torch_rnn.py --device cpu --shapes S1,S4
    python3 torch_rnn.py --device cuda --shapes 'S1 X1 LSTM:25,16,512,512' --out torch.csv

Forward is without autograd; training is forward and backward with the gradients of all parameters and of the input,
from a gradient of ones. With `--serve PEER` it takes one JSON request a line from `peers`, which runs it in turn with
the engine.
"""

import argparse
import array
import contextlib
import csv
import ctypes
import json
import statistics
import sys
import time

import torch

SHAPES = {
    "S1": (None, (128, 32, 64, 128)),
    "S2": (None, (100, 64, 128, 256)),
    "S3": (None, (50, 32, 512, 512)),
    "S4": (None, (256, 1, 32, 64)),
    "S5": (None, (1000, 1, 1, 32)),
    "S6": (None, (25, 64, 1024, 1024)),
    "X1": ("lstm", (25, 16, 512, 512)),
    "X2": ("lstm", (25, 32, 1024, 1024)),
    "X3": ("gru", (187, 32, 1536, 1536)),
}
CELLS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
MODES = ["forward", "training"]
PEERS = {
    "cpu": ["torch-cpu-1-threads", "torch-cpu-2-threads"],
    "cuda": ["torch-cudnn-f32", "torch-cudnn-tf32", "torch-cudnn-f16"],
}
COLUMNS = ["shape", "cell", "mode", "peer", "peer_version", "adapter", "peer_ms"]
# A step that takes longer is warmed up once and timed once.
LONG_MS = 20e3
TENSORS = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]


def configure(peer):
    """Sets threads, TF32 and precision of a peer; gives its device and element type."""
    words = peer.split("-")
    if words[:2] == ["torch", "cpu"] and len(words) == 4 and words[2].isdigit() and words[3] == "threads":
        torch.set_num_threads(int(words[2]))
        return torch.device("cpu"), torch.float32
    if peer not in PEERS["cuda"]:
        raise ValueError(f"no peer {peer!r}")
    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no CUDA GPU")
    tf32 = peer == "torch-cudnn-tf32"
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    return torch.device("cuda"), torch.float16 if peer == "torch-cudnn-f16" else torch.float32


def adapter(device):
    """Name of the GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(line for line in file if line.startswith("model name"))
        return "CPU " + model.split(":", 1)[1].strip()
    except (OSError, StopIteration):
        return "CPU"


class Layer:
    """A layer on a device with its input, ready to run."""

    def __init__(self, device, dtype, cell, mode, shape, values=None):
        steps, batch, inputs, hidden = shape
        self.device, self.training = device, mode == "training"
        torch.manual_seed(0)
        self.rnn = CELLS[cell](inputs, hidden)
        x = torch.rand(steps, batch, inputs) * 2 - 1
        if values is not None:
            taken = 0

            def take(like):
                nonlocal taken
                taken += like.numel()
                return values[taken - like.numel() : taken].view_as(like)

            x = take(x).clone()
            with torch.no_grad():
                for name in TENSORS:
                    parameter = getattr(self.rnn, name)
                    parameter.copy_(take(parameter))
        # Moving to a GPU lays the parameters out as cuDNN wants them.
        self.rnn = self.rnn.to(device=device, dtype=dtype).train(self.training)
        self.x = x.to(device=device, dtype=dtype).requires_grad_(self.training)
        self.wanted = [self.x] + [getattr(self.rnn, name) for name in TENSORS]
        self.ones = torch.ones(steps, batch, hidden, device=device, dtype=dtype)

    def step(self):
        """One forward or training step: y and the gradients."""
        if not self.training:
            with torch.inference_mode():
                return self.rnn(self.x)[0], ()
        y = self.rnn(self.x)[0]
        return y, torch.autograd.grad(y, self.wanted, self.ones)

    def timed(self):
        """Milliseconds of one step: on the wall, and on the GPU between two events around it."""
        cuda = self.device.type == "cuda"
        if cuda:
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
        start = time.perf_counter()
        if cuda:
            before.record()
        kept = self.step()
        if cuda:
            after.record()
            torch.cuda.synchronize()
        wall_ms = (time.perf_counter() - start) * 1e3
        del kept
        return wall_ms, before.elapsed_time(after) if cuda else None

    def memory(self):
        """Peak bytes on a GPU during one step; None on the CPU."""
        if self.device.type != "cuda":
            return None
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self.step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_reserved()


def median_ms(layer, budget_s):
    """Median milliseconds after a warm-up: GPU time on a GPU, wall clock on the CPU."""

    def once():
        wall_ms, gpu_ms = layer.timed()
        return wall_ms if gpu_ms is None else gpu_ms

    first = once()
    if first > LONG_MS:
        return once()
    for _ in range(3 if first < 1e3 else 1):
        once()
    times, start = [], time.perf_counter()
    while len(times) < 30 and (len(times) < 3 or time.perf_counter() - start < budget_s):
        times.append(once())
    return statistics.median(times)


def parse_shapes(text):
    """Names, or sizes such as LSTM:25,16,512,512; blanks and semicolons separate, between names commas too."""
    found = []
    for part in text.replace(";", " ").split():
        cell, _, sizes = part.rpartition(":")
        numbers = sizes.split(",")
        if len(numbers) == 4 and all(number.isdigit() and int(number) > 0 for number in numbers):
            if cell and cell.lower() not in CELLS:
                raise ValueError(f"no cell {cell!r}: LSTM or GRU")
            found.append(("x".join(numbers), cell.lower() or None, tuple(map(int, numbers))))
            continue
        for name in part.split(","):
            if name.upper() not in SHAPES:
                raise ValueError(f"a shape is one of {', '.join(SHAPES)} or like LSTM:25,16,512,512, not {name!r}")
            found.append((name.upper(), *SHAPES[name.upper()]))
    return found


def table(args):
    """Times everything that was asked for and writes a row each."""
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    names = [name for name in SHAPES if device == "cuda" or name.startswith("S")]
    shapes = parse_shapes(args.shapes or ",".join(names))
    file = open(args.out, "w", newline="", encoding="utf-8") if args.out else sys.stdout
    with contextlib.ExitStack() as stack:
        if args.out:
            stack.enter_context(file)
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for peer in args.peers.split(",") if args.peers else PEERS[device]:
            place, dtype = configure(peer)
            for name, only, shape in shapes:
                for cell in args.cells.split(","):
                    for mode in args.modes.split(",") if only in (None, cell) else []:
                        layer = Layer(place, dtype, cell, mode, shape)
                        ms = median_ms(layer, args.seconds)
                        version = torch.__version__
                        rows.writerow([name, cell, mode, peer, version, adapter(place), f"{ms:.4g}"])
                        file.flush()


def serve(peer):
    """Answers requests: load a case, run it once, write its results to a file, tell its memory."""
    place, dtype = configure(peer)
    # Whatever a library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    answer(version=torch.__version__, adapter=adapter(place))
    layer = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                layer = None
                values = array.array("f")
                with open(request["path"], "rb") as file:
                    values.frombytes(file.read())
                values = torch.frombuffer(values, dtype=torch.float32)
                layer = Layer(place, dtype, request["cell"], request["mode"], request["shape"], values)
                answer()
            elif request["do"] == "once":
                wall_ms, gpu_ms = layer.timed()
                answer(wall_ms=wall_ms, gpu_ms=gpu_ms)
            elif request["do"] == "results":
                y, gradients = layer.step()
                with open(request["path"], "wb") as file:
                    for tensor in (y, *gradients):
                        flat = tensor.detach().to("cpu", torch.float32).contiguous().flatten()
                        file.write(ctypes.string_at(flat.data_ptr(), flat.numel() * flat.element_size()))
                answer()
            elif request["do"] == "memory":
                answer(bytes=layer.memory())
        except Exception as error:  # the caller decides
            answer(error=f"{type(error).__name__}: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a CUDA GPU if there is one")
    parser.add_argument("--shapes", help="S1 to S6, X1 to X3, or sizes such as LSTM:25,16,512,512 (T,B,I,H)")
    parser.add_argument("--cells", default="lstm,gru")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--peers", help="such as torch-cpu-4-threads; default: all of the device")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for the timed runs of one row")
    parser.add_argument("--out", help="file to write; default: standard output")
    parser.add_argument("--serve", metavar="PEER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
    else:
        table(args)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"torch_rnn.py: {error}")
