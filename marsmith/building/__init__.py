"""From a spec to an archive: checks before the build, the writer, samples, exported formats.

Nothing here serves. What can be proven only by running an archive is in `check`.
"""
