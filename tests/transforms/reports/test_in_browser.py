"""Open every page in a browser: no console output, no request, and it fits."""

import json
import shutil

import pytest
from selenium import webdriver

from pipelines import confusion, difficulty, group
from tests import building, making_predictions
from tests.transforms.evaluation import test_designed
from tests.transforms.reports import test_study, test_training_free
from tests.transforms.reports.test_evaluation import MADE
from transforms.reports import designed, evaluation, page, training_free

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
WINDOWS = {"phone": (390, 844), "desk": (1280, 900)}
pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="chromium is not there: run make browser"
    ),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for word in (
        *("headless=new", "no-sandbox", "disable-gpu", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    started = webdriver.Chrome(options=options, service=service)
    yield started
    started.quit()


def _make_group_pages(folder):
    predictions = making_predictions.write_top5(folder)
    confusion.main(["--predictions", str(predictions[0]), "--output", f"{folder}/c"])
    flags = ["--num_groups", "20", "--confusion", f"{folder}/c/confusion.npz"]
    for method in ("confusion", "wordnet"):
        output = f"{folder}/{method}"
        group.main(["--grouping", method, "--output", output, *flags])


def _make_study(folder):
    scores = [test_study.WORST, test_study.TIED, test_study.BEST]
    html = test_study.make(scores, left_out=[("tiny", "too few")], warnings=["few"])
    (folder / "study.html").write_text(html)
    noises = {(f"{labels}_20", "uniform"): 0.5 for labels in ("confusion", "wordnet")}
    recipes = designed.make_page(test_designed.simulate(0, noises))
    page.write(str(folder), "recipes.html", recipes)
    table = training_free.make_page(test_training_free.TABLE)
    page.write(str(folder), "training_free.html", table)


def _make_evaluations(folder):
    for name, make in MADE.items():
        page_folder = folder / name.replace(" ", "_")
        page_folder.mkdir()
        page.write(
            str(page_folder), "report.html", evaluation.make_page(make(page_folder))
        )


@pytest.fixture(scope="module")
def pages(mini_index, tmp_path_factory):
    """All pages that jobs make, by the name of their file."""
    folder = tmp_path_factory.mktemp("pages")
    building.run(mini_index, folder / "plan", plan_only=True)
    _make_group_pages(folder)
    scores = "".join(f"n02123159_{n},{n / 99}\n" for n in range(100))
    (folder / "scores.csv").write_text(f"key,score\n{scores}")
    job = ["--scores", f"{folder}/scores.csv", "--output", f"{folder}/difficulty"]
    difficulty.main([*job, "--input", str(mini_index)])
    _make_study(folder)
    _make_evaluations(folder)
    found = sorted(folder.rglob("*.html"))
    names = {"plan", "groups", "difficulty", "study", "report"}
    names |= {"recipes", "training_free"}
    assert {path.stem for path in found} == names
    assert len(list(folder.rglob("figures/*.svg"))) > len(found)
    return found


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_load_without_errors_and_fit_the_window(browser, pages, window, scheme):
    width, height = window
    size = {"width": width, "height": height, "deviceScaleFactor": 1}
    size["mobile"] = window == WINDOWS["phone"]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    problems = []
    for path in pages:
        browser.get(path.as_uri())
        said = [entry["message"] for entry in browser.get_log("browser")]
        asked, seen, num_characters = browser.execute_script(
            "return [performance.getEntriesByType('resource').map(e => e.name), "
            "document.documentElement.scrollWidth, document.body.innerText.length]"
        )
        asked = [name for name in asked if not name.startswith("data:")]
        if said or asked or seen > width or num_characters < 100:
            problems.append((path.name, said, asked, seen, num_characters))
    assert not problems, json.dumps(problems, indent=1)
