"""The work list: one's own class first, the network's only after it and never as the case's."""

from __future__ import annotations

import html
import re
import uuid
from dataclasses import replace
from datetime import datetime

import pytest
import sqlalchemy as sa

import studies
from app.db import Database, now
from app.models import Case, Checkpoint, Lesion, Prediction, User, worklist
from app.models.ground.place import Place
from app.models.reader_studies.design import Design
from app.models.worklist import Filter, Order, Wanted, work_list
from app.routes import cases as routes
from ml.images.roi import Box
from ml.trust.answer import Said


@pytest.fixture
def ada(session):
    return studies.make_user(session, "ada")


@pytest.fixture
def bob(session):
    return studies.make_user(session, "bob")


def predict(session, lesion, lesion_class, score=0.71):
    scorer = Checkpoint.require(session, "phantom-cnn")
    others = [key for key in scorer.scheme.keys if key != lesion_class]
    rest = {key: (1 - score) / len(others) for key in others}
    return Prediction.record(session, lesion, scorer, Said({lesion_class: score, **rest}), [])


def item(session, user, review_first=True):
    [found] = work_list(session, user, Wanted(), review_first=review_first).items
    return found


def second(session, lesion) -> Lesion:
    marker = studies.make_user(session, "maker", "researcher")
    return Lesion.mark(session, lesion.image, Box(20, 20, 26, 26), marker)


def test_neither_score_nor_colleague_is_told_before_ones_own_class(session, ada, bob):
    [lesion] = studies.make_lesion(session, 1)
    predict(session, lesion, "hemangioma")
    studies.review(session, lesion, "metastasis", by=bob)
    before = item(session, ada)
    assert (before.own, before.colleagues, before.network) == (None, (), None)
    assert before.covered
    studies.review(session, lesion, "cyst", by=ada)
    after = item(session, ada)
    assert after.own.classes == (("cyst", 1),)
    assert after.colleagues == (("metastasis", 1),)
    assert (after.network.display, after.network.probability) == ("hemangioma", 0.71)
    assert not after.covered


def test_of_two_lesions_only_the_one_that_has_my_class_is_told(session, ada, bob):
    [first] = studies.make_lesion(session, 1)
    other = second(session, first)
    predict(session, first, "hemangioma")
    predict(session, other, "metastasis", 0.99)  # the newest
    studies.review(session, other, "cyst", by=bob)
    studies.review(session, first, "cyst", by=ada)
    found = item(session, ada)
    assert (found.own.classes, found.own.lesions, found.lesions) == ((("cyst", 1),), 1, 2)
    assert (found.network.display, found.network.lesion) == ("hemangioma", first.number)
    assert found.colleagues == ()
    assert found.covered


def test_where_reviews_do_not_come_first_nothing_is_covered(session, ada, bob):
    [lesion] = studies.make_lesion(session, 1)
    predict(session, lesion, "hemangioma")
    studies.review(session, lesion, "cyst", by=bob)
    found = item(session, ada, review_first=False)
    assert found.own is None
    assert (found.colleagues, found.network.display) == ((("cyst", 1),), "hemangioma")
    assert not found.covered


def test_a_class_that_was_replaced_counts_no_longer(session, ada):
    [lesion] = studies.make_lesion(session, 1)
    studies.review(session, lesion, "cyst", by=ada)
    newest = studies.review(session, lesion, "metastasis", by=ada)
    own = item(session, ada).own
    assert (own.classes, own.at) == ((("metastasis", 1),), newest.created_at)


def test_a_withdrawn_lesion_is_told_of_no_more(session, ada):
    [lesion] = studies.make_lesion(session, 1)
    predict(session, lesion, "hemangioma")
    studies.review(session, lesion, "cyst", by=ada)
    lesion.withdrawn_at = sa.func.now()
    session.flush()
    found = item(session, ada)
    assert (found.own, found.network, found.covered) == (None, None, False)


def test_the_page_labels_the_networks_word_and_says_of_which_lesion(session, ada, signed_in_as):
    [lesion] = studies.make_lesion(session, 1)
    second(session, lesion)
    predict(session, lesion, "hemangioma")
    review = studies.review(session, lesion, "cyst", by=ada)
    session.commit()
    case = session.get(Case, lesion.case_id)
    page = html.unescape(signed_in_as("reader", name="ada").get("/cases").text)
    line = re.sub(r"<[^>]+>|\s+", " ", page.partition(case.pseudonym)[2].partition("</tr>")[0])
    line = re.sub(r"\s+", " ", line)
    own, network = line.index("cyst"), line.index("network: hemangioma, score 0.71")
    assert own < network
    assert f"1 of 2 lesions, {review.created_at:%Y-%m-%d %H:%M} UTC" in line
    assert "lesion 1, one of 2; phantom-cnn , preset shipped" in line
    assert "Newest prediction" not in page


def test_a_score_of_a_quick_run_wears_its_badge_in_the_list(session, ada, signed_in_as):
    [lesion] = studies.make_lesion(session, 1)
    predict(session, lesion, "hemangioma")
    scorer = Checkpoint.require(session, "phantom-cnn")
    scorer.meta = {**scorer.meta, "preset": "quick"}
    studies.review(session, lesion, "cyst", by=ada)
    session.commit()
    page = signed_in_as("reader", name="ada").get("/cases").text
    assert "quick run</span>" in page


# -- filters that show nothing say why ------------------------------------------------------------


@pytest.mark.parametrize("chosen", ["awaiting", "reviewed", "no_lesion"])
def test_no_filter_claims_anything_of_cases_that_are_closed(session, signed_in_as, ada, chosen):
    """“Every case has a lesion marked” would be said of cases that the person cannot see."""
    studies.make_study(session, ada)
    session.commit()
    page = signed_in_as("reader", name="ada").get(f"/cases?filter={chosen}").text
    assert "Nothing here that is open to you" in page
    assert "You have a blinded reading to finish" in page
    for untrue in ("Every case has", "Nothing reviewed yet", "Nothing awaits review"):
        assert untrue not in page


@pytest.mark.parametrize("chosen", ["awaiting", "reviewed", "no_lesion"])
def test_of_no_case_nothing_is_claimed(signed_in_as, chosen):
    page = signed_in_as("reader").get(f"/cases?filter={chosen}").text
    assert "No case yet" in page
    assert "Every case has" not in page


@pytest.mark.parametrize("first", [True, False])
def test_the_list_says_that_scores_are_covered_only_where_they_are(
    app, session, signed_in_as, first
):
    studies.make_lesion(session, 1)
    session.commit()
    app.state.settings.review_first = first
    page = html.unescape(signed_in_as("reader").get("/cases").text)
    assert ("are covered until you have given your own" in page) is first


# -- search, order, what is mine to do ------------------------------------------------------------


def listed(session, user, **wanted) -> list[str]:
    found = work_list(session, user, Wanted(**wanted), review_first=True)
    return [item.pseudonym for item in found.items]


@pytest.fixture
def three(session, ada, bob) -> list[str]:
    """Three cases, oldest first: without lesion, one of two lesions reviewed by Ada, reviewed."""
    one, two, three = (studies.make_lesion(session, number)[0] for number in (1, 2, 3))
    one._leave(session, ada)
    second(session, two)
    studies.review(session, two, "cyst", by=ada)
    studies.review(session, three, "cyst", by=ada)
    studies.review(session, three, "cyst", by=bob)
    names = ["a%", "B_1", "b21"]
    for lesion, name in zip((one, two, three), names, strict=True):
        lesion.image.series.case.pseudonym = name
    session.flush()
    return names


@pytest.mark.parametrize(
    ("search", "found"),
    [("b", ["b21", "B_1"]), ("B_", ["B_1"]), ("%", ["a%"]), (" 21 ", ["b21"]), ("x", []), ("", 3)],
)
def test_a_part_of_a_pseudonym_finds_it_as_it_is_written(session, ada, three, search, found):
    names = listed(session, ada, search=search)
    assert names == found or len(names) == found
    counted = work_list(session, ada, Wanted(search=search), review_first=True)
    assert counted.found == len(names) and counted.counts["all"] == 3


ABROAD = ["Ärzte-MÜ", "ärzte-mü", "ΣΟΦΊΑ ς", "ЖУКОВ_2", "İz ß"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        *(("äRZTE-mü", 2), ("Ü", 2), ("U\u0308", 2), ("a", 0), ("софия", 0), ("жуков_", 1)),
        *(("σοφία", 1), ("ς", 1), ("ß", 1), ("İZ", 1), ("iz", 1), ("SS", 0)),
        *(("".join(map(chr, range(256, 256 + many))), 0) for many in (40, 100)),
    ],
)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_letters_beyond_ascii_are_found_in_either_case(request, tmp_path, kind, search, found):
    url = f"sqlite:///{tmp_path}/names.sqlite3"
    (tmp_path / "names.sqlite3").touch()
    database = Database(request.getfixturevalue("empty_postgres") if kind == "postgresql" else url)
    names = sa.Table("case", sa.MetaData(), sa.Column("pseudonym", sa.String(40)))
    with database.engine.begin() as connection:
        names.create(connection)
        connection.execute(names.insert(), [{"pseudonym": name} for name in ABROAD])
        counted = sa.select(sa.func.count()).where(worklist._has(search))
        assert connection.scalar(counted) == found
    database.engine.dispose()


@pytest.mark.parametrize(
    ("order", "down", "names"),
    [
        ("pseudonym", False, ["a%", "b21", "B_1"]),
        ("pseudonym", True, ["B_1", "b21", "a%"]),
        ("lesions", True, ["B_1", "b21", "a%"]),
        ("own", True, ["b21", "B_1", "a%"]),
        ("own", False, ["B_1", "b21", "a%"]),  # what has none comes last either way
        ("colleagues", True, ["b21", "B_1", "a%"]),
        ("colleagues", False, ["b21", "a%", "B_1"]),
        ("uploaded", False, ["a%", "B_1", "b21"]),
        ("slices", True, ["b21", "B_1", "a%"]),  # all alike: newest first
        ("phase", False, ["a%", "B_1", "b21"]),  # what is equal follows the order
        ("review", True, ["b21", "a%", "B_1"]),  # reviewed, without lesion, awaiting
    ],
)
def test_each_column_puts_the_list_in_order(session, ada, three, order, down, names):
    assert listed(session, ada, order=order, down=down) == names


def test_what_is_mine_to_do_is_what_has_no_class_of_mine(session, ada, bob, three):
    for user, names in ((ada, ["B_1"]), (bob, ["B_1"])):
        assert listed(session, user, filter=Filter.MINE) == names
        found = work_list(session, user, Wanted(), review_first=True)
        assert found.counts[Filter.MINE] == len(names)
    carl = studies.make_user(session, "carl")
    assert listed(session, carl, filter=Filter.MINE) == ["b21", "B_1"]
    assert work_list(session, carl, Wanted(), review_first=True).counts[Filter.MINE] == 2


def test_no_order_changes_what_a_filter_finds(session, ada, three):
    for chosen in Filter:
        names = sorted(listed(session, ada, filter=chosen))
        for order in Order:
            found = listed(session, ada, filter=chosen, order=order)
            assert sorted(found) == names, (chosen, order)


def test_what_is_covered_does_not_move_a_case_and_what_is_told_does(session, ada, bob):
    """The order of the rows must not tell that a colleague or the network has spoken, nor when."""
    old, middle, new = (studies.make_lesion(session, number)[0] for number in (1, 2, 3))
    names = [one.image.series.case.pseudonym for one in (new, middle, old)]
    unanswered = second(session, middle)
    for lesion in (old, unanswered):
        predict(session, lesion, "cyst")
        studies.review(session, lesion, "cyst", by=bob)
    studies.review(session, middle, "cyst", by=ada)  # of the other lesion of that case
    for order in (Order.COLLEAGUES, Order.NETWORK):
        assert listed(session, ada, order=order) == names
        uncovered = work_list(session, ada, Wanted(order=order), review_first=False)
        assert [one.pseudonym for one in uncovered.items] == [names[1], names[2], names[0]]
    studies.review(session, old, "cyst", by=ada)
    for order in (Order.COLLEAGUES, Order.NETWORK):
        assert listed(session, ada, order=order) == [names[2], names[0], names[1]]
        assert listed(session, ada, order=order, down=False) == [names[2], names[1], names[0]]


def test_the_list_by_colleagues_or_the_network_says_when_each_last_spoke(
    session, ada, bob, signed_in_as
):
    [lesion] = studies.make_lesion(session, 1)
    given = studies.review(session, lesion, "cyst", by=bob), predict(session, lesion, "cyst")
    studies.review(session, lesion, "cyst", by=ada)
    found = item(session, ada)
    assert (found.colleagues_at, found.network.at) == tuple(one.created_at for one in given)
    session.commit()
    browser = signed_in_as("reader", name="ada")
    for order, label in (("colleagues", "Colleagues"), ("network", "network")):
        page = browser.get(f"/cases?order={order}").text
        head = (
            page.partition("Colleagues")[0].rpartition("<th")[2] + page.partition("Colleagues")[2]
        )
        assert 'aria-sort="descending"' in head.partition("</th>")[0]
        assert f"{label} <span" in page


def test_the_place_of_a_closed_case_tells_nothing_of_its_lesions(session, ada):
    """Nor how many it has, nor when the person gave a class."""
    studies.make_study(session, ada)
    for order in ("lesions", "own", "colleagues", "network"):
        found = work_list(session, ada, Wanted(order=Order(order)), review_first=True)
        assert any(item.closed for item in found.items)
        shut = [item.uploaded_at for item in found.items if item.closed]
        assert shut == sorted(shut, reverse=True)
        assert [item.closed for item in found.items] == sorted(item.closed for item in found.items)


def test_the_address_holds_what_is_asked_for_and_nonsense_in_it_is_passed_over(
    session, ada, three, signed_in_as
):
    session.commit()
    browser = signed_in_as("reader", name="ada")
    page = html.unescape(browser.get("/cases?search=b&order=pseudonym&down=0&filter=mine").text)
    assert 'aria-sort="ascending"' in page and 'value="b"' in page
    assert "/cases?filter=mine&search=b&order=pseudonym" in page  # the same, turned around
    assert ">B_1<" in page and ">b21<" not in page
    assert "No pseudonym with “zz”" in html.unescape(browser.get("/cases?search=zz").text)
    assert browser.get("/cases?filter=x&order=y&page_number=-4").status_code == 200


# -- pages ----------------------------------------------------------------------------------------

ORDERS = [(order, down) for order in Order for down in (True, False)]


@pytest.fixture
def eleven(session, ada, bob, monkeypatch) -> list[str]:
    """Eleven cases, four to a page: equal and unequal in every column, some never reviewed."""
    monkeypatch.setattr(worklist, "PAGE_SIZE", 4)
    for number in range(11):
        [lesion] = studies.make_lesion(session, number)
        case = lesion.image.series.case
        case.pseudonym = f"{'abA'[number % 3]}.{number}"
        case.contrast_phase = ("portal", "other")[number % 2]
        if number % 3:
            studies.review(session, lesion, "cyst", by=(ada, bob)[number % 2])
            predict(session, lesion, "cyst")
        if number in (1, 2, 10):  # both have
            studies.review(session, lesion, "cyst", by=(bob, ada)[number % 2])
        if number == 6:
            second(session, lesion)
        if number == 7:
            lesion._leave(session, ada)
    session.flush()
    return sorted(session.scalars(sa.select(Case.pseudonym)))


def walk(session, user, wanted, way) -> list[list[str]]:
    """The pages from one on, in the order they are come to."""
    pages = []
    while True:
        found = work_list(session, user, wanted, review_first=True)
        pages.append([item.pseudonym for item in found.items])
        place = getattr(found.pages, way)
        if not place:
            return pages
        wanted = replace(wanted, place=place)


@pytest.mark.long
@pytest.mark.parametrize("blind", [False, True])
def test_pages_ahead_and_back_hold_every_case_once_in_one_order(session, ada, eleven, blind):
    if blind:  # some that she has reviewed are closed, too
        studies.make_study(session, ada, design=Design(exclude_own=False))
    every = sorted(session.scalars(sa.select(Case.pseudonym)))
    for order, down in ORDERS:
        wanted = Wanted(order=order, down=down)
        ahead = [name for page in walk(session, ada, wanted, "next") for name in page]
        assert sorted(ahead) == every, (order, down)
        back = walk(session, ada, replace(wanted, place=Place.LAST), "previous")
        assert back[-1] == ahead[:4]  # the first page is whole, also where one comes from the end
        assert back[0] == ahead[-4:]
        assert list(dict.fromkeys(name for page in back[::-1] for name in page)) == ahead


def test_a_page_stays_when_cases_come_and_go(session, ada, eleven):
    first = work_list(session, ada, Wanted(), review_first=True)
    second_page = Wanted(place=first.pages.next)
    before = listed(session, ada, place=second_page.place)
    studies.make_lesion(session, 99)
    for item in first.items[1:]:  # the one behind which the page begins among them
        studies.remove(session, Case.require(session, item.id))
    assert listed(session, ada, place=second_page.place) == before
    back = work_list(session, ada, second_page, review_first=True).pages.previous
    assert listed(session, ada, place=back) == listed(session, ada)


def test_behind_the_last_case_lies_the_last_page(session, ada, eleven):
    last = work_list(session, ada, Wanted(place=Place.LAST), review_first=True)
    place = Place.read(last.pages.previous)
    [end] = session.scalars(sa.select(Case).where(Case.id == last.items[-1].id))
    behind = replace(place, back=False, case_id=end.id, at=end.created_at).written
    assert listed(session, ada, place=behind) == [item.pseudonym for item in last.items]


NO_PLACES = [
    "2", "after", "before.0.x.1.", "after.9.{}.1.", "after.0.{}.1.sx", "after.0.{}.1.n1",
    "after.0.{}.1.t1", "after.0.{}.1.n99999999999999999999", "after.0.{}.9e99.",
    "after.0.{}.99999999999999999999999.", "between.0.{}.1.",
]  # fmt: skip


def test_a_place_that_there_is_not_is_some_page_and_no_fault(session, ada, eleven):
    for order in Order:
        for place in NO_PLACES:
            assert listed(session, ada, order=order, place=place.format("0" * 32)), (order, place)


def test_of_more_cases_than_are_counted_more_is_said(session, eleven, signed_in_as, monkeypatch):
    monkeypatch.setattr(worklist, "MOST", 10)
    monkeypatch.setattr(routes, "MOST", 10)
    session.commit()
    page = signed_in_as("reader", name="ada").get("/cases").text
    assert 'chip__count">10+<' in page
    assert 'rel="next"' in page and 'rel="prev"' not in page
    last = signed_in_as("reader", name="ada").get("/cases?place=last").text
    assert 'rel="prev"' in last and 'rel="next"' not in last


# -- what the database keeps of a case ------------------------------------------------------------


def test_the_database_keeps_what_the_list_shows_whoever_writes(session, ada):
    def kept():
        rows = sa.select(Case.slice_count, Case.lesion_count, Case.review_state)
        return tuple(session.execute(rows).one())

    [lesion] = studies.make_lesion(session, 1)
    assert kept() == (1, 1, "awaiting")
    other = second(session, lesion)
    studies.review(session, lesion, "cyst", by=ada)
    assert kept() == (1, 2, "awaiting")
    other._leave(session, ada)
    session.flush()
    assert kept() == (1, 1, "reviewed")
    session.execute(sa.update(Lesion).values(withdrawn_at=lesion.created_at))
    assert kept() == (1, 0, "no_lesion")
    session.execute(sa.update(Lesion).values(withdrawn_at=None, reviewed=False))
    assert kept() == (1, 2, "awaiting")
    session.execute(sa.delete(Prediction))
    session.execute(sa.delete(Lesion).where(Lesion.id == other.id))
    assert kept() == (1, 1, "awaiting")
    studies.remove(session, Case.require(session, lesion.case_id))
    assert session.scalar(sa.select(sa.func.count()).select_from(Case)) == 0


WALKED = [
    (Wanted(), "ix_case_uploaded"),
    (Wanted(place=Place.LAST), "ix_case_uploaded"),
    (Wanted(filter=Filter.MINE), "ix_case_uploaded"),
    (Wanted(filter=Filter.AWAITING), "ix_case_review_state"),
    (Wanted(filter=Filter.REVIEWED), "ix_case_review_state"),
    (Wanted(filter=Filter.NO_LESION), "ix_case_review_state"),
    (Wanted(order=Order.PSEUDONYM), "ix_case_alphabet"),
    (Wanted(order=Order.PHASE), "ix_case_contrast_phase"),
    (Wanted(order=Order.SLICES), "ix_case_slice_count"),
    (Wanted(order=Order.LESIONS), "ix_case_lesion_count"),
    (Wanted(order=Order.REVIEW), "ix_case_review_state"),
    (Wanted(order=Order.OWN), "ix_review_own"),
    (Wanted(order=Order.COLLEAGUES), "ix_review_given"),
    (Wanted(order=Order.NETWORK), "ix_prediction_given"),
]
"""What is asked for, and the index that holds it in its order."""


@pytest.mark.parametrize("on", ["sqlite", "postgresql"])
def test_a_page_is_walked_along_an_index_from_its_place(on, tmp_path, request):
    """Without sorting, and without reading what comes before it."""
    is_sqlite = on == "sqlite"
    url = f"sqlite:///{tmp_path}/db" if is_sqlite else request.getfixturevalue("postgres")
    database = Database(url)
    database.migrate()
    user, place = User(id=uuid.uuid4(), name="ada"), Place(False, 0, uuid.uuid4())
    with database.reading() as session:
        if not is_sqlite:  # of a table this small it would read all, whatever there is
            for way in ("seqscan", "sort", "bitmapscan"):
                session.execute(sa.text(f"SET enable_{way} = off"))
        for wanted, index in WALKED:
            ways = worklist._ways(wanted, user, None, True)
            walk = worklist._Walk(session, worklist._under(wanted.filter, user), ways, wanted.down)
            way = ways[0]
            by = {str: "x", int: 1, datetime: now()}.get(way.kind)
            for begun in (None, replace(place, by=by)):
                query = walk._query(way, begun, wanted.place == Place.LAST).limit(51)
                plan = _plan(session, query)
                assert index in plan, plan
                if not way.led:  # among equal moments of reviews it may put cases in order
                    assert "TEMP B-TREE" not in plan and "Sort" not in plan, plan
                assert "TEMP B-TREE FOR ORDER" not in plan, plan
    database.engine.dispose()


def _plan(session, query) -> str:
    dialect = session.get_bind().dialect
    told = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if dialect.name == "sqlite" else "EXPLAIN"
    rows = session.connection().exec_driver_sql(f"{explain} {told}")
    return "\n".join(str(row[-1]) for row in rows)
