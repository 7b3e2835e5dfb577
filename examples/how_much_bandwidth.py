"""How much memory bandwidth would meet a target, what fits, and what matters most?  python examples/how_much_bandwidth.py out.html"""

from __future__ import annotations

import sys

import numpy as np
import plotly.graph_objects as go

from simulator import Image, Scenario, Space, Workload, sweep
from simulator.search import break_even, elasticities, largest, regimes, solve


def main(out: str, points: int = 200) -> None:
    """Print the answers and plot time per output token against bandwidth with the regimes."""
    scenario = Scenario(
        model="qwen2.5-vl-7b", hardware="l40s", workload=Workload(images=(Image(width=1280, height=720),), text_tokens=64, output_tokens=128)
    )
    print(solve(scenario, "scale.bandwidth", "tpot_s", 0.01).text)
    print(largest(scenario, "workload.batch").text)
    print(largest(scenario, "workload.text_tokens").text)
    print(break_even(scenario, "scale.flops", "visionzip", metric="ttft_s").text)
    print(elasticities(scenario, ["ttft_s", "tpot_s"]).to_string())
    factors = [float(item) for item in np.geomspace(0.25, 32, points)]
    frame = sweep(Space(scenario, {"scale.bandwidth": factors}), ["tpot_s", "decode_bound"])
    figure = go.Figure(go.Scatter(x=frame["scale.bandwidth"], y=frame["tpot_s"] * 1e3, name="TPOT"))
    for regime in regimes(scenario, "scale.bandwidth", of="decode_s", low=0.25, high=32):
        figure.add_vrect(x0=regime.start, x1=regime.stop, annotation_text=regime.resource, opacity=0.1, line_width=0)
    figure.update_layout(xaxis_title="bandwidth [x L40S]", yaxis_title="time per output token [ms]", xaxis_type="log", yaxis_type="log")
    figure.write_html(out, include_plotlyjs="cdn")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "how_much_bandwidth.html", int(sys.argv[2]) if len(sys.argv) > 2 else 200)
