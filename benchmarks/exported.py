"""Faces a second at batch 1 through an exported file: ``python benchmarks/exported.py FILE.onnx [threads]``."""

import statistics
import sys
import time

import numpy as np
import onnxruntime

file, threads = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
side = session.get_inputs()[0].shape[-1]
image = np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32)
seconds = []
for _ in range(220):
    start = time.perf_counter()
    session.run(None, {"image": image})
    seconds.append(time.perf_counter() - start)
print(f"{file}: {1 / statistics.median(seconds[20:]):.0f} faces a second, {threads} threads, median of 200")
