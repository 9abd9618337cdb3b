"""Tasks at the end of each notebook, with an answer: `check` says whether one is right, `solution` shows one.

A module per notebook (t01 … t10), in which a task's text, cell, solution and check stand together. task.py judges,
answers.py reads what a student may hand in, editions.py writes the cells into the notebooks.
"""

from lib.course.task import check as check
from lib.course.task import solution as solution
