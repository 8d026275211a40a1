"""Answers beside the plan: apart or not, which ratio, when offload, drafts or an API pay, how sure it is."""
