"""State-space language models and hybrids of them with attention: Mamba, Mamba-2, Bamba, Granite 4, Jamba, Nemotron-H."""

from __future__ import annotations

from typing import Any

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.text import heads_of, stack
from simulator.spec.model import AttentionSpec, Block, FeedForwardSpec, LanguageModel, LinearSpec
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


def scan(
    hidden: int, inner: int, state: int, kernel: int, rank: int, bias: bool, conv_bias: bool, norms: int = 0
) -> AttentionSpec:
    """Mamba (Gu and Dao, 2023): input, selection, step and output matrices around a selective scan. norms: weights of norms inside."""
    return AttentionSpec(
        kind="linear",
        projections=(
            LinearSpec(name="in_proj", inputs=hidden, outputs=2 * inner, bias=bias),
            LinearSpec(name="x_proj", inputs=inner, outputs=rank + 2 * state),
            LinearSpec(name="dt_proj", inputs=rank, outputs=inner, bias=True),
            LinearSpec(name="out_proj", inputs=inner, outputs=hidden, bias=bias),
        ),
        conv_channels=inner,
        conv_kernel=kernel,
        conv_bias=conv_bias,
        state_elements=inner * state,
        scan_elements=inner * (3 + 2 * state // 16),
        other_parameters=inner * state + inner + norms,
        rope=False,
    )


def scan_2(
    hidden: int, heads: int, head_dim: int, state: int, groups: int, kernel: int, bias: bool, conv_bias: bool
) -> AttentionSpec:
    """Mamba-2 (Dao and Gu, 2024): one input matrix, heads that share selections in groups, a gated norm."""
    inner = heads * head_dim
    channels = inner + 2 * groups * state
    return AttentionSpec(
        kind="linear",
        projections=(
            LinearSpec(name="in_proj", inputs=hidden, outputs=inner + channels + heads, bias=bias),
            LinearSpec(name="out_proj", inputs=inner, outputs=hidden, bias=bias),
        ),
        conv_channels=channels,
        conv_kernel=kernel,
        conv_bias=conv_bias,
        state_elements=inner * state,
        scan_elements=3 * inner + 2 * groups * state,
        other_parameters=3 * heads + inner,
        rope=False,
    )


def mamba(fields: Fields, tied: bool) -> LanguageModel:
    """Mamba, and Falcon-Mamba, which normalises the selections without weights."""
    hidden = fields.size("hidden_size")
    stated = fields.data.get("time_step_rank", "auto")
    mixer = scan(
        hidden,
        fields.size("intermediate_size") if fields.has("intermediate_size") else fields.size("expand") * hidden,
        fields.size("state_size"),
        fields.size("conv_kernel"),
        -(-hidden // 16) if stated == "auto" else fields.size("time_step_rank"),
        fields.flag("use_bias"),
        fields.flag("use_conv_bias"),
    )
    block = Block(attention=mixer, norms=1, norm_parameters=hidden)
    return _model(fields, tied, {"scan": block}, ["scan"] * fields.layers("num_hidden_layers"))


def mamba2(fields: Fields, tied: bool) -> LanguageModel:
    """Mamba-2."""
    hidden = fields.size("hidden_size")
    mixer = scan_2(
        hidden, fields.size("num_heads"), fields.size("head_dim"), fields.size("state_size"), fields.size("n_groups"),
        fields.size("conv_kernel"), fields.flag("use_bias"), fields.flag("use_conv_bias"),
    )  # fmt: skip
    block = Block(attention=mixer, norms=1, norm_parameters=hidden)
    return _model(fields, tied, {"scan": block}, ["scan"] * fields.layers("num_hidden_layers"))


def _inner(fields: Fields, hidden: int) -> AttentionSpec:
    """The Mamba-2 mixer of Bamba and Granite 4."""
    heads, wide = fields.size("mamba_n_heads"), fields.size("mamba_expand") * hidden
    own = fields.data.get("mamba_d_head", "auto")
    return scan_2(
        hidden, heads, wide // heads if own in ("auto", None) else fields.size("mamba_d_head"), fields.size("mamba_d_state"),
        fields.size("mamba_n_groups"), fields.size("mamba_d_conv"), fields.flag("mamba_proj_bias"), fields.flag("mamba_conv_bias"),
    )  # fmt: skip


def _full(fields: Fields, hidden: int, bias: bool, rope: bool = True) -> AttentionSpec:
    heads, kv_heads, head_dim = heads_of(fields, hidden)
    return AttentionSpec(
        kind="full",
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        q_bias=bias,
        kv_bias=bias,
        o_bias=bias,
        rope=rope,
    )


def bamba(fields: Fields, tied: bool) -> LanguageModel:
    """Bamba: Mamba-2 layers, full attention in those listed."""
    hidden, whole = fields.size("hidden_size"), fields.sizes("attn_layer_indices", [])
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"), bias=fields.flag("mlp_bias"))
    mixers = {"scan": _inner(fields, hidden), "full": _full(fields, hidden, fields.flag("attention_bias"))}
    blocks = {
        name: Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * hidden) for name, mixer in mixers.items()
    }
    order = ["full" if index in whole else "scan" for index in range(fields.layers("num_hidden_layers"))]
    return _model(fields, tied, blocks, order)


def granite_hybrid(fields: Fields, tied: bool) -> LanguageModel:
    """Granite 4: Mamba-2 or full attention, routed experts beside an always-on part, or that part alone."""
    hidden, experts = fields.size("hidden_size"), fields.count("num_local_experts")
    shared = fields.size("shared_intermediate_size")
    mlp = FeedForwardSpec(width=shared)
    if experts:
        width = fields.size("intermediate_size")
        mlp = FeedForwardSpec(
            width=width, experts=experts, active=fields.size("num_experts_per_tok"), shared_width=shared
        )
    rope = fields.data.get("position_embedding_type") == "rope"
    mixers = {"scan": _inner(fields, hidden), "full": _full(fields, hidden, fields.flag("attention_bias"), rope)}
    blocks = {
        name: Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * hidden) for name, mixer in mixers.items()
    }
    count = fields.layers("num_hidden_layers")
    kinds = _kinds(fields, fields.value("layer_types", None), {"mamba": "scan", "linear_attention": "scan", "attention": "full",
                                                               "full_attention": "full"})  # fmt: skip
    if kinds and len(kinds) != count:
        raise SpecError(f"{fields.name('layer_types')}: {len(kinds)} layers, {count} are expected")
    return _model(fields, tied, blocks, kinds or ["scan"] * count)


def jamba(fields: Fields, tied: bool) -> LanguageModel:
    """Jamba: Mamba and attention, dense and routed layers, each by a period and an offset."""
    hidden, experts = fields.size("hidden_size"), fields.size("num_experts")
    stated, state = fields.data.get("mamba_dt_rank", "auto"), fields.size("mamba_d_state")
    rank = -(-hidden // 16) if stated == "auto" else fields.size("mamba_dt_rank")
    wide = fields.size("mamba_expand") * hidden
    inside = scan(
        hidden, wide, state, fields.size("mamba_d_conv"), rank, fields.flag("mamba_proj_bias"), fields.flag("mamba_conv_bias"),
        norms=rank + 2 * state,
    )  # fmt: skip
    mixers = {"scan": inside, "full": _full(fields, hidden, False, rope=False)}
    width = fields.size("intermediate_size")
    dense = FeedForwardSpec(width=width)
    routed = (
        FeedForwardSpec(width=width, experts=experts, active=fields.size("num_experts_per_tok"))
        if experts > 1
        else dense
    )
    periods = [fields.size("attn_layer_period"), fields.size("expert_layer_period")]
    offsets = [fields.count("attn_layer_offset"), fields.count("expert_layer_offset")]
    blocks: dict[str, Block] = {}
    order: list[str] = []
    for index in range(fields.layers("num_hidden_layers")):
        kind = "full" if index % periods[0] == offsets[0] else "scan"
        mixture = index % periods[1] == offsets[1]
        name = f"{kind}-{'experts' if mixture else 'dense'}"
        feed = routed if mixture else dense
        blocks[name] = Block(attention=mixers[kind], feed_forward=feed, norm_parameters=2 * hidden)
        order.append(name)
    return _model(fields, tied, blocks, order)


PATTERN = {"M": "scan", "*": "full", "-": "mlp", "E": "moe"}


def nemotron_h(fields: Fields, tied: bool) -> LanguageModel:
    """Nemotron-H: every layer is one part alone (Mamba-2, attention without biases, a feed-forward part or experts), its kinds in a list
    or a string."""
    hidden, pattern = fields.size("hidden_size"), fields.data.get("hybrid_override_pattern")
    names = {
        "mamba": "scan",
        "linear_attention": "scan",
        "attention": "full",
        "full_attention": "full",
        "mlp": "mlp",
        "moe": "moe",
    }
    listed: Any = fields.data.get("layers_block_type", fields.data.get("layer_types"))
    if listed is None and isinstance(pattern, str):
        wrong = [letter for letter in pattern if letter not in PATTERN]
        if wrong or not pattern:
            raise SpecError(
                f"{fields.name('hybrid_override_pattern')}: {shown(pattern)} is not accepted: letters of {''.join(PATTERN)}"
            )
        kinds = [PATTERN[letter] for letter in pattern]
    else:
        kinds = _kinds(fields, listed, names)
    if not kinds:
        raise SpecError(f"{fields.name('hybrid_override_pattern')} is missing; it says what each layer is, as in M-M*-")
    bias, mlp_bias = fields.flag("use_bias"), fields.flag("mlp_bias")
    parts: dict[str, Block] = {}
    if "scan" in kinds:
        groups = "mamba_n_groups" if fields.has("mamba_n_groups") else "n_groups"
        kernel = "mamba_d_conv" if fields.has("mamba_d_conv") else "conv_kernel"
        conv_bias = fields.flag("mamba_conv_bias" if fields.has("mamba_conv_bias") else "use_conv_bias")
        mixer = scan_2(
            hidden, fields.size("mamba_num_heads"), fields.size("mamba_head_dim"), fields.size("ssm_state_size"), fields.size(groups),
            fields.size(kernel), bias, conv_bias,
        )  # fmt: skip
        parts["scan"] = Block(attention=mixer, norms=1, norm_parameters=hidden)
    if "full" in kinds:
        attention = _full(fields, hidden, False, rope=False)
        parts["full"] = Block(attention=attention, norms=1, norm_parameters=hidden)
    if "mlp" in kinds:
        feed = FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=mlp_bias)
        parts["mlp"] = Block(feed_forward=feed, norms=1, norm_parameters=hidden)
    if "moe" in kinds:
        if fields.data.get("moe_latent_size") is not None:
            raise SpecError(
                f"{fields.name('moe_latent_size')}: {shown(fields.data['moe_latent_size'])} is not accepted: null"
            )
        feed = FeedForwardSpec(
            width=fields.size("moe_intermediate_size"),
            gated=False,
            experts=fields.size("n_routed_experts"),
            active=fields.size("num_experts_per_tok"),
            shared_width=fields.count("moe_shared_expert_intermediate_size"),
        )
        other = feed.shared_width + hidden if mlp_bias else 0  # the always-on expert has biases, the routed ones none
        parts["moe"] = Block(feed_forward=feed, norms=1, norm_parameters=hidden, other_parameters=other)
    return _model(fields, False, parts, kinds)  # the class ties nothing


def _kinds(fields: Fields, listed: Any, names: dict[str, str]) -> list[str]:
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(kind in names for kind in listed):  # pyright: ignore[reportUnknownVariableType]
        raise SpecError(f"{fields.name('layer_types')}: {shown(listed)} is not accepted: a list of {', '.join(names)}")
    return [names[str(kind)] for kind in listed]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _model(fields: Fields, tied: bool, blocks: dict[str, Block], order: list[str]) -> LanguageModel:
    hidden = fields.size("hidden_size")
    return LanguageModel(
        name=fields.type,
        hidden=hidden,
        vocabulary=fields.size("vocab_size"),
        tied_embeddings=tied,
        stack=stack({name: block for name, block in blocks.items() if name in order}, order),
        final_norm_parameters=hidden,
        max_context=fields.size("max_position_embeddings", 10**6),
    )
