"""What a reader does, in a real browser. Run with `pytest -m browser`; EXPLORER_SHOTS=folder keeps the screenshots."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser
PAGES = ("", "compare", "sweep", "design-space", "interactions", "calibration", "literature")


def settle(page) -> None:
    """Until the script has run and the figures are drawn."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    page.wait_for_timeout(700)
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')


def metric(page, label: str) -> str:
    """Value of the metric with that label."""
    box = page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True)).first
    return box.get_by_test_id("stMetricValue").inner_text()


def seconds(text: str) -> float:
    """`800 ms` as seconds."""
    value, unit = text.split()
    return float(value) * {"s": 1.0, "ms": 1e-3, "µs": 1e-6}[unit]


def metrics(page) -> list[str]:
    """Every metric's value, in order."""
    return page.get_by_test_id("stMetricValue").all_inner_texts()


def test_add_fastv_and_reload_from_the_address(page, address):
    page.goto(f"{address}/?with=")
    page.get_by_test_id("stMetric").first.wait_for()
    settle(page)
    before = seconds(metric(page, "TTFT"))
    field = page.get_by_test_id("stMultiSelect").first.locator("input")
    field.click()
    field.type("fastv")
    page.get_by_role("option", name="fastv", exact=True).click()
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("with=fastv"))
    settle(page)
    assert seconds(metric(page, "TTFT")) < before
    same_after_reload(page)


def test_whole_state_survives_the_address(page, address):
    page.goto(f"{address}/?hw=l40s&text=500&with=fastv&with=kv_quant&fastv.keep=0.25&tp=2&look=GUI+screenshot%2C+1080p")
    page.get_by_test_id("stMetric").first.wait_for()
    settle(page)
    first = metrics(page)
    for part in ("hw=l40s", "text=500", "with=fastv", "with=kv_quant", "fastv.keep=0.25", "tp=2", "look="):
        assert part in page.url
    page.get_by_role("link", name="Sweep").or_(page.get_by_test_id("stTopNavLink").filter(has_text="Sweep")).first.click()
    page.get_by_role("heading", name="Sweep").wait_for()
    settle(page)
    assert "fastv.keep=0.25" in page.url and "/sweep" in page.url
    page.get_by_test_id("stTopNavLink").filter(has_text="What if").first.click()
    page.get_by_test_id("stMetric").first.wait_for()
    settle(page)
    assert metrics(page) == first


def test_what_buttons_do_is_in_the_address(page, address):
    """Parameters of a technique that was not shown, and a stack that is emptied."""
    page.goto(f"{address}/?with=weight_quant&look=Minute+of+720p+video&hw=l40s&out=4")
    page.get_by_test_id("stMetric").first.wait_for()
    settle(page)
    button = page.get_by_role("button", name=re.compile("^Add ")).first
    kind = button.inner_text().removeprefix("Add ").strip()
    button.click()
    page.wait_for_url(re.compile(f"with={kind}"))
    settle(page)
    same_after_reload(page)
    page.goto(f"{address}/?with=fastv&with=pyramiddrop&out=100")
    page.get_by_role("button", name="Remove all techniques").click()
    page.wait_for_url(re.compile("techniques=none"))
    settle(page)
    same_after_reload(page)
    assert "with=" not in page.url and "out=100" in page.url


def same_after_reload(page) -> None:
    """The address alone gives the same numbers, and stays as it is."""
    shown, link = metrics(page), page.url
    page.goto("about:blank")
    page.goto(link)
    page.get_by_test_id("stMetric").first.wait_for()
    settle(page)
    assert metrics(page) == shown and page.url == link


def test_sweep_axes_survive_the_address(page, address):
    page.goto(f"{address}/sweep")
    page.locator(".js-plotly-plot").first.wait_for()
    settle(page)
    page.get_by_test_id("stSelectbox").filter(has_text="And").locator("input").click()
    page.get_by_role("option", name="batch [requests]").click()
    page.wait_for_url(re.compile("s.y="))
    settle(page)
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    page.locator(".js-plotly-plot .heatmaplayer image, .js-plotly-plot .heatmaplayer .hm").first.wait_for(state="attached")
    assert page.url == link


def test_load_a_pareto_point(page, address):
    page.goto(f"{address}/design-space?d.mix=weight_quant&d.mix=fastv&d.hw=l40s&d.hw=h100-sxm")
    page.locator(".js-plotly-plot .scatterlayer .point").first.wait_for()
    settle(page)
    point = page.locator(".js-plotly-plot .scatterlayer .trace").nth(2).locator(".point").first
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(400)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.get_by_text("Chosen:").wait_for()
    settle(page)
    ttft, memory = metric(page, "TTFT"), metric(page, "Peak memory")
    page.get_by_role("button", name="Load into What if").click()
    page.get_by_text("Loaded. Open What if").click()
    page.get_by_text("What if:").first.wait_for()
    settle(page)
    assert (metric(page, "TTFT"), metric(page, "Peak memory")) == (ttft, memory)
    same_after_reload(page)


def test_upload_a_picture(page, address, tmp_path):
    file = tmp_path / "scan.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)).save(file)
    page.goto(address)
    page.get_by_test_id("stMetric").first.wait_for()
    settle(page)
    before = metric(page, "TTFT")
    page.get_by_text("Drop a picture or a video").click()
    page.locator('input[type="file"]').first.set_input_files(str(file))
    page.wait_for_url(re.compile("w=500"))
    settle(page)
    assert metric(page, "TTFT") != before
    for part in ("w=500", "h=300", "codec=png", "look=Own+sizes"):
        assert part in page.url
    same_after_reload(page)


def test_rubbish_upload_is_a_sentence(page, address, tmp_path):
    file = tmp_path / "broken.png"
    file.write_bytes(b"this is no picture")
    page.goto(address)
    page.get_by_test_id("stMetric").first.wait_for()
    settle(page)
    page.get_by_text("Drop a picture or a video").click()
    page.locator('input[type="file"]').first.set_input_files(str(file))
    page.get_by_text("Try another file").wait_for()


def test_long_work_is_stopped_by_its_button(page, address):
    mixes = ("fastv", "divprune", "visionzip", "weight_quant", "kv_quant", "speculative", "embedding_cache", "prefix_cache")
    page.goto(f"{address}/design-space?" + "&".join(f"d.mix={kind}" for kind in mixes))
    start = page.get_by_role("button", name=re.compile("^Evaluate "))
    start.click()
    page.get_by_role("button", name="Stop").click()
    start.wait_for()
    settle(page)
    assert page.get_by_role("button", name="Stop").count() == 0
    page.get_by_test_id("stTopNavLink").filter(has_text="What if").first.click()
    page.get_by_test_id("stMetric").first.wait_for()


def test_a_figure_is_saved_as_a_picture(page, address):
    """By the server's Chromium, and by the camera of the figure itself."""
    page.goto(address)
    page.get_by_test_id("stMetric").first.wait_for()
    settle(page)
    page.get_by_text("Take it with you").click()
    with page.expect_download(timeout=120_000) as waiting:
        page.get_by_role("button", name="Stages PNG").click()
    with Image.open(waiting.value.path()) as drawn:
        assert drawn.format == "PNG" and drawn.width == 2200
    plot = page.locator(".js-plotly-plot").first
    plot.hover()
    with page.expect_download() as waiting:
        plot.locator('.modebar-btn[data-title*="png" i]').first.click()
    assert waiting.value.suggested_filename == "stages.png"


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [1440, 1280])
def test_nothing_is_clipped(page, address, path, width, tmp_path):
    page.set_viewport_size({"width": width, "height": 1100})
    page.goto(f"{address}/{path}")
    page.locator('[data-testid="stMetric"], .js-plotly-plot, [data-testid="stDataFrame"]').first.wait_for()
    settle(page)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    cut = "e => [e, ...e.querySelectorAll('*')].some(x => x.scrollWidth > x.clientWidth + 1 && getComputedStyle(x).textOverflow === 'ellipsis')"
    for part in ("stMetricValue", "stMetricLabel", "stMetricDelta"):
        for value in page.get_by_test_id(part).all():
            assert not value.evaluate(cut), value.inner_text()
    folder = Path(os.environ.get("EXPLORER_SHOTS", str(tmp_path)))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{path or 'what-if'}-{width}.png")


def test_dark_theme(chromium, address, tmp_path):
    page = chromium.new_page(viewport={"width": 1440, "height": 1100}, color_scheme="dark")
    page.goto(address)
    page.get_by_test_id("stMetric").first.wait_for()
    settle(page)
    ink = page.locator(".js-plotly-plot .xtick text").first.evaluate("e => getComputedStyle(e).fill")
    folder = Path(os.environ.get("EXPLORER_SHOTS", str(tmp_path)))
    page.screenshot(path=folder / "what-if-dark.png")
    page.close()
    assert min(int(part) for part in re.findall(r"\d+", ink)[:3]) > 180, ink


def test_a_link_with_a_bad_part_keeps_the_rest_under_the_apps_name(page, address):
    page.goto(f"{address}/?hw=l40s&batch=99999&hardwear=x")
    page.get_by_text("Part of this link was not understood").wait_for()
    settle(page)
    assert page.get_by_text("L40S").first.is_visible() and "hw=l40s" in page.url
    assert page.get_by_test_id("stSidebarLogo").is_visible()
    page.get_by_role("button", name="Understood").click()
    page.get_by_text("Part of this link was not understood").wait_for(state="detached")


def test_a_paper_that_is_clicked_is_in_the_address(page, address):
    page.goto(f"{address}/literature?l.q=FastV")
    grid = page.get_by_test_id("stDataFrame").first
    grid.wait_for()
    settle(page)
    box = grid.bounding_box()
    page.mouse.click(box["x"] + 18, box["y"] + 88)
    page.wait_for_url(re.compile("l.paper="))
    settle(page)
    link = page.url
    words = page.get_by_role("button", name=re.compile("^What if: ")).first.inner_text()
    page.goto("about:blank")
    page.goto(link)
    page.get_by_role("button", name=words).wait_for()
    assert page.url == link
