#!/bin/sh
# meta-llama/Llama-3.3-70B-Instruct, serve: 2 x 4 h100
# flags of vllm 0.33.0
set -eu

export HOST_0="${HOST_0:-127.0.0.1}"

# serve-replica-0: 4 x h100
CUDA_VISIBLE_DEVICES=0,1,2,3 vllm serve meta-llama/Llama-3.3-70B-Instruct \
  --host 0.0.0.0 \
  --port 8001 \
  --served-model-name meta-llama/Llama-3.3-70B-Instruct \
  --tensor-parallel-size 4 \
  --max-num-seqs 1024 \
  --max-num-batched-tokens 8192 \
  --gpu-memory-utilization 0.9 \
  --kv-cache-dtype fp8 \
  --quantization fp8 &

# serve-replica-1: 4 x h100
CUDA_VISIBLE_DEVICES=4,5,6,7 vllm serve meta-llama/Llama-3.3-70B-Instruct \
  --host 0.0.0.0 \
  --port 8002 \
  --served-model-name meta-llama/Llama-3.3-70B-Instruct \
  --tensor-parallel-size 4 \
  --max-num-seqs 1024 \
  --max-num-batched-tokens 8192 \
  --gpu-memory-utilization 0.9 \
  --kv-cache-dtype fp8 \
  --quantization fp8 &

# clients: http://${HOST_0}:8000
pip install vllm-router==0.1.17
vllm-router \
  --host 0.0.0.0 \
  --port 8000 \
  --worker-urls "http://${HOST_0}:8001" "http://${HOST_0}:8002" &

wait
