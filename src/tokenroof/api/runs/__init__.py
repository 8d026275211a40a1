"""Runs that are kept: a directory each, whole whatever happens to the process.

======================  ==============================================================================
``question.yaml``       what was asked, the input of record
``run.json``            what decides the results: hashes of the question, catalog, code and input files
``records.jsonl``       one line per finished simulation, with its checksum, appended when it is over
``NAME.parquet``        results: candidates, rejected, front, choices
``results.json``        rows and hash of each table; written last, so with it the run is complete
``times.jsonl``         when it began, went on and ended: the only file with the time of day
``run.lock``            held by the kernel for as long as the process lives; ``holder.json`` says who
======================  ==============================================================================

``store`` writes, ``reading`` reads, ``index`` puts many runs into one DuckDB file, ``comparison`` and
``export`` are what people do with them.
"""
