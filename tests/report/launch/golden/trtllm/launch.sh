#!/bin/sh
# meta-llama/Llama-3.3-70B-Instruct, prefill: 2 x 2 h100; decode: 1 x 4 h100
# flags of trtllm 1.2.1
set -eu

export HOST_0="${HOST_0:-127.0.0.1}"

# prefill-replica-0: 2 x h100
CUDA_VISIBLE_DEVICES=0,1 trtllm-serve meta-llama/Llama-3.3-70B-Instruct \
  --host 0.0.0.0 \
  --port 8001 \
  --backend pytorch \
  --tp_size 2 \
  --max_batch_size 2048 \
  --max_num_tokens 8192 \
  --kv_cache_free_gpu_memory_fraction 0.9 \
  --extra_llm_api_options ./prefill.trtllm.yaml &

# prefill-replica-1: 2 x h100
CUDA_VISIBLE_DEVICES=2,3 trtllm-serve meta-llama/Llama-3.3-70B-Instruct \
  --host 0.0.0.0 \
  --port 8002 \
  --backend pytorch \
  --tp_size 2 \
  --max_batch_size 2048 \
  --max_num_tokens 8192 \
  --kv_cache_free_gpu_memory_fraction 0.9 \
  --extra_llm_api_options ./prefill.trtllm.yaml &

# decode-replica-0: 4 x h100
CUDA_VISIBLE_DEVICES=4,5,6,7 trtllm-serve meta-llama/Llama-3.3-70B-Instruct \
  --host 0.0.0.0 \
  --port 8003 \
  --backend pytorch \
  --tp_size 4 \
  --max_batch_size 2048 \
  --max_num_tokens 8192 \
  --kv_cache_free_gpu_memory_fraction 0.9 \
  --extra_llm_api_options ./decode.trtllm.yaml &

# clients: http://${HOST_0}:8000
cat > disaggregated.yaml <<END
hostname: 0.0.0.0
port: 8000
backend: pytorch
context_servers:
  num_instances: 2
  urls:
    - ${HOST_0}:8001
    - ${HOST_0}:8002
generation_servers:
  num_instances: 1
  urls:
    - ${HOST_0}:8003
END
trtllm-serve disaggregated \
  -c ./disaggregated.yaml &

wait
