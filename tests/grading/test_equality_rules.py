"""The rules of docs/grading.md, case by case: spellings that are equal answers, and near misses that are not."""

import pytest

from hicra_cli.grading.equivalence import equal

SAME = [
    ("(B)", "B"), (r"\text{(B)}", "B"), (r"\text{B}", r"\text{(B)}"), ("(B) 42", r"\text{(B)}"),
    ("B. 42", r"\text{(B)}"), ("y=2x+3", "2x-y+3=0"), ("2y=4x+6", "y=2x+3"), ("x>3", r"(3,\infty)"), ("3<x", "x>3"),
    (r"k \geqslant 2", r"k\ge2"), (r"[2,\infty)", r"k\ge 2"), (r"-2\le x\le 7", r"x \in [-2,7]"),
    ("[-2,7]", r"x \in [-2,7]"), (r"x<-1 \text{ or } x>3", r"(-\infty,-1)\cup(3,\infty)"),
    (r"(3,\infty)\cup(-\infty,2)", r"(-\infty, 2) \cup (3, \infty)"), (r"\mathbb{R}", r"(-\infty,\infty)"),
    ("all real numbers", r"\mathbb{R}"), (r"\text{all real numbers}", r"(-\infty, \infty)"),
    ("no solution", r"\emptyset"), (r"\{\}", r"\emptyset"), (r"\mathbb{R}\setminus\{3\}", r"(-\infty,3)\cup(3,\infty)"),
    (r"x\ne 3", r"(-\infty,3)\cup(3,\infty)"), (r"\{1,2\}", r"\{2,1\}"), ("x=1 or x=2", "1,2"), ("x=1,y=2", "(1,2)"),
    ("(x,y)=(1,2)", "(1,2)"), ("1,2", "(1,2)"), ("3.83e35", r"3.83\times10^{35}"), (r"3.83\cdot 10^35", "3.83e35"),
    ("3.83*10**35", "3.83e35"), ("np.arcsin(10/13)", r"\arcsin\frac{10}{13}"),
    (r"\sin^{-1}(10/13)", "np.arcsin(10/13)"), ("-1./3", r"-\frac13"), (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt 3}"),
    (r"\sqrt2+\sqrt3", r"\sqrt{5+2\sqrt6}"), (r"\sqrt{12}", r"2\sqrt3"), (r"e^{i\pi}", "-1"), (r"\cos(\pi/3)", "1/2"),
    (r"\log_2 8", "3"), (r"\ln e^2", "2"), (r"\log 100", r"\log_{10} 100"), (r"-\log 250", r"-\log_{10} 250"),
    ("(a+5)(b+2)", "ab+2a+5b+10"), (r"\frac{x^2-1}{x-1}", "x+1"), (r"\sin^2x+\cos^2x", "1"),
    (r"\sin 2x", r"2\sin x\cos x"), (r"\cot x", r"\frac{\cos x}{\sin x}"), (r"\frac{1}{\tan x}", r"\cot x"),
    ("2^{k-1}", r"\frac{2^k}{2}"), (r"\binom{2n}{n}", r"\frac{(2n)!}{(n!)^2}"),
    (r"\lceil n/2\rceil+1", r"\lfloor (n+1)/2\rfloor+1"), (r"\sqrt{x^2}", "|x|"),
    (r"\sqrt{4\pi G\rho_0 r_0^2}", r"2 r_0\sqrt{\pi G \rho_0}"), (r"1\pm\sqrt{19}", r"1+\sqrt{19},1-\sqrt{19}"),
    (r"\pm 3", "3,-3"), (r"x=\pm 3", r"\pm3"), (r"(\pm3,\pm2)", "(3,2),(-3,2),(3,-2),(-3,-2)"), (r"10,\!080", "10080"),
    ("10 080", "10080"), ("10,080", "10080"), ("(1,234)", "(1,234)"), ("98,118,122,142", "98, 118, 122, 142"),
    ("118,98,142,122", "98,118,122,142"), (r"\$32,\!348", "32348"), ("$32,348", r"\$32,\!348"),
    (r"32348 \text{ dollars}", r"\$32,\!348"), (r"\$32348.00", r"\$32,\!348"), ("18.90 dollars", r"\$18.90"),
    ("1890 cents", r"\$18.90"), ("100 cm", r"1\text{ m}"), ("1 hour", r"60\text{ minutes}"),
    (r"15\text{ cm}^2", r"15\mbox{ cm}^2"), ("15", r"15\mbox{ cm}^2"), (r"15\text{ square cm}", r"15\mbox{ cm}^2"),
    (r"864 \text{ square inches}", r"864 \mbox{ inches}^2"), ("864 in^2", r"864 \mbox{ inches}^2"),
    (r"\frac{270}{7}^\circ", r"\frac{270}7\text{ degrees}"), ("270/7", r"\frac{270}7\text{ degrees}"),
    ("120", r"120^\circ"), ("120 degrees", r"120^{\circ}"), ("120°", r"120^\circ"), ("62.5", "62.5%"),
    ("0.625", "62.5%"), (r"\frac58", "62.5%"), ("8%", r"8 \%"), (r"8\text{ percent}", r"8\%"),
    (r"0.\overline{3}", "1/3"), ("3 1/2", "7/2"), (r"137\frac12", "137.5"), (r"1\frac{4}{5}", "9/5"),
    (r"1 \frac{4}{5}", "9/5"), (r"2\frac{x}{3}", r"\frac{2x}{3}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    ("(1,2)", r"\begin{pmatrix}1\\2\end{pmatrix}"), (r"\langle 1,2\rangle", "(1,2)"), ("f(x)=x+1", "x+1"),
    ("f(x)=1+x", "f(x)=x+1"), ("f(n)=n, g(n)=1", "g(n)=1,f(n)=n"), ("I(0) e^{-t/(RC)}", r"I(0) e^{-\frac{t}{R C}}"),
    (r"\frac{dx}{dt}+ax=f", r"\dot{x}+ax=f"), ("MR=SRMC", "SRMC=MR"), ("-5i+6", "6 - 5i"), (r"6\cdot m", "6m"),
    ("5 m", "5"), ("x^2 + 2x", "x(x+2)"), ("204_5", "204_{5}"), ("204", "204_5"), (r"204_{\text{five}}", "204_5"),
    ("３", "3"), ("x²+1", "x^2+1"), ("٤٢", "42"), (r"\frac{1}{2}", "1:2"), ("3:4", "6:8"),
    ("12:00 PM", r"12:00 \text{ p.m.}"), ("Yes", r"\text{yes}"), ("east", r"\text{east}"), ("Evelyn", r"\text{Evelyn}"),
    (r"\infty", "infinity"), ("inf", r"\infty"), (r"+\infty", r"\infty"), ("5!", "120"),
    (r"\frac{100!}{2^{50}}", r"100!\cdot 2^{-50}"), ("2^{25}26!", r"2^{25}\cdot 26!"), ("10^{10^{2}}", "10^{100}"),
    ("10^{100},10^{1/100}", "10^{1/100},10^{100}"), (r"\frac{\log 2}{\log 2-\log 3}", r"\frac{\ln2}{\ln(2/3)}"),
    (r"\sqrt[3]{4}", "4^{1/3}"), (r"5 \sqrt[3]{4}", r"5\cdot 2^{2/3}"), ("∛4", r"\sqrt[3]{4}"), ("p=q", "q=p"),
    ("x+y<3", "3>x+y"), ("2x+2y<6", "3>x+y"), (r"\left(\frac{3}{5},\frac{8}{3}\right]", r"(0.6,\frac{8}{3}]"),
    ("]2,3[", "(2,3)"), ("1.0e-3", "0.001"), ("1e-3", "10^{-3}"), (r"\text{i}", "i"), (r"\mathrm{e}^2", "e^2"),
    (r"x=\frac{\pi}{6}+\pi k", r"\frac{1}{6} \pi+\pi k"), (r"1+\sqrt{3} i", r"1+i\sqrt3"), (r"\exp(2t)", "e^{2t}"),
    ("(3,2),(1,1)", "(1,1), (3,2)"), (r"\{(3,2),(1,1)\}", "(1,1), (3,2)"), ("[1,2,3]", "(1,2,3)"),
    ("1,000,000", "10^6"), ("5 million", "5000000"), ("42 apples", "42"), (r"\approx 3.14", "3.14"), ("$5", "5"),
    (r"5\%", "0.05"), ("-(x-1)", "1-x"), ("--5", "5"), ("a/bc", "ac/b"), (r"8\pi\text{ cm}", r"8 \pi"),
    ("8*pi", r"8 \pi"), ("sqrt(51)", r"\sqrt{51}"), ("(-1)^n", r"\cos(\pi n)"),
    (r"\frac{n(n+1)}{2}", r"\binom{n+1}{2}"), (r"4\text{ and }10", "10,4"), ("1,2, and 3", "3,2,1"), ("5=x", "x=5"),
    ("n+1=k", "k=n+1"), ("k-n=1", "k=n+1"), ("2x+y=0", "y = -2x"), (r"3\text{ hrs}", r"3\text{ hours}"),
    (r"9.8\ \mathrm{m/s^{2}}", r"9.8\,\mathrm{m/s^2}"), (r"15000 \text{ kcal m}^{-2} \text{yr}^{-1}", "15000"),
    (r"x = 5\text{ cm}", "x=5"), (r"x<0\text{ or }x=1", r"(-\infty,0)\cup\{1\}"),
    (r"|x|<\sqrt{3}", r"(-\sqrt{3},\sqrt{3})"), (r"\Bbb{R}", r"\mathbb R"), ("C", r"\text{(C)}"),
    ("Yes", r"\text{Yes}"), ("YES", r"\text{Yes}"), ("Odd", r"\text{odd}"),
    (r"\text{Bob and Alice}", r"\text{Alice and Bob}"), ("AB3", "AB3_{16}"), ("2516_{(8)}", "2516_8"),
    (r"x_0\cos(\omega t)+\frac{\dot x_0}{\omega}\sin(\omega t)",
     r"x_{0} \cos (\omega t)+\dot{x}_{0} \sin (\omega t) / \omega"),
    ("25", "€25"), ("25€", "€25"), (r"25\text{ euros}", "€25"), (r"$\$18.90$", "18.90"), ("12{:}00", "12:00"),
    ("3{:}4", "3:4"), (r"3\colon 4", "3:4"), (r"\lbrace 2,3\rbrace", r"\{3,2\}"), (r"x \not= 3", r"x\neq3"),
    (r"\begin{pmatrix}1\\[1ex]2\end{pmatrix}", r"\begin{pmatrix}1\\2\\\end{pmatrix}"),
    (r"A=\begin{bmatrix}1&2\\3&4\end{bmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\left(\begin{array}{cc}1&2\\3&4\end{array}\right)", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2"), (r"{10 \choose 3}", "120"), (r"\binom53", "10"),
    (r"\sum_{k=1}^{10}k", "55"), (r"\prod_{k=1}^{6}k", "720"), (r"\sum_{k=1}^{n}k", r"\frac{n(n+1)}{2}"),
    (r"\sum_{i=1}^{10} i^2", "385"),
]  # fmt: skip

DIFFERENT = [
    ("C", r"\text{(B)}"), ("(C) 42", r"\text{(B)}"), ("y=2x+4", "2x-y+3=0"), ("x>=3", "x>3"),
    ("(-2,7]", r"x \in [-2,7]"), (r"\{1,2,3\}", r"\{1,2\}"), ("(1,2)", r"\{1,2\}"), ("x=2,y=1", "(1,2)"),
    ("2,1", "(1,2)"), (r"3.83 \times 10^{36}", "3.83e35"), ("1/2004!", "1/2006!"), ("2^{-99}", "2^{-98}"),
    ("10^{-20}", "10^{-21}"), ("1011_2", "1011_3"), ("0.577", r"\frac{\sqrt{3}}{3}"), (r"\ln 250", r"\log_{10} 250"),
    ("(a+5)(b+2)", "ab+2a+5b+11"), (r"\tan x", r"\cot x"), ("2^{k-1}", "2^{k+1}"),
    (r"\lfloor n/2\rfloor+1", r"\lceil n/2\rceil+1"), ("|x|", "x"), (r"1-\sqrt{19}", r"1\pm\sqrt{19}"),
    ("(1,234)", "1234"), ("98,118,122,143", "98,118,122,142"), (r"15\text{ cm}^3", r"15\mbox{ cm}^2"),
    (r"\frac{2\pi}{3}", r"120^\circ"), ("6250", "62.5%"),
    (r"\begin{pmatrix}1&2\\3&5\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    (r"\begin{pmatrix}1&3\\2&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"), ("f(x)=x+1", "g(x)=x+1"),
    ("0", "I(0)"), ("5 - 6i", "6 - 5i"), ("2i", "2"), ("6", "6m"), ("54", "204_5"), ("204_6", "204_5"),
    ("1:00", "12:00"), ("No", "Yes"), ("West", r"\text{east}"), (r"-\infty", r"\infty"), ("2^{25}27!", "2^{25} 26!"),
    ("x+y>3", "3>x+y"), ("[3/5,8/3]", r"\left(\frac{3}{5},\frac{8}{3}\right]"), ("(2,3),(1,1)", "(1,1), (3,2)"),
    (r"8\pi\text{ cm}^2", r"8\pi\text{ cm}"), ("sqrt(53)", r"\sqrt{51}"), ("2.718", "e"), (r"\text{odd}", "even"),
    ("0.333", "1/3"), ("0.33", "0.33333"), (r"[0,\infty)", "[0,1)"), (r"(0,\infty)", r"(-\infty,\infty)"),
    ("0<x", "0<x<12.5"), ("x<12.5", "0<x<12.5"), ("52", "€25"), (r"\$25", "€25"), (r"25\text{ cents}", "€25"),
    (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"(2^{25}\cdot26)!", "2^{25} 26!"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "gold"), SAME)
def test_equal_answers_are_equal(answer, gold):
    assert equal(answer, gold) is True


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_near_misses_are_different(answer, gold):
    assert equal(answer, gold) is False
