# ruff: noqa: E501  one rule is one line: a table that is read down its columns
"""The lexicon's rules: which words announce which move. English only; data, read by `lexicon.py`.

A rule is a name, a move, a strength and a cue. A cue is a regular expression over normalised words joined by single
blanks; it is matched at word borders. Strength is the confidence of a gram that begins with the cue: 0.9 where
the words hardly mean anything else, 0.75 where they usually do, 0.6 where they often do. Where several rules match, the
strongest judgement counts; at a tie the earlier rule.

Goals and plans ("we need to find", "let's start with the", "break this down into") belong to no move of the paper by
name; here they are deductions, because they derive what has to be shown next from what is asked.
"""

from typing import NamedTuple

from hicra_cli.core.records import Move


class Rule(NamedTuple):
    name: str
    move: Move
    strength: float
    cue: str


_B, _D, _X = Move.BACKTRACING, Move.DEDUCTION, Move.BRANCHING

_US = r"(let me|let's|let us|we can|we could|we should|we must|i should|i can|i could|i'll|we'll|i will|we will)"
_WE = r"(we|i|you)"
_CHECK = r"(re-?check|check|double-?check|double check|verify|re-?verify|confirm|test|validate|make sure|be sure)"
_ERRED = r"(misread|misreading|misinterpret|misinterpreted|misinterpreting|misunderstood|misunderstanding|missed|missing|overlooked|overlooking|miscalculated|forgot|overcomplicating|overthinking)"
_REDO = r"(re-?(read|do|think|consider|examine|visit|evaluate|calculate|phrase|trace|start)|go back|start over|start again|backtrack|step back)"
_WRONG = r"(right|correct|possible|true|valid|the target|the case|what|enough|left|allowed|consistent|good|an integer)"
_ROUTE = r"(ways?|approach(es)?|methods?|strategy|strategies|route|angle|idea|possibility|possibilities|options?|pair|perspective|interpretation|direction|thought|case|scenario|formula|trick)"

RULES: tuple[Rule, ...] = (
    # backtracing: doubt, check, revisit, withdraw
    Rule("let me check", _B, 0.9, rf"{_US} (just |quickly |also |now |first |then )?{_CHECK}"),
    Rule("go back", _B, 0.9, rf"({_US} (just |quickly |now )?)?{_REDO}"),
    Rule("think again", _B, 0.9, rf"(let me|let's|{_CHECK}) (\w+ )?(\w+ )?again"),
    Rule("need to check", _B, 0.85, rf"{_WE} (also |just )?(need|have|want) to (also |just )?{_CHECK}"),
    Rule("made a mistake", _B, 0.9, r"(i|we) (must have |might have |may have |have )?(made|make) (a|an|any|some) (mistake|error|wrong)"),
    Rule("did not err", _B, 0.85, r"(i|we) (didn't|did not|haven't|have not) (make|made|miss|missed|forget|forgotten|mess|mix|skip|overlook|misread|misinterpret|misunderstand|miscalculate)"),
    Rule("i misread", _B, 0.85, rf"(i|we|i'm|i am|we're|we are) (must have |might have |may have |could have |have |was |were |not )?{_ERRED}"),
    Rule("a mistake", _B, 0.8, r"(there's|there is|there was|there must be|where is|where's) (a|an|some|the|my) (mistake|error)"),
    Rule("make sure i", _B, 0.85, r"((just )?to )?(make|be|making) (absolutely )?sure( that)?( i| we| it| this| everything| my| our| there)?"),
    Rule("just to be sure", _B, 0.85, r"(just )?to be (extra |absolutely |completely )?(sure|certain|safe|thorough)"),
    Rule("wait", _B, 0.75, r"wait( \w+'?\w*){2,}"),
    Rule("hold on", _B, 0.85, r"hold on"),
    Rule("wait a second", _B, 0.85, r"wait (a|one) (second|minute|moment|sec)"),
    Rule("no wait", _B, 0.85, r"(no|oh|hmm|actually) (wait|hold)"),
    Rule("on second thought", _B, 0.9, r"on second thoughts?"),
    Rule("that is not", _B, 0.85, rf"(that|this|it|which)('s| is| was| would be| can) ?(also |clearly |still )?(not|incorrect|wrong|impossible)( {_WRONG})?"),
    Rule("that cannot be", _B, 0.85, r"(that|this|it|which) (can't|cannot|couldn't|won't|isn't|wouldn't) (be|work|happen|hold|right|correct|possible|give|seem|make)"),
    Rule("that does not", _B, 0.85, r"(that|this|it|which) (doesn't|does not|did not|didn't|misses|fails) ?(quite |really |even )?(work|make|seem|match|fit|hold|help|add|look|satisfy|give|equal|the|to|reach)"),
    Rule("makes no sense", _B, 0.8, r"(doesn't|does not|didn't|don't|wouldn't) make (any |much )?sense"),
    Rule("is that right", _B, 0.85, r"(is|does|did|was) (that|this|it|everything|my|our|i) ?(seem |look |sound |really |also )?(right|correct|true|make|hold|work|miss|a mistake|possible|sense|add|check)"),
    Rule("is it true that", _B, 0.75, r"(is it|could it be|can it be|is it really|is it possible) (true |the case |possible )?that"),
    Rule("missing something", _B, 0.85, rf"{_ERRED} (something|anything|the|that|some|a)"),
    Rule("went wrong", _B, 0.85, r"(went|go|going|did|something is|is something|something's) wrong"),
    Rule("that seems off", _B, 0.75, r"(that|this|it|which|everything|something) (all )?(seems?|looks?|sounds?|feels) (\w+ )?(odd|strange|weird|off|wrong|incorrect|impossible|conflicting|contradictory|suspicious|too (\w+))"),
    Rule("that seems right but", _B, 0.65, r"(that|this|it|which|everything) (all )?(seems?|looks?|sounds?|feels|checks|adds|matches|makes)( \w+){1,2} but"),
    Rule("that seems right", _B, 0.4, r"(that|this|it|which|everything) (all )?(seems?|looks?|sounds?|checks|adds|matches|makes|feels) (to be |to |about |perfectly |also |pretty |a bit |very )?(right|correct|good|straightforward|reasonable|out|up|sense|solid|consistent|logical)"),
    Rule("contradiction", _B, 0.8, r"(which is|this is|that is|that's|leads to|gives|is|contradicts|to reach|reach) ?(a|the|our|this)? (contradiction|impossible|contradictory)"),
    Rule("but let me", _B, 0.65, r"but (let me|let's|just to|then again|just in case|to be)"),
    Rule("but the problem", _B, 0.7, r"(but|no|wait) (in )?(the|this) (problem|question|original|user)"),
    Rule("but that would", _B, 0.7, r"but (that|this|it|then) (would|seems|might|could|can't|doesn't|isn't|contradicts|also|will)"),
    Rule("but is that", _B, 0.7, r"but (is|does|did|what about|why|how|are|do|should|actually|hold on|hold|wait|no) (that|this|it|the|i|we|they|there|let|if)"),
    Rule("not sure", _B, 0.75, r"(i'm|i am|we're) (not|still not) (sure|certain|convinced|confident)"),
    Rule("to verify", _B, 0.75, rf"to {_CHECK} (this|that|if|whether|our|my|we|the|it)"),
    Rule("just to check", _B, 0.75, rf"(just|once more|again) to {_CHECK}"),
    Rule("checking", _B, 0.7, r"(checking|verifying|double-checking|rechecking) (again|that|this|my|our|if|whether|each|once|with)"),
    Rule("check my", _B, 0.75, r"(check|double-check|recheck|verify|go over|go through|confirm) (my|our|each|all|that|this|if|whether|it|once) ?(work|steps?|calculations?|answer|result|reasoning|again|logic|math|makes|more)"),
    Rule("still use", _B, 0.6, r"(we|i) can still (use|try|do|get)"),
    Rule("no other", _B, 0.75, r"(i|we) (don't|can't|do not) (see|think|find) (any|that|there)( \w+)?"),
    Rule("does that mean", _B, 0.7, r"(does|would|did) (that|this|it) (mean|imply|matter|change|make|work|hold)"),
    # branching: a case, an assumption, another way of attack
    Rule("alternatively", _X, 0.9, r"alternatively"),
    Rule("different approach", _X, 0.9, rf"(a|an|the|another|some) (completely |totally |slightly |more |better )?(different|alternative|alternate|other|new|simpler) {_ROUTE}"),
    Rule("another way", _X, 0.9, rf"((that's|there's|there is|is there|if there's|if there is|maybe there's|maybe there is|maybe|yet|try|in|think of) )?(another|any other|a second|some other) {_ROUTE}"),
    Rule("try another", _X, 0.9, r"((let's|let us|let me|we can|we could|we should|i can|i could|i should|i'll|maybe|to) )?(try|consider|use|think of|look at|think about|explore) (a different|another|something|some other|other|an alternative|a new|some|different)"),
    Rule("let's try", _X, 0.75, r"(let's|let us|we can|we could|i can|i could|maybe|i'll|we should|we might|maybe we can) (also |now |just |instead |first )?(try|attempt|explore|experiment)"),
    Rule("what if", _X, 0.9, r"what if (we|i|the|there|it|this|that|they|instead|both|all)"),
    Rule("suppose", _X, 0.8, rf"(if |{_US} (just |now |also |first )?)?(suppose|assume|imagine|say|pretend|assuming|supposing)( for now| instead)? (that|we|the|there|it|instead|this|for|all|each|he|she|they|both|x)"),
    Rule("let's assume", _X, 0.75, rf"(if (i|we)|{_US}) (just |now |also |first )?(suppose|assume|imagine|pretend)"),
    Rule("consider the case", _X, 0.9, r"(consider|handle|examine|look at|take|check|analyze) (the|each|this|that|two|all|another|both|these|a|possible|different|every|three) (other |possible |first |second |special |different |following |remaining )?(cases?|possibility|possibilities|situations?|scenarios?|options?)"),
    Rule("in this case", _X, 0.75, r"(in|for) (this|that|the first|the second|the other|the third|either|each|both|such a|one|another|any|these|which|the latter|the former) (cases?|scenario|situation|approach|possibility)"),
    Rule("if that is the case", _X, 0.75, r"(if|unless) (this|that|it|so)('s| is| was| were)? (the|not the) case"),
    Rule("let's consider", _X, 0.7, r"(let's|let me|let us|we can|we could|we should|i should) (now |also |first |next |then |instead |just )?consider"),
    Rule("we consider a", _X, 0.7, r"(now|next|we|i) consider (the|a|an|another|what|how|this|all|each|that|if|different)"),
    Rule("there are cases", _X, 0.8, r"(there are|there could be|we have|consider|into) (two|three|four|several|only two|a few|multiple|different|other|many) (possible |different |main |separate )?(cases|possibilities|ways|scenarios|options|approaches|interpretations)"),
    Rule("maybe", _X, 0.65, r"(maybe|perhaps)( \w+'?\w*)+"),
    Rule("could there be", _X, 0.75, r"(could|can|is|are|if|think of|there's|there is|if there's|if there is) ?(there|it)? ?(be )?(another|a different|some other|any other|other|a simpler|a better) (\w+)"),
    Rule("on the other hand", _X, 0.85, r"on the other hand"),
    Rule("instead", _X, 0.7, r"(instead (of|let's|we|i)|let's instead|we could instead|we can instead|rather than) (using|trying|we|i|let's|try|of|use|doing|calculating)"),
    Rule("we could also", _X, 0.75, r"(we|i|you|one) (could|can|might) (also|instead|alternatively|either) (use|try|do|think|consider|approach|check|write|look|solve|find|be|have|say|just|verify|express|see)"),
    Rule("one way", _X, 0.75, r"one (way|approach|method|possibility|option|idea|possible way|thing) (is|to|would|could|might|i|we|that)"),
    Rule("work backwards", _X, 0.8, r"(work|working|think|start|go|going) (backwards?|from the end|in reverse)"),
    Rule("or maybe", _X, 0.75, r"or (maybe|perhaps|alternatively|if|is it|is there|does|should) (the|it|we|i|there|it's|is|that|they|this|a)"),
    Rule("if we use", _X, 0.6, r"if (i|we) (use|try|take|look|think|consider|let|can|could|choose|set|suppose|assume|go|start|just|interpret|do|treat|want)"),
    Rule("without loss of generality", _X, 0.85, r"(without loss of|loss of generality|assume for contradiction|for the sake of)"),
    # deduction: inference, and the goals and plans that inference serves
    Rule("this implies that", _D, 0.9, r"(this|that|it|which|so this|so that) (means|implies|tells us|tells me|shows|suggests|indicates|ensures) (that|the|we|i|there|it|each|if|they|he|she|for|a)"),
    Rule("this means", _D, 0.75, r"(this|that|it|which) (means|implies|tells us|must mean|would mean|would imply)"),
    Rule("it follows that", _D, 0.9, r"(it follows|we conclude|conclude|deduce|infer|we deduce) that"),
    Rule("we can conclude", _D, 0.9, rf"{_WE} (can|could|may|must|should|might|then) (see|say|deduce|infer|conclude|prove|observe|show|note|notice|guarantee|be sure|assert) (that|the|how|if|from|this)"),
    Rule("we know that", _D, 0.85, r"(we|i) (know|see|conclude|deduce|observe|note|notice|already know|also know|remember|recall|realize) (that|the|from|how|what|it|this|there|all|these)"),
    Rule("the fact that", _D, 0.85, r"((we|i) (can|could) )?(use|using|given|by|from|considering|despite|apply|on) the (fact|property|condition|relation|relationship|information|hint|constraint|definition|rule|idea|observation) (that|of|to|about|from|given|in)"),
    Rule("we can use", _D, 0.8, rf"{_WE} (can|could|will|may|should|have to|need to|might|must) (now |also |then |first |just |simply )?(use|apply|take advantage|exploit|make use|leverage|rely|think about|think of|look at|approach|solve|break|start|begin|find a way)"),
    Rule("since we", _D, 0.85, r"(since|because|as|given that|now that) (we|i) (need|know|want|have|are|already|only|can|must|can't|don't|are given|were)"),
    Rule("since the", _D, 0.6, r"(since|because) (the|this|that|there|it|it's|both|all|each|they|these|he|she)"),
    Rule("so we need", _D, 0.75, r"(therefore|thus|hence|so|then|now|next|first) (we|i|we'll|i'll|that we) (need|must|have to|want|should|can|will)"),
    Rule("so that means", _D, 0.8, r"(so|therefore|thus|hence|and|then) (that|this|it) (means|must|would mean|implies|tells)"),
    Rule("we need to find", _D, 0.85, rf"{_WE} (just |only |still |also |first |then |now |actually |really )?(need|want|have|are asked|are trying|are looking|am trying|must|try|am asked) (to )?(first |also |just |only )?(find|determine|show|prove|figure|understand|know|identify|see|solve|establish|follow|break|look|think|use|ensure|parse|recall|remember|set|consider|account|keep|focus|analyze|work|start|make|approach)"),
    Rule("we need to", _D, 0.6, rf"{_WE} (just |only |still |also |first |then |now )?(need to|want to|have to|are asked to|are trying to|am trying to|'re trying to)"),
    Rule("figure out", _D, 0.4, r"((we |i )?(need |want |trying |try |have ))?to (figure|find) (out|this out)"),
    Rule("the goal is", _D, 0.9, r"(the|our|my|your|main|a) (goal|plan|aim|strategy|task|objective|key|idea|trick|challenge|key insight|main idea|key idea|key point|important thing|crux|approach|next step) (is|here is|would be|now is|becomes|was|then is)( to| that| how| not| now| what| about)?"),
    Rule("the question is asking", _D, 0.9, r"(the|this) (question|problem) (is|is just|is really) (asking|to find|to determine|how|what|whether)( about| for| how| us| me)?"),
    Rule("the first step", _D, 0.85, r"(the|my|our|a) (first|next|last|final|second|third|following|key) (step|thing|part|task|move|question) (is|would|will|was|to|in|i|we|here)"),
    Rule("the problem says", _D, 0.6, r"(the|this) (problem|question|user|statement) (statement )?(says|states|said|mentions|asks|tells|gives|wants|is asking|didn't|doesn't|does not|specifically|specifies|provides|isn't)"),
    Rule("what is asked", _D, 0.85, r"((what is|what's|what are|we're|we are|what) (being|we)?) ?(asked|asking|given|told|looking|interested|dealing|trying)"),
    Rule("we are given", _D, 0.8, r"(we|i|we've|i've|we were|i was) ?('re |are |am |were |have been |have |been )?(given|told|asked|looking for|looking at|dealing with|provided|trying to|supposed)"),
    Rule("let's start with", _D, 0.9, r"(let's|let me|let us|we can|we could|we|i'll|we'll|i will|we should|i should|we will|i can|i) (first |just |can |also )?(start|begin) (by|with|from|off|at|to|solving|again)"),
    Rule("first let's", _D, 0.85, r"first (let's|let me|let us|of all|thing|step|we|i) (need to |should |have to |want to )?(find|consider|look|start|understand|note|figure|know|check|think|see|identify|define|break|recall|determine|to|parse|need|let's|i)"),
    Rule("break it down", _D, 0.9, r"(let's |let me |let us |we can |we need to |to |i'll |i will |we )?(break|breaking|divide|split) (it|this|that|down|the problem|things|everything|these|the)( the| problem| down| into| step| by)"),
    Rule("step by step", _D, 0.75, r"((think|work|solve|go|do|reason|take|tackle|approach) (through )?((it|this|the problem) )?)?(step by step|step-by-step)"),
    Rule("let me think", _D, 0.85, r"(let me|let's|let us|i'll|let's just|let me just|i will|we'll|i should|we should|we can|we could) (first |just |now |also |try to |try and |quickly )?(think|see|break|parse|outline|figure|recall|understand|analyze|approach|look|tackle|work|focus|remember|organize|list|make sense|go through|walk|visualize|picture|summarize|clarify|read|put|take|start|simplify|observe|note|follow|find)"),
    Rule("let me try to", _D, 0.75, r"let me (just )?(try|attempt)( to| and)?"),
    Rule("okay let's see", _D, 0.7, r"(okay|ok|alright|so|hmm|well|now|then|and|first|next) (so |now )?(let's|let me|let us) (see|think|start|try|go|look|break|tackle|read|figure|get)"),
    Rule("let's define", _D, 0.7, r"(let's|let me|let us|we can|i'll|first) (first )?(denote|define|represent|introduce|(call|let|set up|set)( the| our| this| a| an| some| up| each| his| her))"),
    Rule("to solve this", _D, 0.8, r"(in order )?to (solve|tackle|approach|answer|prove|address|handle|show) (this|that|it|these|the problem)"),
    Rule("in order to", _D, 0.7, r"(in order to|so in order|our goal is) (find|solve|get|determine|do|to|have|make)"),
    Rule("follow these steps", _D, 0.75, rf"(({_WE} (will|can|need to|should|must) |let's |to ))?(follow|follows|following|take|through) (these|the|this|a few) (steps?|following steps|process|procedure|reasoning|logic)"),
    Rule("now we can", _D, 0.75, r"(now|next|then|from here|from this|at this point|here|now that) (we|i|let's|let me|let us|that we|we'll|i'll) (need|can|have|know|must|want|should|will|also|just|still|could|move|look|consider|check|see|use|think|turn)"),
    Rule("how can we", _D, 0.8, r"how (can|do|does|could|should|would|might) (we|i|you|one)"),
    Rule("how to", _D, 0.7, r"(how|where) to (find|solve|approach|start|proceed|handle|go|prove|show|set up|tackle|figure)"),
    Rule("recall that", _D, 0.8, r"((i|we|let's|let me) )?(recall|remember|remembering) (that|the|how|what|from|when|this)"),
    Rule("notice that", _D, 0.75, r"(we (can )?|i |let's |let me )?(notice|note|noting|observe|noticing) (here )?that"),
    Rule("in other words", _D, 0.75, r"(in other words|that is to say|put differently|the only way|the key here|from this we|from here we|as a result|it is clear|it's clear)"),
    Rule("which is what", _D, 0.7, r"(that|which|this) is (exactly |precisely )?what (we|i|is)"),
    Rule("set up an equation", _D, 0.7, r"(set up|setting up|write down|form|formulate|come up with|create) (an|the|a|some|our|these) (equations?|plan|strategy|expression|system|formula|ratio|proportion|relationship)"),
    Rule("if then", _D, 0.65, r"(so|then|that means|which means) if (i|we|the|there|it|they|each|this|that|you)"),
    Rule("it makes sense", _D, 0.4, r"(it|that|which|this) (makes|would make) sense (because|since|as|so|if)"),
)  # fmt: skip

# What only continues a calculation or closes it: never strategic, whatever else is in the gram.
VETOES: tuple[str, ...] = (
    r"wait (for|to|until|time|times|in|on|at|by|than|an|two|three|list)( \w+)*",
    r"(the )?(final )?answer (is|should be|would be|must be|to the)",
    r"(so|therefore|thus|hence) (the|it's|that's|it is|that is|his|her|their|its) (?!problem|question|key|goal|first|next|another|only)(\w+ ?)*",
    r"(is|are|was|be|get|which is|that's|gives us|makes) (equal|the same|a total|the sum|the product|in total)( \w+)*",
    r"(let me|let's) (just |also |first )?(calculate|compute|add|multiply|divide|subtract|write|do|plug|sum|count)( \w+)*",
    r"(so )?(i think|i guess|i believe) (that's|the|it's|that|so)( \w+)*",
    r"in (this|that) case the( \w+)*",
)

# What is cut at its front, so that the longer gram says it better.
PIECES: tuple[str, ...] = (
    r"(need|have|want|going|how|where|like|able|first|order|used) to",
    r"me \w+( \w+)*",
)

# A gram that ends like this was cut inside a phrase.
CUT_ENDS: tuple[str, ...] = (
    r"let",
    r"(down|problem|this|it|again) step( by)?",
    r"(but|wait) hold",
    r"sure let me",
    r"(to|just|me) make",
    r"(didn't|did not) (make|make a|make any)",
    r"made a",
    r"(need|have|going|want) to (figure|break)",
    r"once",
)
