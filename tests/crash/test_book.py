"""What may be found after a crash."""

from tools.crashing.book import ABSENT, Book, Safe


def complaints(book: Book, found: dict[str, str], crash: Safe = Safe.KILL) -> list[str]:
    return list(book.allowed(book.safe_now(crash), crash).complaints(found))


def test_what_is_safe_must_be_there():
    """What was acknowledged as safe must be there, from what it is safe from only."""
    book = Book()
    book.acknowledge(book.begin({"f": "1"}), Safe.KILL)
    assert complaints(book, {"f": "1"}) == []
    assert complaints(book, {}) == ["f is absent, and should be 1"]
    assert complaints(book, {}, Safe.POWER) == []


def test_what_is_under_way_is_old_or_new():
    """Between begin and acknowledge both values may be found, and no third one."""
    book = Book()
    book.acknowledge(book.begin({"f": "1"}), Safe.POWER)
    book.begin({"f": "2"})
    assert complaints(book, {"f": "1"}) == complaints(book, {"f": "2"}) == []
    assert complaints(book, {"f": "3"}) == ["f is 3, and should be 1 or 2"]
    assert complaints(book, {}) == ["f is absent, and should be 1 or 2"]


def test_a_renamed_value_is_somewhere():
    """A rename that is under way may be at either of its ends, but the value must not be at neither."""
    book = Book()
    book.acknowledge(book.begin({"a": "1"}), Safe.POWER)
    book.begin({"a": ABSENT, "b": "1"}, ("a", "b"))
    assert complaints(book, {"a": "1"}) == complaints(book, {"b": "1"}) == []
    assert complaints(book, {}) == ["1 was lost between a and b"]


def test_a_synced_directory_makes_safe_what_was_acknowledged():
    """What was acknowledged before the fsync began is safe from a power cut after it, nothing later is."""
    book = Book()
    book.acknowledge(book.begin({"d/f": "1", "g": "1"}), Safe.NOT_YET)
    at = book.acknowledged_below("d")
    book.acknowledge(book.begin({"d/f": "2"}), Safe.KILL)
    book.acknowledge(at, Safe.POWER)
    assert complaints(book, {"d/f": "1"}, Safe.POWER) == complaints(book, {"d/f": "2"}, Safe.POWER) == []
    assert complaints(book, {}, Safe.POWER) == ["d/f is absent, and should be 1 or 2"]


def test_what_came_about_during_the_copy_may_be_in_it():
    """The values of a copy: from what was safe when it began up to what was begun when it ended."""
    book = Book()
    before = book.safe_now(Safe.POWER)
    book.acknowledge(book.begin({"f": "1"}), Safe.POWER)
    allowed = book.allowed(before, Safe.POWER)
    assert list(allowed.complaints({})) == list(allowed.complaints({"f": "1"})) == []


def test_nothing_else_is_there():
    """A name that nobody made is a complaint."""
    assert complaints(Book(), {"f": "1"}) == ["f is 1, and should be absent"]
