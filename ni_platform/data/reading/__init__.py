"""From a table file that people have to cells that are exact, or one error.

`packed` opens compressed files, `text` finds the encoding, `csv_file` the separator, the header and
the rows, `parquet_file` reads Parquet; `labels` gives every id and level its one text, `numbers`
reads numbers as people write them; `table` puts it together for whole tables.
"""
