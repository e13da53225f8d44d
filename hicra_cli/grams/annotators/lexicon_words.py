# ruff: noqa: SIM905  hundreds of words read better as text than as a list of literals
"""The lexicon's word lists (normalised English words)."""

# Common words of strategic talk. Any other word in a gram (`marbles`, `equation`, `total`) ties it to a subject and
# costs confidence, so that "we need to find" is preferred to "we need to find the total".
COMMON_WORDS = frozenset(
    """
    a about absolutely account across actually again all alright also alternate alternative alternatively am an
    analyze and angle another answer any anything apply approach approaches are aren't around as ask asked asking asks
    assume assumed assuming assumption at attempt away back backtrack backwards based be because been before begin
    being better between bit both break breaking but by call can can't cannot case cases certain check checking checks
    clarify clear clearly come complete conclude condition confident confirm conflicting confused confusing consider
    considering consistent contradiction contradicts correct correctly could couldn't deduce define denote depends
    despite determine determined did didn't different differently direction do does doesn't doing don't done double
    double-check down each easier either else end enough ensure error errors especially establish even everything
    exactly examine exist exists explore fact fails false far few figure final finally find finding first fits focus
    follow following follows for forget found from further general generality get given gives giving go goal goes
    going good got guess had hand handle happen happens has have haven't having he help hence here high hint hmm hold
    holds how however i i'd i'll i'm i've idea identify if imagine implies important impossible in incorrect indeed
    infer information insight instead interpret interpretation into is isn't it it's its itself just keep key kind
    know known last later lead leads least left let let's like likely list logic logical long look looking looks loss
    low made main make makes making manageable many match matches matter maybe me mean means mention mentioned
    mentions method methods might miscalculated misinterpret misinterpreting misread miss missed misses missing
    mistake mistakes misunderstanding misunderstood mix more much must my need needed needs never new next no none not
    note nothing notice now observe of off oh ok okay on once one only option options or order original other our out
    over overcomplicating overlooked pair parse part parts pattern perhaps perspective plan possibilities possibility
    possible pretty previous problem problem's proceed property prove provided question quickly quite rather re-check
    re-examine re-read read realize really reason reasonable reasoning recall recap recheck reconsider relationship
    remember rephrase reread result rethink revisit right rule safe said same satisfies satisfy say saying says
    scenario scenarios second see seem seems sense set several shall should show shows similar simple simpler since
    situation skip skipped so solid solution solve solving some something sound specific specifically specified
    specify split stage start starting state stated statement states step step-by-step steps still stop
    straightforward strange strategy stuck such suggests suppose supposed sure tackle take taken talking target task
    tell tells than that that's the their them then there there's therefore these they they're thing things think
    thinking third this thorough those though thought three through thus time to together told too totally trick
    tricky tried true try trying turn two under understand understanding unless until up us use used user using valid
    validate variables various verify very visualize wait want wants was wasn't way ways we we'd we'll we're we've
    well went were what what's whatever when where where's whether which while who why will with within without won't
    word worded words work working works would wouldn't wrong yeah yep yes yet you you're your
    """.split()
)

# Words that may stand before a cue without making the gram a piece of something else.
LEADS = frozenset(
    """
    actually again alright also and because but finally first hence here hmm hold if just let's maybe next no now oh
    ok okay on once or perhaps right since so still then therefore thus uh um wait well yeah yes
    """.split()
)

# A gram that ends in one of these leaves its reader in the air; so do subjects without their verb.
DANGLING = frozenset(
    """
    a all an and are as at be been but by each from he her his i i'm in into is it's its just my of on or our she so
    the their there's they to was we were with you
    """.split()
)

# Words that say that somebody is about to do something, but not what: "so we need", "now i have to", "but let me".
FRAME = frozenset(
    """
    a able alright also am an and are as be been but can could did do does doing each for get give go going had has
    have having he here hmm i i'd i'll i'm i've if in is it it's its just let let's like may me might must my need
    needs no now of oh ok okay on or our she should so some still than that that's the their them then there there's
    these they this those thus to up us want was we we'd we'll we're we've well were which will with would yeah yes
    you your
    """.split()
)
