#!/bin/sh
# guidellm run 0.8.1; then: tokenroof validate --data result-guidellm.json --set model=llama-3.3-70b --set hardware=h100 --set num_gpus=8 --set framework=trtllm --set weight_precision=bf16 --set kv_precision=bf16 --set disagg=true --set prefill_gpus=4 --set prefill_workers=2 --set prefill_tp=2 --set prefill_ep=1 --set prefill_dp_attention=false --set decode_gpus=4 --set decode_workers=1 --set decode_tp=4 --set decode_ep=1 --set decode_dp_attention=false
set -eu
guidellm run \
  --backend kind=openai_http,target=http://localhost:8000,model=meta-llama/Llama-3.3-70B-Instruct,request_format=/v1/completions \
  --profile kind=replay,schedule_turn=timestamp \
  --data kind=mooncake,source.kind=json_file,source.path=requests.jsonl,hash_id_block_size=512,time_scale=0.001 \
  --tokenizer kind=huggingface_auto,model=meta-llama/Llama-3.3-70B-Instruct \
  --constraint kind=max_requests,count=3 \
  --output kind=json,path=result-guidellm.json
