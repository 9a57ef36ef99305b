"""Tests of the page: what chapters hand over, and what MultiQC is given to draw."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.project import ROOT
from builders.report_inputs import write_run
from stlatent.report import overview
from stlatent.report.chapters import CHAPTERS
from stlatent.report.page import multiqc
from stlatent.report.page.blocks import (
    Axis,
    Bars,
    ChapterBlocks,
    Figure,
    Gallery,
    Html,
    Lines,
    Mark,
    Panel,
    Part,
    Table,
    figures,
    number,
    score,
    verdict,
    words,
)
from stlatent.report.page.colours import METHODS, STATUSES, method_colours
from stlatent.report.run.read import load

PAGE = ROOT / "bin" / "stlatent" / "report" / "page"
TWO = {"a": [[0, 1.0], [1, 2.0]], "b": [[0, 3.0], [1, 4.0]]}


def lines(**more: Any) -> Lines:
    whole: dict[str, Any] = {
        "id": "x_lines", "title": "Lines", "caption": "Over time", "x": Axis("Epoch"),
        "y": Axis("Loss", " %"), "panels": [Panel(TWO)], "colours": {"a": "#000000"},
    }  # fmt: skip
    return Lines(**whole | more)


def picture(name: str, **more: Any) -> Figure:
    return Figure(id=name, title=name, text="a <em>gene</em>", alt='"quoted"', png=b"png", **more)


def test_a_table_without_values_is_empty() -> None:
    columns = {"n": number("N", "How many")}
    assert Table(id="t", title="T", columns=columns, rows={}).is_empty
    assert Table(
        id="t", title="T", columns=columns, rows={"s": {"n": None, "m": float("nan")}}
    ).is_empty
    assert not Table(id="t", title="T", columns=columns, rows={"s": {"n": 0}}).is_empty


def test_columns_say_how_exact_they_are_and_what_their_values_mean() -> None:
    columns = {
        "n": number("N", "How many", 0, unit=" %", is_extra=True),
        "auroc": score("AUROC", "Mixing", bar="low", least=0.5),
        "where": words("Where", "A place"),
        "status": verdict("Status", "How it ended"),
    }
    rows = {"s": {"n": 1200, "auroc": None, "where": "here", "status": "failed"}}
    drawn = multiqc.fragment(
        ChapterBlocks("c", "Chapter", "A question.", []),
        Table(id="c_table", title="T", text="What.", columns=columns, rows=rows, of="Input"),
    )
    headers = drawn["headers"]
    assert headers["n"] == {"title": "N", "description": "How many", "scale": False,
                            "format": "{:z,.0f}", "suffix": " %", "hidden": True}  # fmt: skip
    assert (headers["auroc"]["scale"], headers["auroc"]["min"], headers["auroc"]["max"]) == (
        "Oranges", 0.5, 1,
    )  # fmt: skip
    assert "format" not in headers["where"]
    rules = headers["status"]["cond_formatting_rules"]
    colours = {
        key: c for rule in headers["status"]["cond_formatting_colours"] for key, c in rule.items()
    }
    assert {rule[0]["s_eq"]: colours[name] for name, rule in rules.items()} == STATUSES
    assert drawn["data"] == {"s": {"n": 1200, "where": "here", "status": "failed"}}
    assert (drawn["parent_name"], drawn["description"]) == ("Chapter", "What.")
    assert drawn["pconfig"]["col1_header"] == "Input"


def test_one_panel_has_no_buttons_and_several_have_labels() -> None:
    alone = multiqc.draw(lines())
    assert alone["data"] == TWO and "data_labels" not in alone["pconfig"]
    assert alone["pconfig"]["ysuffix"] == " %" and alone["pconfig"]["showlegend"]
    panels = [Panel(TWO, "Counts", x="Counts"), Panel(TWO, "Genes", y="Share")]
    several = multiqc.draw(lines(panels=panels))
    assert several["data"] == [TWO, TWO]
    assert several["pconfig"]["data_labels"] == [
        {"name": "Counts", "xlab": "Counts", "ylab": "Loss"},
        {"name": "Genes", "xlab": "Epoch", "ylab": "Share"},
    ]
    many = {str(place): TWO["a"] for place in range(13)}
    assert not multiqc.draw(lines(panels=[Panel(many)]))["pconfig"]["showlegend"]


def test_marks_dashes_and_an_expected_line_are_drawn() -> None:
    shown = lines(
        dashed=frozenset({"b"}), x_marks=[Mark(3, "here")], y_marks=[Mark(0.5, warns=True)],
        expected=("nominal", [[0, 0], [1, 1]]),
    )  # fmt: skip
    drawn = multiqc.draw(shown)["pconfig"]
    assert drawn["dash_styles"] == {"b": "dash"}
    assert drawn["x_lines"] == [
        {"value": 3, "color": "#888888", "dash": "dot", "width": 1, "label": "here"}
    ]
    assert (
        drawn["y_lines"][0]["color"] == STATUSES["warning"] and "label" not in drawn["y_lines"][0]
    )
    assert drawn["extra_series"]["pairs"] == [[0, 0], [1, 1]] and drawn["style"] == "lines+markers"


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("grouped", {"stacking": "group", "cpswitch": False, "hide_zero_cats": False}),
        ("amounts", {"cpswitch_c_active": True}),
        ("shares", {"cpswitch_c_active": False}),
    ],
)
def test_bars_are_grouped_or_stacked(layout: Any, expected: dict[str, Any]) -> None:
    bars = Bars(
        id="b", title="B", caption="Kept", axis=Axis("Cells", low=0), layout=layout,
        parts={"kept": Part("kept", "#0072B2")}, bars={"s": {"kept": 3}},
    )  # fmt: skip
    drawn = multiqc.draw(bars)
    keys = ("stacking", "cpswitch", "hide_zero_cats", "cpswitch_c_active")
    assert {key: drawn["pconfig"][key] for key in keys if key in drawn["pconfig"]} == expected
    assert drawn["categories"] == {"kept": {"name": "kept", "color": "#0072B2"}}


def test_the_first_pictures_are_open_and_the_last_are_named() -> None:
    shown = [picture(f"s<{place}>") for place in range(14)]
    body = multiqc.draw(Gallery(id="g", title="G", figures=shown, kept_in="maps/"))["data"]
    assert body.count("<img") == multiqc.FIGURES_EMBEDDED
    assert body.count("<details") - body.count("<details>") == multiqc.FIGURES_EMBEDDED
    assert body.count(" open>") == multiqc.FIGURES_OPEN
    assert "s&lt;12&gt;, s&lt;13&gt; are in <code>maps/</code>" in body
    assert "&quot;quoted&quot;" in body and "a <em>gene</em>" in body
    small = multiqc.draw(Gallery(id="g", title="G", figures=shown[:2], are_small=True))["data"]
    assert small.count("<figure") == 2 and "<details" not in small
    alone = picture("s")
    assert list(figures([alone, Gallery(id="g", title="G", figures=shown)])) == [alone, *shown]


def test_chapters_and_blocks_keep_their_order(tmp_path: Path) -> None:
    def html(name: str) -> Html:
        return Html(id=name, title="", body="x")

    chapters = [
        ChapterBlocks("late", "Z", "", [html("late_b"), html("late_a")]),
        ChapterBlocks("none", "N", "", []),
        ChapterBlocks("early", "A", "", [lines(id="early_a", is_half=True)]),
    ]
    multiqc.write(chapters, tmp_path)
    written = json.loads((tmp_path / "page_config.json").read_text())
    assert written["custom_content"]["order"] == ["late", "early"]
    places = {name: place["order"] for name, place in written["report_section_order"].items()}
    assert places == {"late_b": 1, "late_a": 2, "early_a": 1}
    (style,) = (tmp_path / name for name in written["custom_css_files"])
    assert "#mqc-section-wrapper-early_a {" in style.read_text()
    assert "late_a" not in style.read_text()


def test_no_constant_of_the_configuration_is_overwritten() -> None:
    constant = yaml.safe_load((ROOT / "assets" / "multiqc_config.yml").read_text())
    assert set(constant).isdisjoint(multiqc.configuration({}))


def test_every_class_of_the_page_has_a_style(tmp_path: Path) -> None:
    folder = ROOT / "bin" / "stlatent" / "report"
    used = {
        name
        for path in folder.rglob("*.py")
        for name in re.findall(r"\bstl-[a-z]+", path.read_text())
    }
    styled = set(re.findall(r"\.(stl-[a-z]+)", (PAGE / "style.css").read_text()))
    assert used == styled


def test_only_one_file_knows_multiqc() -> None:
    folder = ROOT / "bin" / "stlatent" / "report"
    keys = r"pconfig|tt_decimals|cpswitch|data_labels|linegraph|bargraph|cond_formatting|mqc"
    knowing = {path.name for path in folder.rglob("*.py") if re.search(keys, path.read_text())}
    assert knowing == {"multiqc.py"}


def test_blocks_of_a_run_belong_to_their_chapters_and_have_names(tmp_path: Path) -> None:
    paths = write_run(tmp_path, n_spots=100)
    apart = ("input.json", "settings.json", "tasks.tsv")
    run = load([p for p in paths if p.name not in apart], *(tmp_path / name for name in apart))
    shown = overview(run)
    assert [chapter.id for chapter in shown] == [chapter.ID for chapter in CHAPTERS]
    blocks = [(chapter, block) for chapter in shown for block in chapter.blocks]
    assert len({block.id for _, block in blocks}) == len(blocks)
    assert all(block.id.startswith(f"{chapter.id}_") for chapter, block in blocks)
    assert all(chapter.title and chapter.text and block.title for chapter, block in blocks)


def test_a_method_has_one_colour_whoever_stands_beside_it() -> None:
    assert method_colours(["knn", "other"])["knn"] == METHODS["knn"]
    assert len(set(method_colours(["knn", "other", "third"]).values())) == 3
