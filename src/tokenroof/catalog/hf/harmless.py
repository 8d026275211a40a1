"""Config fields that cannot change a parameter, a byte or a flop of inference, by reason."""

from __future__ import annotations

_IDENTITY = """
_name_or_path architectures auto_map model_type model_name transformers_version tokenizer_class id2label
label2id problem_type finetuning_task task_specific_params prefix language is_decoder is_encoder_decoder
add_cross_attention cross_attention_hidden_size tie_encoder_decoder pruned_heads torchscript use_bfloat16
tf_legacy_loss hidden_act hidden_activation mlp_hidden_act activation_function torch_dtype dtype
attn_implementation _attn_implementation
"""
_NUMERICS = """
rms_norm_eps norm_eps layer_norm_eps layer_norm_epsilon layernorm_epsilon hc_eps hc_sinkhorn_iters
attention_softmax_in_fp32 residual_in_fp32 rescale_prenorm_residual moe_router_dtype scale_embeddings
attn_logit_softcapping final_logit_softcapping query_pre_attn_scalar attention_value_scale attn_scale
floor_scale swiglu_alpha swiglu_limit activation_situ_beta activation_situ_linear_beta gate_lower_bound
embedding_multiplier logits_scaling residual_multiplier attention_multiplier lm_head_multiplier
attention_in_multiplier attention_out_multiplier key_multiplier ssm_multipliers ssm_in_multiplier
ssm_out_multiplier mlp_multipliers mup_denominator logit_scale use_gemma_norm
layernorm_full_attention_alpha layernorm_full_attention_beta layernorm_linear_attention_alpha
layernorm_linear_attention_beta layernorm_mlp_alpha layernorm_mlp_beta full_attn_alpha_factor
full_attn_beta_factor linear_attn_alpha_factor linear_attn_beta_factor mlp_alpha_factor mlp_beta_factor
"""
_POSITIONS = """
partial_rotary_factor rotary_dim rotary_pct swa_rope_theta compress_rope_theta beta_fast beta_slow mscale
initial_context_length original_max_position_embeddings indexer_rope_interleave mla_use_nope
position_embedding_type no_rope_layer_interval attn_temperature_tuning max_window_layers
no_rope_layers
"""
_ROUTING = """
n_group topk_group topk_method scoring_func norm_topk_prob routed_scaling_factor use_grouped_topk
num_expert_group moe_renormalize moe_router_activation_func moe_shared_expert_overlap ep_size seq_aux
aux_loss_alpha output_router_logits router_jitter_noise index_topk_freq index_skip_topk_offset
"""
_TRAINING_AND_GENERATION = """
embd_pdrop resid_pdrop init_method pretraining_tp bad_words_ids begin_suppress_tokens cache_implementation
chunk_size_feed_forward decoder_start_token_id diversity_penalty do_sample early_stopping
encoder_no_repeat_ngram_size exponential_decay_length_penalty length_penalty max_length min_length
no_repeat_ngram_size num_beam_groups num_beams num_logits_to_keep num_return_sequences output_attentions
output_hidden_states output_scores remove_invalid_values repetition_penalty return_dict
return_dict_in_generate suppress_tokens temperature top_k top_p typical_p use_cache
"""
_KERNELS = """
chunk_size mamba_chunk_size mamba_act mamba_hidden_act mamba_dt_max mamba_dt_min mamba_ssm_cache_dtype
mamba_ssm_dtype use_mamba_kernels time_step_floor time_step_limit time_step_max time_step_min
time_step_rank mtp_use_dedicated_embeddings
"""
_IMAGES = """
ignore_index image_placeholder eoa_token_index boi_token_index eoi_token_index mm_tokens_per_image
vision_soft_tokens_per_image vision_feature_layer use_unified_vision_chunk use_bidirectional_attention
"""
_NOTES = "attn_type_legend mask_token_id_value"

HARMLESS = frozenset(
    " ".join(
        (
            _IDENTITY,
            _NUMERICS,
            _POSITIONS,
            _ROUTING,
            _TRAINING_AND_GENERATION,
            _KERNELS,
            _IMAGES,
            _NOTES,
        )
    ).split()
)
HARMLESS_ENDINGS = ("_token_id", "_token_ids", "_token_index", "_dropout", "_loss_coef", "initializer_range")
HARMLESS_BEGINNINGS = ("initializer_", "init_std", "rope_")
