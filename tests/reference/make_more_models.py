"""Writes the models/*.yaml whose configuration no importer reads: `python tests/reference/make_more_models.py [NAME ...]`.

Convolutional, two-tower and frozen encoders, resamplers, Q-Formers, abstractors and compressors are put together here from the
sizes that papers and published code state; language models and plain towers come through the importer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml
from more_parts import (
    ASSUMED,
    abstractor,
    compressor,
    decoder,
    downsample_2,
    downsample_mlp,
    experts,
    fused_mlp,
    ldp,
    mlp,
    opt,
    packer,
    q_former,
    resampler,
    siglip,
    tower,
    video_q_former,
)
from more_towers import convnext, dino_and_siglip, eva, openclip, umt
from pydantic import TypeAdapter

from simulator.interop.hf.stages import deep_encoder, fastvit
from simulator.interop.hf_config import import_config
from simulator.interop.write_model import model_yaml
from simulator.spec.model import LanguageModel, Lvlm, Projector, VisionEncoder
from simulator.spec.preprocessing import Preprocessing
from simulator.spec.source import Source

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "models"
SCHEMES: dict[str, Any] = yaml.safe_load((HERE / "preprocessing.yaml").read_text(encoding="utf-8"))
Kind = Literal["spec", "inferred", "assumed"]

CLIP_L = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
}
QWEN2_HALF = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
              "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True}  # fmt: skip
QWEN2_7B = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
            "num_key_value_heads": 4, "vocab_size": 152064}  # fmt: skip
VICUNA_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
             "vocab_size": 32000, "max_position_embeddings": 4096}  # fmt: skip


def _model(
    name: str,
    title: str,
    vision: VisionEncoder,
    projector: Projector,
    language: LanguageModel,
    sources: list[tuple[Kind, str]],
    scheme: str = "",
    published: int | None = None,
    notes: str = "",
    assumptions: tuple[str, ...] = (),
    excluded: tuple[str, ...] = (),
) -> Lvlm:
    """One file. The preprocessing stands in preprocessing.yaml, with its source."""
    entry = SCHEMES[scheme or name]
    listed = [*sources, ("spec", f"preprocessing: {entry['source']}")]
    return Lvlm(
        name=name,
        title=title,
        sources=tuple(Source(kind=kind, reference=reference) for kind, reference in listed),
        published_parameters=published,
        vision=vision,
        projector=projector,
        preprocessing=TypeAdapter(Preprocessing).validate_python(entry["preprocessing"]),
        language=language,
        assumptions=assumptions,
        excluded=excluded,
        notes=notes,
    )


def _fastvlm(name: str, title: str, sizes: dict[str, Any], sources: list[tuple[Kind, str]]) -> Lvlm:
    text = decoder("qwen2", **sizes)
    return _model(
        name,
        title,
        fastvit((2, 12, 24, 4, 2), (96, 192, 384, 768, 1536)),
        mlp(3072, text.hidden, text.hidden),
        text,
        [
            ("spec", "arXiv 2412.13303: FastVLM (FastViTHD, 125 M parameters, five stages of 2, 12, 24, 4, 2 blocks)"),
            ("spec", "apple/ml-fastvlm llava/model/multimodal_encoder/mobileclip/mci.py: fastvithd, in inference mode"),
            *sources,
        ],
        notes="Branches of the convolutions are fused, as the checkpoint runs them; the classification head is left out. "
        "Stages of 4 and 2 attention blocks run at a 32nd and a 64th of the picture's side.",
    )


def fastvlm_half() -> Lvlm:
    source: Kind = "inferred"
    return _fastvlm("fastvlm-0.5b", "FastVLM-0.5B", QWEN2_HALF, [(source, "Qwen2-0.5B: config.json, values recalled")])


def fastvlm_7b() -> Lvlm:
    source = ("spec", "transformers 5.23.0 FastVlmConfig: Qwen2-7B with a vocabulary of 152128")
    return _fastvlm("fastvlm-7b", "FastVLM-7B", QWEN2_7B | {"vocab_size": 152128}, [source])


def convllava() -> Lvlm:
    return _model(
        "convllava-7b",
        "ConvLLaVA-sft-1536",
        convnext((3, 3, 27, 3, 6), (192, 384, 768, 1536, 3072)),
        mlp(3072, 4096, 4096),
        decoder("llama", **VICUNA_7B),
        [
            (
                "spec",
                "arXiv 2405.15738: ConvLLaVA (ConvNeXt-L from LAION, a fifth stage, Vicuna-7B-v1.5, two-layer projector)",
            ),
            (
                "spec",
                "alibaba/conv-llava llava/model/multimodal_encoder/convnext_encoder.py: the fifth stage is one more ConvNeXt stage",
            ),
            ("spec", "alibaba/conv-llava scripts/stage_1.sh: fifth stage of 6 blocks, 3072 channels wide"),
        ],
        scheme="convllava-1536-7b",
    )


def blip_2() -> Lvlm:
    return _model(
        "blip-2-opt-2.7b",
        "blip2-opt-2.7b",
        eva(39),
        q_former(1408, 2560, text=False),
        opt(2560, 10240, 32, 32, 50304),
        [
            (
                "spec",
                "arXiv 2301.12597: BLIP-2 (ViT-g/14 of EVA-CLIP without its last layer, Q-Former of BERT-base with 32 queries)",
            ),
            (
                "inferred",
                "Salesforce/blip2-opt-2.7b config.json, values recalled; each part equals Blip2ForConditionalGeneration",
            ),
            ("inferred", "published_parameters: Hugging Face model page (3.74B), from memory"),
        ],
        published=3_740_000_000,
        scheme="blip2-opt-2.7b",
        notes="The Q-Former attends to the class token too; its pairs (1 of 257) are left out.",
    )


def instructblip() -> Lvlm:
    return _model(
        "instructblip-vicuna-7b",
        "instructblip-vicuna-7b",
        eva(39),
        q_former(1408, 4096, text=True),
        decoder("llama", **VICUNA_7B | {"vocab_size": 32001, "max_position_embeddings": 2048}),
        [
            (
                "spec",
                "arXiv 2305.06500: InstructBLIP (frozen ViT-g/14, instruction-aware Q-Former with 32 queries, Vicuna-7B)",
            ),
            ("inferred", "Salesforce/instructblip-vicuna-7b config.json, values recalled; each part equals the class"),
            ("inferred", "published_parameters: Hugging Face model page (7.91B), from memory"),
        ],
        published=7_910_000_000,
        notes="The Q-Former reads the instruction beside its queries: its weights are counted, its rows (some tens) are not.",
    )


def qwen_vl() -> Lvlm:
    text = import_config(
        {"model_type": "qwen", "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
         "num_attention_heads": 32, "kv_channels": 128, "vocab_size": 151936, "seq_length": 2048,
         "tie_word_embeddings": False}, "text").language  # fmt: skip
    return _model(
        "qwen-vl-chat",
        "Qwen-VL-Chat",
        openclip(1664, 8192, 48, 16, 448, 14),
        resampler(1664, 4096, 32, 256, positions=256),
        text,
        [
            (
                "spec",
                "arXiv 2308.12966: Qwen-VL (1.9 B ViT, 0.08 B adapter with 256 queries, 7.7 B language model: 9.6 B)",
            ),
            (
                "inferred",
                "Qwen/Qwen-VL-Chat config.json and visual.py, values recalled; published_parameters: Hugging Face model page, from memory",
            ),
        ],
        published=9_656_935_168,
    )


def honeybee() -> Lvlm:
    return _model(
        "honeybee-7b",
        "Honeybee-C-7B-M144",
        tower("clip_vision_model", **CLIP_L, image_size=224),
        abstractor(1024, 4096, 3, 16, 12),
        decoder("llama", **VICUNA_7B),
        [
            (
                "spec",
                "arXiv 2312.06742: Honeybee (C-Abstractor: 3 ResNet blocks, pooling, 3 blocks, two layers; CLIP-L/224, Vicuna-7B-v1.5)",
            ),
            ("spec", "kakaobrain honeybee/projectors.py: regnet stages with squeeze-and-excite of a quarter"),
        ],
        assumptions=("projector: hidden 1024, no end token: config.json of the checkpoint is not at hand",),
    )


def tokenpacker() -> Lvlm:
    return _model(
        "tokenpacker-7b",
        "TokenPacker-7B (144 tokens)",
        tower("clip_vision_model", **CLIP_L, image_size=336),
        packer(1024, 4096, 4, 8, 2, 576),
        decoder("llama", **VICUNA_7B),
        [
            (
                "spec",
                "arXiv 2407.02392: TokenPacker (points of the pooled map attend to their region of four layers' features)",
            ),
            ("inferred", "CircleRadon/TokenPacker multimodal_projector/builder.py, recalled"),
        ],
    )


def minicpm() -> Lvlm:
    return _model(
        "minicpm-v-2.6",
        "MiniCPM-V-2_6",
        siglip(980),
        resampler(1152, 3584, 28, 64),
        decoder("qwen2", **QWEN2_7B | {"vocab_size": 151666}),
        [
            (
                "spec",
                "openbmb/MiniCPM-V-2_6 model card: SigLIP-400M and Qwen2-7B, 8 B parameters, 640 tokens for 1344 x 1344",
            ),
            (
                "inferred",
                "its config.json and resampler.py, values recalled; published_parameters: Hugging Face model page, from memory",
            ),
        ],
        published=8_099_175_152,
    )


def video_llama() -> Lvlm:
    return _model(
        "video-llama-7b",
        "Video-LLaMA-7B (vision-language branch)",
        eva(39),
        video_q_former(1408, 4096, 32),
        decoder("llama", **VICUNA_7B),
        [
            ("spec", "arXiv 2306.02858: Video-LLaMA"),
            (
                "spec",
                "DAMO-NLP-SG/Video-LLaMA video_llama/models/video_llama.py: sizes of both Q-Formers, 32 queries, 32 frame positions",
            ),
        ],
        excluded=("audio branch (ImageBind and its Q-Former)",),
        notes="Each frame passes the Q-Former (32 queries), all frames together the video Q-Former (32 queries per clip, two layers). "
        "Pairs of the latter are exact for 8 frames.",
    )


def llava_video() -> Lvlm:
    text = decoder("qwen2", **QWEN2_7B)
    return _model(
        "llava-video-7b",
        "LLaVA-Video-7B-Qwen2",
        siglip(384, layers=26),
        mlp(1152, 3584, 3584, other=3584),
        text,
        [
            ("spec", "arXiv 2410.02713: LLaVA-Video (architecture of LLaVA-OneVision: SigLIP-so400m/384, Qwen2-7B)"),
            (
                "inferred",
                "lmms-lab/LLaVA-Video-7B-Qwen2 config.json, values recalled: as models/llava-onevision-7b.yaml",
            ),
            ("inferred", "published_parameters: Hugging Face model page (8.03B), from memory"),
        ],
        published=8_030_000_000,
    )


def videollama3() -> Lvlm:
    eyes = siglip(378).model_copy(update={"name": "VideoLLaMA3 ViT", "other_parameters": 0})
    block = eyes.stack.blocks["block"]
    assert block.attention is not None
    turned = block.model_copy(update={"attention": block.attention.model_copy(update={"rope": True})})
    stack = eyes.stack.model_copy(update={"blocks": {"block": turned}})
    return _model(
        "videollama3-7b",
        "VideoLLaMA3-7B",
        eyes.model_copy(update={"stack": stack}),
        mlp(1152, 3584, 3584, rows="tokens"),
        decoder("qwen2", **QWEN2_7B),
        [
            (
                "spec",
                "arXiv 2501.13106: VideoLLaMA 3 (SigLIP with rotary positions, bilinear merging of video tokens, Qwen2.5-7B)",
            ),
            (
                "inferred",
                "DAMO-NLP-SG/VideoLLaMA3-7B config.json, values recalled; each part equals VideoLlama3ForConditionalGeneration",
            ),
            ("inferred", "published_parameters: Hugging Face model page (8.04B), from memory"),
        ],
        published=8_040_000_000,
    )


def _deepseek_vl2(name: str, title: str, text: LanguageModel, published: int, active: str) -> Lvlm:
    eyes = siglip(384)  # and an attention pool that the code builds and never runs
    pool = 4 * 1152**2 + 2 * 4304 * 1152 + 4304 + 8 * 1152
    return _model(
        name,
        title,
        eyes.model_copy(update={"other_parameters": eyes.other_parameters + pool}),
        downsample_mlp(1152, text.hidden, 1),
        text,
        [
            (
                "spec",
                f"arXiv 2412.10302 and deepseek-ai/DeepSeek-VL2 README: {published / 1e9:.3g} B parameters, {active} active",
            ),
            (
                "spec",
                "DeepSeek-VL2 modeling_deepseek_vl_v2.py: downsampling by 2 x 2, two layers (mlp_ratio 1), newline and separator vectors, "
                "an attention pool of SigLIP that is built and never run",
            ),
            (
                "inferred",
                f"deepseek-ai/{title} config.json, values recalled and, but for the small size's vocabulary, as rtp-llm's tests of "
                "this family have them; the total pins them",
            ),
        ],
        scheme="deepseek-vl2",
        published=published,
        notes="Latent attention and routed experts with shared ones."
        if "mla" in str(text.stack)
        else "Routed experts with shared ones; this size has plain multi-head attention.",
    )


def deepseek_vl2_tiny() -> Lvlm:
    text = experts(1280, 12, 10, 6848, 896, 64, 2, 129280)
    return _deepseek_vl2("deepseek-vl2-tiny", "deepseek-vl2-tiny", text, 3_370_000_000, "1.0 B")


def deepseek_vl2_small() -> Lvlm:
    text = experts(2048, 27, 16, 10944, 1408, 64, 2, 102400, latent=512)
    return _deepseek_vl2("deepseek-vl2-small", "deepseek-vl2-small", text, 16_100_000_000, "2.8 B")


def deepseek_vl2() -> Lvlm:
    text = experts(2560, 30, 32, 12288, 1536, 72, 2, 129280, latent=512)
    return _deepseek_vl2("deepseek-vl2", "deepseek-vl2", text, 27_500_000_000, "4.5 B")


def deepseek_ocr() -> Lvlm:
    return _model(
        "deepseek-ocr",
        "DeepSeek-OCR",
        deep_encoder(),
        compressor(2048, 1280),
        experts(1280, 12, 10, 6848, 896, 64, 2, 129280, context=8192),
        [
            (
                "spec",
                "arXiv 2510.18234: DeepSeek-OCR (SAM-base with windows, 16-fold convolutional compressor, CLIP-L, 3 B mixture, 570 M active)",
            ),
            (
                "spec",
                "transformers 5.23.0 unlimited_ocr: the same encoder and language sizes; each part equals the class, but for CLIP's patch embedding, which only the checkpoint stores",
            ),
            ("inferred", "published_parameters: Hugging Face model page, from memory"),
        ],
        published=3_336_106_240,
        notes="Default mode (Gundam): a view of 1024 x 1024 (256 tokens) and tiles of 640 x 640 (100 tokens). Windows of 14 x 14 patches, "
        "those at the border filled up as the published code does. The class token passes CLIP only. Products with the tables of "
        "relative positions (0.4 % of the encoder's) are left out.",
    )


def cobra() -> Lvlm:
    text = import_config(
        {"model_type": "mamba", "hidden_size": 2560, "state_size": 16, "conv_kernel": 4, "expand": 2, "num_hidden_layers": 64,
         "time_step_rank": 160, "vocab_size": 50280, "use_bias": False, "use_conv_bias": True, "tie_word_embeddings": True},
        "text").language  # fmt: skip
    return _model(
        "cobra-3b",
        "cobra-3b",
        dino_and_siglip(),
        fused_mlp(2176, 2560),
        text,
        [
            (
                "spec",
                "arXiv 2403.14520: Cobra (DINOv2-L and SigLIP-so400m at 384 side by side, three-layer projector, Mamba-2.8B-Zephyr; 3.5 B)",
            ),
            ("inferred", "state-spaces/mamba-2.8b config.json and prismatic's dinosiglip backbone, values recalled"),
        ],
        published=3_500_000_000,
        assumptions=("max_context: a state-space model has none; 10^6 is entered",),
        notes="Of both encoders the next-to-last layer's features are used, yet all layers run. SigLIP's pooling head, which is never run, is left out.",
    )


def nvila() -> Lvlm:
    return _model(
        "nvila-8b",
        "NVILA-8B",
        siglip(448),
        downsample_2(3 * 1152, 3584),
        decoder("qwen2", **QWEN2_7B | {"vocab_size": 151651}),
        [
            ("spec", "arXiv 2412.04468: NVILA (SigLIP at three scales side by side, 2 x 2 downsampling, Qwen2-7B)"),
            ("spec", "NVlabs/VILA scripts/NVILA: scales 448,896,1344, mlp_downsample_2x2_fix"),
        ],
        assumptions=("language: vocabulary 151651, that of LongVILA-R1-7B, which is built on it",),
        notes="Features of the three scales join without adding tokens; frames of a video are encoded at one scale.",
    )


def _mobilevlm(name: str, title: str, published: int, **sizes: int) -> Lvlm:
    text = decoder("llama", **sizes, vocab_size=32000)
    return _model(
        name,
        title,
        tower("clip_vision_model", **CLIP_L, image_size=336),
        ldp(1024, text.hidden),
        text,
        [
            (
                "spec",
                "arXiv 2402.03766: MobileVLM V2 (CLIP-L/336, LDPv2: two layers, 2 x 2 pooling, depthwise convolution; MobileLLaMA)",
            ),
            ("inferred", "MobileLLaMA of arXiv 2312.16886 table 2, values recalled"),
        ],
        published=published,
        scheme="mobilevlm-v2-3b",
    )


def mobilevlm_1_7b() -> Lvlm:
    sizes = {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 16}
    return _mobilevlm("mobilevlm-v2-1.7b", "MobileVLM_V2-1.7B", 1_700_000_000, **sizes)


def mobilevlm_3b() -> Lvlm:
    sizes = {"hidden_size": 2560, "intermediate_size": 6912, "num_hidden_layers": 32, "num_attention_heads": 32}
    return _mobilevlm("mobilevlm-v2-3b", "MobileVLM_V2-3B", 3_000_000_000, **sizes)


def videochat_flash() -> Lvlm:
    return _model(
        "videochat-flash-7b",
        "VideoChat-Flash-Qwen2-7B_res448",
        umt(1024, 4096, 23, 16, 16),
        mlp(1024, 3584, 3584, rows="tokens", merged="merge"),
        decoder("qwen2", **QWEN2_7B),
        [
            (
                "spec",
                "arXiv 2501.00574: VideoChat-Flash (UMT-L on groups of 4 frames, token merging to 16 tokens per frame, Qwen2-7B)",
            ),
            (
                "spec",
                "OpenGVLab/VideoChat-Flash vision_tower_builder.py: UMT at 448, fixed positions, the last of 24 blocks not built, "
                "a norm after them; mm_projector_builder.py: tome16_mlp_hd64, a single picture merged to 64 tokens",
            ),
        ],
        notes="Similarity search and averaging of the token merging are counted as memory traffic only.",
    )


BUILDERS: tuple[Callable[[], Lvlm], ...] = (
    fastvlm_half, fastvlm_7b, convllava, blip_2, instructblip, qwen_vl, honeybee, tokenpacker, minicpm, video_llama, llava_video,
    videollama3, deepseek_vl2, deepseek_vl2_small, deepseek_vl2_tiny, deepseek_ocr, cobra, nvila, mobilevlm_1_7b, mobilevlm_3b,
    videochat_flash,
)  # fmt: skip


def models() -> dict[str, Lvlm]:
    """All of them by name, with what the importer had to assume."""
    out: dict[str, Lvlm] = {}
    for build in BUILDERS:
        ASSUMED.clear()
        model = build()
        listed = (*model.assumptions, *(note for note in ASSUMED if note not in model.assumptions))
        out[model.name] = model.model_copy(update={"assumptions": listed})
    return out


def main(names: list[str]) -> None:
    for name, model in models().items():
        if not names or name in names:
            text = model_yaml(model, f"{model.title}: written by tests/reference/make_more_models.py.")
            (MODELS / f"{name}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
