"""Tiny LVLMs that really run every technique, to check a cost model against what was executed.

Imports torch and numpy only, nothing of the simulator. Entry points: ``run``, ``sample_mixes``, ``time_mix``;
``README.md`` beside this file defines every technique exactly.

Conversion of torch's counts to the counting rule (2 per multiply-accumulate; matrix products, convolutions and
attention products by the pairs really attended; nothing for rotary positions, norms, activations, softmax):

1. ``FlopCounterMode`` counts each mm / bmm / addmm / convolution as 2 * multiply-accumulates. All products of the
   model are such calls; rotary angles are made by broadcasting, not by a product, so nothing else is counted.
2. Attention multiplies full rectangles Q K^T and P V: torch counts 4 * heads * head_dim * m * n for m queries and
   n keys. The boolean mask that is applied there is also summed, and 4 * heads * head_dim * (m * n - allowed pairs)
   is taken out, which leaves 4 * heads * head_dim per attended pair. Keys that are never gathered (block sparsity,
   evicted rows, a slid window) are not in the rectangle in the first place.
3. The head runs on the last prompt token in prefill, on every row of a decode, draft or verification step.
4. Products made only to decide what to keep (similarities, recomputed rows, block scores, eviction scores) run
   inside ``Meter.overhead`` and are reported apart.
"""

from __future__ import annotations

from .config import ModelConfig as ModelConfig
from .config import OracleWorkload as OracleWorkload
from .config import ProjectorConfig as ProjectorConfig
from .config import TextConfig as TextConfig
from .config import VisionConfig as VisionConfig
from .config import kept as kept
from .mixes import Case as Case
from .mixes import sample_mixes as sample_mixes
from .run import Measured as Measured
from .run import run as run
from .techniques import (
    EncoderMerge as EncoderMerge,
)
from .techniques import (
    EncoderPrune as EncoderPrune,
)
from .techniques import (
    FrozenVisual as FrozenVisual,
)
from .techniques import (
    InLlmPrune as InLlmPrune,
)
from .techniques import (
    KvEvict as KvEvict,
)
from .techniques import (
    KvQuant as KvQuant,
)
from .techniques import (
    LayerSkip as LayerSkip,
)
from .techniques import (
    PostEncoderReduce as PostEncoderReduce,
)
from .techniques import (
    PreLlmReduce as PreLlmReduce,
)
from .techniques import (
    SparseAttention as SparseAttention,
)
from .techniques import (
    Speculative as Speculative,
)
from .techniques import (
    Technique as Technique,
)
from .techniques import (
    VisualBypass as VisualBypass,
)
from .techniques import (
    technique_from_dict as technique_from_dict,
)
from .timing import TimedMix as TimedMix
from .timing import time_mix as time_mix
