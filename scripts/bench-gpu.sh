#!/usr/bin/env bash
# Checks a GPU and measures it, in less than ten minutes.
#
#   scripts/bench-gpu.sh [FOLDER]
#
# FOLDER has the libraries of ONNX Runtime for GPUs (libonnxruntime.so and its providers, from the
# package onnxruntime-gpu). Default: .dorfman/onnxruntime-gpu. CUDA and cuDNN must be on
# LD_LIBRARY_PATH, and TensorRT too if it is to be measured.
#
# For CUDA and, if its library can be loaded, TensorRT, on models/fashion-bag and models/shoes:
#
#   verdicts   `dorfman scan` on the CPU and on the GPU, of the same photos, must give the same
#              verdicts. Scores may differ a little.
#   profile    `dorfman profile`: milliseconds per stage and batch size, in float32 and float16
#   images/s   `dorfman evaluate`: individual and grouped, in the network
#   busy       the share of the time in which the GPU computed, by nvidia-smi
#   bytes      what travels to the GPU per image, from the manifest: pixels and slot numbers
#   decoders   decode threads that keep the GPU busy: decode time per image times images/s
#
# The exit code is 1 if a verdict differs, and 64 without a GPU or without the libraries.
set -euo pipefail
cd "$(dirname "$0")/.."
