"""Insights and embeddings without any provider: rules, and a small model on this machine.

For trying things out, and for those who may send nothing anywhere. What it says is poorer than what a model says, so
every row is labelled with the method; nothing falls back to it by itself.
"""

import asyncio
import re
from collections.abc import Sequence

from backfill_assets.adapters.ai import minilm
from backfill_assets.core.enrichment import Embeddings, Extraction, Insight, Origin

OFFLINE = "offline"
RULES_VERSION = "rules-1"
BATCH_SIZE = 32

_COMPONENTS: Sequence[tuple[str, str]] = (
    (r"x[- ]?ray tube|\btube\b|球管", "X-ray tube"),
    (r"detector|探测器", "Detector"),
    (r"\bgantry\b|机架", "Gantry"),
    (r"\bcoil\b|线圈", "Coil"),
    (r"probe|transducer|探头", "Ultrasound probe"),
    (r"cold ?head|冷头", "Cold head"),
    (r"chiller|cooling|水冷|冷却", "Cooling"),
    (r"power supply|电源", "Power supply"),
    (r"collimator|准直器", "Collimator"),
    (r"generator|发生器", "Generator"),
    (r"monitor|display|显示器", "Display"),
    (r"\bcable\b|电缆|线缆", "Cable"),
    (r"\bfan\b|风扇", "Fan"),
    (r"\bpump\b|泵", "Pump"),
    (r"\btable\b|检查床|床板", "Patient table"),
    (r"software|软件", "Software"),
    (r"network|网络", "Network"),
    (r"battery|电池", "Battery"),
)
_FAULT = re.compile(
    r"error|fault|fail|alarm|leak|noise|artifact|broken|defect|stop|crash|overheat|crack|"
    r"报警|故障|错误|伪影|损坏|漏|异响|无法|失败",
    re.IGNORECASE,
)
_CAUSE = re.compile(r"because|due to|caused by|root cause|worn|reason|由于|因为|原因|导致|磨损", re.IGNORECASE)
_ACTION = re.compile(
    r"replac|repair|clean|calibrat|adjust|tighten|restart|reboot|updat|reinstall|refill|test|"
    r"更换|维修|清洁|校准|调整|重启|升级|紧固|测试",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])|\n+")
LONGEST_SENTENCE = 500
LONGEST_SUMMARY = 300
CONFIDENCE = 0.3
"""What rules deserve."""


class OfflineExtractor:
    """An `InsightExtractor` of rules."""

    @property
    def origin(self) -> Origin:
        """See `InsightExtractor.origin`."""
        return Origin(method=OFFLINE, model_version=RULES_VERSION, prompt_version=RULES_VERSION)

    async def extract(self, text: str) -> Extraction:
        """See `InsightExtractor.extract`; it costs nothing and refuses nothing."""
        return Extraction(insight=insight(text), origin=self.origin)


def insight(text: str) -> Insight:
    """What the rules find."""
    parts = (part.strip()[:LONGEST_SENTENCE] for part in _SENTENCE_END.split(text.replace("\0", "")))
    sentences = [part for part in parts if part]
    found = (name for pattern, name in _COMPONENTS if re.search(pattern, text, re.IGNORECASE))
    return Insight(
        component=next(found, ""),
        fault=next(filter(_FAULT.search, sentences), ""),
        cause=next(filter(_CAUSE.search, sentences), ""),
        resolution_steps=tuple(filter(_ACTION.search, sentences)),
        summary=" ".join(sentences)[:LONGEST_SUMMARY].strip(),
        confidence=CONFIDENCE,
    )


class OfflineEmbedder:
    """An `Embedder` on this machine; the model is loaded with the first texts."""

    method = OFFLINE
    model = minilm.MODEL
    dimensions = minilm.DIMENSIONS
    batch_size = BATCH_SIZE

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`; other coroutines go on meanwhile."""
        vectors = await asyncio.to_thread(minilm.embed, texts, BATCH_SIZE)
        return Embeddings(vectors=vectors, model=self.model, dimensions=self.dimensions, method=self.method)
