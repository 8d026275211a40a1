"""Attention on one group of chips, feed-forwards on another: the two halves of every layer apart."""
