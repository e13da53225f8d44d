"""Writing files whole: over files and links, never over what is none."""

import os

from hicra_cli.core.filesystem import replaceable, write_durably


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "link").symlink_to("file")
    write_durably(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_a_device_or_an_open_stream_is_written_as_it_stands(tmp_path):
    (tmp_path / "null").symlink_to("/dev/null")
    write_durably(tmp_path / "null", b"gone")
    assert (tmp_path / "null").is_char_device()
    assert os.listdir(tmp_path) == ["null"]
    assert replaceable(tmp_path / "null") is None
    assert replaceable(type(tmp_path)("/dev/fd/1")) is None
