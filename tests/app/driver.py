"""Pages driven without a browser."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

APP = Path(__file__).parents[2] / "app.py"


def _script(name: str) -> None:
    import importlib

    from simulator.explorer.sidebar import sidebar

    choice = sidebar()
    importlib.import_module(f"simulator.explorer.{name}").render(choice)


def page(name: str, **query: str | list[str]) -> AppTest:
    """A page by module name, opened at an address with these parameters."""
    test = AppTest.from_function(_script, args=(name,), default_timeout=120)
    for key, value in query.items():
        test.query_params[key] = value
    return test.run()


def app(**query: str | list[str]) -> AppTest:
    """The app at its first page."""
    test = AppTest.from_file(str(APP), default_timeout=120)
    for key, value in query.items():
        test.query_params[key] = value
    return test.run()


def metric(test: AppTest, label: str) -> str:
    """Value of the metric with that label."""
    return next(item.value for item in test.metric if item.label == label)


def said(test: AppTest) -> str:
    """Everything in boxes."""
    return "\n".join(str(item.value) for kind in (test.error, test.warning, test.info, test.success) for item in kind)
