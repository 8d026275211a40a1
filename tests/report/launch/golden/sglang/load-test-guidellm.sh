#!/bin/sh
# guidellm run 0.8.1; then: tokenroof validate --data result-guidellm.json --set model=deepseek-v3 --set hardware=h200 --set num_gpus=16 --set framework=sglang --set weight_precision=fp8_block --set kv_precision=bf16 --set tp=16 --set pp=1 --set ep=16 --set dp_attention=true --set max_num_seqs=2048 --set max_batched_tokens=8192
set -eu
guidellm run \
  --backend kind=openai_http,target=http://localhost:8000,model=deepseek-ai/DeepSeek-V3,request_format=/v1/completions \
  --profile kind=replay,schedule_turn=timestamp \
  --data kind=mooncake,source.kind=json_file,source.path=requests.jsonl,hash_id_block_size=512,time_scale=0.001 \
  --tokenizer kind=huggingface_auto,model=deepseek-ai/DeepSeek-V3 \
  --constraint kind=max_requests,count=3 \
  --output kind=json,path=result-guidellm.json
