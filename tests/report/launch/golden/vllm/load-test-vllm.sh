#!/bin/sh
# vllm bench serve 0.33.0; then: tokenroof validate --data result-vllm.json --set model=llama-3.3-70b
set -eu
vllm bench serve \
  --backend vllm \
  --base-url http://localhost:8000 \
  --model meta-llama/Llama-3.3-70B-Instruct \
  --tokenizer meta-llama/Llama-3.3-70B-Instruct \
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
  --metadata hardware=h100 num_gpus=8 framework=vllm weight_precision=fp8 kv_precision=fp8 tp=4 pp=1 ep=1 dp_attention=false max_num_seqs=1024 max_batched_tokens=8192
