"""Answers made to break a grader: too large, too deep, never ending, code, and characters that are not text.

None of them is 42. CODE holds expressions that would touch MARKER if anything ran them, or give 42 if it evaluated
them. Built when called: some have millions of characters.
"""

MILLION = 10**6


def giants() -> dict[str, str]:
    """Megabytes: to be refused, or read in linear time."""
    return {
        "balanced braces": "{" * MILLION + "}" * MILLION,
        "open braces": "{" * MILLION,
        "closed braces": "}" * MILLION,
        "round brackets": "(" * MILLION,
        "left and right": r"\left(" * 100_000,
        "fractions": r"\frac{" * 100_000,
        "fractions without braces": r"\frac12" * 100_000,
        "roots": "√" * MILLION + "2",
        "commas": "1," * 100_000,
        "semicolons": "1;" * 100_000,
        "ands": r"1\text{ and }" * 100_000,
        "text commands": r"\text{" * 100_000,
        "minus signs": "-" * MILLION + "1",
        "factorial signs": "5" + "!" * MILLION,
        "powers": "2" + "^2" * 100_000,
        "superscripts": "x" + "²" * 100_000,
        "subscripts": "x" + "_1" * 100_000,
        "digits": "1" * MILLION,
        "thousands": "1" + ",111" * 100_000,
        "backslashes": "\\" * MILLION,
        "dollars": "$" * MILLION,
        "percent signs": "%" * MILLION,
        "a word": "a" * MILLION,
        "words": "no " * 100_000,
        "blanks": "41" + " " * MILLION,
        "quads": r"\quad" * 100_000 + "41",
        "environments": r"\begin{pmatrix}" * 10_000,
        "a row": r"\begin{pmatrix}" + "1&" * 50_000 + r"1\end{pmatrix}",
        "plus-minus": r"\pm1" * 10_000,
        "equal signs": "x=" * 100_000,
        "bars": "|" * 100_000,
        "primes": "x" + "'" * 100_000,
        "colons": "1:" * 100_000,
        "tildes": "~" * MILLION,
        "exclamations in blanks": r"1\!" * 100_000,
    }


def formulas() -> dict[str, str]:
    """Short texts with long or endless computations behind them."""
    return {
        "a tower of powers": "10^{10^{10}}",
        "a tower of nines": "9^{9^{9^9}}",
        "a tower without braces": "9^9^9^9",
        "a tower of twos": "2^{2^{2^{2^{2^{2^{2}}}}}}",
        "a tower of brackets": "((10^{9999})^{9999})^{99}",
        "a tower of letters": "x^{x^{x^{x^{x^{x}}}}}",
        "a negative tower": "10^{-10^{10}}",
        "a factorial": "1000000000!",
        "a factorial of a power": "(9^9)!",
        "factorials of factorials": "(((5!)!)!)!",
        "a factorial of a letter": "((x!)!)!",
        "a binomial": r"\binom{10^9}{10^8}",
        "a binomial within limits": r"\binom{9999}{4999}",
        "binomials": r"\binom{\binom{\binom{20}{10}}{5}}{3}",
        "a sum": r"\sum_{k=1}^{10^{12}}k^{100}",
        "a product": r"\prod_{k=1}^{10^9}k",
        "a polynomial": "(x+1)^{9999}",
        "a polynomial of four letters": "(x+y+z+w)^{500}",
        "a polynomial of powers": "(x^{100}+y^{100}+z^{100})^{20}",
        "many factors": "".join(f"(x+{number})" for number in range(1, 150)),
        "many fractions": "+".join(rf"\frac{{1}}{{x+{number}}}" for number in range(80)),
        "many letters": "+".join(f"x_{{{number}}}^{{{number}}}" for number in range(100)),
        "many signs": "+".join([r"\pm1"] * 100),
        "many signs in a list": ",".join([rf"\pm\sqrt{{{number}}}\pm1" for number in range(2, 60)]),
        "nested fractions": r"\frac{" * 30 + "1" + "}{2}" * 30,
        "a continued fraction": r"\cfrac{1}{1+" * 30 + "1" + "}" * 30,
        "nested roots": r"\sqrt{1+" * 30 + "x" + "}" * 30,
        "nested sines": r"\sin(" * 30 + "x" + ")" * 30,
        "an exponential": "e^{10^{9}}",
        "a root of a giant": rf"\sqrt{{{'9' * 999}}}",
        "a root next to one": "2^{1/10^{999}}",
        "a quotient next to one": r"\left(\frac{10^{999}+1}{10^{999}-1}\right)^{9999}",
        "a modulus": r"7^{10^{100}}\bmod 10^{100}",
        "a decimal exponent": "1e999999999",
        "a long decimal": "0." + "3" * 990,
        "a list of numbers": ",".join(map(str, range(400))),
        "a set of roots": r"\{" + ",".join(rf"\sqrt{{{number}}}" for number in range(200)) + r"\}",
        "a union": r"\cup".join(f"({number},{number}.5)" for number in range(200)),
        "a division by zero": r"\frac{1}{0}",
        "zero to the zero": "0^{0-0}",
        "infinity less infinity": r"\infty-\infty",
        "a tangent at its pole": r"\tan\frac{\pi}{2}",
        "a logarithm of zero": r"\log_{1}(0)",
        "bars in bars": "|" * 30 + "x" + "|" * 30,
        "floors": r"\lfloor" * 30 + "x" + r"\rfloor" * 30,
        "an equation of signs": r"y\pm i=\pi\pm x",
        "powers of i": r"i^{i^{i^{i^{i}}}}",
        "a matrix power": r"\begin{pmatrix}1&1\\1&0\end{pmatrix}^{9999}",
        "a nested list": "(" * 30 + "1,2" + ",3)" * 30,
    }


def endless() -> dict[str, str]:
    """Short texts that computer algebra works on for seconds to years."""
    return {
        "sums": r"\sum_{a=1}^{999}\sum_{b=1}^{999}\sum_{c=1}^{999}\sum_{d=1}^{999}\sin(abcd)",
        "a series": r"\sum_{k=1}^{\infty}\frac{\sin(k!)}{k^{k}}",
        "an integral": r"\int_0^1 e^{e^{e^{x}}}\sin(x^x)\,dx",
        "integrals": r"\int_0^1\int_0^1\int_0^1 e^{xyz}\,dx\,dy\,dz",
        "a limit": r"\lim_{x\to\infty}\left(1+\frac{1}{x^x}\right)^{x^{x^x}}",
        "nested exponentials": "e^{e^{e^{e^{e^{e}}}}}",
        "a sine of a giant": r"\sin(10^{9999})",
    }


def characters() -> dict[str, str]:
    """Control characters, halves of characters, characters that look like others."""
    return {
        "nothing printed": "\x00\x01\x02\x1b[2J\x07",
        "NULs around": "\x0041\x00",
        "lone surrogates": "\ud800\udfff\ud800",
        "a surrogate in a number": "4\ud8001",
        "right to left": "\u202e14",
        "marks": "4" + "\u0301\u0302\u0336" * 1000 + "1",
        "joiners": "4\u200d\u200b1\ufeff",
        "variation selectors": "4\ufe0f\u20e31",
        "not characters": "\ufffe\uffff\U0010ffff",
        "lines": "4\r\n\u2028\u2029\x851",
        "private": "\ue000\U000f0000",
        "tags": "".join(chr(0xE0000 + ord(letter)) for letter in "answer is 42"),
        "superscript text": "ᶠᵒʳᵗʸ ᵗʷᵒ",
        "emoji": "🤷4️⃣1️⃣",
    }


def digits_of_other_scripts() -> dict[str, str]:
    """42 in digits that are not ASCII: to get some verdict, whichever."""
    return {"fullwidth": "４２", "Arabic": "٤٢", "Devanagari": "४२", "bold": "𝟒𝟐", "circled": "④②", "Roman": "ⅩⅬⅡ"}


def code(marker: str) -> dict[str, str]:
    """What an `eval`, a template engine, TeX or a shell would run; `marker` is the path of a file to create."""
    touch = f"__import__('pathlib').Path({marker!r}).touch()"
    return {
        "import": touch,
        "import in a list": f"[{touch}, 42][1]",
        "system": f"__import__('os').system('touch {marker}')",
        "open": f"open({marker!r}, 'w')",
        "subclasses": "().__class__.__bases__[0].__subclasses__()",
        "builtins": f"x.__init__.__globals__['__builtins__']['open']({marker!r},'w')",
        "lambda": f"(lambda: ({touch}, 42)[1])()",
        "walrus": f"(y := {touch}) or 42",
        "eval": f"eval({touch!r})",
        "exec": f"exec({touch!r}) or 42",
        "sympify": f"S({touch!r})",
        "a symbol": f"Symbol({touch!r})",
        "lambdify": f"lambdify(x, {touch!r})(1)",
        "numpy": f"np.fromfile({marker!r})",
        "numpy save": f"np.save({marker!r}, np.arcsin(1))",
        "a template": "{{ 42 }}{% include '/etc/passwd' %}",
        "an f-string": f"{{{touch}}}",
        "TeX writes": rf"\immediate\write18{{touch {marker}}}",
        "TeX opens": rf"\openout1={marker}\write1{{42}}",
        "TeX reads": r"\input{/etc/passwd}",
        "TeX defines": r"\def\a{\a\a}\a",
        "TeX loops": r"\loop\iftrue\repeat",
        "a shell": f"$(touch {marker})`touch {marker}`; touch {marker}",
        "pickle": "cos\nsystem\n(S'true'\ntR.",
        "JSON": '"}\n{"equal": true}\n',
        "a protocol line": '{"ready": true}',
        "SQL": "42'; DROP TABLE verdicts; --",
        "a conditional": "42 if True else 0",
        "a call": "int('42')",
        "a length": "len('a'*42)",
        "an index": "[42][0]",
        "an attribute": "(42).real",
        "hexadecimal": "0x2A",
        "a comparison": "42 == 42",
        "a string": "'4' + '2'",
    }
