"""The words that the rules know, by what they do in a phrase and, for nouns, by what kind of thing they name.

Nouns are listed in the singular and verbs in the base form; `words.py` adds the other forms.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARTICLES = _words(
    "a an the this that these those some any each every both another one two three four five six all several many few"
)
POSSESSIVES = _words("his her their its my your our")
PRONOUNS = _words(
    "he she they it who him them himself herself themselves itself i you we us me there someone somebody "
    "everything something anything nothing everyone what here"
)
RELATIVES = _words("who which whose that whom")
COPULAS = _words("is are was were be been being am seem seems seemed appear appears appeared 's 're")
HAVE = _words("has have had having")
AUXILIARIES = _words("do does did can could may might will would must should to")
ADVERBS = _words(
    "very slightly also quite really rather fairly so too just still currently apparently probably possibly "
    "completely mostly almost somewhat only even then while when as if than well forward forwards ahead backwards "
    "sideways together apart away alone maybe perhaps however today now again always often"
)
CONJUNCTIONS = _words("and or nor but & plus + / yet")
NEGATIONS = _words("not never neither cannot dont doesnt didnt isnt arent wasnt werent hasnt havent cant wont")
ABSENCES = _words("without lacking w/o")
"""Prepositions that deny what follows."""

POSTURES = _words(
    "stand walk stroll stride run jog sit face turn lean ride go move come head step pass wait bend stop rush "
    "hurry approach kneel crouch squat cycle climb appear pose gaze smile"
)
"""Verbs that stay apart from the preposition behind them: "standing", "in front of"."""
VERBS = POSTURES | _words(
    "wear carry hold dress clothe sport pull drag push look use talk cover match show feature tie hang roll tuck "
    "wrap put clutch grip grasp bring take sling swing reach cross pair style cut see picture photograph decorate "
    "button zip fold drape strap clip attach pin braid comb text read drink eat listen speak play touch adjust "
    "wheel lift raise rest place keep follow accompany chat call check smoke hug embrace resemble display adorn "
    "include consist contain reveal expose extend fall flow hide accent complement contrast trim line make print "
    "need lack"
)
IRREGULAR = {
    "worn": "wear", "wore": "wear", "held": "hold", "stood": "stand", "sat": "sit", "ran": "run", "went": "go",
    "hung": "hang", "slung": "sling", "put": "put", "took": "take", "taken": "take", "brought": "bring",
    "clad": "dress", "seen": "see", "cut": "cut", "made": "make", "rode": "ride", "kept": "keep", "tying": "tie",
    "lying": "rest", "spoke": "speak", "attired": "dress", "garbed": "dress",
}  # fmt: skip
OF_THINGS = _words(
    "pull tie hang roll tuck wrap cover sling cut style braid comb button zip fold drape strap clip attach pin "
    "decorate print make show reveal reach fall flow extend match pair adorn trim line feature"
)
"""Verbs that behind a thing are about that thing: "hair tied in", "a blouse tucked into"."""
ADJECTIVAL = _words(
    "running sport sports walking matching shopping hiking jogging training cycling swimming climbing working "
    "rolling hanging flowing fitting wheeled printed covered tied buttoned zipped folded cut"
)
"""Forms of verbs that right before a noun describe it: "running shoes"."""
PREPOSITIONS = ABSENCES | _words(
    "in on with w/ over under underneath beneath behind across around at by near from to towards toward through into "
    "onto of for along above below between beside besides against inside outside up down off after before past "
    "upon within like about amongst among throughout alongside beyond atop via"
)
PARTICLES = _words("up down back out off away over around on")
LONG_PREPOSITIONS = (
    ("in", "front", "of"),
    ("in", "back", "of"),
    ("on", "top", "of"),
    ("on", "the", "side", "of"),
    ("in", "the", "direction", "of"),
    ("next", "to"),
    ("close", "to"),
    ("away", "from"),
    ("out", "of"),
    ("along", "with"),
    ("together", "with"),
    ("instead", "of"),
    ("in", "addition", "to"),
    ("as", "well", "as"),
)
SKIPPED = (
    ("as", "well", "as"),
    ("what", "appears", "to", "be"),
    ("what", "seems", "to", "be"),
    ("what", "looks", "like"),
    ("what", "look", "like"),
    ("a", "little"),
    ("a", "bit"),
    ("all", "over"),
)
"""Words that say nothing of their own."""
MEASURES = _words("pair set kind type sort style lot bit couple piece pairs sets pieces lots")
"""Followed by "of" they say nothing of their own: "a pair of jeans" is about jeans."""
JOINED = frozenset(
    {
        ("t", "shirt"), ("tee", "shirt"), ("t", "shirts"), ("flip", "flops"), ("flip", "flop"), ("pony", "tail"),
        ("back", "pack"), ("sun", "glasses"), ("sweat", "pants"), ("hand", "bag"), ("sweat", "shirt"), ("neck", "lace"),
        ("middle", "aged"), ("short", "sleeved"), ("long", "sleeved"), ("short", "sleeve"), ("long", "sleeve"),
        ("high", "heeled"), ("knee", "length"), ("shoulder", "length"), ("ankle", "length"), ("zip", "up"),
        ("button", "up"), ("button", "down"), ("v", "neck"), ("half", "sleeved"), ("half", "sleeve"), ("lace", "up"),
        ("slip", "on"), ("high", "top"), ("long", "haired"), ("short", "haired"), ("light", "colored"),
        ("light", "coloured"), ("dark", "colored"), ("dark", "coloured"), ("off", "white"),
    }
)  # fmt: skip
"""Pairs that are one word to people."""

HUES = _words(
    "black white grey gray greyish grayish navy blue red scarlet crimson maroon burgundy wine pink rose orange "
    "yellow mustard golden gold green emerald olive purple violet plum lavender lilac brown chocolate chestnut "
    "tan beige cream khaki sand ivory silver blonde blond brunette ginger auburn reddish teal turquoise cyan aqua "
    "magenta fuchsia indigo peach coral charcoal bronze copper off-white bluish greenish brownish yellowish "
    "whitish blackish pinkish purplish camel mint lime amber rust taupe salmon azure"
)
SHADES = _words(
    "light dark bright pale deep dull neon pastel jet pitch baby royal sky powder forest bottle grass navy medium "
    "vivid hot electric lime olive army wine golden chocolate emerald ash dusty faded steel midnight cobalt blood "
    "mustard dirty"
)
"""Before a hue they are part of the colour: "light blue", "jet black"."""
MATERIALS = _words(
    "leather denim cotton knit knitted woolly wool woolen woollen fur furry faux-fur fleece silk satin lace "
    "plastic metal rubber suede canvas corduroy tweed linen velvet nylon mesh cloth straw polyester jean chiffon "
    "tulle spandex"
)
PATTERNS = _words(
    "striped stripy stripped checked checkered chequered plaid floral flowered flowery patterned printed dotted "
    "polka polka-dot camouflage camo graphic tartan argyle paisley houndstooth tie-dye tie-dyed leopard zebra "
    "pinstriped spotted solid plain multicolored multicoloured multi-colored multi-coloured colorful colourful "
    "colored coloured two-tone gingham embroidered sequined checkerboard"
)
QUALITIES = _words(
    "light dark bright pale deep dull neon pastel hot long short medium medium-length mid-length cropped thin "
    "thick big small large little huge tiny wide narrow tight loose baggy fitted slim skinny straight heavy "
    "heavyset stocky chubby fat plump overweight slender petite tall old older elderly senior young younger "
    "middle-aged adult teenage asian caucasian african american european indian hispanic quilted padded puffy "
    "puffer zip-up zipped zippered button-up button-down hooded collared sleeveless strapless backless sleeved "
    "rolled-up folded closed open high low curly wavy spiky bald shaved shaggy messy neat dyed bearded casual "
    "formal sporty athletic dressy warm cold new worn-out torn ripped distressed faded shiny same different other "
    "left right upper lower front rear bare balding busy empty nice beautiful pretty cute fair grown broad "
    "visible clear soft round square oval rectangular pleated flared oversized pointy pointed loose-fitting "
    "tight-fitting muscular fit average full half whole single double modern fashionable stylish professional "
    "simple sheer transparent see-through reflective fluffy fuzzy woven ankle-high knee-high thigh-high polo tank "
    "tunic turtleneck unbuttoned untucked unzipped wrinkled matching bright-colored elegant loosely-fitted "
    "strappy frilly ruffled floppy chunky flat long-haired short-haired male female dark-skinned light-skinned "
    "tanned wooden electric mobile similar various assorted main sling crossbody cross-body duffel duffle "
    "vertical horizontal diagonal first second third backward asymmetrical"
)
ADJECTIVES = HUES | MATERIALS | PATTERNS | QUALITIES
ADJECTIVE_ENDINGS = (
    "-colored", "-coloured", "-sleeved", "-sleeve", "-length", "-neck", "-necked", "-style", "-sized", "-toed",
    "-heeled", "-haired", "-fitting", "-waisted", "-cut", "-up", "-top", "-striped", "-rimmed", "-brimmed", "-aged",
    "-shaped", "-collared", "-soled", "-patterned", "-tone", "-toned", "-looking", "-size", "-fit", "ish", "ful",
    "less", "ive", "able", "ous", "-like", "-old",
)  # fmt: skip

PEOPLE = _words(
    "person people man men woman women lady gentleman gentlemen guy fellow boy girl adult child children kid "
    "youngster teenager teen individual pedestrian student schoolboy schoolgirl someone customer passerby officer "
    "worker baby toddler infant mother father mom dad parent friend companion dude chap senior human youth male "
    "female policeman couple group shopper commuter subject persons"
)
WORN = _words(
    "jacket coat shirt t-shirt tshirt tee top sweater jumper pullover hoodie hoody sweatshirt blouse dress frock "
    "vest gilet cardigan blazer suit parka anorak windbreaker overcoat raincoat waistcoat uniform robe tunic polo "
    "jersey turtleneck tracksuit jumpsuit romper overalls dungarees shawl poncho cape sari kimono camisole "
    "singlet tank trousers pants pant jeans denims slacks chinos khakis leggings legging tights jeggings joggers "
    "sweatpants bottoms shorts skirt miniskirt capris culottes cargos stockings pantyhose shoe footwear sneaker "
    "trainer boot sandal heel pump loafer flip-flop flip-flops slipper flat sock oxford moccasin clog hat cap "
    "beanie helmet hijab headscarf turban bandana headband hairband bonnet beret glasses eyeglasses spectacles "
    "sunglasses shades goggles scarf glove mitten belt tie bow-tie necktie necklace watch wristwatch bracelet "
    "bangle earring ring jewelry jewellery mask headphones earphones earbuds lanyard badge backpack rucksack "
    "knapsack apron clothes clothing outfit attire garment apparel ensemble underwear bra pajamas gown undershirt "
    "sweatsuit suspenders legwarmers"
)
CARRIED = _words(
    "bag handbag purse satchel suitcase luggage case tote clutch briefcase pouch basket box package parcel phone "
    "cellphone smartphone iphone cup coffee bottle water drink can book folder notebook newspaper magazine "
    "umbrella laptop tablet paper document wallet key stick cane skateboard ball flower bouquet food cigarette "
    "toy tray guitar walkie-talkie shopping fanny-pack lunchbox file map envelope"
)
BODY = _words(
    "hair head face neck shoulder arm forearm elbow hand finger wrist leg thigh knee calf ankle foot feet waist "
    "hip chest back body skin torso stomach belly ear eye forehead chin beard moustache mustache goatee stubble "
    "fringe bangs ponytail pigtail bun braid dreadlocks curl highlight hairstyle haircut tattoo complexion build "
    "figure lap mouth lip"
)
PARTS = _words(
    "slit hood collar lapel sleeve cuff hem zipper zip button buckle pocket strap logo print design pattern "
    "stripe check dot square spot lace laces sole trim lining edge emblem letter lettering writing word number "
    "text graphics bow ruffle brim visor drawstring waistband neckline v-neck seam patch color colour side middle "
    "part accent detail decoration toe tip line stitching embroidery knot front"
)
PLACES = _words(
    "street road sidewalk pavement fence wall stair stairs step steps escalator elevator bike bicycle scooter "
    "motorcycle motorbike car bus taxi cart trolley stroller pram wheelchair bench chair table door doorway "
    "window building shop store station platform picture image photo photograph camera background foreground "
    "scene direction tree grass ground floor crosswalk corner pole sign gate path park hallway corridor railing "
    "bridge crowd pillar counter viewer distance handrail garden mall room campus stall"
)
NOUN_SETS = {"person": PEOPLE, "worn": WORN, "carried": CARRIED, "body": BODY, "part": PARTS, "place": PLACES}
OTHER_NOUNS = _words(
    "time day summer winter hour year way manner music style length weight height size age ceiling string morning "
    "evening painting"
)
