"""The same question in other forms: a file, a snippet, a command. Each gives the same numbers."""

from __future__ import annotations

import csv
import io
import json
import pprint
import shlex
from typing import Any

from simulator.bibliography import citation
from simulator.request import estimate
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError
from simulator.spec.yaml import write_yaml


def as_yaml(scenario: Scenario) -> str:
    """The scenario file that `lvlm-sim estimate --scenario` reads."""
    return write_yaml(_plain(scenario))


def _plain(scenario: Scenario) -> dict[str, Any]:
    data = scenario.model_dump(mode="json", exclude_defaults=True)
    data["workload"] = scenario.workload.model_dump(mode="json", exclude_defaults=True) | {
        "text_tokens": scenario.workload.text_tokens, "output_tokens": scenario.workload.output_tokens, "batch": scenario.workload.batch,
    }  # fmt: skip
    data["engine"] = scenario.engine
    return data


def written(scenario: Scenario) -> list[str]:
    """Techniques as `--with` takes them."""
    out: list[str] = []
    for use in scenario.techniques:
        pairs = [f"{name}={_value(value)}" for name, value in use.parameters.items()]
        out.append(use.kind + (":" + ",".join(pairs) if pairs else ""))
    return out


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "|".join(_value(item) for item in value)
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.12g}" if isinstance(value, float) else str(value)
    )


def as_command(scenario: Scenario) -> str:
    """The command line. What has no option of its own goes through --set."""
    work, parallel = scenario.workload, scenario.parallel
    words = ["lvlm-sim", "estimate", "--model", str(scenario.model), "--hardware", str(scenario.hardware)]
    odd = any(image.format != "jpeg" for image in work.images) or any(video.frames is None for video in work.videos)
    if odd:
        words += [
            "--set",
            "workload.images="
            + json.dumps([image.model_dump(mode="json", exclude_defaults=True) for image in work.images]),
        ]
        words += [
            "--set",
            "workload.videos="
            + json.dumps([video.model_dump(mode="json", exclude_none=True) for video in work.videos]),
        ]
    else:
        for image in work.images:
            words += [
                "--image",
                f"{image.count}x{image.width}x{image.height}" if image.count > 1 else f"{image.width}x{image.height}",
            ]
        for video in work.videos:
            words += ["--video", f"{video.frames}x{video.width}x{video.height}"]
    words += [
        "--text",
        str(work.text_tokens),
        "--output",
        str(work.output_tokens),
        "--batch",
        str(work.batch),
        "--engine",
        scenario.engine,
    ]
    if scenario.format != "bf16":
        words += ["--format", scenario.format]
    for name in ("tp", "pp", "dp", "ep"):
        if getattr(parallel, name) > 1:
            words += [f"--{name}", str(getattr(parallel, name))]
    if parallel.encoder != "tensor":
        words += ["--encoder-parallel", parallel.encoder]
    if work.processor != "fast":
        words += ["--processor", work.processor]
    if not scenario.preprocess:
        words.append("--no-preprocess")
    if scenario.task != "general_vqa":
        words += ["--task", scenario.task]
    for name, factor in scenario.scale.model_dump(exclude_defaults=True).items():
        words += ["--set", f"scale.{name}={factor:.12g}"]
    for technique in written(scenario):
        words += ["--with", technique]
    return shlex.join(words)


def as_python(scenario: Scenario) -> str:
    """A snippet that prints the same estimate."""
    if not isinstance(scenario.model, str) or not isinstance(scenario.hardware, str):
        body = pprint.pformat(scenario.model_dump(mode="json", exclude_defaults=True), sort_dicts=False, width=100)
        return f"from simulator import Scenario, estimate\n\nscenario = Scenario.model_validate({body})\nresult = estimate(scenario)\nprint(result.table())\n"
    work = scenario.workload
    images = ", ".join(f"Image({_arguments(image.model_dump(exclude_defaults=True))})" for image in work.images)
    videos = ", ".join(f"Video({_arguments(video.model_dump(exclude_defaults=True))})" for video in work.videos)
    lines = [
        "from simulator import Image, Scenario, Video, Workload, estimate",
        "",
        "scenario = Scenario(",
        f"    model={scenario.model!r},",
        f"    hardware={scenario.hardware!r},",
        f"    workload=Workload(images=[{images}], videos=[{videos}],",
        f"                      text_tokens={work.text_tokens}, output_tokens={work.output_tokens}, batch={work.batch}, processor={work.processor!r}),",
        f"    engine={scenario.engine!r},",
        f"    format={scenario.format!r},",
    ]
    parallel = scenario.parallel.model_dump(exclude_defaults=True)
    if parallel:
        lines.append(f"    parallel={parallel!r},")
    if not scenario.preprocess:
        lines.append("    preprocess=False,")
    if scale := scenario.scale.model_dump(exclude_defaults=True):
        lines.append(f"    scale={scale!r},")
    lines += [
        f"    task={scenario.task!r},",
        f"    techniques={written(scenario)!r},",
        ")",
        "result = estimate(scenario)",
    ]
    lines += ["print(result.ttft_s, result.tpot_s, result.memory.peak_bytes)", "print(result.table())", ""]
    return "\n".join(lines)


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def as_csv(scenario: Scenario) -> str:
    """The estimate as one row: every number by its name, stages and memory with a dot."""
    data = estimate(scenario).to_dict()
    row: dict[str, Any] = {
        "model": _name(scenario.model),
        "hardware": _name(scenario.hardware),
        "engine": scenario.engine,
    }
    for name, value in data.items():
        if name in ("stages", "memory", "parameters"):
            for key, inner in value.items():
                cells = (
                    {f"{key}.{field}": item for field, item in inner.items()}
                    if isinstance(inner, dict)
                    else {f"{name}.{key}": inner}
                )
                row |= cells
        elif isinstance(value, int | float | str):
            row[name] = value
    out = io.StringIO()
    writer = csv.DictWriter(out, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerow(row)
    return out.getvalue()


def as_bibtex(scenario: Scenario) -> str:
    """The papers behind the techniques of a scenario. Raises SpecError where it uses none."""
    found = citation(scenario)
    if not found:
        raise SpecError("techniques: none in this scenario, so there is nothing to cite; give one with --with")
    return found.rstrip() + "\n"


def _name(item: Any) -> str:
    return item if isinstance(item, str) else str(item.name)
