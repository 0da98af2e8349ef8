"""CSV files as people's programs write them."""

import csv
import io

import numpy as np
import pytest

from ni_platform.data.reading.csv_file import CsvFormat, read_csv
from ni_platform.errors import ConfigError, DatasetError

WANTED = ("id", "shown")


def read(content, form=None, wanted=WANTED):
    """Columns, lines and notes of a CSV."""
    data = content if isinstance(content, bytes) else content.encode()
    notes: list[str] = []
    table, lines, _ = read_csv(data, "t.csv", wanted, form or CsvFormat(), notes.append)
    return table.to_pydict(), lines.tolist(), notes


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_separators_line_ends_and_encodings_are_found(delimiter, newline, encoding):
    """Cells come back as written: separators, quotes, line breaks and accents in them, too."""
    rows = [["id", "title", "shown"], ["a", 'Say "hé"; now, or\t|', "1"], ["b", "two\nlines", "2"]]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, delimiter=delimiter, lineterminator=newline)
    writer.writerows(rows)
    found, _, notes = read(text.getvalue().encode(encoding))
    assert list(map(list, zip(*found.values()))) == rows[1:]
    assert list(found) == rows[0]
    unusual = delimiter != "," or not encoding.startswith("utf-8")
    assert len(notes) == unusual


def test_a_separator_line_is_no_row():
    """`sep=;`, which Excel reads, names the separator; lines are counted from the file's first."""
    assert read("sep=;\nid;shown\na;1\n")[:2] == ({"id": ["a"], "shown": ["1"]}, [3])


def test_lines_above_the_header_are_left_out_and_said():
    """A report's title and period stand above its header."""
    found, lines, notes = read('Ad report\n"1 May, 2024 - 2 May, 2024"\n\nid,shown\na,1\n')
    assert (found, lines) == ({"id": ["a"], "shown": ["1"]}, [5])
    assert "without the 3 lines above the header" in notes[0]


def test_an_empty_last_field_is_dropped_and_rows_without_cells_are_too():
    """Rows that end with a separator, and the empty tail of a sheet."""
    assert read("id,shown\na,1,\nb,2,\n,\n,\n")[0] == {"id": ["a", "b"], "shown": ["1", "2"]}
    assert read("id,shown,\na,1,\nb,2\n")[0] == {"id": ["a", "b"], "shown": ["1", "2"]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,shown\na,1\nb,2,3\n", ["line 3", "header has 2 fields", "row has 3"]),
        ("id,shown\na,1\nb\n", ["line 3", "header has 2 fields", "row has 1"]),
        ('id,t,shown\na,"x\ny",1\nb,5,2,1\n', ["line 4", "3 fields", "has 4"]),
        ("id,shown,id\na,1,2\n", ["'id'", "more than once"]),
        ('id,t,shown\na,"He said \\"hi\\" twice",1\n', ["line 2", '\\"', "doubled"]),
        ('id,t,shown\na,"He said "hi" twice",1\n', ["line 2", "doubled"]),
        ('id,t,shown\na,"never closed,1\nb,x,2\n', ["line 2", "each be closed"]),
        ('id,t,shown\na,"open,1\nb,two,2\nc,",3\n', ["line 2", "itself holds rows", "b,two,2"]),
        ('id,t,shown\na,"open,1\nb,",3\n', ["line 2", "itself holds rows"]),
        ("id,shown\na,1\nid,shown\nb,2\n", ["line 3", "header again"]),
        ("id,shown\na,\0\n", ["zero bytes"]),
        ("", ["is empty"]),
    ],
)
def test_rows_that_do_not_fit_are_told_with_their_line(content, words):
    """No field may move to another column, and no row may vanish in another one's field."""
    with pytest.raises(DatasetError) as caught:
        read(content)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_several_lines_in_a_field_are_no_rows():
    """A long text with as many separators as the header is a text."""
    body = "Dear all, hello,\nwe have, as you know, news\n, bye"
    assert read(f'id,t,shown\na,"{body}",1\n')[0]["t"] == [body]


def test_undeclared_columns_without_a_name_are_kept_if_they_hold_anything():
    """An index that pandas wrote stands under an empty name."""
    assert read(",id,shown\n0,a,1\n")[0] == {"unnamed_0": ["0"], "id": ["a"], "shown": ["1"]}


def test_given_settings_decide():
    """What the user names is not guessed; what is no setting is told."""
    polish = "id;shown;t\na;1;żółw\n".encode("cp1250")
    assert read(polish, CsvFormat(encoding="cp1250"))[0]["t"] == ["żółw"]
    with pytest.raises(DatasetError, match=r"not UTF-8 \(line 2.*--encoding"):
        read(polish)
    with pytest.raises(DatasetError, match="not text in ascii"):
        read(polish, CsvFormat(encoding="ascii"))
    for wrong in ({"delimiter": ";;"}, {"encoding": "nonsense"}, {"decimal": ";"}):
        with pytest.raises(ConfigError):
            CsvFormat(**wrong)
    assert read("id\tshown\na\t1\n", CsvFormat(delimiter="\\t"))[0]["shown"] == ["1"]


@pytest.mark.parametrize("encoding", ["cp1250", "cp1251", "shift_jis", "iso8859_9", "cp1253"])
def test_other_encodings_are_not_taken_for_windows_1252(encoding):
    """Text that would become other letters is refused with the option."""
    words = {
        "cp1250": "příliš žluťoučký kůň, zażółć gęślą jaźń",
        "cp1251": "привет мир",
        "shift_jis": "こんにちは世界",
        "iso8859_9": "ışık güneş ağaç",
        "cp1253": "καλημέρα",
    }
    with pytest.raises(DatasetError, match="--encoding"):
        read(f"id,shown,t\na,1,{words[encoding]}\n".encode(encoding))


def test_a_thousand_rows_keep_their_lines():
    """Line numbers follow fields of several lines."""
    rows = "".join(f'a{i},"x\ny",{i}\n' for i in range(1000))
    lines = read(f"id,t,shown\n{rows}")[1]
    assert lines == (np.arange(1000) * 2 + 2).tolist()
