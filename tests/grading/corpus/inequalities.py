"""Inequalities and chains."""

from tests.grading.corpus import Group

GROUPS = (
    Group(
        r"x \ge 5",
        same=(r"x\geq5", r"x \geqslant 5", "x≥5", r"5\le x", r"[5,\infty)", "x >= 5", r"x\in[5,\infty)"),
        why="one relation",
        other=("x>5", r"x\le5", r"x\ge-5", "x=5", "5", r"y\ge6", r"x\ge 6"),
        why_not="direction, strictness or bound",
    ),
    Group(
        r"k \geqslant 2",
        same=(r"k\ge2", r"k\geq 2", r"2\le k", r"k \in [2,\infty)"),
        why="one relation",
        other=("k>2", r"k\leqslant2", r"k\geqslant 3", "k=2", "2"),
        why_not="strictness or direction",
        source="Olympiad golds",
    ),
    Group(
        "0 < x < 12.5",
        same=("(0,12.5)", "0<x<12.5", "12.5>x>0", r"x\in(0,12.5)", r"0<x<\frac{25}{2}"),
        why="one set",
        other=(r"0\le x\le12.5", "(0,12)", "0<x", "x<12.5", "-12.5<x<0"),
        why_not="an end differs",
        source="Math-Verify #10",
    ),
    Group(
        r"-3 \le x < 4",
        same=("[-3,4)", r"-3\leq x<4", r"4>x\ge-3", r"x\in[-3,4)"),
        why="one set",
        other=(r"-3<x\le4", "(-3,4]", r"-3\le x\le4", r"-4\le x<3"),
        why_not="an end differs",
    ),
    Group(
        "a > b",
        same=("b<a", "a>b", r"a \gt b"),
        why="the same relation read from the right",
        other=("a<b", r"a\ge b", "b>a", "a=b"),
        why_not="direction or strictness",
    ),
    Group(
        r"x \neq 3",
        same=(r"x\ne3", "x≠3", r"x \not= 3"),
        why="one relation",
        other=("x=3", r"x\ne-3", "3", "x>3"),
        why_not="another relation",
    ),
    Group(
        r"x < 1 \text{ or } x > 4",
        same=(r"x>4 \text{ or } x<1", r"(-\infty,1)\cup(4,\infty)"),
        why="one set",
        other=("1<x<4", "x<1", r"x\le1\text{ or }x\ge4", r"x<-1\text{ or }x>4"),
        why_not="a part differs",
    ),
    Group(
        r"n \ge 10",
        same=(r"n\geq10", r"10\le n", "n≥10", r"n \geqslant 10"),
        why="one relation",
        other=("n>10", r"n\le10", "10", r"n\ge 9"),
        why_not="another relation",
    ),
    Group(
        r"a^2+b^2 \ge 2ab",
        same=(r"2ab\le a^2+b^2", r"b^2+a^2\ge2ba"),
        why="one relation",
        other=(r"a^2+b^2\le2ab", "a^2+b^2>2ab", r"a^2+b^2\ge ab"),
        why_not="another relation",
    ),
    Group(
        r"1 < x \le 6",
        same=("(1,6]", r"x\in(1,6]", r"6\ge x>1"),
        why="one set",
        other=("[1,6)", r"1\le x\le6", "(1,6)"),
        why_not="another set",
    ),
    Group(
        r"x \ge 3",
        same=(r"x = 3 \text{ or } x > 3", r"3\le x"),
        why="one set",
        other=("x>3", "x=3"),
        why_not="an end differs",
        source="real answers",
    ),
)  # fmt: skip
