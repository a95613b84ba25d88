"""``dmsnap status``."""

from __future__ import annotations


def test_the_words_are_the_kernels(run, files) -> None:
    process = run("status", files.store)
    assert (process.returncode, process.stdout) == (0, files.notebook.kernel.status + "\n")


def test_an_invalid_store_is_an_answer_not_an_error(run, files) -> None:
    data = bytearray(files.store.read_bytes())
    data[4] = 0
    files.store.write_bytes(data)
    process = run("status", files.store)
    assert (process.returncode, process.stdout) == (0, "Invalid\n")
