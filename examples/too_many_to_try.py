"""What is best where there are too many scenarios to try them all?  python examples/too_many_to_try.py out.html [EVALUATIONS [JOURNAL]]

With a journal the search can be stopped at any time; started again, with more evaluations if wanted, it goes on where it was.
"""

from __future__ import annotations

import sys

import plotly.graph_objects as go

from simulator import Image, Scenario, Space, Workload
from simulator.search import optimise


def main(out: str, evaluations: int = 500, journal: str | None = None) -> None:
    """Print the front of some hundred points in billions, and plot latency against price."""
    scenario = Scenario(
        model="qwen2.5-vl-7b", hardware="l40s", workload=Workload(images=(Image(width=1280, height=720),), text_tokens=64, output_tokens=128)
    )
    tenths = [round(0.1 * k, 1) for k in range(1, 11)]
    space = Space(
        scenario,
        {
            "hardware": ["l4", "l40s", "a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200-sxm"],
            "parallel.tp": [1, 2, 4, 8],
            "workload.batch": list(range(1, 129)),
            "workload.images.scale": [round(0.25 + 0.01 * k, 2) for k in range(101)],
            **{f"techniques.{name}": [True, False] for name in ("in_llm_prune", "kv_evict", "kv_quant", "weight_quant")},
            "techniques.in_llm_prune.keep": tenths,
            "techniques.in_llm_prune.layer": [2, 3, 4, 6, 8, 12, 16],
            "techniques.kv_evict.budget": tenths,
            "techniques.kv_quant.bits": [2, 3, 4, 6, 8],
        },
    )
    found = optimise(
        space, ["latency_s", "cost_usd", "fidelity_low"], evaluations=evaluations, constraints=["ttft_s <= 1.0", "fidelity_low >= 0.9"], storage=journal
    )
    front = found.front.sort_values("latency_s")
    print(f"{len(front)} winners among {found.evaluations} of {space.size:,} points")
    print(front[["hardware", "parallel.tp", "workload.batch", "latency_s", "cost_usd", "fidelity_low", "binding_stage"]].head(12).to_string(index=False))
    marks = go.Scatter(x=front["latency_s"], y=front["cost_usd"] * 1e3, mode="markers", marker={"color": front["fidelity_low"], "showscale": True})
    figure = go.Figure(marks)
    figure.update_layout(xaxis_title="latency [s]", yaxis_title="$ per 1,000 requests", xaxis_type="log", yaxis_type="log", title="colour: accuracy kept")
    figure.write_html(out, include_plotlyjs="cdn")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "too_many_to_try.html", int(sys.argv[2]) if len(sys.argv) > 2 else 500, *sys.argv[3:4])
