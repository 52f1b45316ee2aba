"""The report in a browser: charts are drawn, nothing is fetched, it fits a phone, and keys reach it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from publish.report import write_report
from tests.python.publish.published import change, make_published

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="needs Chromium and chromedriver, and one of them is not installed"
)

ALL_DRAWN = """
const places = [...document.querySelectorAll('[data-chart]')];
return places.length > 0 && places.every(place => place.querySelector('svg'));
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_published(tmp_path_factory.mktemp("browser") / "home")
    change(home, "insert into core.fct_call_attempts values ('2026-07-20', 'metered', 3, 1, null)")
    change(home, "update core.dim_teams set display_name = '<b>A team with a name that is long enough to wrap</b>'")
    return write_report(home, currency="INR")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield driver
    driver.quit()


def show(browser, page: Path, width: int = 1280, scheme: str = "light") -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(ALL_DRAWN))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (360, "dark")])
def test_charts_are_drawn_and_the_page_fits(browser, page, width, scheme):
    show(browser, page, width, scheme)
    charts = browser.execute_script(
        """
        return [...document.querySelectorAll('[data-chart]')].map(place => {
            const svg = place.querySelector('svg'), box = svg.getBoundingClientRect();
            const marks = [...svg.querySelectorAll('.mark-rect path, .mark-symbol path')].filter(
                mark => mark.getBoundingClientRect().width > 0);
            const around = place.getBoundingClientRect();
            return {name: place.dataset.chart, width: box.width, height: box.height, marks: marks.length,
                    fill: marks.map(mark => getComputedStyle(mark).fill), right: box.right, end: around.right,
                    text: getComputedStyle(svg.querySelector('text')).fill};
        });
        """
    )
    assert [chart["name"] for chart in charts] == [
        *("chart-bill", "chart-trend", "chart-tails", "chart-idle", "chart-utilisation", "chart-retries"),
    ]
    for chart in charts:
        assert chart["width"] > 200 and chart["height"] > 30 and chart["marks"] > 0, chart
        assert chart["right"] <= chart["end"] + 1, chart
        assert chart["text"] == {"light": "rgb(77, 85, 100)", "dark": "rgb(179, 188, 203)"}[scheme]
    work = {"light": "rgb(0, 114, 178)", "dark": "rgb(86, 180, 233)"}[scheme]
    assert work in charts[0]["fill"]
    browser.execute_script("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    page_width, viewport = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert page_width == viewport
    assert viewport == width or width > 500
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(244, 245, 247)", "dark": "rgb(18, 21, 27)"}[scheme]


def test_nothing_is_fetched_and_nothing_is_complained_about(browser, page):
    show(browser, page)
    asked = [
        json.loads(entry["message"])["message"]["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if json.loads(entry["message"])["message"]["method"] == "Network.requestWillBeSent"
    ]
    assert {url for url in asked if not url.startswith("data:")} <= {page.as_uri()}
    assert browser.get_log("browser") == []
    assert page.stat().st_size < 3_000_000


def test_a_chart_follows_the_scheme_without_being_drawn_again(browser, page):
    show(browser, page)
    colour = "return getComputedStyle(document.querySelector('[data-chart] .mark-rect path')).fill"
    light = browser.execute_script(colour)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    assert browser.execute_script(colour) != light


def test_rupees_of_an_axis_are_grouped_as_in_india(browser, page):
    show(browser, page)
    texts = browser.execute_script("return [...document.querySelectorAll('[data-chart] text')].map(t => t.textContent)")
    assert "₹10,000" in texts


def test_keys_reach_every_link_and_a_figure_opens_its_query(browser, page):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    show(browser, page)
    wanted = browser.execute_script("return document.querySelectorAll('a, summary').length")
    reached = []
    for _ in range(150):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        place = browser.execute_script(
            """
            const here = document.activeElement;
            return [here.tagName, [...document.querySelectorAll('a, summary')].indexOf(here),
                    getComputedStyle(here).outlineStyle, here.getAttribute('href')];
            """
        )
        if place[0] == "BODY":
            break
        reached.append(place)
    links = {place[1] for place in reached if place[0] in ("A", "SUMMARY")}
    assert links == set(range(wanted))
    assert reached[0][3] == "#content"
    assert all(place[2] != "none" for place in reached)
    show(browser, page)
    browser.execute_script("document.querySelector('a[href=\"#query-bill\"]').focus()")
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    WebDriverWait(browser, 5).until(
        lambda driver: driver.execute_script("return document.getElementById('query-bill').open")
    )


def test_on_a_phone_captions_are_whole_and_a_first_column_leaves_room(browser, page):
    show(browser, page, 390)
    found = browser.execute_script(
        """
        document.querySelectorAll('details').forEach(details => { details.open = true; });
        return [...document.querySelectorAll('table')].map(table => {
            const caption = document.getElementById(table.getAttribute('aria-labelledby'));
            const first = table.querySelector('tbody th').getBoundingClientRect();
            return {text: caption.textContent, right: caption.getBoundingClientRect().right,
                    isInside: caption.closest('.scroll') !== null, first: first.width,
                    isWide: table.scrollWidth > table.parentElement.clientWidth};
        });
        """
    )
    assert len(found) == 7
    for table in found:
        assert table["text"] and not table["isInside"] and table["right"] <= 390, table
        assert table["first"] <= 0.41 * 390 or not table["isWide"], table
    assert any(table["isWide"] for table in found)


def test_print_shows_the_figures_on_white(browser, page):
    show(browser, page, scheme="dark")
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    try:
        colour, nav = browser.execute_script(
            "return [getComputedStyle(document.querySelector('td')).color, "
            "getComputedStyle(document.querySelector('nav')).display]"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert (colour, nav) == ("rgb(27, 31, 39)", "none")
