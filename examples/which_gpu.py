"""Which GPU is the cheapest that answers a question about a picture in time?  python examples/which_gpu.py out.html"""

from __future__ import annotations

import sys

import plotly.graph_objects as go

from simulator import Image, Scenario, Space, Workload, pareto, sweep
from simulator.search import cheapest
from simulator.spec.load_hardware import hardware_names, load_hardware


def main(out: str, hardware: list[str] | None = None) -> None:
    """Print the cheapest devices that meet the objective and plot price against time to first token."""
    scenario = Scenario(
        model="qwen2.5-vl-7b", hardware="l40s", workload=Workload(images=(Image(width=1280, height=720),), text_tokens=64, output_tokens=128)
    )
    names = hardware or hardware_names()
    good = cheapest(scenario, ["ttft_s <= 0.3", "tpot_s <= 0.02"], names, tp=(1, 2))
    print(good[["hardware", "parallel.tp", "price_per_hour_usd", "ttft_s", "tpot_s"]].head(8).to_string(index=False))
    frame = sweep(Space(scenario, {"hardware": names}))
    frame["price"] = [load_hardware(str(name)).price_per_hour.value for name in frame["hardware"]]
    front = pareto(frame, {"price": "min", "ttft_s": "min"})
    figure = go.Figure(
        [
            go.Scatter(x=frame["price"], y=frame["ttft_s"] * 1e3, text=frame["hardware"].astype(str), mode="markers+text",
                       textposition="top center", name="device"),
            go.Scatter(x=front.sort_values("price")["price"], y=front.sort_values("price")["ttft_s"] * 1e3, mode="lines", name="front"),
        ]
    )  # fmt: skip
    figure.update_layout(xaxis_title="price [$/h]", yaxis_title="time to first token [ms]", xaxis_type="log", yaxis_type="log")
    figure.write_html(out, include_plotlyjs="cdn")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "which_gpu.html", sys.argv[2].split(",") if len(sys.argv) > 2 else None)
