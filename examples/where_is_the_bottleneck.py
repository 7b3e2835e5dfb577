"""Where does the bottleneck go as techniques are added?  python examples/where_is_the_bottleneck.py out.html"""

from __future__ import annotations

import sys

import plotly.graph_objects as go

from simulator import Image, Scenario, Workload
from simulator.search import migration

MIX = ["visionzip", "weight_quant:bits=4", "kv_quant:bits=4", "speculative"]


def main(out: str, count: int = len(MIX)) -> None:
    """Print and plot seconds per stage as techniques are added one by one."""
    scenario = Scenario(
        model="qwen2.5-vl-7b", hardware="l40s", workload=Workload(images=(Image(width=1920, height=1080),), text_tokens=64, output_tokens=64)
    )
    table = migration(scenario, MIX[:count])
    print(table[["added", "latency_s", "speedup", "binding_stage", "binding_resource"]].to_string(index=False))
    stages = ("preprocess", "encode", "project", "prefill", "decode")
    figure = go.Figure([go.Bar(x=table["added"], y=table[f"{stage}_s"], name=stage) for stage in stages])
    figure.update_layout(barmode="stack", xaxis_title="added", yaxis_title="latency [s]")
    figure.write_html(out, include_plotlyjs="cdn")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "where_is_the_bottleneck.html", int(sys.argv[2]) if len(sys.argv) > 2 else len(MIX))
