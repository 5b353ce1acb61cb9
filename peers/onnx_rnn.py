#!/usr/bin/env python3
"""ONNX Runtime on the CPU for `peers`, which runs it in turn with the engine: one JSON request a line, one answer each."""

import argparse
import array
import json
import sys
import time

import numpy
import onnxruntime


def open_session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def serve(peer):
    """Answers requests: load a model and its input, run it once, write its results to a file."""
    words = peer.split("-")
    if len(words) != 3 or words[0] != "onnxruntime" or not words[1].isdigit():
        raise ValueError(f"no peer {peer!r}")
    threads = int(words[1])
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    answer(version=onnxruntime.__version__, adapter="CPU")
    session = feed = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                steps, batch, inputs, _ = request["shape"]
                values = array.array("f")
                with open(request["path"], "rb") as file:
                    values.frombytes(file.read(4 * steps * batch * inputs))
                feed = {"x": numpy.array(values, dtype=numpy.float32).reshape(steps, batch, inputs)}
                session = open_session(request["model"], threads)
                answer()
            elif request["do"] == "once":
                start = time.perf_counter()
                session.run(["y"], feed)
                answer(wall_ms=(time.perf_counter() - start) * 1e3)
            elif request["do"] == "results":
                with open(request["path"], "wb") as file:
                    file.write(session.run(["y"], feed)[0].astype(numpy.float32).tobytes())
                answer()
            elif request["do"] == "memory":
                answer(bytes=None)
        except Exception as error:  # the caller decides
            answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", metavar="PEER", required=True)
    try:
        serve(parser.parse_args().serve)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"onnx_rnn.py: {error}")
