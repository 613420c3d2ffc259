"""The command: quick help, exit codes, data on stdout and messages on stderr."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.errors import StorageError

VERBS = ["demo", "inspect", "convert", "data", "models", "recipe", "train", "predict", "evaluate", "agree", "report"]

RECIPE = "{name: x, data: {}, model: {name: unet_bn}, loss: {name: seget}}"


def cristae(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cristae", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


def test_help_loads_nothing_heavy() -> None:
    done = cristae("--help")
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)
    code = (
        "import sys\nfrom cristae.cli.main import app\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'matplotlib', 'scipy', 'numba', 'yaml') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "verb", [[verb] for verb in VERBS] + [["recipe", "new"], ["recipe", "check"], ["data", "fetch"], ["models", "show"]]
)
def test_every_verb_has_help(verb: list[str]) -> None:
    result = CliRunner().invoke(app, [*verb, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


@pytest.mark.parametrize("group", [[], ["recipe"], ["data"], ["models"]], ids=str)
def test_lists_of_verbs_are_not_cut_off(group: list[str]) -> None:
    text = CliRunner().invoke(app, [*group, "--help"], terminal_width=80).stdout
    lines = text[text.index("Commands:") :].splitlines()[1:]
    assert len(lines) >= 2
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["predict", "cell.tif", "--run", "run", "--out", "out.zarr", "--normalize", "vol"],
            "'--normalize': expected run (as the run says) or volume (find the range again on this volume), got 'vol'",
        ),
        *(
            (
                ["convert", "cell.tif", "out.tif", f"--grain-filter={area}"],
                f"'--grain-filter': expected a whole number of pixels, such as 3200, got '{area}'",
            )
            for area in ("1%", "-3", "2.5", "many")
        ),
    ],
)
def test_values_of_options_say_what_is_expected(command: list[str], message: str) -> None:
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_help_of_memory_says_what_is_limited() -> None:
    text = " ".join(CliRunner().invoke(app, ["predict", "--help"]).stdout.split())
    assert "memory of the whole process, such as 8GiB; by default half of what is free." in text
    assert "85 % of what is free there" in text


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("cristae 0.")


def test_a_users_mistake_is_a_message_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: x\nepochs: 3\n")
    done = cristae("recipe", "show", "r.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "r.yaml:2: epochs: unknown field" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["recipe", "show", "none.yaml"],
        ["train", "none.yaml"],
        ["report", "none"],
        ["predict", "none.tif", "--run", "none", "--out", "x.zarr"],
        ["evaluate", "--truth", "none.tif", "--prediction", "none.zarr"],
        ["evaluate", "--truth", "none.tif"],
        ["data", "fetch", "no-such-set"],
        ["recipe", "new"],
        ["recipe", "new", "--image", "none.tif", "--out", "x.yaml"],
        ["recipe", "new", "--image", "none.tif", "--label-slices", "1;2"],
        ["convert", "none.tif", "x.zarr", "--voxel-size-nm", "1", "2"],
        ["inspect", "none.tif"],
        ["nonsense"],
    ],
)
def test_wrong_input_leaves_nothing_behind(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_other_failures_have_their_own_exit_codes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    import cristae.recipe.load

    def fail(error: BaseException) -> object:
        def load(*arguments: object) -> None:
            raise error

        monkeypatch.setattr(cristae.recipe.load, "load_recipe", load)
        return CliRunner().invoke(app, ["recipe", "show", str(path)])

    full = fail(StorageError("x: the disk is full"))
    assert (full.exit_code, full.stderr.strip()) == (1, "StorageError: x: the disk is full")  # type: ignore[attr-defined]
    stopped = fail(KeyboardInterrupt())
    assert stopped.exit_code == 130  # type: ignore[attr-defined]
    assert len(stopped.stderr.strip().splitlines()) == 1  # type: ignore[attr-defined]
    for trouble in (PermissionError(13, "Permission denied", "x.tif"), MemoryError()):
        refused = fail(trouble)
        assert refused.exit_code == 1  # type: ignore[attr-defined]
        assert "Traceback" not in refused.stderr  # type: ignore[attr-defined]
    bug = fail(ZeroDivisionError("oops"))
    assert isinstance(bug.exception, ZeroDivisionError)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "r.yaml"], "the same command with --resume resumes it"),
        (["predict", "a.tif", "--run", "r", "--out", "b.zarr"], "the same command resumes it"),
        (["convert", "a.tif", "b.zarr"], "the same command starts over"),
        (["recipe", "show", "r.yaml"], "the same command starts over"),
    ],
)
def test_a_stopped_verb_says_whether_it_goes_on(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cristae.cli.progress
    import cristae.recipe.load

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cristae.cli.progress, "console_progress", stop)
    monkeypatch.setattr(cristae.recipe.load, "load_recipe", stop)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 130
    assert result.stderr.strip() == f"interrupted; {told}"


@pytest.mark.parametrize("stopped", ["typer", "torch"])
@pytest.mark.parametrize("how", ["raise KeyboardInterrupt", "raise ImportError('half of it') from KeyboardInterrupt()"])
def test_ctrl_c_while_libraries_are_imported_is_one_line(stopped: str, how: str) -> None:
    code = (
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name == '{stopped}': {how}\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from cristae.cli.command import run; run()"
    )
    done = subprocess.run([sys.executable, "-c", code, "recipe", "show", "x"], capture_output=True, text=True)
    assert done.returncode == 130
    assert re.fullmatch("interrupted(; the same command starts over)?\n", done.stderr)


def test_a_slip_of_the_pen_is_told_before_the_rooms_of_training_are_imported(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: x\ndata: {}\nmodel: {name: unet_bn}\ntraning: {}\n")
    for verb in (["recipe", "check"], ["train"]):
        code = (
            "import sys; from cristae.cli.main import app\n"
            "try:\n    app()\n"
            "finally:\n    print('lightning' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *verb, str(tmp_path / "r.yaml")], capture_output=True, text=True
        )
        assert "r.yaml:4: traning: unknown field; did you mean 'training'?" in done.stderr
        assert done.stdout == "False\n"


def test_a_bug_shows_a_traceback_and_exit_code_1() -> None:
    code = (
        "import cristae.cli.main as main, cristae.recipe.load as load\n"
        "def bug(*a): raise ZeroDivisionError('oops')\n"
        "load.load_recipe = bug\n"
        "main.run()"
    )
    done = subprocess.run([sys.executable, "-c", code, "recipe", "show", "x"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ZeroDivisionError: oops" in done.stderr
    assert "this is a bug in Cristae" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_closed_pipe_is_quiet() -> None:
    line = f"'{sys.executable}' -c 'from cristae.cli.main import run; run()' recipe schema | head -n 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_recipe_verbs_print_what_the_functions_give(tmp_path: Path) -> None:
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    a.write_text(RECIPE)
    b.write_text(RECIPE.replace("unet_bn", "unet_bn, widths: [4, 8]"))
    runner = CliRunner()
    shown = runner.invoke(app, ["recipe", "show", str(a), "--set", "seed=7", "--brief"])
    assert "seed: 7" in shown.stdout
    assert "epochs" not in shown.stdout
    differences = json.loads(runner.invoke(app, ["recipe", "diff", str(a), str(b), "--json"]).stdout)
    assert differences == [{"path": "model.widths", "a": [16, 32, 64, 128, 256], "b": [4, 8]}]
    assert json.loads(runner.invoke(app, ["recipe", "schema"]).stdout)["title"] == "Cristae recipe"


def test_public_sets_are_listed() -> None:
    runner = CliRunner()
    sets = json.loads(runner.invoke(app, ["data", "list", "--json"]).stdout)
    assert {"cdeep3m-mito", "isbi2012"} <= {one["name"] for one in sets}
    assert all(one["citation"] for one in sets)
    assert all(one["licence"] and one["size_bytes"] > 0 for one in sets if one["available_from"] is None)
    assert {"p1694", "fib-sem-fs1"} <= {one["name"] for one in sets if one["available_from"]}
    assert "isbi2012" in runner.invoke(app, ["data", "list"]).stdout


def test_inspect_reads_well(tmp_path: Path) -> None:
    import numpy as np

    from cristae.data.formats import write_image
    from cristae.data.image import image_of_array

    voxels = np.zeros((2, 20, 30), np.uint8)
    voxels[:, :5] = 255
    write_image(image_of_array(voxels, voxel_size_nm=(40.0, 6.5, 6.5)), tmp_path / "labels.tif")
    runner = CliRunner()
    text = runner.invoke(app, ["inspect", str(tmp_path / "labels.tif")]).stdout
    assert "2 x 20 x 30 voxels (z, y, x)" in text
    assert "40 x 6.5 x 6.5 nm (z, y, x)" in text
    assert "255   25.0000%" in text
    (found,) = json.loads(runner.invoke(app, ["inspect", str(tmp_path / "labels.tif"), "--json"]).stdout)
    assert found["shape"] == [2, 20, 30]
    copy = tmp_path / "copy.mrc"
    assert runner.invoke(app, ["convert", str(tmp_path / "labels.tif"), str(copy)]).stdout.strip() == str(copy)
    assert copy.is_file()


def test_scores_are_printed_as_tables() -> None:
    """Hand-made scores: of one run a row per metric and a column per class, of several a row per run."""
    from cristae.cli.scores import scores_text
    from cristae.metrics.score import Score

    rule = "positive=mito; pooled; n=voxels"
    scores = [
        Score("a", "cell", "mito", "F1", 0.25, 4, rule),
        Score("a", "cell", "mito", "V_rand", 0.5, 4, rule, low=0.125, high=0.75),
        Score("a", "cell", "all", "mIoU", float("nan"), 2, rule),
        Score("a", "cell", "mito", "HD95", 12.5, 4, rule, "nm"),
    ]
    lines = [line.split() for line in scores_text(scores).splitlines()]
    assert lines[0] == ["a:", "cell", "mito", "all"]
    assert lines[1:5] == [
        ["F1", "0.25000"],
        ["V_rand", "0.50000", "[0.1250,", "0.7500]"],
        ["mIoU", "nan"],
        ["HD95", "12.5"],
    ]
    both = [*scores, Score("b", "cell", "mito", "F1", 0.75, 4, rule)]
    lines = [line.split() for line in scores_text(both).splitlines()]
    assert lines[0] == ["cell:", "mito", "F1", "V_rand", "HD95"]
    assert lines[2] == ["b", "0.75000"]


@pytest.mark.parametrize(("wanted", "shown"), [("", []), ("default", ["a warning of a library"])])
def test_logs_and_warnings_of_libraries_are_silent_unless_asked_for(wanted: str, shown: list[str]) -> None:
    code = (
        "import logging, warnings\nfrom cristae.cli import main\n"
        "def app():\n"
        "    logging.getLogger('some.library').warning('a line of a library')\n"
        "    warnings.warn('a warning of a library')\n"
        "main.app = app\nmain.run()"
    )
    environment = {**os.environ, "PYTHONWARNINGS": wanted}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "a line of a library" not in done.stderr
    assert [line for line in shown if line not in done.stderr] == []
    assert bool(done.stderr) == bool(shown)
