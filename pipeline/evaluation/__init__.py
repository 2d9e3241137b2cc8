"""Scores of joint samples and completions, beside baselines."""
