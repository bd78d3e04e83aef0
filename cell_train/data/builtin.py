"""Built-in English: sentences to reproduce and questions to answer, as many as are asked for.

Everything is drawn from the tables below, so a run needs no file and no download. Words form
small semantic classes, classes fill phrases, phrases fill patterns: bakers sell lamps, dogs
bark, and no soup ever drives a cloud. The same call returns the same text on every machine,
and a larger `count` only appends.

    sentences(3, seed=0)   the coat outside the famous bakery looks strange but valuable .
                           which miner fixes a plain umbrella outside the palace ?
                           the brown hen by the little bakery clucks at noon .

Measured with seed 0 (`pytest -s tests/data/test_builtin.py` prints these figures):

    distinct words in 12,000 sentences               820  (with 3,000 pairs: 879)
    tokens in a sentence                             6 to 12, mean 10.3
    corpus BLEU of the nearest of 10,000 sentences   0.227  (nearest by tf-idf cosine)
      to one that is held out                        0.284  (nearest by shared words and bigrams)

The last two are what mere recall of the training text would score.

A template is plain text with slots:

    {thing}       a random entry of the table `thing`, itself a template
    {act+ed}      the same with its first word inflected; the endings are in FORMS
    {it=animal}   a draw with a label; from then on {it} repeats it and
    {it.sound}    looks it up in the relation `sound`

"a" becomes "an" by itself, and no sentence uses a content word twice. To add a pattern, write
its templates into PATTERNS; to add a verb or noun, write it into its class. Either changes the
text of every seed, and the tests say so.
"""

import random
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from cell_train.errors import DataError

T = TypeVar("T")


def _words(text: str) -> list[str]:
    return text.split()


def _columns(names: str, table: str) -> dict[str, dict[str, str]]:
    """Read a table whose first column is the key: one relation for each further column."""
    rows = [row.split() for row in re.split(r"[|\n]", table.strip())]
    return {
        name: {row[0]: row[column] for row in rows}
        for column, name in enumerate(names.split(), start=1)
    }


# --- what belongs to what: the fixed relations that replies are made of ------------------------

CALLINGS = _columns(
    "work tool",
    """
    actor      theater    mask        | baker      bakery     tray
    barber     shop       razor       | blacksmith forge      hammer
    builder    tower      ladder      | butcher    market     knife
    captain    harbor     compass     | carpenter  workshop   saw
    chef       restaurant pan         | cleaner    hotel      broom
    clerk      office     stamp       | doctor     hospital   thermometer
    farmer     farm       rake        | fisher     lake       net
    gardener   park       spade       | guard      castle     key
    guide      museum     map         | judge      court      gavel
    librarian  library    catalog     | magician   circus     hat
    mechanic   garage     wrench      | merchant   market     scale
    messenger  station    satchel     | miller     mill       sack
    miner      mine       lantern     | monk       temple     bell
    musician   theater    violin      | nurse      hospital   bandage
    painter    studio     brush       | porter     station    cart
    sailor     harbor     oar         | scientist  laboratory microscope
    singer     theater    microphone  | student    school     pen
    tailor     shop       needle      | teacher    school     book
    waiter     restaurant plate       | weaver     mill       loom
    writer     office     typewriter
    """,
)

ANIMALS = _columns(
    "sound home food",
    """
    bear     growl   cave    honey   | bee      buzz    hive    nectar
    cat      purr    cottage fish    | cow      moo     barn    grass
    dog      bark    kennel  meat    | donkey   bray    stable  carrots
    duck     quack   pond    bread   | elephant trumpet jungle  bananas
    fox      yelp    den     berries | frog     croak   pond    flies
    goat     bleat   yard    cabbage | goose    honk    marsh   clover
    hen      cluck   coop    corn    | horse    neigh   stable  oats
    lion     roar    den     meat    | mouse    squeak  cellar  cheese
    owl      hoot    forest  mice    | parrot   squawk  cage    seeds
    pig      grunt   sty     turnips | pigeon   coo     attic   crumbs
    puppy    whine   kennel  milk    | raven    caw     forest  eggs
    rooster  crow    coop    seeds   | sheep    bleat   meadow  clover
    snake    hiss    desert  eggs    | squirrel chatter orchard nuts
    tiger    roar    jungle  meat    | wolf     howl    forest  meat
    """,
)

KEPT = {  # where to find which thing
    "attic": "trunk mirror cradle puppet",
    "barn": "ladder rake saddle basket",
    "bedroom": "pillow blanket clock lamp",
    "cabin": "compass net oar anchor",
    "cellar": "barrel lantern bottle crate",
    "closet": "coat hat umbrella scarf",
    "cupboard": "plate cup candle teapot",
    "drawer": "needle button ribbon key",
    "garage": "bicycle tire toolbox pump",
    "kitchen": "kettle pan spoon bowl jug",
    "library": "book globe atlas map",
    "office": "typewriter pen calendar stamp",
    "shed": "spade bucket hose shovel",
    "studio": "brush camera vase easel",
    "workshop": "hammer saw drill chisel",
}

RECIPES = _columns(  # what each crop is good for
    "dish",
    """
    apples    pie     | beans     curry   | berries   jam     | cabbages  salad
    carrots   cake    | eggs      custard | grapes    juice   | lemons    tea
    mushrooms gravy   | nuts      butter  | onions    sauce   | pears     syrup
    plums     pudding | potatoes  stew    | tomatoes  soup
    """,
)

GEAR = _columns(  # what to take along in which weather
    "gear",
    """
    dark  lamp     | fog   lantern  | frost blanket  | hail  helmet
    rain  umbrella | snow  coat     | storm whistle  | sun   hat
    wind  scarf
    """,
)

ROUTES = _columns(  # how to get where
    "vehicle",
    """
    airport   taxi    | capital   plane   | city      train   | coast     bus
    farm      truck   | glacier   sledge  | island    ferry   | lake      bicycle
    museum    tram    | ranch     horse   | suburb    subway  | waterfall canoe
    """,
)

OPPOSITES = _words("heavy light clean dirty cheap expensive small large old new plain beautiful")
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
NUMBERS = _words("two three four five six seven eight nine ten eleven twelve")

RELATIONS: dict[str, dict[str, str]] = {
    **CALLINGS,
    **ANIMALS,
    **RECIPES,
    **GEAR,
    **ROUTES,
    "owner": {tool: person for person, tool in CALLINGS["tool"].items()},
    "place": {thing: place for place, things in KEPT.items() for thing in _words(things)},
    "opposite": {
        word: OPPOSITES[index ^ 1]  # neighbours: 0 with 1, 2 with 3, ...
        for index, word in enumerate(OPPOSITES)
    },
    "day_after": dict(pairwise([*DAYS, DAYS[0]])),
    "one_more": dict(pairwise(NUMBERS)),
}

# --- word classes ------------------------------------------------------------------------------

WORDS: dict[str, str] = {
    # who
    "name": "anna peter maria tom lucy daniel rosa oscar emma hugo clara victor nina felix ruth",
    "kin": "aunt uncle sister brother cousin grandmother grandfather neighbor nephew niece",
    "trait": "young tall kind patient clever cheerful shy honest busy brave careful polite curious",
    "tall": "tall kind brave young strong wise",
    # which animal
    "pet": "dog cat horse cow pig hen duck goose sheep goat donkey puppy parrot",
    "walker": "dog cat horse donkey goat wolf fox bear tiger lion puppy elephant",
    "flyer": "owl pigeon raven parrot goose duck bee",
    "coat": "hungry brown black white grey spotted gentle noisy clever sleepy thin",
    "quick": "quick strong loud calm thin big",
    # what
    "device": "clock camera kettle typewriter pump drill bicycle compass umbrella lantern lamp",
    "text": "letter poem story report diary novel recipe speech notice",
    "long": "long short funny boring strange beautiful",
    "instrument": "violin drum flute guitar trumpet harp piano",
    "quality": "small large heavy light cheap expensive clean dirty strange beautiful red blue"
    " green yellow old new plain",
    "bulky": "large heavy small light",
    "useful": "useful strong valuable pretty",
    "unfit": "large heavy small dirty expensive old strange",
    "worn": "old dirty small cheap plain heavy strange",
    "taste": "fresh warm cold delicious tasty homemade",
    "event": "concert wedding festival lesson meeting race parade game",
    "early": "early late first last crowded empty",
    "ride": "bus tram taxi train subway",
    # where
    "room": "garden kitchen courtyard barn workshop market park village harbor camp",
    "landmark": "church bridge mill station school tower fountain museum castle bakery library"
    " hospital hotel theater bank lighthouse temple palace statue",
    "ground": "field forest meadow park valley village desert marsh orchard square",
    "way": "river canal coast road railway beach path lane",
    "air": "old quiet famous empty ancient white crowded little",
    "near": "near behind beside outside by",
    "beside": "beside by near",
    "across": "across through around",
    "along": "along beside down",
    "toward": "toward past around behind",
    # when
    "part": "morning evening afternoon night day winter summer spring autumn",
    "span": "week month year winter summer spring autumn",
    "hour": "dawn noon dusk midnight sunrise sunset",
    "meal": "breakfast lunch dinner supper",
    # how
    "how": "slowly carefully quietly gladly quickly secretly proudly suddenly",
    "seems": "seems looks is",
    "glad": "happy proud grateful excited calm",
    "upset": "sad angry nervous worried upset",
    # verbs, each class with the kind of object that it takes
    "handle": "carry borrow sell buy wrap pack hide deliver",
    "repair": "repair test polish examine fix",
    "serve": "serve taste share order prepare",
    "gather": "pick wash weigh collect count",
    "tend": "feed brush call lead wash follow",
    "greet": "help thank visit greet invite warn",
    "sketch": "paint sketch photograph admire",
    "write": "write read translate finish",
    "give": "give lend show send hand offer",
    "rest": "wait sleep live rest",
    "walk": "walk run hurry",
    "glide": "glide fly",
    "ask": "ask help tell teach",
    "hope": "hope plan want promise",
    "think": "think say know believe",
    "must": "must should could may",
    "eat": "eat find enjoy want",
    "hear": "hear notice",
    "need": "need use want",
    "see": "see find lose notice drop",
    "catch": "catch take miss",
    # weather: what each kind does to a place
    "rain": "rain snow storm hail",
    "begin": "begin end stop return",
    "howl": "howl rise drop",
    "fade": "fade lift return",
    "rise": "rise set shine return",
    "soak": "soak ruin damage",
    "blast": "soak damage cool",
    "veil": "hide surround cover",
    "warm": "warm light dry",
    "harsh": "heavy cold sudden grey",
}

# --- phrases: templates that other templates use, written with verbs in the base form ----------

PHRASES: dict[str, list[str]] = {
    "relative": ["{name}", "{name}", "{name}", "my {kin}", "our {kin}"],
    "known": ["{relative}", "{relative}", "the {person}", "the {trait} {person}"],
    "someone": ["{known}"] * 6 + ["a {trait} {person}"],
    "object": [
        "the {thing}",
        "a {quality} {thing}",
        "the {thing}",
        "the {quality} {thing}",
        "this {thing}",
        "another {thing}",
        "my {thing}",
    ],
    "which": ["the", "my", "our", "this"],
    "became": ["works as", "became", "hopes to become", "was once"],
    "meal_of": ["the {dish}", "{taste} {dish}", "the {taste} {dish}"],
    "act": [
        "{handle} {object}",
        "{handle} {object}",
        "{repair} the {device}",
        "{repair} a {quality} {device}",
        "{serve} {meal_of}",
        "{gather} the {crop}",
        "{gather} {number} {crop}",
        "{tend} the {pet}",
        "{tend} a {coat} {pet}",
        "{greet} {someone}",
        "{sketch} the {landmark}",
        "{sketch} the {air} {landmark}",
        "{write} a {text}",
        "{write} the {text}",
        "play the {instrument}",
    ],
    "outdoors": [
        "{near} the {landmark}",
        "{near} the {air} {landmark}",
        "{beside} the {way}",
    ],
    "where": ["in the {room}", "at the {workplace}", "{outdoors}", "{outdoors}", "{outdoors}"],
    "path": [
        "{across} the {ground}",
        "{across} the {air} {ground}",
        "{along} the {way}",
        "{toward} the {landmark}",
        "{toward} the {air} {landmark}",
    ],
    "daily": ["every {part}", "at {hour}"],
    "habit": ["{daily}", "{daily}", "on {day}", "before {meal}", "after the {event}"],
    "past": [
        "yesterday",
        "last {span}",
        "on {day}",
        "before {meal}",
        "{number} days ago",
        "during the {event}",
    ],
    "soon": ["tomorrow", "next {span}", "on {day}", "after {meal}", "before the {event}"],
    "sky": [
        "the {rain} {begin+s}",
        "the {rain} {begin+s}",
        "the wind {howl+s}",
        "the fog {fade+s}",
        "the sun {rise+s}",
    ],
    "blow": [
        "the {harsh} {rain} {soak+ed} the {thing} of {someone}",
        "the {rain} {blast+ed} the {air} {landmark} {near} the {way}",
        "the {harsh} fog {veil+ed} the {air} {landmark}",
        "the sun {warm+ed} the {air} {ground}",
    ],
    "joy": [
        "{someone} found {object}",
        "the {event} begins {soon}",
        "{someone} will visit {soon}",
        "{someone} liked the {dish}",
        "{known} {greet+ed} {someone}",
    ],
    "trouble": [
        "{someone} lost {object}",
        "the {quality} {device} is broken",
        "the {ride} from the {landmark} is late",
        "{someone} forgot the {event}",
        "{someone} ate the {dish}",
        "a {coat} {pet} ran away",
    ],
}

# --- patterns: each is drawn equally often, then one of its templates --------------------------

PATTERNS: dict[str, list[str]] = {
    "action and place": ["{someone} {act+s} {where} .", "{someone} {act+ed} {where} ."],
    "action and time": [
        "{habit} {someone} {act+s} .",
        "{someone} {act+ed} {past} .",
        "{someone} {how} {act+ed} {past} .",
    ],
    "two objects": [
        "{someone} {give+ed} {someone} {object} {past} .",
        "{someone} {give+s} {object} to {someone} .",
        "{someone} {give+ed} {someone} {number} {crop} .",
    ],
    "relative clause on the subject": [
        "the {person} who {act+ed} {rest+s} {where} .",
        "the {person} who {rest+s} {where} {act+s} .",
        "{someone} knows the {person} who {act+ed} .",
    ],
    "relative clause on the object": [
        "the {thing} that {someone} {handle+ed} {past} is {quality} .",
        "the {quality} {thing} that {someone} {handle+ed} belongs to {someone} .",
        "the {text} that {someone} {write+ed} {past} {seems} {long} .",
    ],
    "comparison": [
        "{someone} is {tall+er} and {tall+er} than {someone} .",
        "the {thing} {where} is {bulky+er} than {object} .",
        "{someone} has a {quick+er} {pet} than {someone} .",
    ],
    "yes or no": [
        "does {someone} {act} {where} ?",
        "did {someone} {act} {past} ?",
        "will {someone} {act} {soon} ?",
        "is the {thing} {where} {quality} ?",
    ],
    "open question": [
        "who {act+ed} {where} ?",
        "where did {someone} {handle} {object} ?",
        "why does {someone} always {act} ?",
        "when will {someone} {act} ?",
        "which {person} {act+s} {where} ?",
        "how many {coat} {pet+pl} did {someone} {tend} {past} ?",
    ],
    "negation": [
        "{someone} does not {act} {habit} .",
        "{someone} never {act+s} {where} .",
        "{someone} did not {act} {past} .",
        "nobody {where} {hope+s} to {act} .",
    ],
    "two actions": [
        "{someone} {act+s} and {act+s} .",
        "{someone} {act+ed} and then {act+ed} .",
        "{someone} and {someone} {act+ed} {past} .",
        "both {someone} and {someone} {act} .",
    ],
    "order and contrast": [
        "{someone} {act+ed} before {someone} {act+ed} .",
        "{someone} {act+s} but {someone} {act+s} .",
        "{someone} {act+ed} but never {act+ed} .",
    ],
    "perception": [
        "{someone} saw {someone} {act} {where} .",
        "{someone} watched {someone} {act} {past} .",
        "{someone} remembers how {someone} {act+ed} .",
    ],
    "guess": [
        "perhaps {someone} will {act} {soon} .",
        "maybe {someone} {act+ed} {where} .",
        "{someone} probably {act+ed} {past} .",
    ],
    "company": [
        "{someone} {act+s} with {someone} .",
        "{someone} {act+ed} for {someone} {past} .",
        "{someone} lets {someone} {act} {habit} .",
    ],
    "weather": [
        "{blow} {past} .",
        "when {sky} {someone} {act+s} .",
        "if {sky} {someone} will {act} .",
    ],
    "quantity": [
        "there are {number} {coat} {pet+pl} {where} .",
        "{someone} {gather+ed} {number} {crop} {past} .",
        "{someone} sold a {quality} {thing} for {number} coins .",
        "{number} {coat} {walker+pl} {walk} {path} .",
    ],
    "feeling and cause": [
        "{someone} {seems} {glad} because {joy} .",
        "{someone} {seems} {upset} because {trouble} .",
        "{trouble} so {someone} {seems} {upset} .",
    ],
    "passive": [
        "{object} was {handle+en} by {someone} {past} .",
        "{meal_of} was {serve+en} by {someone} {where} .",
        "{number} {crop} were {gather+en} by {someone} {where} .",
    ],
    "movement": [
        "the {coat} {walker} {walk+s} {path} {daily} .",
        "a {coat} {flyer} {glide+ed} {path} {past} .",
        "{someone} {walk+s} {path} with a {coat} {pet} .",
    ],
    "animals": [
        "{someone} {hear+ed} a {coat} {beast=animal} {beast.sound} {outdoors} .",
        "the {coat} {beast=animal} {outdoors} {beast.sound+s} {daily} .",
        "{someone} {act+s} while the {coat} {beast=animal} {beast.sound+s} .",
        "the {coat} {beast=animal} {outdoors} {eat+s} some {beast.food} .",
    ],
    "travel": [
        "{someone} {catch+ed} the {early} {ride} to the {landmark} {past} .",
        "{someone} {walk+s} {path} with {someone} .",
        "{someone} {hope+s} to {walk} {path} {soon} .",
    ],
    "purpose": [
        "{someone} {walk+ed} {path} to {act} .",
        "{someone} {hope+s} to {act} {soon} .",
        "{someone} {ask+ed} {someone} to {act} .",
    ],
    "duty": [
        "{someone} {must} {act} {soon} .",
        "{someone} {must} not {act} {where} .",
        "every {person} {where} {must} {act} .",
    ],
    "degree": [
        "{object} {seems} too {unfit} for {someone} to {handle} .",
        "{someone} is {tall} enough to {act} .",
        "{object} {where} {seems} {worn} but {useful} .",
    ],
    "report": [
        "{someone} {think+s} that {object} {where} is {quality} .",
        "{someone} {think+s} that {someone} {act+ed} .",
        "{someone} knows why {someone} {act+ed} .",
    ],
    "work": [
        "the {trait} {worker=person} {act+s} at the {worker.work} .",
        "{habit} the {trait} {worker=person} {need+s} a {quality} {worker.tool} .",
        "{relative} {became} a {trait} {person} {where} .",
    ],
    "request": [
        "please {act} {where} .",
        "please {ask} {someone} to {act} .",
        "let us {act} and {act} .",
    ],
    "position": [
        "{object} lies {near} the {quality} {thing} of {someone} .",
        "{someone} {see+ed} a {quality} {thing} {where} .",
        "{someone} left {object} {where} {past} .",
    ],
}

# --- question and reply: what the reply adds follows from a relation ---------------------------

EXCHANGES: dict[str, tuple[str, str]] = {
    "keep": (
        "where does {who=known} keep the {quality} {item=kept} ?",
        "{who} keeps the {item} in the {item.place} .",
    ),
    "seek": (
        "has {who=known} seen {which} {quality} {item=kept} ?",
        "{who} saw the {item} in the {item.place} .",
    ),
    "meet": (
        "where can {who=known} meet the {trait} {worker=person} {when=habit} ?",
        "{who} can meet the {worker} at the {worker.work} {when} .",
    ),
    "tool": (
        "which tool does the {trait} {worker=person} need {when=habit} ?",
        "{when} the {worker} needs the {worker.tool} .",
    ),
    "owner": (
        "who left the {quality} {item=tool} {spot=where} ?",
        "the {item} {spot} belongs to the {item.owner} .",
    ),
    "worry": (
        "why is the {trait} {worker=person} so {mood=upset} {when=habit} ?",
        "the {worker} is {mood} because the {worker.tool} is missing .",
    ),
    "sound": (
        "what does the {coat} {beast=animal} do when {weather=sky} ?",
        "the {beast} {beast.sound+s} when {weather} .",
    ),
    "home": (
        "where will the {fur=coat} {beast=animal} sleep {when=soon} ?",
        "the {fur} {beast} will sleep in the {beast.home} .",
    ),
    "food": (
        "what does {who=known} feed the {coat} {beast=animal} {when=habit} ?",
        "{when} {who} gives the {beast} some {beast.food} .",
    ),
    "dish": (
        "what will {who=known} make with the {number} {harvest=crop} ?",
        "{who} will make some {harvest.dish} with the {harvest} .",
    ),
    "gear": (
        "what should {who=known} take into the {weather=peril} {when=soon} ?",
        "{when} {who} should take the {weather.gear} into the {weather} .",
    ),
    "route": (
        "how will {who=known} get to the {there=goal} {when=soon} ?",
        "{who} will take the {there.vehicle} to the {there} .",
    ),
    "opposite": (
        "is the {item=thing} {spot=where} {grade=graded} ?",
        "the {item} {spot} is not {grade} but {grade.opposite} .",
    ),
    "day after": (
        "can {who=known} come to the {event} on {date=day} ?",
        "{who} has no time until {date.day_after} .",
    ),
    "one more": (
        "does {who=known} own {claim=few} {fur=coat} {beast=pet+pl} ?",
        "{who} owns {claim.one_more} {fur} {beast+pl} .",
    ),
}

TABLES: dict[str, Sequence[str]] = {
    **{name: _words(words) for name, words in WORDS.items()},
    **PHRASES,
    "person": list(CALLINGS["work"]),
    "tool": list(RELATIONS["owner"]),
    "animal": list(ANIMALS["sound"]),
    "kept": list(RELATIONS["place"]),
    "thing": list(dict.fromkeys([*RELATIONS["place"], *RELATIONS["owner"]])),
    "workplace": list(dict.fromkeys(CALLINGS["work"].values())),
    "crop": list(RECIPES["dish"]),
    "dish": list(RECIPES["dish"].values()),
    "peril": list(GEAR["gear"]),
    "goal": list(ROUTES["vehicle"]),
    "graded": OPPOSITES,
    "day": DAYS,
    "number": NUMBERS,
    "few": NUMBERS[:-1],
}

# --- English spelling: what the endings do to a word -------------------------------------------

IRREGULAR_VERBS = _columns(
    "past participle",
    """
    buy   bought bought  | catch caught caught  | feed  fed    fed
    find  found  found   | fly   flew   flown   | give  gave   given
    hear  heard  heard   | hide  hid    hidden  | lead  led    led
    lend  lent   lent    | light lit    lit     | lose  lost   lost
    read  read   read    | run   ran    run     | see   saw    seen
    sell  sold   sold    | send  sent   sent    | show  showed shown
    take  took   taken   | teach taught taught  | tell  told   told
    write wrote  written
    """,
)
IRREGULAR_PLURALS = {"goose": "geese", "mouse": "mice", "sheep": "sheep", "wolf": "wolves"}


def _with_s(word: str) -> str:
    """carry, watch, play -> carries, watches, plays; nouns and verbs alike."""
    if re.search("[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search("(s|x|z|ch|sh)$", word) else "s")


def _stem(word: str) -> str:
    """A word as it stands before -ed and -er: carry, wrap, large -> carri, wrapp, larg."""
    if re.search("[^aeiou]y$", word):
        return word[:-1] + "i"
    if re.fullmatch("[^aeiou]*[aeiou][bdgmnpt]", word):
        return word + word[-1]
    return word.removesuffix("e")


def _past(verb: str) -> str:
    return IRREGULAR_VERBS["past"].get(verb, _stem(verb) + "ed")


def _participle(verb: str) -> str:
    return IRREGULAR_VERBS["participle"].get(verb, _stem(verb) + "ed")


FORMS: dict[str, Callable[[str], str]] = {
    "s": _with_s,  # the baker carries
    "ed": _past,  # the baker wrote
    "en": _participle,  # it was written
    "pl": lambda noun: IRREGULAR_PLURALS.get(noun, _with_s(noun)),
    "er": lambda adjective: _stem(adjective) + "er",
}

# --- the generator -----------------------------------------------------------------------------

SLOT = re.compile(r"{(?:(\w+)=)?(\w+)(?:\.(\w+))?(?:\+(\w+))?}")  # {label=name.relation+form}
LENGTHS = range(6, 13)  # tokens of a text, the final mark included
MAY_REPEAT = frozenset(_words("a an the my our your in at on near by to of and is was will"))
PATIENCE = 2_000  # so many draws in a row with nothing new: the tables are exhausted


def sentences(count: int, seed: int) -> list[str]:
    """The first `count` sentences of a seed, all distinct: "the nurse waits in the old park ."

    Words are lowercase, separated by single spaces; the last token is "." or "?".
    Raises DataError if the tables hold fewer.
    """
    patterns = [[(template,) for template in templates] for templates in PATTERNS.values()]
    return [sentence for (sentence,) in _distinct(count, seed, patterns)]


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """The first `count` questions of a seed, all distinct, each with its reply.

    Raises DataError if the tables hold fewer.
    """
    patterns = [[exchange] for exchange in EXCHANGES.values()]
    return [
        (question, re.sub(r"\b(my|our)\b", "your", reply))
        for question, reply in _distinct(count, seed, patterns)
    ]


def _distinct(
    count: int, seed: int, patterns: Sequence[Sequence[tuple[str, ...]]]
) -> list[tuple[str, ...]]:
    """Fill patterns until `count` of the texts that come first are distinct."""
    rng = random.Random(seed)
    found: dict[str, tuple[str, ...]] = {}
    misses = 0
    while len(found) < count:
        bound: dict[str, str] = {}  # shared, so that a reply speaks of what was asked
        templates = _pick(_pick(patterns, rng), rng)
        texts = tuple(_with_articles(_fill(template, rng, bound)) for template in templates)
        if texts[0] not in found and all(map(_reads_well, texts)):
            found[texts[0]] = texts
            misses = 0
        elif (misses := misses + 1) == PATIENCE:
            raise DataError(
                f"the built-in data end after {len(found)} texts of this kind, "
                f"{count} were asked for; lower dataset_limit or name a file in data.path"
            )
    return list(found.values())


def _fill(template: str, rng: random.Random, bound: dict[str, str]) -> str:
    """Replace every slot, from left to right; `bound` holds what the labels stand for."""

    def fill(slot: re.Match[str]) -> str:
        label, name, relation, form = slot.groups()
        text = bound[name] if name in bound else _fill(_pick(TABLES[name], rng), rng, bound)
        if relation:
            text = RELATIONS[relation][text]
        if label:
            bound[label] = text
        if form:
            word, space, rest = text.partition(" ")
            text = FORMS[form](word) + space + rest
        return text

    return SLOT.sub(fill, template)


def _pick(options: Sequence[T], rng: random.Random) -> T:
    """Like rng.choice, of which Python does not promise the same draws in every version."""
    return options[int(rng.random() * len(options))]


def _with_articles(text: str) -> str:
    return re.sub(r"\ba (?=[aeiou]|honest|hour)", "an ", text)


def _reads_well(text: str) -> bool:
    """Whether a text has a fit length and names nothing twice."""
    tokens = text.split()
    named = [token for token in tokens if token not in MAY_REPEAT]
    return len(tokens) in LENGTHS and len(named) == len(set(named))
