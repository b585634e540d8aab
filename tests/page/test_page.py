"""The page in a real browser, before a real node with transfers in flight, a dead share and a failure."""

import errno
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.mount.probes import errno_of_read
from tests.page.browser import Browser
from tests.page.scene import MIB, Scene, reading

pytestmark = pytest.mark.timeout(60)

EVIL = "<img src=x onerror=document.title='owned'>\u202egpj.\x1b[31mexe"
SHOWN = "<img src=x onerror=document.title='owned'>\\u202egpj.\\u001b[31mexe"
AWAY = ("net::ERR_CONNECTION_REFUSED", "net::ERR_INCOMPLETE_CHUNKED_ENCODING", "net::ERR_EMPTY_RESPONSE")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Everything at a rate at which the file takes minutes."""
    with Scene(tmp_path_factory.mktemp("scene"), [150_000]) as scene:
        scene.put(f"models/{EVIL}", 40 * MIB)
        scene.put_without_bytes("models/lost")
        assert errno_of_read(scene.node.path("models/lost")) == errno.EHOSTUNREACH
        with reading(scene.node.path(f"models/{EVIL}")):
            yield scene


@pytest.fixture(scope="module")
def module_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(module_browser: Browser, scene: Scene) -> Browser:
    """With the page open, and figures on it."""
    scene.node.prolong()
    scene.origin.prolong()
    module_browser.emulate(width=1280, height=900)
    module_browser.open(scene.url)
    module_browser.until("document.querySelector('#transfers tr') !== null", "a transfer is shown")
    module_browser.problems.clear()
    module_browser.requested.clear()
    return module_browser


def test_what_is_on_its_way(browser: Browser, scene: Scene):
    """A transfer has its name, a bar, how much is here of how much, its rate, and the share it comes from."""
    bar = "document.querySelector('#transfers [role=progressbar]')"
    browser.until(f"{bar}.getAttribute('aria-valuenow') > 0", "it has begun")
    shown = browser.text("#transfers")
    assert "of 40.0 MiB" in shown
    assert "KiB/s" in shown
    assert urlsplit(scene.shares[0].url).netloc in shown
    assert "loading" in shown
    assert str(scene.node.mountpoint) in browser.text("h1")
    assert "blobfs 0." in browser.text("footer")
    assert SHOWN in browser.evaluate(f"{bar}.getAttribute('aria-label')")
    assert browser.problems == []


def test_a_name_is_text(browser: Browser):
    """A name that is HTML, turns the direction round or holds controls is shown as what it is."""
    assert f"models/{SHOWN}" in browser.text("#transfers")
    assert browser.evaluate("document.querySelectorAll('img, iframe, object, embed').length") == 0
    assert browser.evaluate("document.title").endswith("blobfs")
    assert not {"\u202e", "\x1b"} & set(browser.text())


def test_shares_with_their_health(browser: Browser, scene: Scene):
    """The share that answers is up and has a curve of what came; the dead one is down, with the reason."""
    up, down = (browser.text(f"#shares tr:nth-child({number})") for number in (1, 2))
    assert (scene.shares[0].url in up, scene.dead in down) == (True, True)
    assert "up" in up.split()
    assert "connection refused" in down
    browser.until("document.querySelector('#shares svg rect') !== null", "bytes are drawn")
    curve = browser.evaluate("document.querySelector('#shares svg').getAttribute('aria-label')")
    assert curve.startswith("the last five minutes: ")
    assert "iB, " in curve


def test_a_failure_with_its_attempts(browser: Browser, scene: Scene):
    """What a reader was told stands there with the reason; the attempts can be opened and stay open."""
    row = (
        "[...document.querySelectorAll('#failures > tr')].find(row => row.innerText.includes('models/lost'))"
    )
    assert "EHOSTUNREACH" in browser.evaluate(f"{row}.innerText")
    browser.evaluate(f"{row}.querySelector('summary').click(); asked = answered")
    attempts = browser.evaluate(f"{row}.querySelector('details table').innerText")
    assert "connection refused" in attempts
    assert urlsplit(scene.dead).netloc in attempts
    browser.until("answered > asked", "it asked again")
    assert browser.evaluate(f"{row}.querySelector('details').open") is True


def test_it_lives(browser: Browser, scene: Scene):
    """Figures change without the page being loaded again, and nobody but this node is asked."""
    browser.evaluate("window.mark = 1; before = document.querySelector('#transfers .under span').textContent")
    browser.until("document.querySelector('#transfers .under span').textContent !== before", "more has come")
    assert browser.evaluate("window.mark") == 1
    assert {urlsplit(url).netloc for url in browser.requested} == {urlsplit(scene.url).netloc}
    assert browser.problems == []


def test_it_asks_only_while_somebody_looks(browser: Browser):
    """A page that is not to be seen asks nobody; when it is seen again it asks at once."""
    turn = """
        Object.defineProperty(document, 'hidden', {value: %s, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    """
    browser.evaluate(turn % "true")
    browser.until("!running", "the last answer is here")
    browser.requested.clear()
    browser.evaluate("ask()")
    assert browser.requested == []
    browser.evaluate("asked = answered;" + turn % "false")
    browser.until("answered > asked", "it asks again")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_it_fits(browser: Browser, width: int):
    """On a telephone nothing is cut off, and nothing has to be pushed aside to be read."""
    browser.emulate(width=width, height=800)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1280])
def test_it_can_be_heard(browser: Browser, width: int):
    """Headings, tables with their columns, bars and curves have names, on a telephone too."""
    browser.emulate(width=width, height=800)
    heard = browser.heard()
    titles = ("Transfers", "Shares", "Recent failures")
    for role in ("heading", "table"):
        assert all(any(name.startswith(title) for kind, name in heard if kind == role) for title in titles)
    assert ("columnheader", "How far") in heard
    assert any(role == "progressbar" and SHOWN in name for role, name in heard)
    assert any(role == "image" and name.startswith("the last five minutes: ") for role, name in heard)
    assert [role for role, name in heard if role == "row"]


def test_what_it_may(scene: Scene):
    """The page may ask this node, and nothing else: no other address, no file, no frame around it."""
    with urllib.request.urlopen(scene.url, timeout=10) as answer:
        rules, page = answer.headers["Content-Security-Policy"], answer.read().decode()
    assert rules.startswith("default-src 'none'; ")
    assert "connect-src 'self'" in rules
    assert "frame-ancestors 'none'" in rules
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "innerHTML" not in page.replace("no innerHTML", "")
    assert len(page) < 40_000


def test_light_and_dark(browser: Browser):
    """It is as the reader's system is."""
    colour = "getComputedStyle(document.body).backgroundColor"
    light = browser.evaluate(colour)
    browser.emulate(dark=True)
    assert browser.evaluate(colour) != light


def test_the_daemon_goes_and_comes_back(browser: Browser, scene: Scene):
    """While nobody answers the page says so and keeps what it knew; then it goes on by itself."""
    browser.evaluate("window.mark = 1")
    scene.node.stop()
    browser.until("!document.getElementById('away').hidden", "it says that the daemon is away")
    assert "does not answer" in browser.text("#away")
    assert "away" in browser.text("h1")
    scene.node.start()
    browser.until("document.getElementById('away').hidden", "it has seen that the daemon is back")
    browser.until("document.getElementById('state').textContent === 'ready'", "it says so")
    assert browser.evaluate("window.mark") == 1
    assert [problem for problem in browser.problems if not any(text in problem for text in AWAY)] == []
