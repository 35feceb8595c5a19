"""The kill sweep: the real daemon is killed again and again, and the exchanges' truth says whether it still knows it all."""
