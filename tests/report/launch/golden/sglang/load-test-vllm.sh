#!/bin/sh
# vllm bench serve 0.33.0; then: tokenroof validate --data result-vllm.json --set model=deepseek-v3
set -eu
vllm bench serve \
  --backend vllm \
  --base-url http://localhost:8000 \
  --model deepseek-ai/DeepSeek-V3 \
  --tokenizer deepseek-ai/DeepSeek-V3 \
  --dataset-name timed_trace \
  --dataset-path requests.jsonl \
  --timed-trace-chunk-hash-size 512 \
  --timed-trace-sec-multiplier 0.001 \
  --num-prompts 3 \
  --ignore-eos \
  --goodput ttft:1000 tpot:40 \
  --percentile-metrics ttft,tpot,itl,e2el \
  --metric-percentiles 50,90,95,99 \
  --save-result \
  --save-detailed \
  --result-filename result-vllm.json \
  --metadata hardware=h200 num_gpus=16 framework=sglang weight_precision=fp8_block kv_precision=bf16 tp=16 pp=1 ep=16 dp_attention=true max_num_seqs=2048 max_batched_tokens=8192
