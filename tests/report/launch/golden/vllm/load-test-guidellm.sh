#!/bin/sh
# guidellm run 0.8.1; then: tokenroof validate --data result-guidellm.json --set model=llama-3.3-70b --set hardware=h100 --set num_gpus=8 --set framework=vllm --set weight_precision=fp8 --set kv_precision=fp8 --set tp=4 --set pp=1 --set ep=1 --set dp_attention=false --set max_num_seqs=1024 --set max_batched_tokens=8192
set -eu
guidellm run \
  --backend kind=openai_http,target=http://localhost:8000,model=meta-llama/Llama-3.3-70B-Instruct,request_format=/v1/completions \
  --profile kind=replay,schedule_turn=timestamp \
  --data kind=mooncake,source.kind=json_file,source.path=requests.jsonl,hash_id_block_size=512,time_scale=0.001 \
  --tokenizer kind=huggingface_auto,model=meta-llama/Llama-3.3-70B-Instruct \
  --constraint kind=max_requests,count=3 \
  --output kind=json,path=result-guidellm.json
