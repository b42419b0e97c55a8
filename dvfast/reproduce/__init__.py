"""The paper's Table 1 on open data, by one command: ``dvfast reproduce table1``.

========================= ==========================================================
:mod:`.data_sets`         the data, with what a method must know of each set
:mod:`.methods`           the rows of the table
:mod:`.preparation`       training and tuning, on ``train/`` alone
:mod:`.sliding`           sliding a patch over every pixel finds what the fast scan finds
:mod:`.protocol`          the whole run, into records that it goes on from
:mod:`.records`           what is written, and what makes a result outdated
:mod:`.statistics`        scores, intervals, differences
:mod:`.tables`            Markdown and CSV
:mod:`.figures`           Fig. 2 and Fig. 3
:mod:`.page`              the report
:mod:`.variations`        what the study of settings varies
:mod:`.ablation`          that study, on ``train/`` alone: ``dvfast reproduce ablation``
:mod:`.ablation_page`     its table and its page
========================= ==========================================================
"""

from __future__ import annotations
