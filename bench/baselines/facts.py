"""What an analyst of the benchmark's company knows by heart: prices, the GPU server, how a log names the own model."""

from __future__ import annotations

PRICES = {
    "gpt-5-mini": (0.25, 0.025, 0.0, 2.0),
    "gpt-4.1-mini": (0.4, 0.1, 0.0, 1.6),
    "gpt-4o-mini": (0.15, 0.075, 0.0, 0.6),
    "gpt-4.1": (2.0, 0.5, 0.0, 8.0),
    "claude-haiku-4-5": (1.0, 0.1, 1.25, 5.0),
    "claude-opus-4-5": (5.0, 0.5, 6.25, 25.0),
}
"""Per model, USD per million tokens: input, cached input, written cache, output."""

GPU_MODEL = "H100-SXM-80GB"
GPUS_EACH = 8
OWN_PROVIDER = "hosted_vllm/"
"""What stands before the name of the own model."""
SAMPLE_SECONDS = 60
UNTAGGED = "__untagged__"
