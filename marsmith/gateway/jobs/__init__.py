"""Jobs: requests that are answered later, and uploads as their input.

A store holds files that are written once, a queue lends its messages for a time. What only one may
do, such as answering a job, is one file that only one can write.
"""
