"""The desired-state repository as programs write to it: every wish one commit, many wishes one group.

overlay.py     a tree with other contents in some files
differences.py what has to change for an object to say something else
wishes.py      a wish -> its file's new text, or why not
group.py       wishes -> those that are right together, each with the text that it makes
place.py       where a group is put, all of it or nothing
git_place.py   a branch of a git repository, here or at a remote
work_tree.py   the files of people who have that branch checked out
folder_place.py a plain folder
"""
