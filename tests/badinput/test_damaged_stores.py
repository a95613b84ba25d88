"""Every named damage: one clear line and status 1, or findings with the rest readable; at both levels."""

import json
from itertools import cycle

import pytest

import dmsnap
from dmsnap.errors import DmsnapError
from dmsnap.target import DamagedException
from dmsnap.testing.damage import DAMAGES, ORIGIN_BYTES
from dmsnap.testing.store_model import counted, model_store

REFUSED = [name for name, damage in DAMAGES.items() if damage.refusal]
READABLE = [name for name, damage in DAMAGES.items() if not damage.refusal]
READING_VERBS = ["info", "status", "map", "export", "table"]
MILLION = "a-million-duplicates"  # in one area of 16 MiB; the model is too slow for it
ODD = [name for name in READABLE if DAMAGES[name].says]


@pytest.fixture
def store(tmp_path, put_huge, request):
    """The damaged store as a file, sparse where it can be."""
    damage = DAMAGES[request.param]
    path = tmp_path / f"{damage.name}.cow"
    with path.open("wb") as out:
        damage.write(out)
    if damage.huge:
        put_huge(path, damage.huge)
    return path


def damage_of(store):
    return DAMAGES[store.stem]


@pytest.mark.parametrize("store", REFUSED, indirect=True)
class TestRefused:
    def test_the_library_raises_its_error(self, store, origin, unchanged):
        damage = damage_of(store)
        asked = [
            lambda: dmsnap.info(store),
            lambda: dmsnap.status(store),
            lambda: dmsnap.table(store, origin),
            lambda: dmsnap.map_changes(store),
            lambda: dmsnap.open_snapshot(store, origin),
            lambda: dmsnap.export(store, origin, store.with_suffix(".img")),
        ]
        with unchanged(store, origin):
            for ask in asked:
                with pytest.raises(DmsnapError) as raised:
                    ask()
                assert type(raised.value).__name__ == damage.refusal
                assert damage.says in raised.value.message
                assert store.name in raised.value.message
                assert raised.value.hint


@pytest.mark.parametrize(("store", "verb"), list(zip(REFUSED, cycle(READING_VERBS), strict=False)), indirect=["store"])
def test_the_command_says_one_line_of_a_store_that_is_none(store, verb, origin, dmsnap_command, unchanged):
    words = {"status": [store], "export": [store, "--origin", origin, "out.img"]}
    with unchanged(store, origin):
        outcome = dmsnap_command(verb, *words.get(verb, [store, "--origin", origin]))
    outcome.is_one_clear_line(damage_of(store).says, store.name)


@pytest.mark.parametrize("store", READABLE, indirect=True)
class TestReadable:
    def test_what_is_odd_is_a_finding(self, store, origin, unchanged):
        damage = damage_of(store)
        with unchanged(store, origin):
            said = dmsnap.info(store, origin=origin)
        assert said.exceptions == damage.exceptions
        if damage.says:
            assert any(damage.says in finding.message for finding in said.findings)
        else:
            assert said.findings == ()

    def test_the_command_tells_the_findings(self, store, origin, dmsnap_command, unchanged):
        with unchanged(store, origin):
            outcome = dmsnap_command("info", store, "--origin", origin, "--json")
        assert (outcome.status, outcome.stderr) == (0, "")
        said = json.loads(outcome.stdout)
        assert said["exceptions"] == damage_of(store).exceptions
        assert any(damage_of(store).says in line for line in [f["message"] for f in said["findings"]] or [""])

    def test_whatever_can_be_had_is_read(self, store, origin, unchanged):
        damage = damage_of(store)
        with unchanged(store, origin), dmsnap.open_snapshot(store, origin) as snapshot:
            assert snapshot.size_bytes == ORIGIN_BYTES
            size = min(snapshot.store.chunk_size_bytes, ORIGIN_BYTES)
            lost = set()
            for chunk in range(ORIGIN_BYTES // size):
                try:
                    content = snapshot.read_at(chunk * size, size)
                except DamagedException as error:
                    lost.add(error.origin_chunk)
                else:
                    assert content == expected(store, origin, chunk, size)
        assert lost == damage.lost

    def test_an_export_is_whole_or_not_there(self, store, origin, tmp_path, dmsnap_command, unchanged):
        damage = damage_of(store)
        folder = tmp_path / "out"
        folder.mkdir()
        with unchanged(store, origin):
            outcome = dmsnap_command("export", store, "--origin", origin, folder / "image")
        if any(finding.kind == "outside-origin" for finding in dmsnap.info(store, origin=origin).findings):
            assert outcome.is_one_clear_line("too small", "is it the right origin?")
            assert list(folder.iterdir()) == []
        elif damage.lost:
            assert outcome.is_one_clear_line("points at no copy")
            assert list(folder.iterdir()) == []
        else:
            assert (outcome.status, outcome.stderr) == (0, "")
            with dmsnap.open_snapshot(store, origin) as snapshot:
                assert (folder / "image").read_bytes() == snapshot.read_at(0, snapshot.size_bytes)

    def test_the_other_questions_have_answers(self, store, origin, unchanged):
        with unchanged(store, origin):
            assert dmsnap.status(store).count("/") == 1
            assert dmsnap.table(store, origin).line.startswith("0 256 snapshot ")
            changed = sum(length for _, length, _ in dmsnap.map_changes(store, origin=origin))
        assert 0 <= changed <= min(ORIGIN_BYTES, damage_of(store).exceptions << 24)


def expected(store, origin, chunk, size):
    """A chunk's content by the model, from the part of the store that is not a hole."""
    damage = DAMAGES[store.stem]
    data = damage.content()
    if damage.huge:
        copy = None if chunk or not damage.exceptions else 2
    else:
        copy = 2 if damage.name == MILLION else model_store(data).copies.get(chunk)
    with origin.open("rb") as file:
        file.seek(chunk * size)
        below = file.read(size)
    if copy is None:
        return below
    with store.open("rb") as file:
        file.seek(copy << 24 if damage.name == MILLION else copy * size)
        return file.read(size)


@pytest.mark.parametrize("name", [name for name in ODD if name != MILLION])
def test_findings_say_where_and_how_many(name, tmp_path):
    path = tmp_path / "store"
    path.write_bytes(DAMAGES[name].content())
    model = model_store(DAMAGES[name].content(), origin_size_bytes=ORIGIN_BYTES)
    origin = tmp_path / "origin"
    origin.write_bytes(bytes(ORIGIN_BYTES))
    with dmsnap.open_snapshot(path, origin) as snapshot:
        assert counted(snapshot.store.findings) == model.findings
