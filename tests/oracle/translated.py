"""The same case in the simulator's words: an oracle's model, request and mix as a model, a program and techniques.

This file and `timed.py` are where the two sides meet; nothing else in the package imports the simulator.
"""

from __future__ import annotations

from typing import Any

from simulator.build.language import build_decoder
from simulator.build.vision import build_tower
from simulator.program import Grid, Program, VisualInput
from simulator.spec.model import Lvlm
from simulator.technique import AbstractTechnique, registry


def language(text: dict[str, Any]) -> dict[str, Any]:
    base = {
        "heads": text["num_attention_heads"], "kv_heads": text["num_key_value_heads"], "head_dim": text["head_dim"],
        "q_bias": text["attention_bias"], "kv_bias": text["attention_bias"],
    }  # fmt: skip
    part: dict[str, Any] = {"width": text["intermediate_size"]}
    if text["num_experts"]:
        part = {
            "width": text["moe_intermediate_size"], "experts": text["num_experts"], "active": text["num_experts_per_tok"],
            "shared_width": text["shared_expert_intermediate_size"],
        }  # fmt: skip
    blocks = {
        "full_attention": {"attention": {"kind": "full", **base}, "feed_forward": part},
        "sliding_attention": {"attention": {"kind": "sliding", "window": text["sliding_window"] or 1, **base}, "feed_forward": part},
    }
    return {
        "name": "tiny", "hidden": text["hidden_size"], "vocabulary": text["vocab_size"], "tied_embeddings": text["tie_word_embeddings"],
        "stack": {"blocks": blocks, "order": [f"1 {kind}" for kind in text["layer_types"]]},
        "final_norm_parameters": text["hidden_size"], "max_context": 4096,
    }  # fmt: skip


def model_of(config: dict[str, Any], name: str = "tiny") -> Lvlm:
    vision, projector, text = config["vision_config"], config["projector_config"], config["text_config"]
    heads = vision["num_attention_heads"]
    base = {"heads": heads, "kv_heads": heads, "head_dim": vision["hidden_size"] // heads, "q_bias": True, "kv_bias": True, "o_bias": True}
    part = {"width": vision["intermediate_size"], "gated": vision["gated_mlp"], "bias": vision["mlp_bias"]}
    blocks = {
        "window": {"attention": {"kind": "grid", "window": vision["window"] or 1, **base}, "feed_forward": part},
        "full": {"attention": {"kind": "full", **base}, "feed_forward": part},
    }
    windowed = [vision["window"] and i not in vision["full_attention_layers"] for i in range(vision["num_hidden_layers"])]
    side = projector["spatial_merge_size"]
    return Lvlm.model_validate(
        {
            "name": name,
            "title": name,
            "sources": [{"kind": "spec", "reference": "tests/oracle"}],
            "vision": {
                "name": "vit", "hidden": vision["hidden_size"], "patch": vision["patch_size"], "patch_kernel": vision["patch_size"],
                "stack": {"blocks": blocks, "order": [f"1 {'window' if flag else 'full'}" for flag in windowed]},
            },
            "projector": {
                "kind": "mlp",
                "merge": side,
                "steps": [
                    {"op": "linear", "name": "linear_1", "inputs": vision["hidden_size"] * side * side, "outputs": projector["hidden_size"]},
                    {"op": "linear", "name": "linear_2", "inputs": projector["hidden_size"], "outputs": text["hidden_size"]},
                ],
            },
            "preprocessing": {"kind": "fixed", "size": 32, "patch": vision["patch_size"], "tokens": 1},
            "language": language(text),
        }
    )  # fmt: skip


def plain(case: Any, model: Lvlm) -> Program:
    rows, columns = case.workload.grid(case.model)
    side = case.model.projector.spatial_merge_size
    grid = Grid(float(case.workload.images), float(rows), float(columns), rows * columns / side**2, 0.0)
    seen = VisualInput((grid,), 0.0, 0.0, 0.0, 0.0, float(case.workload.images))
    work = case.workload
    return Program(
        float(work.batch), float(work.text_before + work.text_tokens), float(work.output_tokens), seen, (build_tower(model, (grid,)),),
        build_decoder(model),
    )  # fmt: skip


def techniques_of(case: Any, measured: Any, timed: bool = False) -> list[tuple[str, AbstractTechnique]]:
    """The mix in the simulator's words, with the fractions that were really kept.

    timed: as it runs here rather than as it is counted: block scores paid for, keys unpacked before attention.
    """
    known, resolved, depth = registry(), measured.report.resolved, case.model.text.num_hidden_layers
    out: list[tuple[str, AbstractTechnique]] = []

    def add(kind: str, **values: Any) -> None:
        out.append((kind, known[kind](**values)))

    for item in case.mix:
        exact = resolved.get(item.kind, {})
        match item.kind:
            case "encoder_merge":
                add("encoder_merge", layer=item.start, stop=item.stop, keep=share(exact["keep"]))
            case "encoder_prune":
                add("encoder_prune", layer=item.layer, keep=share(exact["keep"]), score=item.score)
            case "post_encoder_reduce":
                add("post_encoder_reduce", keep=share(exact["keep"]))
            case "pre_llm_reduce":
                add("pre_llm_reduce", keep=share(exact["keep"]), method=item.method)
            case "in_llm_prune":
                add("in_llm_prune", layer=item.layer, keep=tuple(map(share, exact["keep"])), score=item.score)
            case "visual_bypass":
                add("visual_bypass", start=item.start, stop=item.stop)
            case "frozen_visual":
                add("frozen_visual", layers=item.layers)
            case "sparse_attention":
                rule = {"block": float(item.block), "score": "block"} if timed else {"block": 1.0, "score": "none"}
                add("sparse_attention", density=global_density(case, measured), **rule)
            case "kv_evict":
                budgets = tuple(
                    1.0 if layer is None else sum(map(share, layer)) / len(layer) for layer in exact["budget"]
                )
                add("kv_evict", layer_budgets=budgets, text_kept=item.text_kept, merge=item.merge, observe=1.0)
            case "kv_quant":
                add("kv_quant", k_bits=float(item.k_bits), v_bits=float(item.v_bits), group=float(item.group), residual=float(item.residual),
                    fused=not timed)  # fmt: skip
            case "layer_skip":
                kept = depth if item.layers else min(depth, max(1, round(item.keep * depth)))
                add("layer_skip", layers=item.layers, keep=kept / depth, stage=item.stage)
            case "speculative":
                drafter = f"self:{item.draft_layers}" if item.drafter == "self" else f"drafter-{item.draft_layers}"
                rounded = draft_share(case, item, measured)
                add("speculative", drafter=drafter, gamma=float(item.gamma), accepted=float(item.accepted[0]), draft_keep=rounded,
                    own_encoder=False)  # fmt: skip
            case other:
                raise AssertionError(f"no such technique: {other}")
    return out


def share(pair: Any) -> float:
    kept, total = pair
    return kept / total if total else 1.0


def global_density(case: Any, measured: Any) -> float:
    """Pairs attended over causal pairs in the layers without a window (those with one are left alone)."""
    report = measured.report
    layers = [i for i in range(case.model.text.num_hidden_layers) if not case.model.text.window(i)]
    return sum(report.pairs_per_layer[i] for i in layers) / max(sum(report.pairs_dense_per_layer[i] for i in layers), 1)


def draft_share(case: Any, item: Any, measured: Any) -> float:
    if item.drafter == "self":
        return item.draft_keep
    total = measured.report.visual_per_layer[0]
    return measured.report.drafter_visual_tokens / total
