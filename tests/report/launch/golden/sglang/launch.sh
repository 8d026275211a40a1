#!/bin/sh
# deepseek-ai/DeepSeek-V3, serve: 1 x 16 h200
# flags of sglang 0.5.23
set -eu

# Addresses: HOST_0=... HOST_1=...
export HOST_0="${HOST_0:?address of host 0}"
export HOST_1="${HOST_1:?address of host 1}"
case "${1:?number of this host, from 0}" in
0)

# serve-replica-0-host-0: 8 x h200
CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 python3 -m sglang.launch_server \
  --model-path deepseek-ai/DeepSeek-V3 \
  --host 0.0.0.0 \
  --port 8000 \
  --served-model-name deepseek-ai/DeepSeek-V3 \
  --tp-size 16 \
  --attn-dp-size 16 \
  --ep-size 16 \
  --max-running-requests 32768 \
  --chunked-prefill-size 131072 \
  --mem-fraction-static 0.88 \
  --kv-cache-dtype auto \
  --nnodes 2 \
  --node-rank 0 \
  --dist-init-addr "${HOST_0}:29500" &
;;
1)

# serve-replica-0-host-1: 8 x h200
CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 python3 -m sglang.launch_server \
  --model-path deepseek-ai/DeepSeek-V3 \
  --host 0.0.0.0 \
  --port 8000 \
  --served-model-name deepseek-ai/DeepSeek-V3 \
  --tp-size 16 \
  --attn-dp-size 16 \
  --ep-size 16 \
  --max-running-requests 32768 \
  --chunked-prefill-size 131072 \
  --mem-fraction-static 0.88 \
  --kv-cache-dtype auto \
  --nnodes 2 \
  --node-rank 1 \
  --dist-init-addr "${HOST_0}:29500" &
;;
esac

wait
