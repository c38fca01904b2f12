"""What an archive holds, and how two of them differ. Nothing of an archive is run.

The values are for the command line and for programs; judging them is the job of `check`.
"""
