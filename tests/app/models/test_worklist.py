"""The work list: one's own class first, the network's only after it and never as the case's."""

from __future__ import annotations

import html
import re

import pytest
import sqlalchemy as sa

import studies
from app.models import Case, Checkpoint, Lesion, Prediction
from app.models.worklist import Filter, Order, Wanted, work_list
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


@pytest.mark.parametrize(
    ("order", "down", "names"),
    [
        ("pseudonym", False, ["a%", "b21", "B_1"]),
        ("pseudonym", True, ["B_1", "b21", "a%"]),
        ("lesions", True, ["B_1", "b21", "a%"]),
        ("own", True, ["b21", "B_1", "a%"]),
        ("own", False, ["B_1", "b21", "a%"]),  # what has none comes last either way
        ("uploaded", False, ["a%", "B_1", "b21"]),
        ("slices", True, ["b21", "B_1", "a%"]),  # all alike: newest first
        ("phase", False, ["b21", "B_1", "a%"]),
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


def test_the_place_of_a_closed_case_tells_nothing_of_its_lesions(session, ada):
    """Nor how many it has, nor when the person gave a class."""
    studies.make_study(session, ada)
    for order in ("lesions", "own"):
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
    assert browser.get("/cases?page_number=999999999").status_code == 200
