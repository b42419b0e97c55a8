"""The study of settings: what it does once, what it writes, and that it is done on ``train/``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hand_made_record import RADIUS, entry, record
from synthetic_tiles import tiny_config, write_tiles

from dvfast.bench.tables import markdown
from dvfast.cli.app import app
from dvfast.reproduce import ablation, preparation, records
from dvfast.reproduce.ablation import ABLATION, ablate
from dvfast.reproduce.ablation_page import ablation_page, ablation_table, chosen_entries
from dvfast.reproduce.data_sets import DataSet, data_set
from dvfast.reproduce.records import Condition, load_record
from dvfast.reproduce.settings import Settings
from dvfast.reproduce.statistics import summarise
from dvfast.reproduce.variations import (
    BASE,
    VARIATIONS,
    Variation,
)
from dvfast.training import DivergenceError, TrainingConfig, TrainingSet
from dvfast.weights import load_weights

BY_KEY = {item.key: item for item in VARIATIONS}
K1, SEED = BY_KEY["votes/k = 1"], BY_KEY["seed/another seed, 1"]
STRIDE = BY_KEY["reading/stride 1"]
RELATIVE = BY_KEY["reading/threshold relative to the highest peak"]
PAPERS_PEAKS = BY_KEY["reading/σ = 1, window 5, ξ = 0.2, the paper's"]
SETTINGS = Settings(steps=12)
WHOLE = Condition(1.0, "one-to-one")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """Five tiles, and no ``test/`` at all; the base is a matter of seconds."""
    write_tiles(tmp_path / "tiles" / "train", count=5)

    def tiny(of: DataSet, steps: int) -> TrainingConfig:
        return tiny_config(radius=of.radius, steps=steps, validate_every=steps)

    monkeypatch.setattr(ablation, "base_of", tiny)
    return data_set(tmp_path / "tiles", radius=4.0, tested=False)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Seed and number of votes of every training."""
    calls: list[tuple[int, int]] = []
    original = preparation.fit

    def spy(folder: Path, output: Path, config: TrainingConfig, **how: Any) -> Any:
        calls.append((config.seed, config.num_votes))
        return original(folder, output, config, **how)

    monkeypatch.setattr(preparation, "fit", spy)
    return calls


def test_a_study(data: DataSet, tmp_path: Path, trained: list[tuple[int, int]]) -> None:
    chosen = [BASE, SEED, K1, STRIDE, RELATIVE, PAPERS_PEAKS]
    (found,) = ablate([data], chosen, tmp_path / "out", SETTINGS).values()
    assert found == json.loads((tmp_path / "out" / "ablation-tiles.json").read_text())
    assert found == load_record(tmp_path / "out" / "ablation-tiles.json", ABLATION)
    assert trained == [(0, 2), (1, 2), (0, 1)]  # what only reads, trains nothing
    entries = found["entries"]
    assert list(entries) == [item.key for item in chosen]
    validation = TrainingSet(data.train, tiny_config()).validation
    assert [image["stem"] for image in found["validation"]] == [item.stem for item in validation]
    assert entries[BASE.key]["changes"] == {}
    assert entries[K1.key]["changes"] == {"num_votes": 1}
    assert entries[SEED.key]["changes"] == {"seed": 1}
    for key, of in entries.items():
        assert len(of["images"]) == len(validation)
        # The optimum of the same images: what training says of them is what is measured.
        if of["reading"] is None:
            place = tmp_path / "out" / "trainings" / "tiles" / of["training"]
            description = load_weights(place / "weights.safetensors")[1]
            assert of["detection"] == description["detection"]
            scores = description["scores"]["tuned_on_validation"]
            row = summarise({**found, "test": found["validation"]}, [of], WHOLE)
            assert row.micro.f1 == pytest.approx(scores["f1"], abs=1e-6), key
        else:
            assert of["training"] == entries[BASE.key]["training"]
    own, stride, relative, papers = (
        entries[item.key]["detection"] for item in (BASE, STRIDE, RELATIVE, PAPERS_PEAKS)
    )
    assert stride == {**own, "stride": 1, "threshold": stride["threshold"]}
    assert relative == {**own, "relative": True, "threshold": relative["threshold"]}
    assert 0 < relative["threshold"] < 1
    assert papers == {**own, "sigma": 1.0, "window": 5, "threshold": 0.2, "relative": True}


def test_another_seed_has_the_same_validation_part(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = []
    original = preparation.fit

    def spy(*arguments: Any, split_seed: int, **how: Any) -> Any:
        splits.append(TrainingSet(data.train, arguments[2], split_seed).validation)
        return original(*arguments, split_seed=split_seed, **how)

    monkeypatch.setattr(preparation, "fit", spy)
    ablate([data], [BASE, SEED, BY_KEY["seed/another seed, 2"]], tmp_path / "out", SETTINGS)
    assert len(splits) == 3
    assert splits[0] == splits[1] == splits[2]


def test_what_is_there_is_not_done_again(
    data: DataSet,
    tmp_path: Path,
    trained: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*chosen: Variation, settings: Settings = SETTINGS) -> int:
        trained.clear()
        ablate([data], [BASE, *chosen], tmp_path / "out", settings)
        return len(trained)

    assert run(K1) == 2
    first = (tmp_path / "out" / "ablation-tiles.json").read_text()
    assert run(K1) == 0
    assert (tmp_path / "out" / "ablation-tiles.json").read_text() == first
    assert run(STRIDE) == 0
    kept = json.loads((tmp_path / "out" / "ablation-tiles.json").read_text())["entries"]
    assert list(kept) == [BASE.key, K1.key, STRIDE.key]
    assert run(K1, settings=Settings(steps=13)) == 2
    monkeypatch.setattr(records, "__version__", "another")
    assert run() == 1


def test_a_run_that_was_killed_goes_on(
    data: DataSet,
    tmp_path: Path,
    trained: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            ablation, "tune_threshold", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            ablate([data], [BASE, STRIDE, K1], tmp_path / "out", SETTINGS)
    found = json.loads((tmp_path / "out" / "ablation-tiles.json").read_text())["entries"]
    assert list(found) == [BASE.key]
    ablate([data], [BASE, STRIDE, K1], tmp_path / "out", SETTINGS)
    assert trained == [(0, 2), (0, 1)]


def test_test_images_are_not_looked_at(data: DataSet, tmp_path: Path) -> None:
    """Not to be used is no error, and to change changes nothing."""
    first = ablate([data], [BASE], tmp_path / "out", SETTINGS)
    write_tiles(data.test, count=1)
    (data.test / "broken.png").write_bytes(b"no image")
    again = data_set(data.folder, radius=4.0, tested=False)
    assert ablate([again], [BASE], tmp_path / "out", SETTINGS) == first


def test_a_training_that_diverges_is_a_result(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = preparation.fit

    def diverging(folder: Path, output: Path, config: TrainingConfig, **how: Any) -> Any:
        if config.num_votes == 1:
            raise DivergenceError("learning_rate: too high")
        return original(folder, output, config, **how)

    monkeypatch.setattr(preparation, "fit", diverging)
    (found,) = ablate([data], [BASE, K1], tmp_path / "out", SETTINGS).values()
    assert found["entries"][K1.key]["failed"] == "learning_rate: too high"
    table = ablation_table(found, chosen_entries(found, [BASE, K1]))
    assert table.rows[1][:2] == ["votes: k = 1", "diverged"]
    only_k1 = Variation(BASE.group, BASE.name, K1.change)
    monkeypatch.setattr(ablation, "BASE", only_k1)
    with pytest.raises(DivergenceError):
        ablate([data], [only_k1], tmp_path / "other", SETTINGS)


def test_a_loss_that_is_not_finite_diverges(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    config = tiny_config(optimizer="sgd", learning_rate=1e30)
    with pytest.raises(DivergenceError, match="learning_rate: with"):
        preparation.fit(folder, tmp_path / "out", config, progress=False)


TRUTHS = [[(10, 10), (50, 50)], [(20, 20), (70, 20)], [(30, 30), (60, 60)]]
HALF = [points[:1] for points in TRUTHS]
NEARBY = [[(y + 7, x) for y, x in points] for points in TRUTHS]  # within the radius, not half of it


@pytest.fixture
def study() -> dict[str, Any]:
    settings = TrainingConfig().to_dict()

    def of(found: list[Any], reading: Any = None, seconds: float | None = 60.0) -> dict[str, Any]:
        more = {"settings": settings, "reading": reading, "training_seconds": seconds}
        return entry(found, TRUTHS, detection=settings["detection"], **more)

    made = record(
        TRUTHS,
        {
            BASE.key: of(TRUTHS),
            SEED.key: of(NEARBY, seconds=None),
            K1.key: of(HALF),
            STRIDE.key: of(TRUTHS, {"stride": 1}),
        },
    )
    made[ABLATION.part] = made.pop("test")
    return made


def test_the_table(study: dict[str, Any]) -> None:
    table = ablation_table(study, chosen_entries(study, VARIATIONS))
    assert table.headings[1:4:2] == [f"F1, {RADIUS:g} px [95 %]", f"F1, {RADIUS / 2:g} px [95 %]"]
    base, seed, k1, stride = table.rows
    assert base == ["base", *("1.000 [1.000, 1.000]", "") * 2, "60.0 s"]
    assert seed[0] == "seed: another seed, 1"
    assert seed[1:3] == ["1.000 [1.000, 1.000]", "+0.000 [+0.000, +0.000]"]  # no bold
    assert seed[3:] == ["0.000 [0.000, 0.000]", "**-1.000 [-1.000, -1.000]**", ""]
    assert k1[1:3] == ["0.667 [0.667, 0.667]", "**-0.333 [-0.333, -0.333]**"]
    assert stride[-1] == ""  # trained nothing
    assert len({line.count("|") for line in markdown(table).splitlines()[:6]}) == 1


def test_the_page(study: dict[str, Any]) -> None:
    entries = chosen_entries(study, VARIATIONS)
    text = ablation_page({"tiles": (study, entries)}, "dvfast reproduce it")
    for words in ("```\ndvfast reproduce it\n```", "optimistic", "3 validation images", "CC0",
                  "6 nuclei", "Steps of every training: 8,000", "k = 2", "a machine",
                  "2 seeds: 1.000, 1.000 within 10 px, 0.000 apart; 1.000, 0.000 within 5 px",
                  ):  # fmt: skip
        assert words in text
    alone = chosen_entries(study, [BASE, K1])
    text = ablation_page({"tiles": (study, alone)}, "")
    assert "No other seed was trained" in text
    assert "another seed, 1" not in text


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["reproduce", "ablation", *map(str, arguments)])


def test_from_the_shell(data: DataSet, tmp_path: Path) -> None:
    arguments = (data.folder, "-o", tmp_path / "out", "--steps", 12, "--only", "votes",
                 "--radius", 4, "--report", tmp_path / "report")  # fmt: skip
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    assert "votes: k = 5" in result.output
    page = (tmp_path / "report" / "ablation.md").read_text()
    expected = (
        "dvfast reproduce ablation tiles -o runs/ablation --steps 12 --only votes --radius 4.0"
    )
    assert f"{expected} --report docs" in page
    assert str(tmp_path) not in page
    again = command(*arguments)
    assert "votes, k = 5" in result.output
    assert "votes, k = 5" not in again.output
    assert (tmp_path / "report" / "ablation.md").read_text() == page


def test_what_there_is_to_vary_is_listed() -> None:
    listed = command("--list")
    assert listed.exit_code == 0
    assert len(listed.output.splitlines()) == len(VARIATIONS)


def test_bad_input_is_one_clear_line(data: DataSet, tmp_path: Path) -> None:
    for arguments, message in (
        ((data.folder, "-o", tmp_path / "out"), "--radius"),
        ((data.folder, "-o", tmp_path / "out", "--radius", 4, "--only", "x"), "no group called"),
        ((tmp_path / "none", "-o", tmp_path / "out", "--radius", 4), "no such folder"),
        ((data.folder, data.folder, "-o", tmp_path / "out", "--radius", 4), "different names"),
    ):
        result = command(*arguments)
        assert result.exit_code == 1, result.output
        assert message in result.output
    assert not (tmp_path / "out" / "ablation-tiles.json").exists()
