"""What ``dvfast bench`` measures, and how.

====================  ==========================================================================
:mod:`.contest`       what a comparison is
:mod:`.scanning`      the scan beside the dense pass and the sliding window in PyTorch, cost curves
:mod:`.voting`        activation, loss, targets, density and peaks beside what one would write
:mod:`.frontier`      accuracy against speed on annotated images
:mod:`.tools`         whole tools of the field, in an environment of their own
:mod:`.peers`         the peers' code
:mod:`.timing`        turns, medians, paired ratios
:mod:`.machine`       what the machine is, and its limits
:mod:`.suite`         all contests, and running them
:mod:`.records`       results on disk
:mod:`.tables`        results as text
:mod:`.plots`         results as pictures
:mod:`.page`          ``docs/performance.md`` from records
====================  ==========================================================================

The command is the only public face.
"""
