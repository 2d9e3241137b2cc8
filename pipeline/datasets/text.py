"""text and tinyshakespeare: a text cut into short windows, one categorical token a character.

The most frequent characters have codes of their own; the rest share the last one, shown as U+FFFD.
tinyshakespeare: 1.1 MB of Shakespeare's plays (public domain), as collected in karpathy/char-rnn (MIT).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from pipeline.base.params import Params
from pipeline.datasets.source import RawData, RemoteFile, Source
from pipeline.rows.schema import TEXT_GROUP, Schema
from pipeline.rows.tokens import Token

OTHER = "\ufffd"


def load(raw: Path, params: Params) -> RawData:
    """(N, text_length) uint8 codes of consecutive windows of the file in dataset.path."""
    return windows(_read(SOURCE.user_file(raw, params)), params)


def windows(text: str, params: Params) -> RawData:
    """Rows of consecutive windows that do not overlap; what is left at the end is dropped.

    Raises ValueError when the text gives less than two rows.
    """
    length = params.prepare.text_length
    n = len(text) // length
    if n < 2:
        raise ValueError(
            f"the text must have at least {2 * length} characters (prepare.text_length × 2). Got {len(text)}."
        )
    counts = Counter(text)
    frequent = [c for c, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    words = sorted(frequent[: params.prepare.text_characters])
    if len(words) < len(frequent):
        words = [*sorted(frequent[: params.prepare.text_characters - 1]), OTHER]
    code = {c: i for i, c in enumerate(words)}
    other = code.get(OTHER, 0)
    codes = np.fromiter((code.get(c, other) for c in text[: n * length]), np.uint8, n * length)
    tokens = tuple(Token(f"character_{i}", "categorical", TEXT_GROUP, (i,), len(words), (0, i)) for i in range(length))
    names = tuple(t.name for t in tokens)
    return RawData(Schema(tokens, names, categories=dict.fromkeys(names, words)), codes.reshape(n, length))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be UTF-8 text. Got the byte {error.object[error.start]:#x} at {error.start}."
        ) from error


# A text is all choices: likelihood alone, every character that is not a source is a target, drawn in random order.
RECOMMENDED = (
    "tasks.weights={beta_random: 1.0}",
    "tasks.target_beta=[1000.0, 0.001]",
    "network.order=one_by_one",
    "network.width=64",
    "network.depth=2",
    "network.heads=4",
    "network.noise_width=1",
    "train.steps=3600",
    "train.decay_start=0.5",
    "train.adversarial_weight=0.0",
    "train.minibatch_group=1",
    "train.batch_size=128",
    "train.generator_lr=0.003",
    "train.beta1=0.9",
    "train.weight_decay=0.01",
    "train.clip_norm=1.0",
    "train.ema_decay=0.99",
)

SOURCE = Source("text", load, reads_path=True, recommended=RECOMMENDED)

TINYSHAKESPEARE = Source(
    "tinyshakespeare",
    lambda raw, params: windows(_read(raw / "input.txt"), params),
    (
        RemoteFile(
            "input.txt",
            1115394,
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
        ),
    ),
    recommended=RECOMMENDED,
)
