"""Which mix of techniques is best, and what does each give?  python examples/what_mix.py out.html"""

from __future__ import annotations

import sys

import plotly.graph_objects as go

from simulator import Image, Scenario, Space, Workload, pareto, sweep
from simulator.search import interaction, shapley

MIX = ["visionzip", "kv_quant:bits=4", "weight_quant:bits=4"]


def main(out: str, keeps: int = 10) -> None:
    """Print the front, the synergies and the shares, and plot latency against fidelity."""
    scenario = Scenario(
        model="llava-1.5-7b", hardware="l40s", workload=Workload(images=(Image(width=336, height=336),), text_tokens=64, output_tokens=128)
    )
    space = Space(
        scenario,
        {
            "techniques.in_llm_prune.keep": [round((k + 1) / keeps, 3) for k in range(keeps)],
            "techniques.in_llm_prune": [True, False],
            "techniques.kv_quant": [True, False],
            "techniques.weight_quant": [True, False],
        },
    )
    frame = sweep(space)
    front = pareto(frame, ["latency_s", "fidelity"])
    print(front[[*(axis.path for axis in space.axes), "latency_s", "fidelity", "binding_stage", "binding_resource", "knee"]].to_string(index=False))
    for pair in interaction(scenario, MIX).table().to_dict("records"):
        print(f"{pair['first']} with {pair['second']}: {pair['latency_s']:.3f} of the product of the two alone\n    {pair['why']}")
    print(shapley(scenario, MIX).text)
    marks = [
        go.Scatter(x=item["latency_s"], y=item["fidelity"], mode="markers", name=name) for name, item in (("all", frame), ("front", front))
    ]
    figure = go.Figure(marks)
    figure.update_layout(xaxis_title="latency [s]", yaxis_title="fidelity retained")
    figure.write_html(out, include_plotlyjs="cdn")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "what_mix.html", int(sys.argv[2]) if len(sys.argv) > 2 else 10)
